//! Stored events that are delivered again, and what is kept of attempts.

use super::merge::HOUR;
use super::value::{Answer, array, bytes, int, uint};
use super::{RedisStore, SCRIPTS, lifetime, millis};
use crate::event::{Millis, hour_of};
use crate::store::{Replay, Replayed, StoreError, StreamKey};
use bytes::Bytes;

/// Events of one call, about: a few milliseconds of Redis' time.
const EVENTS: usize = 1000;
/// Attempts that are kept of a stream.
const ATTEMPTS: usize = 1000;

impl RedisStore {
    /// Counts what would be queued, and unless that is all or too much, queues it, in commit order.
    pub(super) async fn replay_range(&self, replay: &Replay) -> Result<Replayed, StoreError> {
        if replay.ttl.is_ephemeral() {
            return Ok(Replayed::Queued(0));
        }
        let hours = self.hours_between(replay).await?;
        let wanted = self.replay_hours(replay, &hours, true).await?;
        if replay.dry_run {
            return Ok(Replayed::Queued(wanted));
        }
        let counts = self.stream_counts(std::slice::from_ref(&replay.stream)).await?;
        let waiting = counts.first().map_or(0, |counts| counts.backlog);
        if waiting.saturating_add(wanted) > self.options.max_backlog {
            return Ok(Replayed::BacklogFull(wanted));
        }
        self.replay_hours(replay, &hours, false).await.map(Replayed::Queued)
    }

    /// The hours of the range that hold anything, in order.
    async fn hours_between(&self, replay: &Replay) -> Result<Vec<i64>, StoreError> {
        let mut cmd = redis::cmd("HKEYS");
        cmd.arg(self.keys.hours(replay.stream.type_no));
        let hours: Result<Vec<i64>, _> =
            array(self.general.query(replay.stream.type_no.into(), &cmd).await?)?.iter().map(int).collect();
        let mut hours = hours?;
        hours.retain(|hour| (hour_of(replay.from)..=hour_of(replay.to)).contains(hour));
        hours.sort_unstable();
        Ok(hours)
    }

    async fn replay_hours(&self, replay: &Replay, hours: &[i64], only_count: bool) -> Result<u64, StoreError> {
        let mut queued = 0;
        for hour in hours {
            let mut from = replay.from.max(hour.saturating_mul(HOUR));
            let to = replay.to.min(hour.saturating_add(1).saturating_mul(HOUR));
            while from < to {
                let mut keys = self.keys.stream(&replay.stream).to_vec();
                keys.push(self.keys.events(replay.stream.type_no, *hour));
                let mut cmd = SCRIPTS.replay.call(&keys);
                cmd.arg(replay.stream.type_no.get()).arg(super::keys::member(&replay.stream));
                cmd.arg(from).arg(to).arg(lifetime(&replay.ttl)).arg(u8::from(only_count)).arg(EVENTS);
                let mut answer = Answer::of(self.general.query(replay.stream.type_no.into(), &cmd).await?)?;
                queued += uint(&answer.next())?;
                let next = bytes(answer.next())?;
                from = std::str::from_utf8(&next).ok().and_then(|next| next.parse::<Millis>().ok()).unwrap_or(to);
            }
        }
        Ok(queued)
    }

    pub(super) async fn add_attempts(&self, stream: &StreamKey, attempts: &[Bytes]) -> Result<(), StoreError> {
        for some in attempts.chunks(ATTEMPTS) {
            let mut cmd = self.on_stream(&SCRIPTS.attempts, stream);
            cmd.arg(millis(self.options.dead_ttl)).arg(ATTEMPTS);
            for attempt in some {
                cmd.arg(&attempt[..]);
            }
            self.general.query(stream.type_no.into(), &cmd).await?;
        }
        Ok(())
    }

    pub(super) async fn list_attempts(&self, stream: &StreamKey) -> Result<Vec<Bytes>, StoreError> {
        let mut cmd = redis::cmd("LRANGE");
        cmd.arg(self.keys.attempts(stream)).arg(0).arg(-1);
        array(self.general.query(stream.type_no.into(), &cmd).await?)?.into_iter().map(bytes).collect()
    }
}
