//! Nodes: whoever announces itself in this process, which is the only one there can be. In memory alone, for nothing
//! of it outlives the process.

use crate::event::Millis;
use crate::store::{GONE_AFTER, Node, NodeId, SeenNode};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who is there, and when each was seen last.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<BTreeMap<NodeId, (Millis, Node)>>);

impl Nodes {
    pub fn announce(&self, node: &Node, now: Millis) {
        let mut nodes = self.lock();
        nodes.insert(node.id.clone(), (now, node.clone()));
        nodes.retain(|_, (seen, _)| age(*seen, now) < GONE_AFTER);
    }

    pub fn withdraw(&self, node: &NodeId) {
        self.lock().remove(node);
    }

    pub fn all(&self, now: Millis) -> Vec<SeenNode> {
        let nodes = self.lock();
        let seen = nodes.values().map(|(seen, node)| SeenNode { node: node.clone(), age: age(*seen, now) });
        let mut there: Vec<_> = seen.filter(|seen| seen.age < GONE_AFTER).collect();
        there.sort_by_key(|seen| seen.node.since);
        there
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, (Millis, Node)>> {
        // Whole between statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that stepped back makes nobody older.
fn age(seen: Millis, now: Millis) -> Duration {
    Duration::from_millis(u64::try_from(now - seen).unwrap_or(0))
}
