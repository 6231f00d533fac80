//! Appending: a batch of groups is one script, on one round trip.

use super::chunk::{encode, runs};
use super::keys::partition;
use super::value::{Answer, array, bytes, corrupt, int, uint};
use super::{RedisStore, SCRIPTS, lifetime, millis};
use crate::event::Position;
use crate::store::{AppendGroup, Appended, StoreError};
use redis::{Cmd, Value};
use std::ops::Range;

/// Part of the time-out that replicas may take, so that "not reached" is answered rather than timed out.
const REPLICA_SHARE: f64 = 0.8;
/// Bytes of the body's hash before a stored answer.
const HASH: usize = 32;

impl RedisStore {
    /// On a cluster the groups would be sent by partition; one Redis takes them all at once.
    pub(super) async fn append_groups(
        &self,
        groups: Vec<AppendGroup>,
    ) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        let Some(first) = groups.first() else { return Ok(Vec::new()) };
        let mut cmd = SCRIPTS.append.call(&[self.keys.last(partition(first.type_no))]);
        cmd.arg(&self.keys.prefix).arg(self.options.max_backlog);
        let cut: Vec<Vec<Range<usize>>> = groups.iter().map(|group| add_group(group, &mut cmd)).collect();

        let answer =
            if self.wait_replicas == 0 { self.appends.query(&cmd).await? } else { self.replicated(cmd).await? };
        let answers = array(answer)?;
        if answers.len() != groups.len() {
            return Err(corrupt("the append script did not answer for every group"));
        }
        answers
            .into_iter()
            .zip(groups.iter().zip(cut))
            .map(|(answer, (group, runs))| Ok(read(answer, group, &runs)))
            .collect()
    }

    /// Appends, and waits until enough replicas have it.
    async fn replicated(&self, cmd: Cmd) -> Result<Value, StoreError> {
        let patience = self.options.timeout.mul_f64(REPLICA_SHARE);
        // `WAIT` is about the writes of its own connection: the two go together.
        let mut both = redis::pipe();
        both.add_command(cmd).cmd("WAIT").arg(self.wait_replicas).arg(millis(patience));
        let mut answers = self.appends.pipeline(&both).await?.into_iter();
        let (answer, reached) = (answers.next().unwrap_or_default(), answers.next().unwrap_or_default());
        if int(&reached)? < i64::from(self.wait_replicas) {
            let reached = int(&reached)?;
            return Err(StoreError::Unavailable(format!("{reached} of {} replicas have it", self.wait_replicas)));
        }
        Ok(answer)
    }
}

fn add_group(group: &AppendGroup, cmd: &mut Cmd) -> Vec<Range<usize>> {
    cmd.arg(partition(group.type_no)).arg(group.type_no.get()).arg(lifetime(&group.ttl));
    cmd.arg(group.streams.len());
    for stream in group.streams.iter() {
        cmd.arg(stream.as_str());
    }
    match &group.idempotency {
        Some(own) => cmd.arg(&*own.key).arg(&own.body_hash[..]).arg(millis(own.window)),
        None => cmd.arg("").arg("").arg(0),
    };
    let runs = runs(&group.payloads);
    // A run has at most 64 events.
    let counts: Vec<u8> = runs.iter().map(|run| run.len() as u8).collect();
    cmd.arg(counts);
    for payloads in runs.iter().filter_map(|run| group.payloads.get(run.clone())) {
        cmd.arg(encode(group.revision, payloads));
    }
    runs
}

fn read(answer: Value, group: &AppendGroup, runs: &[Range<usize>]) -> Result<Appended, StoreError> {
    let mut answer = Answer::of(answer)?;
    match int(&answer.next())? {
        0 => {
            let mut positions = Vec::with_capacity(group.payloads.len());
            for (first, run) in answer.rest().zip(runs) {
                count_up(uint(&first)?, run.len() as u64, &mut positions);
            }
            if positions.len() != group.payloads.len() {
                return Err(corrupt("the append script did not answer for every chunk"));
            }
            Ok(Appended::Stored(positions))
        }
        1 => first_answer(&bytes(answer.next())?).map(Appended::Duplicate),
        2 => Ok(Appended::KeyReused),
        3 => {
            let at = usize::try_from(int(&answer.next())? - 1).unwrap_or(usize::MAX);
            let full = group.streams.get(at).cloned();
            full.map(Appended::BacklogFull).ok_or_else(|| corrupt("the append script named an unknown stream"))
        }
        _ => Err(corrupt("the append script gave an unknown answer")),
    }
}

/// The positions kept under an idempotency key: after the hash, nine bytes a chunk.
fn first_answer(known: &[u8]) -> Result<Vec<Position>, StoreError> {
    let mut positions = Vec::new();
    for chunk in known.get(HASH..).unwrap_or_default().chunks(9) {
        let [first @ .., count] = chunk else { break };
        let first = <[u8; 8]>::try_from(first).map_err(|_| corrupt("a stored answer is damaged"))?;
        count_up(u64::from_be_bytes(first), u64::from(*count), &mut positions);
    }
    Ok(positions)
}

fn count_up(first: u64, count: u64, positions: &mut Vec<Position>) {
    positions.extend((0..count).map(|i| Position::new(first + i)));
}
