//! Nodes: who is there, by Redis' clock.

use super::slots::Route;
use super::value::{Answer, bytes, corrupt, uint};
use super::{RedisStore, SCRIPTS, millis};
use crate::store::{GONE_AFTER, Node, NodeId, SeenNode, StoreError};
use std::time::Duration;

impl RedisStore {
    pub(super) async fn announce_node(&self, node: &Node) -> Result<(), StoreError> {
        // Text and numbers always serialise.
        let facts = serde_json::to_vec(node).map_err(|error| corrupt(&error.to_string()))?;
        let mut cmd = SCRIPTS.announce.call(&self.keys.nodes());
        cmd.arg(node.id.as_str()).arg(facts).arg(millis(GONE_AFTER));
        self.general.query(Route::Registry, &cmd).await.map(drop)
    }

    pub(super) async fn withdraw_node(&self, node: &NodeId) -> Result<(), StoreError> {
        let mut cmd = SCRIPTS.withdraw.call(&self.keys.nodes());
        cmd.arg(node.as_str());
        self.general.query(Route::Registry, &cmd).await.map(drop)
    }

    pub(super) async fn all_nodes(&self) -> Result<Vec<SeenNode>, StoreError> {
        let mut cmd = SCRIPTS.nodes.call(&self.keys.nodes());
        cmd.arg(millis(GONE_AFTER));
        let mut answer = Answer::of(self.general.query(Route::Registry, &cmd).await?)?;
        let mut nodes = Vec::with_capacity(answer.left() / 2);
        while answer.left() > 0 {
            let age = Duration::from_millis(uint(&answer.next())?);
            match serde_json::from_slice(&bytes(answer.next())?) {
                Ok(node) => nodes.push(SeenNode { node, age }),
                // Of a version that says it otherwise: no reason not to show the others.
                Err(error) => log::warn!("what a node announced is not understood: error=\"{error}\""),
            }
        }
        nodes.sort_by(|a, b| (a.node.since, &a.node.id).cmp(&(b.node.since, &b.node.id)));
        Ok(nodes)
    }
}
