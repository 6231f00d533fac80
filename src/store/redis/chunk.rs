//! Chunks: how a run of events of one type stands in Redis. The form is described in `redis/chunk.lua`, which splits
//! them; here they are written, but for their first position, and read.

use super::value::corrupt;
use crate::event::Position;
use crate::store::StoreError;
use bytes::Bytes;
use std::ops::Range;

/// Most events of a chunk.
pub(super) const MAX_EVENTS: usize = 64;
/// Payload bytes past which a chunk takes no further event: readers that want one event load its whole chunk.
const MAX_BYTES: usize = 256 << 10;

/// A chunk as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Revision of the type's record its events were appended under.
    pub(super) revision: u64,
    /// Position and payload, rising. Never empty.
    pub(super) events: Vec<(Position, Bytes)>,
}

/// How payloads are cut into chunks.
pub(super) fn runs(payloads: &[Bytes]) -> Vec<Range<usize>> {
    let mut runs = Vec::with_capacity(payloads.len() / MAX_EVENTS + 1);
    let (mut start, mut bytes) = (0, 0);
    for (at, payload) in payloads.iter().enumerate() {
        let full = at - start == MAX_EVENTS || (at > start && bytes + payload.len() > MAX_BYTES);
        if full {
            runs.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += payload.len();
    }
    if start < payloads.len() {
        runs.push(start..payloads.len());
    }
    runs
}

/// A chunk without its first position, which the script puts before it. At most [`MAX_EVENTS`] payloads.
pub(super) fn encode(revision: u64, payloads: &[Bytes]) -> Vec<u8> {
    let size: usize = payloads.iter().map(|p| p.len() + 3).sum();
    let mut out = Vec::with_capacity(size + 4);
    put_varint(revision, &mut out);
    out.push(payloads.len() as u8);
    for payload in payloads {
        put_varint(payload.len() as u64, &mut out);
        out.extend_from_slice(payload);
    }
    out
}

/// Reads a chunk; payloads share its bytes.
pub(super) fn decode(chunk: &Bytes) -> Result<Chunk, StoreError> {
    parse(chunk).ok_or_else(|| corrupt("a chunk of events is damaged"))
}

fn parse(chunk: &Bytes) -> Option<Chunk> {
    let first = Position::new(u64::from_be_bytes(chunk.get(..8)?.try_into().ok()?));
    let mut at = 8;
    let revision = varint(chunk, &mut at)?;
    let count = *chunk.get(at)?;
    at += 1;
    let mut events = Vec::with_capacity(usize::from(count));
    for i in 0..u64::from(count) {
        let length = usize::try_from(varint(chunk, &mut at)?).ok()?;
        let end = at.checked_add(length).filter(|end| *end <= chunk.len())?;
        events.push((first.plus(i), chunk.slice(at..end)));
        at = end;
    }
    (count > 0).then_some(Chunk { revision, events })
}

/// Appends seven bits a byte, low ones first.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a varint at `at` and moves it on.
pub(super) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            revision in 0u64..1 << 53,
            first in 0u64..1 << 49,
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=MAX_EVENTS),
        ) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            let mut whole = first.to_be_bytes().to_vec();
            whole.extend(encode(revision, &payloads));
            let chunk = decode(&whole.into()).unwrap();
            prop_assert_eq!(chunk.revision, revision);
            let expected: Vec<_> = payloads.into_iter().enumerate().map(|(i, p)| (Position::new(first + i as u64), p)).collect();
            prop_assert_eq!(chunk.events, expected);
        }

        #[test]
        fn damage_is_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes.into());
        }

        #[test]
        fn runs_cover_all_payloads(sizes in prop::collection::vec(0usize..100_000, 0..300)) {
            let payloads: Vec<Bytes> = sizes.iter().map(|s| Bytes::from(vec![0; *s])).collect();
            let runs = runs(&payloads);
            prop_assert_eq!(runs.iter().flat_map(Clone::clone).collect::<Vec<_>>(), (0..sizes.len()).collect::<Vec<_>>());
            for run in runs {
                prop_assert!(run.len() <= MAX_EVENTS);
                prop_assert!(run.len() == 1 || sizes[run].iter().sum::<usize>() <= MAX_BYTES);
            }
        }
    }
}
