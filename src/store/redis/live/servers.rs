//! Who announces what: one server everything, or the masters of a cluster what is in their slots.

use super::super::address::Node;
use super::super::connection::Dialer;
use super::super::masters::Masters;
use super::super::slots::Route;
use crate::store::{Partitions, StoreError};
use std::collections::HashMap;
use std::sync::Arc;

/// Where the servers are found.
pub(in super::super) struct Servers {
    /// Who they are.
    pub(in super::super) masters: Arc<Masters>,
    /// How to reach them.
    pub(in super::super) dialer: Arc<Dialer>,
}

impl Servers {
    /// Whether who announces what may change.
    pub(super) fn change(&self) -> bool {
        self.masters.can_change()
    }

    /// Who announces what now. Partitions that nobody serves are left out.
    pub(super) async fn find(&self) -> Result<Vec<(Node, Partitions)>, StoreError> {
        self.masters.look(None).await?;
        let slots = self.masters.slots();
        let mut found: HashMap<&Node, Partitions> = HashMap::new();
        for partition in Partitions::ALL {
            if let Some(node) = slots.master(Route::Partition(partition.get())) {
                found.entry(node).or_default().insert(partition);
            }
        }
        Ok(found.into_iter().map(|(node, partitions)| (node.clone(), partitions)).collect())
    }
}
