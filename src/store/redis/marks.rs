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
        let Some(first) = marks.first() else { return Ok(Vec::new()) };
        let mut cmd = script.call(&[self.keys.last(partition(first.id.type_no()))]);
        cmd.arg(&self.keys.prefix);
        for mark in marks {
            let type_no = mark.id.type_no();
            cmd.arg(partition(type_no)).arg(type_no.get()).arg(mark.id.position().get());
            cmd.arg(lifetime(&mark.ttl)).arg(mark.client.as_str());
        }
        let answers = array(self.general.query(&cmd).await?)?;
        if answers.len() != marks.len() {
            return Err(corrupt("the mark script did not answer for every mark"));
        }
        answers.iter().map(|exists| Ok(int(exists)? == 1)).collect()
    }
}
