//! Which partitions this node's sessions need: pure, time is a parameter.
//!
//! A filter needs the partitions of the types it matches. One that may match types which are not known yet (it has a
//! `*`, or names one that nobody registered) also needs those of the next few type numbers, which the registry gives
//! in order: so a type is heard from its first event on, also in the moment before this node knows its name.

use super::SessionId;
use crate::event::{EventType, TypeFilter, TypeNo};
use crate::store::{Partition, Partitions};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long a partition is kept that no session needs: sessions that come back find it there.
pub const LINGER: Duration = Duration::from_secs(30);
/// How many types may be registered before the first of them is known here, without anything being read late.
const AHEAD: u16 = 4;
const COUNT: usize = Partition::COUNT as usize;

/// Who needs what, and what the store's feed brings.
#[derive(Debug)]
pub struct Interest {
    types: HashMap<TypeNo, EventType>,
    by_name: HashMap<EventType, TypeNo>,
    members: Vec<Vec<TypeNo>>,
    /// The number that the next new type gets.
    next: u16,
    sessions: HashMap<SessionId, Arc<TypeFilter>>,
    filters: HashMap<Arc<TypeFilter>, Want>,
    /// Filters that need a partition.
    needs: [u32; COUNT],
    /// Filters that may match types which are not known yet.
    open: usize,
    /// Types that came to be known when a session wanted them already, and whose partition the feed did not bring.
    fresh: HashSet<TypeNo>,
    /// What the feed brings.
    attended: Partitions,
    /// What the store is being asked for.
    asked: Partitions,
    /// What the store has refused, and still tries to bring.
    refused: Partitions,
    /// Since when the feed brings what nobody needs.
    idle: [Option<Instant>; COUNT],
}

/// What a filter needs, once for all its sessions.
#[derive(Debug)]
struct Want {
    sessions: usize,
    partitions: Partitions,
    unknown: Unknown,
}

/// Which types that are not known yet a filter may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// Any that fits a pattern.
    Any,
    /// So many names.
    Names(usize),
}

impl Unknown {
    fn is_open(self) -> bool {
        self != Self::Names(0)
    }
}

impl Default for Interest {
    fn default() -> Self {
        Self {
            types: HashMap::new(),
            by_name: HashMap::new(),
            members: vec![Vec::new(); COUNT],
            next: 0,
            sessions: HashMap::new(),
            filters: HashMap::new(),
            needs: [0; COUNT],
            open: 0,
            fresh: HashSet::new(),
            attended: Partitions::NONE,
            asked: Partitions::NONE,
            refused: Partitions::NONE,
            idle: [None; COUNT],
        }
    }
}

impl Interest {
    /// The name of a type that is known.
    pub fn name(&self, type_no: TypeNo) -> Option<&EventType> {
        self.types.get(&type_no)
    }

    /// A type came to be known, or its number by another name. Answers whether a session has been waiting for it.
    pub fn learn(&mut self, type_no: TypeNo, name: &EventType) -> bool {
        let partition = Partition::of(type_no);
        match self.types.insert(type_no, name.clone()) {
            Some(before) if before == *name => return false,
            // What was needed for its sake stays needed by the filters that named it.
            Some(before) => {
                if self.by_name.get(&before) == Some(&type_no) {
                    self.by_name.remove(&before);
                }
            }
            None => self.members[partition.index()].push(type_no),
        }
        self.by_name.insert(name.clone(), type_no);
        self.next = self.next.max(type_no.get() + 1);
        let mut waited = false;
        for (filter, want) in &mut self.filters {
            if !filter.matches(name) {
                continue;
            }
            waited = true;
            if !want.partitions.contains(partition) {
                want.partitions.insert(partition);
                self.needs[partition.index()] += 1;
            }
            if let Unknown::Names(left @ 1..) = &mut want.unknown {
                *left -= 1;
                self.open -= usize::from(*left == 0);
            }
        }
        if waited && !self.attended.contains(partition) {
            self.fresh.insert(type_no);
        }
        waited
    }

    /// The known types of a partition.
    pub fn members(&self, partition: Partition) -> &[TypeNo] {
        &self.members[partition.index()]
    }

    /// Whether nothing of a type has been heard since somebody wanted it: it begins where this node does.
    pub fn is_fresh(&self, type_no: TypeNo) -> bool {
        self.fresh.contains(&type_no)
    }

    /// A session wants these types, in place of any before.
    pub fn want(&mut self, id: SessionId, filter: &TypeFilter) {
        self.forget(id);
        let filter = match self.filters.get_key_value(filter) {
            Some((known, _)) => Arc::clone(known),
            None => self.add(filter),
        };
        if let Some(want) = self.filters.get_mut(&filter) {
            want.sessions += 1;
        }
        self.sessions.insert(id, filter);
    }

    fn add(&mut self, filter: &TypeFilter) -> Arc<TypeFilter> {
        let (partitions, unknown) = match filter.exact() {
            Some(names) => {
                let names: HashSet<&str> = names.iter().map(String::as_str).collect();
                let known: Vec<TypeNo> = names.iter().filter_map(|name| self.by_name.get(*name).copied()).collect();
                (known.iter().map(|ty| Partition::of(*ty)).collect(), Unknown::Names(names.len() - known.len()))
            }
            None => {
                let mut found = Partitions::NONE;
                for (type_no, name) in &self.types {
                    let partition = Partition::of(*type_no);
                    if !found.contains(partition) && filter.matches(name) {
                        found.insert(partition);
                    }
                }
                (found, Unknown::Any)
            }
        };
        partitions.into_iter().for_each(|p: Partition| self.needs[p.index()] += 1);
        self.open += usize::from(unknown.is_open());
        let filter = Arc::new(filter.clone());
        self.filters.insert(Arc::clone(&filter), Want { sessions: 0, partitions, unknown });
        filter
    }

    /// A session has gone.
    pub fn forget(&mut self, id: SessionId) {
        let Some(filter) = self.sessions.remove(&id) else { return };
        let Some(want) = self.filters.get_mut(&filter) else { return };
        want.sessions -= 1;
        if want.sessions == 0 {
            want.partitions.into_iter().for_each(|p| self.needs[p.index()] -= 1);
            self.open -= usize::from(want.unknown.is_open());
            self.filters.remove(&filter);
        }
    }

    /// What a session needs.
    pub fn needs_of(&self, id: SessionId) -> Partitions {
        let want = self.sessions.get(&id).and_then(|filter| self.filters.get(filter));
        want.map_or(Partitions::NONE, |want| {
            want.partitions.with(if want.unknown.is_open() { self.ahead() } else { Partitions::NONE })
        })
    }

    /// Whether the feed brings all that a session needs.
    pub fn is_attended(&self, id: SessionId) -> bool {
        self.needs_of(id).within(self.attended)
    }

    /// What the feed brings.
    pub fn attended(&self) -> Partitions {
        self.attended
    }

    /// What the store is to be asked for, and is not being asked for.
    pub fn missing(&self) -> Partitions {
        self.needed().without(self.attended).without(self.asked)
    }

    /// The store is being asked for a partition.
    pub fn ask(&mut self, partition: Partition) {
        self.asked.insert(partition);
        self.refused.remove(partition);
    }

    /// The store has answered: the feed brings the partition, if `brings`.
    pub fn answered(&mut self, partition: Partition, brings: bool) {
        self.asked.remove(partition);
        if brings {
            self.attended.insert(partition);
            self.idle[partition.index()] = None;
            self.fresh.retain(|type_no| Partition::of(*type_no) != partition);
        } else {
            self.refused.insert(partition);
        }
    }

    /// What nobody has needed for a while, or needs any more of what was refused: it is left.
    pub fn sweep(&mut self, now: Instant) -> Partitions {
        let needed = self.needed();
        let unneeded = self.attended.without(needed);
        let mut left = self.refused.without(needed);
        for partition in self.attended {
            let idle = &mut self.idle[partition.index()];
            if !unneeded.contains(partition) {
                *idle = None;
            } else if now.duration_since(*idle.get_or_insert(now)) >= LINGER {
                *idle = None;
                left.insert(partition);
            }
        }
        self.attended = self.attended.without(left);
        self.refused = self.refused.without(left);
        left
    }

    fn needed(&self) -> Partitions {
        let needed: Partitions = Partitions::ALL.into_iter().filter(|p| self.needs[p.index()] > 0).collect();
        if self.open > 0 { needed.with(self.ahead()) } else { needed }
    }

    /// The partitions of the next types.
    fn ahead(&self) -> Partitions {
        (self.next..self.next.saturating_add(AHEAD)).filter_map(TypeNo::new).map(Partition::of).collect()
    }
}

#[cfg(test)]
#[path = "interest_tests.rs"]
mod tests;
