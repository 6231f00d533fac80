//! Appending: a batch of groups is one script on a single Redis, and one a partition on a cluster.
//!
//! What may have been done is repeated, within the store's time-out, under the same token: the script knows what it
//! answered, and answers it again. So a connection that was lost, a slot that moved or a master that failed costs time,
//! and neither an event nor a duplicate.

use super::chunk::{encode, runs};
use super::connection::Link;
use super::keys::partition;
use super::slots::Route;
use super::token::Token;
use super::trouble::Trouble;
use super::value::{Answer, array, bytes, corrupt, int, uint};
use super::{RedisStore, SCRIPTS, lifetime, millis};
use crate::event::Position;
use crate::store::{AppendGroup, Appended, StoreError};
use futures_util::future::join_all;
use redis::{Cmd, Value};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Part of what is left of the time-out that replicas may take, so that "not reached" is answered rather than timed out.
const REPLICA_SHARE: f64 = 0.8;
/// Wait before a failed append is repeated.
const PAUSE: Duration = Duration::from_millis(25);
/// Times that what was sent to the wrong server is sent on without a pause.
const HOPS: u32 = 3;
/// How long a token is known at least; longer where the time-out is.
const KNOWN: Duration = Duration::from_secs(60);
/// Bytes of the body's hash before a stored answer.
const HASH: usize = 32;

/// Groups that one script appends.
struct Part {
    route: Route,
    /// Places of the groups.
    groups: Vec<usize>,
    cmd: Cmd,
    /// How each group's payloads are cut into chunks.
    cut: Vec<Vec<Range<usize>>>,
    /// The latest there is to say; final unless it is to be repeated.
    answer: Result<Value, StoreError>,
}

/// What became of a part in one round.
enum Next {
    Done,
    /// Not done: at once, or after a pause.
    Repeat {
        at_once: bool,
    },
    /// Given up, and it may have been done.
    Open,
}

impl RedisStore {
    /// Appends what is there, each partition by itself on a cluster.
    ///
    /// # Errors
    /// When nothing is known of any group.
    pub(super) async fn append_groups(
        &self,
        groups: Vec<AppendGroup>,
    ) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        let token = self.tokens.take();
        let mut parts = self.parts(&groups, &token);
        if self.append_parts(&mut parts).await {
            self.tokens.give_back(token);
        }
        let count = parts.len();
        let mut answers: Vec<Option<Result<Appended, StoreError>>> = groups.iter().map(|_| None).collect();
        for part in parts {
            let answered = match part.answer {
                Ok(answer) => array(answer)?,
                Err(error) if count == 1 => return Err(error),
                Err(error) => {
                    for at in &part.groups {
                        if let Some(slot) = answers.get_mut(*at) {
                            *slot = Some(Err(error.clone()));
                        }
                    }
                    continue;
                }
            };
            if answered.len() != part.groups.len() {
                return Err(corrupt("the append script did not answer for every group"));
            }
            for ((at, cut), answer) in part.groups.iter().zip(&part.cut).zip(answered) {
                if let (Some(slot), Some(group)) = (answers.get_mut(*at), groups.get(*at)) {
                    *slot = Some(read(answer, group, cut));
                }
            }
        }
        if let Some(Some(Err(error))) = answers.first()
            && answers.iter().all(|answer| matches!(answer, Some(Err(_))))
        {
            return Err(error.clone());
        }
        let none = || Err(corrupt("a group was not appended"));
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(none)).collect())
    }

    fn parts(&self, groups: &[AppendGroup], token: &Token) -> Vec<Part> {
        let shares = self.shares(groups.iter().map(|group| group.type_no), usize::MAX);
        let known_for = millis(KNOWN.max(self.options.timeout * 2));
        let part = |(route, share): (Route, Vec<usize>)| {
            let mine = share.iter().filter_map(|at| groups.get(*at));
            let p = mine.clone().next().map_or(0, |group| partition(group.type_no));
            let mut cmd = SCRIPTS.append.call(&[self.keys.last(p), self.keys.token(p, &token.name)]);
            cmd.arg(&self.keys.prefix).arg(self.options.max_backlog).arg(token.number).arg(known_for);
            let cut = mine.map(|group| add_group(group, &mut cmd)).collect();
            let answer = Err(StoreError::Unavailable("it was not sent".into()));
            Part { route, groups: share, cmd, cut, answer }
        };
        shares.into_iter().map(part).collect()
    }

    /// Sends until all is answered or the time is over. Says whether all was answered for good.
    async fn append_parts(&self, parts: &mut [Part]) -> bool {
        let end = Instant::now() + self.options.timeout;
        let mut open: Vec<usize> = (0..parts.len()).collect();
        let (mut all_known, mut hops) = (true, 0);
        while !open.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let mut again = Vec::new();
            let mut pause = false;
            for (at, answer, link) in self.append_round(parts, &open, left).await {
                let Some(part) = parts.get_mut(at) else { continue };
                let next = match answer {
                    Ok(answer) => {
                        part.answer = Ok(answer);
                        Next::Done
                    }
                    Err(trouble) => {
                        let next = self.judge(part.route, &trouble, link.as_deref()).await;
                        part.answer = Err(trouble.error());
                        next
                    }
                };
                match next {
                    Next::Done => {}
                    Next::Open => all_known = false,
                    Next::Repeat { at_once } => {
                        pause |= !at_once;
                        again.push(at);
                    }
                }
            }
            hops += 1;
            if !again.is_empty() && (pause || hops > HOPS) {
                tokio::time::sleep(PAUSE).await;
            }
            if Instant::now() >= end && !again.is_empty() {
                return false;
            }
            open = again;
        }
        all_known
    }

    /// Whether a part is to be sent again. A server that has answered nothing for as long as the time-out is not waited
    /// for any more: callers are told at once then, until it answers.
    async fn judge(&self, route: Route, trouble: &Trouble, link: Option<&Link>) -> Next {
        let (may_be_done, at_once) = match trouble {
            Trouble::Again => return Next::Repeat { at_once: true },
            Trouble::Moved(node) => {
                self.masters.moved(route, node.clone());
                return Next::Repeat { at_once: true };
            }
            Trouble::Moving => return Next::Repeat { at_once: false },
            Trouble::Refused(_) => return Next::Done,
            Trouble::Away(_) => (false, false),
            Trouble::Lost(_) => (true, false),
        };
        // Somebody else may have taken over. When nobody can say, there is nobody to wait for either.
        let looked = self.masters.look(link.map(|link| &link.node)).await;
        self.appends.tidy();
        let elsewhere = link.is_some_and(|link| self.masters.slots().master(route) != Some(&link.node));
        let failing = link.map_or(self.options.timeout, Link::failing_for);
        match (looked.is_ok() && (elsewhere || failing < self.options.timeout), may_be_done) {
            (true, _) => Next::Repeat { at_once },
            (false, true) => Next::Open,
            (false, false) => Next::Done,
        }
    }

    /// Sends those that are open, in one round trip to each server, and takes what is answered.
    async fn append_round(
        &self,
        parts: &[Part],
        open: &[usize],
        left: Duration,
    ) -> Vec<(usize, Result<Value, Trouble>, Option<Arc<Link>>)> {
        let mut answers = Vec::with_capacity(open.len());
        let mut groups: Vec<(Arc<Link>, Vec<usize>)> = Vec::new();
        for at in open {
            let Some(part) = parts.get(*at) else { continue };
            match self.appends.link(part.route).await {
                Err(error) => answers.push((*at, Err(Trouble::Away(error)), None)),
                Ok(link) => match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &link)) {
                    Some((_, group)) => group.push(*at),
                    None => groups.push((link, vec![*at])),
                },
            }
        }
        let sent = groups.into_iter().map(|(link, group)| async move {
            let sending = self.append_on(&link, parts, &group, left);
            let found = tokio::time::timeout(left, sending).await.unwrap_or_else(|_| {
                link.give_up();
                Err(Trouble::Lost(StoreError::Unavailable(format!("{} did not answer in time", link.node))))
            });
            let found = found.unwrap_or_else(|trouble| group.iter().map(|_| Err(trouble.clone())).collect());
            group.into_iter().zip(found).map(|(at, answer)| (at, answer, Some(Arc::clone(&link)))).collect::<Vec<_>>()
        });
        answers.extend(join_all(sent).await.into_iter().flatten());
        answers
    }

    /// Appends parts at one server, and waits until enough replicas have them.
    async fn append_on(
        &self,
        link: &Link,
        parts: &[Part],
        group: &[usize],
        left: Duration,
    ) -> Result<Vec<Result<Value, Trouble>>, Trouble> {
        let mine = group.iter().filter_map(|at| parts.get(*at));
        if let ([_], 0, Some(part)) = (group, self.wait_replicas, mine.clone().next()) {
            return Ok(vec![link.query(&part.cmd).await]);
        }
        let mut pipeline = redis::pipe();
        for part in mine {
            pipeline.add_command(part.cmd.clone());
        }
        if self.wait_replicas == 0 {
            return link.pipeline(&pipeline, group.len()).await;
        }
        // `WAIT` is about the writes of its own connection: the two go together.
        pipeline.cmd("WAIT").arg(self.wait_replicas).arg(millis(left.mul_f64(REPLICA_SHARE)));
        let mut answers = link.pipeline(&pipeline, group.len() + 1).await?;
        let reached = match answers.pop() {
            Some(Ok(reached)) => int(&reached).unwrap_or(0),
            // A master that was demoted while it waited.
            _ => 0,
        };
        if reached < i64::from(self.wait_replicas) {
            let short = format!("{reached} of {} replicas of {} have it", self.wait_replicas, link.node);
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(Trouble::Refused(StoreError::Unavailable(short.clone())));
            }
        }
        Ok(answers)
    }
}

fn add_group(group: &AppendGroup, cmd: &mut Cmd) -> Vec<Range<usize>> {
    cmd.arg(partition(group.type_no)).arg(group.type_no.get()).arg(lifetime(&group.ttl));
    cmd.arg(group.revision).arg(group.streams.len());
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
        4 => uint(&answer.next()).map(Appended::Stale),
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
