//! Operations on any number of a stream's events: step by step, so that other requests get in between.
//!
//! Each step is a commit of its own and has the store's whole time-out. When one fails, those before it hold.

use super::super::{Letters, Replay, Replayed, StoreError, StreamKey};
use super::EmbeddedStore;
use super::letters::{self, Fate, Which};
use super::replay::{self, Source};
use crate::event::Position;
use std::sync::Arc;

impl EmbeddedStore {
    /// Sends dead letters again, or deletes them. Answers how many.
    pub(super) async fn settle_letters(
        &self,
        stream: &StreamKey,
        which: Letters,
        fate: Fate,
    ) -> Result<u64, StoreError> {
        let which = match which {
            // What dies meanwhile, at a position that is passed, is not looked at again.
            Letters::All => {
                let ty = stream.type_no;
                let last = self.door()?.ask(move |core, _| Ok(core.last(ty))).await?;
                Which::Range(Position::default(), last)
            }
            Letters::Some(mut positions) => {
                positions.sort_unstable();
                positions.dedup();
                Which::These(positions)
            }
        };
        let mut total = 0;
        let mut next = Some(which);
        while let Some(which) = next {
            let key = stream.clone();
            let step = move |access: super::writer::Access<'_, '_>| letters::settle_letters(access, &key, which, fate);
            let done = self.door()?.step(step).await?;
            total += done.count;
            next = done.rest;
        }
        Ok(total)
    }

    /// Makes dead letters of everything in a stream's outbox. Answers how many.
    pub(super) async fn bury_outbox(&self, stream: &StreamKey, reason: &str) -> Result<u64, StoreError> {
        let key = stream.clone();
        let mut next = self.door()?.ask(move |core, _| Ok(letters::begin_burial(core, &key))).await?;
        let mut total = 0;
        while let Some(which) = next {
            let (key, reason) = (stream.clone(), reason.to_owned());
            let step = move |access: super::writer::Access<'_, '_>| letters::bury(access, &key, which, &reason);
            let done = self.door()?.step(step).await?;
            total += done.count;
            next = done.rest;
        }
        Ok(total)
    }

    /// Queues stored events again.
    pub(super) async fn replay_events(&self, replay: Replay) -> Result<Replayed, StoreError> {
        let (dry_run, stream) = (replay.dry_run, replay.stream.clone());
        let (hours, now) = (Arc::clone(&self.hours), (self.clock)());
        let source = Arc::new(self.blocking(move |disk| Source::new(disk, &hours, now, &replay)).await?);

        let mut count = 0;
        let mut next = Some(source.first);
        while let Some(from) = next {
            let (source, hours) = (Arc::clone(&source), Arc::clone(&self.hours));
            let (found, rest) = self.blocking(move |disk| source.count(disk, &hours, from)).await?;
            count += found;
            next = rest;
        }
        if dry_run || count == 0 {
            return Ok(Replayed::Queued(count));
        }
        let key = stream.clone();
        let look = move |core: &mut super::core::Core| core.stream(&key).map_or(0, |stream| stream.row.backlog);
        let backlog = self.door()?.ask(move |core, _| Ok(look(core))).await?;
        if backlog.saturating_add(count) > self.options.max_backlog {
            return Ok(Replayed::BacklogFull(count));
        }

        let mut queued = 0;
        let mut noted = source.first;
        let mut next = Some(source.first);
        while let Some(from) = next {
            let (reader, hours) = (Arc::clone(&source), Arc::clone(&self.hours));
            let piece = self.blocking(move |disk| reader.piece(disk, &hours, from)).await?;
            next = piece.next;
            if piece.is_empty() {
                continue;
            }
            let (key, span) = (stream.clone(), (noted, source.end_of(&piece)));
            noted = span.1;
            queued += self.door()?.step(move |access| replay::queue(access, &key, piece, span)).await?;
        }
        Ok(Replayed::Queued(queued))
    }
}
