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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn no(number: u16) -> TypeNo {
        TypeNo::new(number).unwrap()
    }

    fn set(numbers: &[u16]) -> Partitions {
        numbers.iter().filter_map(|number| Partition::new(*number)).collect()
    }

    /// Types `t0`, `t1`, … with the numbers 0, 1, ….
    fn interest(types: u16) -> Interest {
        let mut interest = Interest::default();
        for number in 0..types {
            interest.learn(no(number), &format!("t{number}").parse().unwrap());
        }
        interest
    }

    fn want(interest: &mut Interest, filter: &str) -> SessionId {
        let id = SessionId::unused();
        interest.want(id, &filter.parse().unwrap());
        id
    }

    fn attend(interest: &mut Interest) -> Partitions {
        let missing = interest.missing();
        for partition in missing {
            interest.ask(partition);
        }
        assert!(interest.missing().is_empty());
        missing.into_iter().for_each(|partition| interest.answered(partition, true));
        missing
    }

    #[test]
    fn a_filter_needs_the_partitions_of_its_types_and_a_pattern_those_to_come() {
        let mut interest = interest(70);
        let exact = want(&mut interest, "t1,t65,t2,t2");
        assert_eq!(interest.needs_of(exact), set(&[1, 2]));
        let pattern = want(&mut interest, "t1*");
        assert_eq!(interest.needs_of(pattern), set(&[1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]));
        let unknown = want(&mut interest, "other");
        assert_eq!(interest.needs_of(unknown), set(&[6, 7, 8, 9]));
        assert_eq!(interest.missing(), set(&[1, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]));
        interest.forget(pattern);
        interest.forget(unknown);
        assert_eq!(attend(&mut interest), set(&[1, 2]));
        assert!(interest.is_attended(exact));
        let all = want(&mut interest, "*");
        assert_eq!(interest.needs_of(all), Partitions::ALL);
        let none = SessionId::unused();
        interest.want(none, &TypeFilter::none());
        assert_eq!(interest.needs_of(none), Partitions::NONE);
    }

    #[test]
    fn a_type_that_comes_to_be_known_is_needed_by_those_who_wait_for_it() {
        let mut interest = interest(1);
        let waiting = want(&mut interest, "new");
        let other = want(&mut interest, "t0");
        assert_eq!(attend(&mut interest), set(&[0, 1, 2, 3, 4]));
        assert!(interest.learn(no(2), &"new".parse().unwrap()));
        assert!(!interest.is_fresh(no(2)), "it was heard from the first event on");
        assert_eq!(interest.needs_of(waiting), set(&[2]));
        assert_eq!(interest.needs_of(other), set(&[0]));
        assert!(!interest.learn(no(2), &"new".parse().unwrap()));
        // One that comes from further ahead than expected.
        let pattern = want(&mut interest, "far*");
        assert!(interest.learn(no(40), &"far1".parse().unwrap()));
        assert!(interest.is_fresh(no(40)));
        assert_eq!(interest.needs_of(pattern), set(&[40, 41, 42, 43, 44]));
        attend(&mut interest);
        assert!(!interest.is_fresh(no(40)));
        assert!(!interest.learn(no(41), &"nobody".parse().unwrap()));
    }

    #[test]
    fn what_nobody_needs_is_left_after_a_while_unless_somebody_comes_back() {
        let (mut interest, start) = (interest(10), Instant::now());
        let (one, two) = (want(&mut interest, "t1,t2"), want(&mut interest, "t2"));
        attend(&mut interest);
        interest.forget(one);
        assert_eq!(interest.sweep(start), Partitions::NONE);
        interest.forget(two);
        assert_eq!(interest.sweep(start + LINGER / 2), Partitions::NONE);
        assert_eq!(interest.sweep(start + LINGER), set(&[1]));
        assert_eq!(interest.attended(), set(&[2]));
        let back = want(&mut interest, "t2");
        assert!(interest.is_attended(back), "nothing is to be asked");
        assert_eq!(interest.sweep(start + LINGER * 2), Partitions::NONE);
        interest.forget(back);
        assert_eq!(interest.sweep(start + LINGER * 2), Partitions::NONE);
        assert_eq!(interest.sweep(start + LINGER * 3), set(&[2]));
        assert_eq!(interest.missing(), Partitions::NONE);
    }

    #[test]
    fn a_refused_partition_is_asked_for_again_while_it_is_needed() {
        let mut interest = interest(10);
        let id = want(&mut interest, "t3");
        interest.ask(Partition::new(3).unwrap());
        assert_eq!(interest.missing(), Partitions::NONE);
        interest.answered(Partition::new(3).unwrap(), false);
        assert!(!interest.is_attended(id));
        assert_eq!(interest.missing(), set(&[3]));
        assert_eq!(interest.sweep(Instant::now()), Partitions::NONE);
        interest.forget(id);
        assert_eq!(interest.missing(), Partitions::NONE);
        assert_eq!(interest.sweep(Instant::now()), set(&[3]), "the store need not try any longer");
        assert_eq!(interest.sweep(Instant::now()), Partitions::NONE);
    }

    proptest! {
        /// Whatever comes and goes in whatever order: counted needs are the needs of those who are there.
        #[test]
        fn needs_are_those_of_the_sessions_that_are_there(steps in proptest::collection::vec((0u8..4, 0u16..12), 0..60)) {
            let filters = ["t1", "t1,t70", "t*", "*", "t7,none", "t1*,x"];
            let mut interest = Interest::default();
            let mut there: Vec<SessionId> = Vec::new();
            for (kind, n) in steps {
                match kind {
                    0 => there.push(want(&mut interest, filters[usize::from(n) % filters.len()])),
                    1 if !there.is_empty() => interest.forget(there.swap_remove(usize::from(n) % there.len())),
                    2 if !there.is_empty() => {
                        let id = there[usize::from(n) % there.len()];
                        interest.want(id, &filters[usize::from(n) % filters.len()].parse().unwrap());
                    }
                    _ => {
                        interest.learn(no(n * 7), &format!("t{}", n * 7).parse().unwrap());
                    }
                }
                let needs = there.iter().fold(Partitions::NONE, |all, id| all.with(interest.needs_of(*id)));
                prop_assert_eq!(interest.missing(), needs);
            }
            there.into_iter().for_each(|id| interest.forget(id));
            prop_assert_eq!(interest.missing(), Partitions::NONE);
            prop_assert!(interest.filters.is_empty() && interest.sessions.is_empty());
            prop_assert_eq!(interest.open, 0);
        }
    }
}
