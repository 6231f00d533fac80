//! Values of the embedded store: numbers as varints, texts with their length.

use super::super::{Failure, StoreError, TypeRecord};
use crate::event::{EventType, Millis, Position, TypeNo};
use bytes::Bytes;

/// Longest error text that is kept with a failed event.
const MAX_ERROR: usize = 1024;

/// Appends a number, seven bits a byte, lowest first.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_millis(value: Millis, out: &mut Vec<u8>) {
    put_varint(u64::try_from(value).unwrap_or(0), out);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Reads a row from its front.
pub(super) struct Row<'a>(pub(super) &'a [u8]);

impl<'a> Row<'a> {
    pub(super) fn varint(&mut self) -> Result<u64, StoreError> {
        let mut value = 0;
        for (at, byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at as u32).min(63);
            if byte & 0x80 == 0 {
                self.0 = self.0.get(at + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(damaged("a number"))
    }

    fn u32(&mut self) -> Result<u32, StoreError> {
        u32::try_from(self.varint()?).map_err(|_| damaged("a number"))
    }

    fn millis(&mut self) -> Result<Millis, StoreError> {
        Millis::try_from(self.varint()?).map_err(|_| damaged("an instant"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], StoreError> {
        let len = usize::try_from(self.varint()?).map_err(|_| damaged("a length"))?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(|| damaged("a text"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, StoreError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged("a text"))
    }
}

/// A row that this version did not write.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} in the embedded store is damaged"))
}

/// One number.
pub(super) fn number(value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    put_varint(value, &mut out);
    out
}

/// An event: the revision of its type's record, then the payload.
pub(super) fn event(revision: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 3);
    put_varint(revision, &mut out);
    out.extend_from_slice(payload);
    out
}

/// Revision and payload of an event. The payload is copied: a slice would keep its whole block in memory.
pub(super) fn read_event(row: &[u8]) -> Result<(u64, Bytes), StoreError> {
    let mut row = Row(row);
    let revision = row.varint()?;
    Ok((revision, Bytes::copy_from_slice(row.0)))
}

/// A stream's number and counters. What is pending below `scan_from` has a [`RetryRow`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StreamRow {
    pub number: u32,
    pub backlog: u64,
    pub delivered: u64,
    pub failed: u64,
    pub dead: u64,
    /// Where to look in the outbox for what was never tried; nothing deleted is ever scanned again.
    pub scan_from: u64,
    /// How often everything that waited was made due: a retry written before the last time is due.
    pub recoveries: u64,
}

impl StreamRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        put_varint(u64::from(self.number), &mut out);
        for value in [self.backlog, self.delivered, self.failed, self.dead, self.scan_from, self.recoveries] {
            put_varint(value, &mut out);
        }
        out
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut row = Row(row);
        Ok(Self {
            number: row.u32()?,
            backlog: row.varint()?,
            delivered: row.varint()?,
            failed: row.varint()?,
            dead: row.varint()?,
            scan_from: row.varint()?,
            recoveries: row.varint()?,
        })
    }
}

/// A pending event that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RetryRow {
    pub due: Millis,
    /// The stream's recoveries when this was written.
    pub recoveries: u64,
    pub failure: Failure,
}

impl RetryRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.failure.last_error.len().min(MAX_ERROR));
        put_millis(self.due, &mut out);
        put_varint(self.recoveries, &mut out);
        put_failure(&self.failure, &mut out);
        out
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut row = Row(row);
        Ok(Self { due: row.millis()?, recoveries: row.varint()?, failure: read_failure(&mut row)? })
    }
}

/// A dead letter. It has its payload with it, since it may outlive its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeadRow {
    pub since: Millis,
    pub failure: Failure,
    /// As in `events`, so that it can go back to the outbox as it was.
    pub event: Bytes,
}

impl DeadRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.event.len());
        put_millis(self.since, &mut out);
        put_failure(&self.failure, &mut out);
        out.extend_from_slice(&self.event);
        out
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut row = Row(row);
        let (since, failure) = (row.millis()?, read_failure(&mut row)?);
        Ok(Self { since, failure, event: Bytes::copy_from_slice(row.0) })
    }
}

fn put_failure(failure: &Failure, out: &mut Vec<u8>) {
    put_varint(u64::from(failure.attempts), out);
    let error = &failure.last_error;
    let cut = error.floor_char_boundary(MAX_ERROR);
    put_bytes(error.get(..cut).unwrap_or_default().as_bytes(), out);
}

fn read_failure(row: &mut Row<'_>) -> Result<Failure, StoreError> {
    Ok(Failure { attempts: row.u32()?, last_error: row.text()?.to_owned() })
}

/// The answer given for an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnswerRow {
    pub expires: Millis,
    pub body_hash: [u8; 32],
    /// Positions of a group follow one another.
    pub first: Position,
    pub count: u64,
}

impl AnswerRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(56);
        put_millis(self.expires, &mut out);
        out.extend_from_slice(&self.body_hash);
        put_varint(self.first.get(), &mut out);
        put_varint(self.count, &mut out);
        out
    }

    pub(super) fn decode(row: &[u8]) -> Result<Self, StoreError> {
        let mut row = Row(row);
        let expires = row.millis()?;
        let (hash, rest) = row.0.split_first_chunk::<32>().ok_or_else(|| damaged("an idempotency answer"))?;
        let mut rest = Row(rest);
        Ok(Self { expires, body_hash: *hash, first: Position::new(rest.varint()?), count: rest.varint()? })
    }

    /// All positions of the answer.
    pub(super) fn positions(&self) -> Vec<Position> {
        (0..self.count).map(|n| self.first.plus(n)).collect()
    }
}

/// A type's record, without its name, which is the key.
pub(super) fn encode_type(record: &TypeRecord) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + record.config.len());
    put_varint(u64::from(record.type_no.get()), &mut out);
    put_varint(record.revision, &mut out);
    put_varint(u64::from(record.registered), &mut out);
    put_bytes(record.ttl.as_str().as_bytes(), &mut out);
    put_bytes(&record.config, &mut out);
    out
}

pub(super) fn decode_type(name: EventType, row: &[u8]) -> Result<TypeRecord, StoreError> {
    let mut row = Row(row);
    let number = u16::try_from(row.varint()?).ok().and_then(TypeNo::new);
    Ok(TypeRecord {
        name,
        type_no: number.ok_or_else(|| damaged("a type's number"))?,
        revision: row.varint()?,
        registered: row.varint()? != 0,
        ttl: row.text()?.parse().map_err(|_| damaged("a lifetime"))?,
        config: Bytes::copy_from_slice(row.bytes()?),
    })
}

/// Two numbers.
pub(super) fn pair(a: u64, b: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(20);
    put_varint(a, &mut out);
    put_varint(b, &mut out);
    out
}

pub(super) fn read_pair(row: &[u8]) -> Result<(u64, u64), StoreError> {
    let mut row = Row(row);
    Ok((row.varint()?, row.varint()?))
}

/// Two numbers, of which the second may be missing.
pub(super) fn read_pair_or_first(row: &[u8]) -> Result<(u64, u64), StoreError> {
    let mut row = Row(row);
    let first = row.varint()?;
    Ok((first, if row.0.is_empty() { 0 } else { row.varint()? }))
}

pub(super) fn read_number(row: &[u8]) -> Result<u64, StoreError> {
    Row(row).varint()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_back(value: u64) {
            prop_assert_eq!(read_number(&number(value)).unwrap(), value);
        }

        #[test]
        fn rows_are_read_back(number: u32, a in 0u64..1 << 60, since in 0i64..1 << 50, attempts: u32, error in ".{0,40}", body in proptest::collection::vec(any::<u8>(), 0..50)) {
            let stream = StreamRow { number, backlog: a, delivered: a / 2, failed: 3, dead: 4, scan_from: a / 3, recoveries: 5 };
            prop_assert_eq!(StreamRow::decode(&stream.encode()).unwrap(), stream);
            let failure = Failure { attempts, last_error: error };
            let retry = RetryRow { due: since, recoveries: a, failure: failure.clone() };
            prop_assert_eq!(RetryRow::decode(&retry.encode()).unwrap(), retry);
            let dead = DeadRow { since, failure, event: body.into() };
            prop_assert_eq!(DeadRow::decode(&dead.encode()).unwrap(), dead);
        }

        #[test]
        fn no_damage_panics(row in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = StreamRow::decode(&row);
            let _ = RetryRow::decode(&row);
            let _ = DeadRow::decode(&row);
            let _ = AnswerRow::decode(&row);
            let _ = decode_type("a".parse().unwrap(), &row);
        }
    }

    #[test]
    fn a_long_error_is_cut_at_a_character() {
        let failure = Failure { attempts: 1, last_error: "é".repeat(2000) };
        let read = RetryRow::decode(&RetryRow { due: 0, recoveries: 0, failure }.encode()).unwrap();
        assert_eq!(read.failure.last_error.len(), MAX_ERROR);
    }
}
