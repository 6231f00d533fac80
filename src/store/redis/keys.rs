//! Names of keys and channels. The table is in `ARCHITECTURE.md`; names that need Redis' clock or a chunk's
//! millisecond are made in the scripts by the same rules.

use super::slots::Route;
use crate::event::{ClientId, TypeNo};
use crate::store::{Partition, StreamKey};

/// Partitions a type number is spread over: what must be in one slot of a cluster is in one partition.
pub(super) const PARTITIONS: u16 = Partition::COUNT;

/// Makes names under one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// `store.prefix`, before every key.
    pub(super) prefix: String,
}

/// The partition of a type.
pub(super) fn partition(type_no: TypeNo) -> u16 {
    Partition::of(type_no).get()
}

impl Keys {
    fn of(&self, kind: &str, partition: u16) -> String {
        format!("{}{kind}:{{{partition}}}", self.prefix)
    }

    fn registry(&self, kind: &str) -> String {
        format!("{}{{reg}}:{kind}", self.prefix)
    }

    /// Hash: type → last position.
    pub(super) fn last(&self, partition: u16) -> String {
        self.of("last", partition)
    }

    /// Hash: type → lifetime and revision in force, and floor.
    pub(super) fn lifetimes(&self, partition: u16) -> String {
        self.of("ttl", partition)
    }

    /// Sorted set: stream → its earliest due time.
    pub(super) fn due(&self, partition: u16) -> String {
        self.of("due", partition)
    }

    /// What a token's last append was answered.
    pub(super) fn token(&self, partition: u16, name: &str) -> String {
        format!("{}:{name}", self.of("tok", partition))
    }

    /// Channel of commits.
    pub(super) fn live(&self, partition: u16) -> String {
        self.of("live", partition)
    }

    /// Sorted set: the chunks of an hour.
    pub(super) fn events(&self, type_no: TypeNo, hour: i64) -> String {
        format!("{}:{type_no}:{hour}", self.of("ev", partition(type_no)))
    }

    /// Hash: hour → events ever committed in it.
    pub(super) fn hours(&self, type_no: TypeNo) -> String {
        format!("{}:{type_no}", self.of("hours", partition(type_no)))
    }

    /// Newest attempts of a stream.
    pub(super) fn attempts(&self, stream: &StreamKey) -> String {
        format!("{}:{}:{}", self.of("att", partition(stream.type_no)), stream.type_no, stream.name)
    }

    /// Hash: a client's marks in a minute.
    pub(super) fn marks(&self, type_no: TypeNo, minute: i64, client: &ClientId) -> String {
        format!("{}:{type_no}:{minute}:{client}", self.of("ok", partition(type_no)))
    }

    /// The keys that `stream.lua` expects, in its order.
    pub(super) fn stream(&self, stream: &StreamKey) -> [String; 11] {
        let p = partition(stream.type_no);
        let own = |kind| format!("{}:{}:{}", self.of(kind, p), stream.type_no, stream.name);
        [
            own("out"),
            own("n"),
            own("try"),
            own("dead"),
            own("dat"),
            own("gone"),
            self.due(p),
            self.last(p),
            self.lifetimes(p),
            own("att"),
            own("re"),
        ]
    }

    /// Hash: type name → record.
    pub(super) fn types(&self) -> String {
        self.registry("types")
    }

    /// Counter of changes of the registry.
    pub(super) fn version(&self) -> String {
        self.registry("version")
    }

    /// Counter of type numbers given.
    pub(super) fn numbers(&self) -> String {
        self.registry("numbers")
    }

    /// Sorted set: discarded types by time.
    pub(super) fn discarded(&self) -> String {
        self.registry("discarded")
    }

    /// Hash: discarded type → events.
    pub(super) fn discards(&self) -> String {
        self.registry("discards")
    }

    /// Channel on which changes of the registry are announced.
    pub(super) fn changes(&self) -> String {
        self.registry("changes")
    }

    /// Version of the storage format.
    pub(super) fn format(&self) -> String {
        self.registry("format")
    }

    /// The keys that `announce.lua` expects, in its order.
    pub(super) fn nodes(&self) -> [String; 2] {
        [self.registry("nodes"), self.registry("facts")]
    }

    /// Written to see whether the server that serves a route takes writes.
    pub(super) fn ping(&self, route: Route) -> String {
        match route {
            Route::Partition(p) => self.of("ping", p),
            Route::Registry => self.registry("ping"),
        }
    }
}

/// A stream's member of `due`.
pub(super) fn member(stream: &StreamKey) -> String {
    format!("{}:{}", stream.type_no, stream.name)
}

/// The stream of a member of `due`.
pub(super) fn stream_of(member: &[u8]) -> Option<StreamKey> {
    let (number, name) = std::str::from_utf8(member).ok()?.split_once(':')?;
    Some(StreamKey { type_no: TypeNo::new(number.parse().ok()?)?, name: name.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_stream_are_in_the_partition_of_its_type() {
        let keys = Keys { prefix: "es:".into() };
        let stream = StreamKey { type_no: TypeNo::new(65).unwrap(), name: "hook".parse().unwrap() };
        assert_eq!(keys.stream(&stream)[0], "es:out:{1}:65:hook");
        assert!(keys.stream(&stream).iter().all(|key| key.contains("{1}")));
        assert_eq!(stream_of(member(&stream).as_bytes()), Some(stream));
        assert_eq!(stream_of(b"70000:x"), None);
    }
}
