//! What the BroadcastActor does to be brought what its sessions need: partitions are asked for when the first session
//! needs them, and left a while after the last. Whoever waits for a partition is answered when its commits come and
//! its types are known to stand where they stood, or when the store has refused.

use super::broadcast::BroadcastActor;
use super::track::Track;
use super::{Attach, Begin, Refilter, Refused, SessionId, Standing, Subscribe};
use crate::event::{Position, TypeFilter, TypeNo};
use crate::store::{Partition, Partitions, StoreError};
use actix::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long to wait before the store is asked again for what it has refused, when nobody new asks.
const PAUSE: Duration = Duration::from_millis(500);

/// A session that waits for partitions.
pub struct Pending {
    id: SessionId,
    then: Then,
}

/// What is to be done for it, and who is told.
enum Then {
    /// It begins.
    Join(oneshot::Sender<Result<(), Refused>>),
    /// It has caught up; how far it has read each type.
    Attach(Vec<(TypeNo, Position)>, oneshot::Sender<Result<Vec<Standing>, Refused>>),
    /// It wants other types.
    Refilter(TypeFilter, oneshot::Sender<Result<(), Refused>>),
}

impl BroadcastActor {
    /// Looks whether this node knows more types than a moment ago. Cheap when it does not.
    pub(super) fn learn_types(&mut self) {
        // Before they are looked at: what comes in between is looked at the next time.
        let count = self.types.count();
        if count == self.types_seen {
            return;
        }
        self.types_seen = count;
        for type_no in self.types.all() {
            let Some((name, _)) = self.types.find(type_no) else { continue };
            match self.interest.name(type_no) {
                Some(known) if *known == name => continue,
                // A failover has given its number to another.
                Some(_) => self.sessions.renamed(type_no),
                None => {}
            }
            self.interest.learn(type_no, &name);
            let partition = Partition::of(type_no);
            if self.interest.attended().contains(partition) {
                // It may have had events before its partition was brought.
                self.recovery.interrupted(partition.into());
            }
        }
    }

    /// Asks the store for partitions that are needed and not brought: for `urgent` ones at once, for others unless it
    /// has just refused.
    pub(super) fn attend(&mut self, urgent: Partitions, ctx: &mut Context<Self>) {
        let missing = self.interest.missing();
        let paused = self.attend_after.is_some_and(|after| Instant::now() < after);
        for partition in if paused { missing.common(urgent) } else { missing } {
            self.interest.ask(partition);
            let store = Arc::clone(&self.store);
            let listen = async move { store.listen(partition).await };
            ctx.spawn(listen.into_actor(self).then(move |brings, actor, _| {
                // Asked for when the commits come already: nothing falls between.
                let (store, types) = (Arc::clone(&actor.store), actor.interest.members(partition).to_vec());
                let locate = async move {
                    brings?;
                    let last = store.last_positions(&types).await?;
                    Ok((types, last))
                };
                locate.into_actor(actor).map(move |answer, actor, ctx| match answer {
                    Ok((types, last)) => actor.attended(partition, &types, last, ctx),
                    Err(error) => actor.refused(partition, &error),
                })
            }));
        }
    }

    /// The feed brings a partition from now on; its types stood at `last` when it did already.
    fn attended(&mut self, partition: Partition, types: &[TypeNo], last: Vec<Position>, ctx: &mut Context<Self>) {
        for (type_no, last) in types.iter().zip(last) {
            let start = self.start.unwrap_or(last);
            let ephemeral = self.is_ephemeral(*type_no);
            let track = self.tracks.entry(*type_no).or_insert_with(|| Track::new(start));
            if !self.interest.is_fresh(*type_no) {
                track.begin(last);
            } else if !ephemeral && track.interrupted(last, true) {
                self.recovery.gap(*type_no);
            }
        }
        self.interest.answered(partition, true);
        if self.interest.members(partition).len() > types.len() {
            // More of its types have come to be known meanwhile.
            self.recovery.interrupted(partition.into());
        }
        self.serve_pending();
        self.recover(ctx);
    }

    /// Does what was waited for by those that have what they need.
    pub(super) fn serve_pending(&mut self) {
        let (ready, waiting) =
            std::mem::take(&mut self.pending).into_iter().partition(|p| self.interest.is_attended(p.id));
        self.pending = waiting;
        for Pending { id, then } in ready {
            match then {
                Then::Join(reply) => tell(reply, self.join(id)),
                Then::Attach(reached, reply) => tell(reply, self.attach(id, reached)),
                Then::Refilter(filter, reply) => {
                    self.sessions.refilter(id, filter);
                    tell(reply, Ok(()));
                }
            }
        }
    }

    fn join(&mut self, id: SessionId) -> Result<(), Refused> {
        self.sessions.attach(id).map(drop).ok_or(Refused::Stopping)
    }

    /// The store does not bring a partition.
    fn refused(&mut self, partition: Partition, error: &StoreError) {
        self.interest.answered(partition, false);
        let now = Instant::now();
        if self.attend_after.is_none_or(|after| now >= after) {
            log::warn!(
                "live events of a partition are not brought, it is asked for again: partition={partition} error={error}"
            );
        }
        self.attend_after = Some(now + PAUSE);
        let (refused, waiting) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|p| self.interest.needs_of(p.id).contains(partition));
        self.pending = waiting;
        for Pending { id, then } in refused {
            match then {
                Then::Join(reply) => {
                    self.sessions.unsubscribe(id);
                    self.interest.forget(id);
                    tell(reply, Err(Refused::Unavailable));
                }
                Then::Attach(_, reply) => tell(reply, Err(Refused::Unavailable)),
                Then::Refilter(filter, reply) => {
                    // It gets them when they are brought; until then it has been told.
                    self.sessions.refilter(id, filter);
                    tell(reply, Err(Refused::Unavailable));
                }
            }
        }
    }

    /// Leaves what nobody has needed for a while, with what is known of its types: it is out of date soon.
    pub(super) fn leave(&mut self, now: Instant) {
        let left = self.interest.sweep(now);
        if left.is_empty() {
            return;
        }
        left.into_iter().for_each(|partition| self.store.ignore(partition));
        self.tracks.retain(|type_no, _| !left.contains(Partition::of(*type_no)));
    }

    /// Nobody waits any more.
    pub(super) fn give_up_waiting(&mut self) {
        for Pending { then, .. } in self.pending.drain(..) {
            match then {
                Then::Join(reply) | Then::Refilter(_, reply) => tell(reply, Err(Refused::Stopping)),
                Then::Attach(_, reply) => tell(reply, Err(Refused::Stopping)),
            }
        }
    }

    /// A session has gone.
    pub(super) fn forget(&mut self, id: SessionId) {
        self.pending.retain(|pending| pending.id != id);
        self.interest.forget(id);
        self.sessions.unsubscribe(id);
    }

    /// Has commits queued for a session that was away; where its types stand.
    fn attach(&mut self, id: SessionId, reached: Vec<(TypeNo, Position)>) -> Result<Vec<Standing>, Refused> {
        let filter = self.sessions.attach(id).ok_or(Refused::Stopping)?;
        if self.start.is_none() {
            // Nobody knows what came before the first run of a type, but the session says how far it has read.
            for (type_no, position) in reached {
                self.tracks.entry(type_no).or_insert_with(|| Track::new(position));
            }
        }
        let standings = self.tracks.iter().filter_map(|(type_no, track)| {
            let name = self.name(*type_no).filter(|name| filter.matches(name))?;
            Some(Standing { ty: self.type_ref(*type_no)?, name, last: track.last() })
        });
        Ok(standings.collect())
    }

    /// Waits until a session's partitions are brought.
    fn wait<T: 'static>(
        &mut self,
        id: SessionId,
        then: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Then,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<T, Refused>> {
        let (reply, answer) = oneshot::channel();
        self.pending.push(Pending { id, then: then(reply) });
        self.attend(self.interest.needs_of(id), ctx);
        Box::pin(async move { answer.await.unwrap_or(Err(Refused::Stopping)) })
    }

    /// The types of partitions of which anything is known here.
    pub(super) fn types_in(&self, partitions: Partitions) -> Vec<TypeNo> {
        let brought = partitions.common(self.interest.attended());
        let mut all: HashSet<TypeNo> = brought.into_iter().flat_map(|p| self.interest.members(p)).copied().collect();
        all.extend(self.tracks.keys().filter(|type_no| partitions.contains(Partition::of(**type_no))));
        all.into_iter().collect()
    }
}

fn tell<T>(reply: oneshot::Sender<T>, answer: T) {
    // Whoever waited may have gone: their Unsubscribe is on the way.
    let _ = reply.send(answer);
}

fn at_once<T: 'static>(answer: T) -> ResponseFuture<T> {
    Box::pin(std::future::ready(answer))
}

impl Handler<Subscribe> for BroadcastActor {
    type Result = ResponseFuture<Result<(), Refused>>;

    fn handle(&mut self, new: Subscribe, ctx: &mut Self::Context) -> Self::Result {
        self.learn_types();
        let (id, begin) = (new.id, new.begin);
        self.interest.want(id, &new.filter);
        let ready = self.interest.is_attended(id);
        if let Err(refused) = self.sessions.subscribe(new, ready, Instant::now()) {
            self.interest.forget(id);
            return at_once(Err(refused));
        }
        if ready {
            return at_once(Ok(()));
        }
        if begin == Begin::CaughtUp {
            // What it needs when it has caught up is asked for while it reads.
            self.attend(self.interest.needs_of(id), ctx);
            return at_once(Ok(()));
        }
        self.wait(id, Then::Join, ctx)
    }
}

impl Handler<Attach> for BroadcastActor {
    type Result = ResponseFuture<Result<Vec<Standing>, Refused>>;

    fn handle(&mut self, Attach { id, reached }: Attach, ctx: &mut Self::Context) -> Self::Result {
        self.learn_types();
        if self.interest.is_attended(id) {
            return at_once(self.attach(id, reached));
        }
        self.wait(id, |reply| Then::Attach(reached, reply), ctx)
    }
}

impl Handler<Refilter> for BroadcastActor {
    type Result = ResponseFuture<Result<(), Refused>>;

    fn handle(&mut self, Refilter { id, filter }: Refilter, ctx: &mut Self::Context) -> Self::Result {
        self.learn_types();
        if !self.sessions.has(id) {
            return at_once(Err(Refused::Stopping));
        }
        self.interest.want(id, &filter);
        if self.interest.is_attended(id) {
            self.sessions.refilter(id, filter);
            return at_once(Ok(()));
        }
        self.wait(id, |reply| Then::Refilter(filter, reply), ctx)
    }
}
