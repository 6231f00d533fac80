//! Lanes of appends: one for each master.

use super::RedisStore;
use crate::event::TypeNo;
use std::sync::PoisonError;

/// Lanes there are at most, however many servers have come and gone.
const MAX_LANES: usize = 256;

impl RedisStore {
    /// The lane of the master that serves a type now.
    pub(super) fn lane_of(&self, type_no: TypeNo) -> usize {
        if !self.masters.are_many() {
            return 0;
        }
        let slots = self.masters.slots();
        let Some(node) = slots.master(type_no.into()) else { return 0 };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lanes.iter().position(|known| known == node).unwrap_or_else(|| {
            lanes.push(node.clone());
            lanes.len() - 1
        });
        at % MAX_LANES
    }
}
