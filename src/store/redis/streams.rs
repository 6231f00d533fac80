//! Streams as a whole: what is due, counters, dead letters.

use super::chunk::{decode, varint};
use super::keys::{PARTITIONS, partition, stream_of};
use super::slots::Route;
use super::value::{Answer, array, bytes, corrupt, uint};
use super::{RedisStore, SCRIPTS, millis};
use crate::event::{EventId, Millis, Position, TypeNo};
use crate::store::{DeadLetter, Failure, StoreError, StoredEvent, StreamCounts, StreamKey};
use bytes::Bytes;
use redis::{Cmd, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Streams of a partition that one look at what is due names; the rest is still due at the next.
const MAX_DUE: usize = 1000;
/// Streams asked about in one round trip.
const COUNTS: usize = 256;

/// A dead letter as `redis/settle.lua` writes it.
pub(super) struct StoredLetter {
    pub(super) since: Millis,
    pub(super) failure: Failure,
    pub(super) position: Position,
    pub(super) payload: Bytes,
}

impl RedisStore {
    pub(super) async fn make_all_due(&self, stream: &StreamKey) -> Result<(), StoreError> {
        let mut from = Bytes::new();
        loop {
            let mut cmd = self.on_stream(&SCRIPTS.make_due, stream);
            cmd.arg(&from[..]);
            from = bytes(self.general.query(stream.type_no.into(), &cmd).await?)?;
            if from.is_empty() {
                return Ok(());
            }
        }
    }

    /// Of those that can be asked: a master that is away must not stop the streams of others.
    pub(super) async fn due_streams(&self, within: Duration) -> Result<Vec<StreamKey>, StoreError> {
        // One script where that may be.
        let together = if self.masters.are_many() { 1 } else { usize::from(PARTITIONS) };
        let partitions: Vec<u16> = (0..PARTITIONS).collect();
        let of_some = |some: &[u16]| {
            let keys: Vec<String> = some.iter().map(|p| self.keys.due(*p)).collect();
            let mut cmd = SCRIPTS.due.call(&keys);
            cmd.arg(i64::try_from(within.as_millis()).unwrap_or(i64::MAX >> 12)).arg(MAX_DUE);
            (Route::Partition(some.first().copied().unwrap_or_default()), cmd)
        };
        let batch: Vec<(Route, Cmd)> = partitions.chunks(together).map(of_some).collect();
        let answers = self.general.each(&batch).await;
        if answers.iter().all(Result::is_err) {
            return answers.into_iter().next().map_or_else(|| Ok(Vec::new()), |answer| answer.map(|_| Vec::new()));
        }
        let mut found = Vec::new();
        for answer in answers.into_iter().flatten() {
            for member in array(answer)? {
                let stream = stream_of(&bytes(member)?);
                found.push(stream.ok_or_else(|| corrupt("what is due names an impossible stream"))?);
            }
        }
        Ok(found)
    }

    pub(super) async fn stream_counts(&self, streams: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError> {
        let mut counts = Vec::with_capacity(streams.len());
        for some in streams.chunks(COUNTS) {
            let of_stream = |stream: &StreamKey| {
                let mut cmd = self.on_stream(&SCRIPTS.counts, stream);
                cmd.arg(millis(self.options.dead_ttl));
                (stream.type_no.into(), cmd)
            };
            let batch: Vec<(Route, Cmd)> = some.iter().map(of_stream).collect();
            for answer in self.general.pipeline(&batch).await? {
                counts.push(read_counts(answer)?);
            }
        }
        Ok(counts)
    }

    pub(super) async fn list_dead(
        &self,
        stream: &StreamKey,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut cmd = self.on_stream(&SCRIPTS.dead, stream);
        cmd.arg(millis(self.options.dead_ttl));
        cmd.arg(after.map_or_else(String::new, |after| after.get().to_string())).arg(limit);
        let letters = array(self.general.query(stream.type_no.into(), &cmd).await?)?;
        let letters = letters.into_iter().map(|letter| {
            let letter = dead_letter(&bytes(letter)?).ok_or_else(|| corrupt("a dead letter is damaged"))?;
            let id = EventId::new(stream.type_no, letter.position);
            let event = StoredEvent { id, payload: letter.payload, processed_at: None };
            Ok(DeadLetter { event, failure: letter.failure, since: letter.since })
        });
        letters.collect()
    }

    pub(super) async fn forget(&self, stream: &StreamKey) -> Result<(), StoreError> {
        let mut cmd = self.on_stream(&SCRIPTS.forget, stream);
        cmd.arg(millis(self.options.dead_ttl));
        self.general.query(stream.type_no.into(), &cmd).await.map(drop)
    }

    pub(super) async fn last_of(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError> {
        let mut by_partition: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (at, type_no) in types.iter().enumerate() {
            by_partition.entry(partition(*type_no)).or_default().push(at);
        }
        let mut batch: Vec<(Route, Cmd)> = Vec::with_capacity(by_partition.len());
        for (p, wanted) in &by_partition {
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(self.keys.last(*p));
            for type_no in wanted.iter().filter_map(|at| types.get(*at)) {
                cmd.arg(type_no.get());
            }
            batch.push((Route::Partition(*p), cmd));
        }
        let mut last = vec![Position::default(); types.len()];
        let answers = self.general.pipeline(&batch).await?;
        for (wanted, answer) in by_partition.values().zip(answers) {
            for (at, position) in wanted.iter().zip(array(answer)?) {
                if let Some(last) = last.get_mut(*at) {
                    *last = Position::new(uint(&position)?);
                }
            }
        }
        Ok(last)
    }
}

fn read_counts(answer: Value) -> Result<StreamCounts, StoreError> {
    let mut answer = Answer::of(answer)?;
    let mut next = || uint(&answer.next());
    let (backlog, delivered, failed, dead) = (next()?, next()?, next()?, next()?);
    let oldest = match answer.next() {
        Value::BulkString(none) if none.is_empty() => None,
        position => Some(Position::new(uint(&position)?).ms()),
    };
    Ok(StreamCounts { backlog, delivered, failed, dead, oldest })
}

/// Reads `attempts:last error`; `None` when it has never failed.
pub(super) fn failure(text: &[u8]) -> Option<Failure> {
    let (attempts, error) = std::str::from_utf8(text).ok()?.split_once(':')?;
    Some(Failure { attempts: attempts.parse().ok()?, last_error: error.to_owned() })
}

/// Reads a dead letter; `None` when it is damaged.
pub(super) fn dead_letter(letter: &Bytes) -> Option<StoredLetter> {
    let since = i64::from_be_bytes(letter.get(..8)?.try_into().ok()?);
    let mut at = 8;
    let attempts = u32::try_from(varint(letter, &mut at)?).ok()?;
    let length = usize::try_from(varint(letter, &mut at)?).ok()?;
    let end = at.checked_add(length).filter(|end| *end <= letter.len())?;
    let last_error = String::from_utf8_lossy(letter.get(at..end)?).into_owned();
    let (position, payload) = decode(&letter.slice(end..)).ok()?.events.into_iter().next()?;
    Some(StoredLetter { since, failure: Failure { attempts, last_error }, position, payload })
}

#[cfg(test)]
mod tests {
    use super::super::chunk::{encode, put_varint};
    use super::*;

    #[test]
    fn a_dead_letter_is_read_whole_and_damage_is_noticed() {
        let mut letter = 1_700_000_000_000_i64.to_be_bytes().to_vec();
        put_varint(300, &mut letter);
        put_varint(4, &mut letter);
        letter.extend(b"nope");
        letter.extend(77_u64.to_be_bytes());
        letter.extend(encode(3, &[Bytes::from_static(b"{}")]));
        let whole = Bytes::from(letter);
        let read = dead_letter(&whole).unwrap();
        assert_eq!(read.failure, Failure { attempts: 300, last_error: "nope".into() });
        assert_eq!((read.since, read.position.get(), &read.payload[..]), (1_700_000_000_000, 77, &b"{}"[..]));
        for length in 0..whole.len() {
            assert!(dead_letter(&whole.slice(..length)).is_none());
        }
    }

    #[test]
    fn an_error_may_hold_colons() {
        assert_eq!(failure(b"2:http: 500"), Some(Failure { attempts: 2, last_error: "http: 500".into() }));
        assert_eq!(failure(b""), None);
    }
}
