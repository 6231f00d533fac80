//! The RegistryActor's look at the store: whether anything has changed, and what, when it may also have been lost.

use super::{LOOKS, RegistryActor, Waiter, gone};
use crate::event::{EventType, TypeFilter, TypeNo};
use crate::store::{RegistryVersion, StoreError, TypeRecord};
use actix::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Types that a log line names at most.
const NAMED: usize = 10;

impl RegistryActor {
    /// Looks whether the registry has changed, and whether this node has run all the time.
    pub(super) fn beat(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        if let Some(silent) = self.view.beat(now) {
            log::warn!("the node stood still, sends wait until it has asked for changes: time={silent:?}");
            self.late_since = Some(now);
        }
        self.refresh(ctx);
    }

    /// Has the store asked for those who wait for it: at once, or a while after the last time.
    pub(super) fn look(&mut self, ctx: &mut Context<Self>) {
        // What is under way may have been asked before they came; its end comes back here.
        if self.lookers.is_empty() || self.refreshing.is_some() || self.look_due {
            return;
        }
        if self.stopping {
            return tell(&mut self.lookers, &Err(gone()));
        }
        let wait = self.looked_at.map_or(Duration::ZERO, |at| LOOKS.saturating_sub(at.elapsed()));
        if wait.is_zero() {
            return self.refresh(ctx);
        }
        self.look_due = true;
        ctx.run_later(wait, |actor, ctx| {
            actor.look_due = false;
            actor.look(ctx);
        });
    }

    fn refresh(&mut self, ctx: &mut Context<Self>) {
        if self.refreshing.is_some() || self.stopping {
            return;
        }
        self.refreshing = Some(Instant::now());
        self.looked_at = self.refreshing;
        self.looking.append(&mut self.lookers);
        self.meanwhile.clear();
        let (store, known) = (Arc::clone(&self.store), self.version);
        let read = async move {
            if known == Some(store.registry_version().await?) {
                return Ok(None);
            }
            store.types().await.map(Some)
        };
        ctx.spawn(read.into_actor(self).map(|answer: Result<_, StoreError>, actor, ctx| {
            let asked = actor.refreshing.take();
            match answer {
                Ok(changes) => {
                    actor.store_answered();
                    if let Some((version, records)) = changes {
                        actor.take(version, &records, ctx);
                        actor.view.set_loaded();
                    }
                    tell(&mut actor.looking, &Ok(()));
                    actor.caught_up(asked, ctx);
                }
                Err(e) => {
                    actor.store_failed(&e);
                    actor.view.set_looked();
                    let error = Err(e);
                    tell(&mut actor.looking, &error);
                    tell(&mut actor.waiters, &error);
                }
            }
            actor.look(ctx);
        }));
    }

    /// Takes all records, as the store had them at `version`.
    fn take(&mut self, version: RegistryVersion, records: &[TypeRecord], ctx: &mut Context<Self>) {
        let same = |known: RegistryVersion| known.source == version.source && known.changes <= version.changes;
        if self.version.is_none_or(same) {
            records.iter().for_each(|record| self.learn(record, ctx));
        } else {
            let meanwhile = std::mem::take(&mut self.meanwhile);
            self.learn_anew(records, &meanwhile, ctx);
            if !meanwhile.is_empty() {
                // Whether that was lost is not known: all is read once more.
                return;
            }
        }
        self.version = Some(version);
    }

    /// The view is as the store had it when it was asked.
    fn caught_up(&mut self, asked: Option<Instant>, ctx: &mut Context<Self>) {
        match self.late_since {
            // Before it was noticed that the node stood still: perhaps before it did.
            Some(late) if !self.stopping && asked.is_none_or(|asked| asked < late) => self.refresh(ctx),
            _ => {
                self.late_since = None;
                self.view.caught_up();
                tell(&mut self.waiters, &Ok(()));
            }
        }
    }

    /// Takes all records of a store that may have lost changes: what it has counts, and what it does not have is not.
    /// But for types of which something was learnt `meanwhile`.
    fn learn_anew(&mut self, records: &[TypeRecord], meanwhile: &HashSet<TypeNo>, ctx: &mut Context<Self>) {
        let known: HashMap<&EventType, TypeNo> = records.iter().map(|record| (&record.name, record.type_no)).collect();
        let mut gone = Vec::new();
        for entry in self.view.matching(&TypeFilter::any()) {
            if known.get(&entry.name) != Some(&entry.type_no) && !meanwhile.contains(&entry.type_no) {
                self.view.remove(&entry);
                self.sinks.drop_type(entry.type_no);
                gone.push(entry.name.clone());
            }
        }
        let mut older = Vec::new();
        for record in records.iter().filter(|record| !meanwhile.contains(&record.type_no)) {
            let Some(entry) = self.read(record) else { continue };
            let before = self.view.get(record.name.as_str());
            if before.is_some_and(|before| before.revision > record.revision) {
                older.push(record.name.clone());
            }
            self.view.replace(Arc::clone(&entry));
            self.follow(&entry, ctx);
        }
        if !gone.is_empty() {
            let (count, some) = (gone.len(), some(&gone));
            log::warn!(
                "registry has lost changes and does not know types that were registered: count={count} types={some}"
            );
        }
        if !older.is_empty() {
            let (count, some) = (older.len(), some(&older));
            log::warn!("registry has lost changes and the ones before are in force: count={count} types={some}");
        }
    }
}

fn tell(waiters: &mut Vec<Waiter>, answer: &Result<(), StoreError>) {
    for waiter in waiters.drain(..) {
        // Whoever asked may have gone.
        let _ = waiter.send(answer.clone());
    }
}

fn some(types: &[EventType]) -> String {
    types.iter().take(NAMED).map(EventType::as_str).collect::<Vec<_>>().join(",")
}
