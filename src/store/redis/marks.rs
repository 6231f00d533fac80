//! Marks: which client has processed which event.

use super::RedisStore;
use super::keys::partition;
use super::lifetime;
use super::scripts::Script;
use super::value::{array, corrupt, int};
use crate::store::{MarkRequest, StoreError};

impl RedisStore {
    /// Runs `mark` or `unmark`; for each whether the event exists.
    pub(super) async fn change_marks(&self, script: &Script, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        let mut exist = vec![false; marks.len()];
        let shares = self.shares(marks.iter().map(|mark| mark.id.type_no()), usize::MAX);
        let mut batch = Vec::with_capacity(shares.len());
        for (route, share) in &shares {
            let Some(first) = share.first().and_then(|at| marks.get(*at)) else { continue };
            let mut cmd = script.call(&[self.keys.last(partition(first.id.type_no()))]);
            cmd.arg(&self.keys.prefix);
            for mark in share.iter().filter_map(|at| marks.get(*at)) {
                let type_no = mark.id.type_no();
                cmd.arg(partition(type_no)).arg(type_no.get()).arg(mark.id.position().get());
                cmd.arg(lifetime(&mark.ttl)).arg(mark.client.as_str());
            }
            batch.push((*route, cmd));
        }
        for ((_, share), answers) in shares.iter().zip(self.general.pipeline(&batch).await?) {
            let answers = array(answers)?;
            if answers.len() != share.len() {
                return Err(corrupt("the mark script did not answer for every mark"));
            }
            for (at, answer) in share.iter().zip(&answers) {
                if let Some(exists) = exist.get_mut(*at) {
                    *exists = int(answer)? == 1;
                }
            }
        }
        Ok(exist)
    }
}
