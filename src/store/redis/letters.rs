//! Dead letters that go: back into the outbox, or for good. And what becomes one because its stream ends.

use super::value::{Answer, uint};
use super::{RedisStore, SCRIPTS, millis};
use crate::event::Position;
use crate::store::{Letters, StoreError, StreamKey};

/// Letters of one call: a few milliseconds of Redis' time.
const LETTERS: usize = 1000;
/// Chunks of one call that makes letters, each of up to 64 events.
const CHUNKS: usize = 100;

impl RedisStore {
    /// Takes letters out, to `"retry"` or to `"delete"`; answers how many there were.
    pub(super) async fn take_letters(
        &self,
        stream: &StreamKey,
        letters: Letters,
        what: &str,
    ) -> Result<u64, StoreError> {
        let mut taken = 0;
        let of_step = async |most: usize, positions: &[Position]| {
            let mut cmd = self.on_stream(&SCRIPTS.letters, stream);
            cmd.arg(what).arg(millis(self.options.dead_ttl)).arg(most);
            for position in positions {
                cmd.arg(position.get());
            }
            let mut answer = Answer::of(self.general.query(stream.type_no.into(), &cmd).await?)?;
            Ok::<_, StoreError>((uint(&answer.next())?, uint(&answer.next())?))
        };
        match letters {
            Letters::Some(positions) => {
                for some in positions.chunks(LETTERS) {
                    taken += of_step(LETTERS, some).await?.1;
                }
            }
            Letters::All => {
                // As many as there were at first: what dies again meanwhile comes last, and is left alone.
                let (there, mut step) = of_step(LETTERS, &[]).await?;
                while step > 0 {
                    taken += step;
                    let most = usize::try_from(there.saturating_sub(taken)).unwrap_or(LETTERS).min(LETTERS);
                    step = if most == 0 { 0 } else { of_step(most, &[]).await?.1 };
                }
            }
        }
        Ok(taken)
    }

    /// Makes letters of the whole outbox; answers of how many events.
    pub(super) async fn bury_all(&self, stream: &StreamKey, reason: &str) -> Result<u64, StoreError> {
        let mut buried = 0;
        loop {
            let mut cmd = self.on_stream(&SCRIPTS.bury, stream);
            cmd.arg(millis(self.options.dead_ttl)).arg(CHUNKS).arg(reason);
            let some = uint(&self.general.query(stream.type_no.into(), &cmd).await?)?;
            if some == 0 {
                return Ok(buried);
            }
            buried += some;
        }
    }
}
