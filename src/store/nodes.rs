//! The nodes on one store, as they announce themselves.

use crate::event::Millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How long after its last announcement a node counts as gone, by the store's clock. Several announcements, so that
/// one that is late does not make a node that lives disappear.
pub const GONE_AFTER: Duration = Duration::from_secs(10);

/// A hub process from its start to its end. Another start is another node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(String);

impl NodeId {
    /// The id that a random number stands for.
    pub fn new(random: u64) -> Self {
        Self(format!("{random:016x}"))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node says of itself. Read by nodes of other versions as well: what one of them does not say is empty, and
/// what this one does not know is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Which process.
    pub id: NodeId,
    /// When it started, by the store's clock in Unix milliseconds.
    pub since: Millis,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The name of its machine; empty when that has none.
    #[serde(default)]
    pub host: String,
    /// Where it listens.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// `http.public_url`, if it is set there.
    #[serde(default)]
    pub public_url: Option<String>,
    /// It has been told to stop and finishes what it has.
    #[serde(default)]
    pub stopping: bool,
    /// Live sessions.
    #[serde(default)]
    pub sessions: u64,
    /// HTTP requests in flight.
    #[serde(default)]
    pub requests: u64,
    /// Attempts to deliver that are under way, of all streams.
    #[serde(default)]
    pub in_flight: u64,
    /// Events that it has claimed and not tried yet.
    #[serde(default)]
    pub waiting: u64,
}

/// A node that has announced itself lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenNode {
    /// What it said last.
    pub node: Node,
    /// How long ago that was, by the store's clock.
    pub age: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_another_version_is_understood() {
        let old = r#"{"id":"00000000000000ff","since":7,"new":{"in":["a later version"]}}"#;
        let node: Node = serde_json::from_str(old).unwrap();
        assert_eq!((node.id, node.since, node.in_flight), (NodeId::new(255), 7, 0));
    }
}
