//! The live feed of commits.

use crate::event::{Position, TypeNo};
use crate::store::Partitions;
use bytes::Bytes;

/// What the store tells live readers of one committed run of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRun {
    /// The type.
    pub type_no: TypeNo,
    /// The type's last position before this run: a reader that has not seen it has a gap to read.
    pub previous: Position,
    /// Position and payload, rising.
    pub events: Vec<(Position, Bytes)>,
}

/// The live feed of commits, on this node.
#[derive(Debug)]
pub enum Live {
    /// Runs committed together.
    Commit(Vec<LiveRun>),
    /// Commits in these partitions may have been missed (a connection was lost): read the gaps from the store.
    Interrupted(Partitions),
}
