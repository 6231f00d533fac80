//! What is where in a cluster: from hash tags to slots, from slots to masters.
//!
//! All keys have one of 65 hash tags (a partition, or the registry), so a map of 65 places is all there is to know.

use super::address::Node;
use super::keys::{PARTITIONS, partition};
use super::value::{array, int};
use crate::event::TypeNo;
use crate::store::StoreError;
use redis::Value;
use std::collections::HashMap;

/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// What decides which server a command goes to: all its keys are of one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Route {
    /// Keys of a partition.
    Partition(u16),
    /// Keys of the registry.
    Registry,
}

impl From<TypeNo> for Route {
    fn from(type_no: TypeNo) -> Self {
        Self::Partition(partition(type_no))
    }
}

impl Route {
    /// All there are, by index.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self::Partition).chain([Self::Registry])
    }

    fn index(self) -> usize {
        match self {
            Self::Partition(p) => usize::from(p),
            Self::Registry => usize::from(PARTITIONS),
        }
    }

    /// Its slot in a cluster: that of its hash tag, as in `keys.rs`.
    fn slot(self) -> u16 {
        match self {
            Self::Partition(p) => slot_of(p.to_string().as_bytes()),
            Self::Registry => slot_of(b"reg"),
        }
    }
}

/// CRC-16/XMODEM of a hash tag, modulo the number of slots.
fn slot_of(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    });
    crc % SLOTS
}

/// The master of each route. With one server, and behind Sentinel, it is the same of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// The cluster's epoch when this was said; whoever names an earlier one has been left behind.
    pub(super) epoch: u64,
    of: HashMap<Route, Node>,
}

impl Slots {
    /// All routes at one server.
    pub(super) fn sole(node: &Node) -> Self {
        Self { epoch: 0, of: Route::all().map(|route| (route, node.clone())).collect() }
    }

    /// Reads the answer of `CLUSTER SLOTS`, which `asked` gave. Slots nobody serves have no master.
    pub(super) fn read(epoch: u64, answer: Value, asked: &Node) -> Result<Self, StoreError> {
        let mut of = HashMap::new();
        for range in array(answer)? {
            let mut range = array(range)?.into_iter();
            let (first, last) = (int(&range.next().unwrap_or_default())?, int(&range.next().unwrap_or_default())?);
            let mut master = array(range.next().unwrap_or_default())?.into_iter();
            let host = match master.next() {
                // A node that does not know its own name means the one it was asked by.
                Some(Value::BulkString(host)) if !host.is_empty() => String::from_utf8_lossy(&host).into_owned(),
                _ => asked.host.clone(),
            };
            let port = int(&master.next().unwrap_or_default())?;
            // "?" is a node whose name is not known yet.
            let Some(port) = u16::try_from(port).ok().filter(|port| *port != 0 && host != "?") else { continue };
            let node = Node { host, port };
            for route in Route::all().filter(|route| (first..=last).contains(&i64::from(route.slot()))) {
                of.insert(route, node.clone());
            }
        }
        Ok(Self { epoch, of })
    }

    /// Who serves it.
    pub(super) fn master(&self, route: Route) -> Option<&Node> {
        self.of.get(&route)
    }

    /// Notes who does.
    pub(super) fn put(&mut self, route: Route, node: Node) {
        self.of.insert(route, node);
    }

    /// Whether every route has a master.
    pub(super) fn is_complete(&self) -> bool {
        Route::all().all(|route| self.of.contains_key(&route))
    }

    /// Every master once, with the first route it serves, in the order of routes.
    pub(super) fn masters(&self) -> Vec<(Route, &Node)> {
        let mut masters: Vec<(Route, &Node)> = Vec::new();
        for (route, node) in Route::all().filter_map(|route| Some((route, self.of.get(&route)?))) {
            if !masters.iter().any(|(_, known)| *known == node) {
                masters.push((route, node));
            }
        }
        masters
    }

    /// Sorts items by who may take them together in one command: all of them where there is one server, those of a
    /// partition in a cluster. At most `most` in one. Answers the items' places, in their order.
    pub(super) fn shares(spread: bool, types: impl Iterator<Item = TypeNo>, most: usize) -> Vec<(Route, Vec<usize>)> {
        let mut shares: Vec<(Route, Vec<usize>)> = Vec::new();
        let mut open: HashMap<usize, usize> = HashMap::new();
        for (at, type_no) in types.enumerate() {
            let route = Route::from(type_no);
            let key = if spread { route.index() } else { 0 };
            match open.get(&key).and_then(|share| shares.get_mut(*share)).filter(|(_, items)| items.len() < most) {
                Some((_, items)) => items.push(at),
                None => {
                    open.insert(key, shares.len());
                    shares.push((route, vec![at]));
                }
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = |host, port| Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node(host, port), node(text("replica"), 9)])
    }

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` says.
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        assert_eq!([Route::Partition(0).slot(), Route::Partition(63).slot()], [13907, 10499]);
        assert_eq!(Route::Registry.slot(), 7926);
    }

    #[test]
    fn a_map_is_read_and_gaps_have_no_master() {
        let asked = Node { host: "asked".into(), port: 1 };
        let answer = Value::Array(vec![
            range(0, 8000, text("10.0.0.1"), 7),
            range(13907, 13907, Value::Nil, 8),
            range(10499, 10499, text("?"), 8),
        ]);
        let slots = Slots::read(3, answer, &asked).unwrap();
        assert_eq!(slots.master(Route::Partition(0)).unwrap().to_string(), "asked:8");
        assert_eq!(slots.master(Route::Registry).unwrap().to_string(), "10.0.0.1:7");
        assert_eq!(slots.master(Route::Partition(63)), None);
        assert!(!slots.is_complete());
        assert_eq!(slots.masters().len(), 2);
        assert!(Slots::sole(&asked).is_complete());
        assert_eq!(Slots::sole(&asked).masters().len(), 1);
    }

    #[test]
    fn items_are_shared_by_partition_only_where_that_matters() {
        let types = || [1, 65, 2, 1, 129].map(|number| TypeNo::new(number).unwrap()).into_iter();
        let (one, two) = (Route::Partition(1), Route::Partition(2));
        assert_eq!(Slots::shares(false, types(), 4), [(one, vec![0, 1, 2, 3]), (one, vec![4])]);
        assert_eq!(Slots::shares(true, types(), 3), [(one, vec![0, 1, 3]), (two, vec![2]), (one, vec![4])]);
    }
}
