//! Keys of the embedded store. Every number is big-endian, so that keys sort as their numbers do.
//!
//! | keyspace | key | value |
//! | --- | --- | --- |
//! | `events` | hour, type, position | revision (varint), payload |
//! | `outbox` | stream number, position | the same row as in `events` |
//! | `marks` | hour, type, client, 0, position | milliseconds from commit to mark (varint) |
//! | `marks` | hour, type, 0, position, stream name | nothing: the stream's dead letter is gone |
//! | `state` | a kind (one byte, below), then what names the row | rows of [`rows`](super::rows) |
//!
//! Time comes first where rows expire, so that what expires together lies together. A name inside a key
//! ends with a zero byte, which no name contains.

use crate::event::{ClientId, EventId, EventType, Position, StreamName, TypeNo, hour_of};

/// Version of the storage format.
pub(super) const FORMAT: &[u8] = b"F";
/// The registry's version and the next type number.
pub(super) const REGISTRY: &[u8] = b"V";
/// The next stream number.
pub(super) const NEXT_STREAM: &[u8] = b"N";
/// Type → last position.
pub(super) const LAST: u8 = b'L';
/// Type, hour → number of events.
pub(super) const HOURS: u8 = b'H';
/// Type, stream name → number and counters.
pub(super) const STREAMS: u8 = b'S';
/// Type → first position that may show, where a lifetime has been changed.
pub(super) const FLOORS: u8 = b'G';
/// Type name → registry record.
pub(super) const TYPES: u8 = b'T';
/// Type name → discards.
pub(super) const DISCARDS: u8 = b'D';
/// Hour, type, client → number of marks, and how often they have changed.
pub(super) const MARK_COUNTS: u8 = b'C';
/// Stream number, position → failed attempts and when it is due.
pub(super) const RETRIES: u8 = b'R';
/// Stream number, position → dead letter.
pub(super) const DEAD: u8 = b'X';
/// Type, key → idempotency answer.
pub(super) const IDEMPOTENCY: u8 = b'I';
/// Stream number → what it was given of the time before it.
pub(super) const PAST: u8 = b'P';
/// Stream number → where its attempts lie.
pub(super) const ATTEMPT_LOGS: u8 = b'B';
/// Stream number, a number that rises → an attempt.
pub(super) const ATTEMPTS: u8 = b'A';
/// Class, time, key → nothing: what to remove when.
pub(super) const EXPIRY: u8 = b'E';

/// Class of [`EXPIRY`] rows whose time is the moment of expiry and whose key is an idempotency answer's.
pub(super) const EXPIRES_ANSWER: u8 = b'I';
/// Class of [`EXPIRY`] rows whose time is the moment of death and whose key is a dead letter's.
pub(super) const EXPIRES_DEAD: u8 = b'X';

/// Class of [`EXPIRY`] rows whose time is that of an attempt and whose key is the log's that holds it.
pub(super) const EXPIRES_ATTEMPTS: u8 = b'B';

/// Hours since 1970, as they stand in keys.
pub(super) fn hour_no(position: Position) -> u32 {
    // Positions start in 2018 and have 41 bits of milliseconds: the hour is a small positive number.
    u32::try_from(hour_of(position.ms())).unwrap_or(u32::MAX)
}

/// Prefix of everything of one type in one hour, in `events` and `marks`.
pub(super) fn hour_type(hour: u32, ty: u16) -> [u8; 6] {
    let mut key = [0; 6];
    key[..4].copy_from_slice(&hour.to_be_bytes());
    key[4..].copy_from_slice(&ty.to_be_bytes());
    key
}

/// An event's key in `events`.
pub(super) fn event(id: EventId) -> [u8; 14] {
    event_at(hour_no(id.position()), id.type_no().get(), id.position().get())
}

/// A key in `events`; `position` may be one past the last of the hour.
pub(super) fn event_at(hour: u32, ty: u16, position: u64) -> [u8; 14] {
    let mut key = [0; 14];
    key[..6].copy_from_slice(&hour_type(hour, ty));
    key[6..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The position at the end of a key.
pub(super) fn position_of(key: &[u8]) -> Option<Position> {
    key.last_chunk::<8>().map(|bytes| Position::new(u64::from_be_bytes(*bytes)))
}

/// A key in `outbox`.
pub(super) fn outbox(stream: u32, position: Position) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&stream.to_be_bytes());
    key[4..].copy_from_slice(&position.get().to_be_bytes());
    key
}

/// A client's mark in `marks`.
pub(super) fn mark(hour: u32, ty: u16, client: &ClientId, position: u64) -> Vec<u8> {
    let mut key = marks_of(hour, ty, client);
    key.extend_from_slice(&position.to_be_bytes());
    key
}

/// Prefix of a client's marks on one type in one hour.
fn marks_of(hour: u32, ty: u16, client: &ClientId) -> Vec<u8> {
    let mut key = Vec::with_capacity(15 + client.as_str().len());
    key.extend_from_slice(&hour_type(hour, ty));
    key.extend_from_slice(client.as_str().as_bytes());
    key.push(0);
    key
}

/// Says in `marks` that the stream's dead letter of this event is gone.
pub(super) fn dropped(id: EventId, stream: &StreamName) -> Vec<u8> {
    let mut key = Vec::with_capacity(15 + stream.as_str().len());
    key.extend_from_slice(&hour_type(hour_no(id.position()), id.type_no().get()));
    key.push(0);
    key.extend_from_slice(&id.position().get().to_be_bytes());
    key.extend_from_slice(stream.as_str().as_bytes());
    key
}

/// `state`: the last position of a type.
pub(super) fn last(ty: u16) -> [u8; 3] {
    let [a, b] = ty.to_be_bytes();
    [LAST, a, b]
}

/// The row of a type's floor.
pub(super) fn floor(ty: u16) -> [u8; 3] {
    let [a, b] = ty.to_be_bytes();
    [FLOORS, a, b]
}

/// `state`: events of a type in an hour.
pub(super) fn hours(ty: u16, hour: u32) -> [u8; 7] {
    let mut key = [0; 7];
    key[0] = HOURS;
    key[1..3].copy_from_slice(&ty.to_be_bytes());
    key[3..].copy_from_slice(&hour.to_be_bytes());
    key
}

/// `state`: a stream.
pub(super) fn stream(ty: TypeNo, name: &StreamName) -> Vec<u8> {
    let mut key = vec![STREAMS];
    key.extend_from_slice(&ty.get().to_be_bytes());
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// `state`: a row of the registry or of the discards.
pub(super) fn named(kind: u8, name: &EventType) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(name.as_str().as_bytes());
    key
}

/// `state`: how many events of a type and hour a client has marked, and how often that has changed.
pub(super) fn mark_count(hour: u32, ty: u16, client: &ClientId) -> Vec<u8> {
    let mut key = mark_counts(hour, ty).to_vec();
    key.extend_from_slice(client.as_str().as_bytes());
    key
}

/// Prefix of all clients' [`mark_count`] rows of a type and hour.
pub(super) fn mark_counts(hour: u32, ty: u16) -> [u8; 7] {
    let mut key = [MARK_COUNTS; 7];
    key[1..].copy_from_slice(&hour_type(hour, ty));
    key
}

/// `state`: a retry or a dead letter of a stream.
pub(super) fn of_stream(kind: u8, stream: u32, position: Position) -> [u8; 13] {
    let mut key = [kind; 13];
    key[1..].copy_from_slice(&outbox(stream, position));
    key
}

/// Stream number and position of a row made by [`of_stream`].
pub(super) fn stream_and_position(key: &[u8]) -> Option<(u32, Position)> {
    let number = key.get(1..5)?.first_chunk::<4>()?;
    Some((u32::from_be_bytes(*number), position_of(key.get(5..)?)?))
}

/// `state`: what a stream was given of the time before it.
pub(super) fn past(stream: u32) -> [u8; 5] {
    of_number(PAST, stream)
}

/// `state`: where a stream's attempts lie.
pub(super) fn attempt_log(stream: u32) -> [u8; 5] {
    of_number(ATTEMPT_LOGS, stream)
}

/// Stream number of a row made by [`attempt_log`].
pub(super) fn attempt_log_number(key: &[u8]) -> Option<u32> {
    key.get(1..)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

fn of_number(kind: u8, stream: u32) -> [u8; 5] {
    let mut key = [kind; 5];
    key[1..].copy_from_slice(&stream.to_be_bytes());
    key
}

/// `state`: one attempt of a stream.
pub(super) fn attempt(stream: u32, at: u64) -> [u8; 13] {
    let mut key = [ATTEMPTS; 13];
    key[1..5].copy_from_slice(&stream.to_be_bytes());
    key[5..].copy_from_slice(&at.to_be_bytes());
    key
}

/// `state`: an idempotency answer.
pub(super) fn answer(ty: TypeNo, key: &str) -> Vec<u8> {
    let mut row = vec![IDEMPOTENCY];
    row.extend_from_slice(&ty.get().to_be_bytes());
    row.extend_from_slice(key.as_bytes());
    row
}

/// `state`: that `key` is to be looked at once `time` (milliseconds) has passed.
pub(super) fn expiry(class: u8, time: u64, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(10 + key.len());
    row.extend_from_slice(&[EXPIRY, class]);
    row.extend_from_slice(&time.to_be_bytes());
    row.extend_from_slice(key);
    row
}

/// Time and key of a row made by [`expiry`].
pub(super) fn expiry_parts(row: &[u8]) -> Option<(u64, &[u8])> {
    let (time, key) = row.get(2..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_sort_by_hour_then_type_then_position(a in 0u64..1 << 50, b in 0u64..1 << 50, s in 0u16..1 << 14, t in 0u16..1 << 14) {
            let id = |ty, v| EventId::new(TypeNo::new(ty).unwrap(), Position::new(v));
            let order = |id: EventId| (hour_no(id.position()), id.type_no(), id.position());
            let (x, y) = (id(s, a), id(t, b));
            prop_assert_eq!(event(x).cmp(&event(y)), order(x).cmp(&order(y)));
            prop_assert_eq!(position_of(&event(x)), Some(x.position()));
        }

        #[test]
        fn rows_of_a_stream_are_read_back(stream in any::<u32>(), v in 0u64..1 << 50) {
            let position = Position::new(v);
            prop_assert_eq!(stream_and_position(&of_stream(DEAD, stream, position)), Some((stream, position)));
        }
    }

    #[test]
    fn no_client_has_anothers_marks_in_its_range() {
        let (a, ab) = ("a".parse().unwrap(), "a-b".parse().unwrap());
        assert!(mark(1, 2, &a, u64::MAX) < mark(1, 2, &ab, 0));
        let id = EventId::new(TypeNo::new(2).unwrap(), Position::new(1));
        let hour = hour_no(id.position());
        assert!(dropped(id, &"s".parse().unwrap()) < mark(hour, 2, &a, 0), "dropped letters stand before all clients");
    }
}
