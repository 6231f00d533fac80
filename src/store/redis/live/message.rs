//! Announcements of commits, as Redis brings them.

use super::super::chunk::decode;
use crate::event::{Position, TypeNo};
use crate::store::{LiveRun, Partition};
use bytes::Bytes;

/// The partition that a channel announces (`PREFIXlive:{N}`).
pub(super) fn channel_partition(channel: &[u8]) -> Option<Partition> {
    let open = channel.iter().rposition(|byte| *byte == b'{')?;
    let number = channel.get(open + 1..)?.strip_suffix(b"}")?;
    Partition::new(std::str::from_utf8(number).ok()?.parse().ok()?)
}

/// Reads an announcement, as `redis/append.lua` writes it: for each run the type (2 bytes), the position before it (8),
/// the number of chunks (4), and each chunk with its length (4).
pub(super) fn runs(message: &Bytes) -> Option<Vec<LiveRun>> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let type_no = TypeNo::new(u16::from_be_bytes(take(message, &mut at)?))?;
        let previous = Position::new(u64::from_be_bytes(take(message, &mut at)?));
        let chunks = u32::from_be_bytes(take(message, &mut at)?);
        let mut events = Vec::new();
        for _ in 0..chunks {
            let length = usize::try_from(u32::from_be_bytes(take(message, &mut at)?)).ok()?;
            let end = at.checked_add(length).filter(|end| *end <= message.len())?;
            events.extend(decode(&message.slice(at..end)).ok()?.events);
            at = end;
        }
        runs.push(LiveRun { type_no, previous, events });
    }
    Some(runs)
}

fn take<const N: usize>(message: &[u8], at: &mut usize) -> Option<[u8; N]> {
    let end = at.checked_add(N)?;
    let taken = message.get(*at..end)?.try_into().ok()?;
    *at = end;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::super::super::chunk::encode;
    use super::*;

    #[test]
    fn a_channel_names_its_partition() {
        assert_eq!(channel_partition(b"es:live:{63}"), Partition::new(63));
        for channel in ["es:live:{64}", "es:live:{}", "es:live:{1", "live", ""] {
            assert_eq!(channel_partition(channel.as_bytes()), None, "{channel}");
        }
    }

    #[test]
    fn an_announcement_is_read_whole_and_damage_is_noticed() {
        let mut message = 7_u16.to_be_bytes().to_vec();
        message.extend(99_u64.to_be_bytes());
        message.extend(1_u32.to_be_bytes());
        let mut chunk = 512_u64.to_be_bytes().to_vec();
        chunk.extend(encode(1, &[Bytes::from_static(b"1"), Bytes::from_static(b"2")]));
        message.extend((chunk.len() as u32).to_be_bytes());
        message.extend(chunk);
        let message = Bytes::from(message);
        let read = runs(&message).unwrap();
        let events = vec![(Position::new(512), Bytes::from("1")), (Position::new(513), Bytes::from("2"))];
        assert_eq!(read, [LiveRun { type_no: TypeNo::new(7).unwrap(), previous: Position::new(99), events }]);
        for length in 1..message.len() {
            assert!(runs(&message.slice(..length)).is_none());
        }
    }
}
