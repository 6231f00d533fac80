//! Which session gets which events: pure, without actors and clocks.
//!
//! Sessions with the same filter are one group. What a group matches is built once a commit and shared by
//! reference; groups that match the same runs of a commit share it too. Which groups match a type is
//! remembered by type and brought up to date when the type is next seen, so neither a subscription nor an
//! event of a quiet type costs a walk over everything.

use super::messages::{LiveEvent, SessionId};
use crate::event::{EventType, TypeFilter, TypeNo};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Runs of a commit that are spread together: one bit each.
const TOGETHER: usize = u64::BITS as usize;

/// A committed run of one type, encoded.
#[derive(Debug)]
pub struct EncodedRun {
    /// The type's number.
    pub type_no: TypeNo,
    /// The type's name, which filters look at.
    pub name: EventType,
    /// Rising ids. Never empty.
    pub events: Vec<LiveEvent>,
}

/// Groups of sessions, each with what the owner keeps of it.
#[derive(Debug)]
pub struct Fanout<S> {
    /// Rising numbers: a type's list knows by the last one which groups it has not looked at yet.
    groups: BTreeMap<u64, Group<S>>,
    next_group: u64,
    /// How many groups have gone: a type's list is swept only when that has changed.
    gone: u64,
    by_filter: HashMap<Vec<String>, u64>,
    /// Group and index in it.
    places: HashMap<SessionId, (u64, usize)>,
    types: HashMap<TypeNo, Matches>,
    /// Groups touched by the commit at hand; kept for its memory.
    touched: Vec<u64>,
}

#[derive(Debug)]
struct Group<S> {
    filter: TypeFilter,
    key: Vec<String>,
    sessions: Vec<(SessionId, S)>,
    /// Which runs of the commit at hand it matches.
    mask: u64,
}

/// Groups that match a type; may name groups that are gone.
#[derive(Debug, Default)]
struct Matches {
    groups: Vec<u64>,
    /// Groups below this number have been looked at.
    seen: u64,
    /// [`Fanout::gone`] when the list was last swept.
    swept: u64,
}

impl<S> Default for Fanout<S> {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            next_group: 0,
            gone: 0,
            by_filter: HashMap::new(),
            places: HashMap::new(),
            types: HashMap::new(),
            touched: Vec::new(),
        }
    }
}

impl<S> Fanout<S> {
    /// Adds a session; one that is there already is replaced.
    pub fn insert(&mut self, id: SessionId, filter: TypeFilter, session: S) {
        self.remove(id);
        let mut key = filter.patterns().to_vec();
        key.sort_unstable();
        key.dedup();
        // Those who may have less are never in one group with those who may have more.
        key.extend(filter.limit().map(|limit| format!("\n{}", limit.key())));
        let no = *self.by_filter.entry(key.clone()).or_insert(self.next_group);
        self.next_group += u64::from(no == self.next_group);
        let group = self.groups.entry(no).or_insert(Group { filter, key, sessions: Vec::new(), mask: 0 });
        self.places.insert(id, (no, group.sessions.len()));
        group.sessions.push((id, session));
    }

    /// Takes a session out.
    pub fn remove(&mut self, id: SessionId) -> Option<S> {
        let (no, index) = self.places.remove(&id)?;
        let group = self.groups.get_mut(&no)?;
        let (_, session) = (index < group.sessions.len()).then(|| group.sessions.swap_remove(index))?;
        if let Some((moved, _)) = group.sessions.get(index) {
            self.places.insert(*moved, (no, index));
        }
        if group.sessions.is_empty() {
            self.by_filter.remove(&group.key);
            self.groups.remove(&no);
            self.gone += 1;
        }
        Some(session)
    }

    /// A session.
    pub fn get(&self, id: SessionId) -> Option<&S> {
        let (no, index) = self.places.get(&id)?;
        self.groups.get(no)?.sessions.get(*index).map(|(_, session)| session)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes all sessions out.
    pub fn drain(&mut self) -> Vec<(SessionId, S)> {
        let groups = std::mem::take(&mut self.groups);
        self.gone += groups.len() as u64;
        self.by_filter.clear();
        self.places.clear();
        groups.into_values().flat_map(|g| g.sessions).collect()
    }

    /// Whether any session wants events of the type.
    pub fn wanted(&mut self, type_no: TypeNo, name: &EventType) -> bool {
        self.refresh(type_no, name);
        self.types.get(&type_no).is_some_and(|m| !m.groups.is_empty())
    }

    /// A type's number has been given to another name: which groups match it is found out anew.
    pub fn renamed(&mut self, type_no: TypeNo) {
        self.types.remove(&type_no);
    }

    /// Brings a type's list of groups up to date.
    fn refresh(&mut self, type_no: TypeNo, name: &EventType) {
        let matches = self.types.entry(type_no).or_default();
        if matches.swept != self.gone {
            matches.groups.retain(|no| self.groups.contains_key(no));
            matches.swept = self.gone;
        }
        if matches.seen != self.next_group {
            let fresh = self.groups.range(matches.seen..);
            matches.groups.extend(fresh.filter(|(_, g)| g.filter.matches(name)).map(|(no, _)| *no));
            matches.seen = self.next_group;
        }
    }

    /// Hands runs that were committed together to every session that wants some of them, each session all
    /// of its events at once where there are at most 64 runs.
    pub fn spread(&mut self, runs: &[EncodedRun], mut hand: impl FnMut(SessionId, &S, &Arc<[LiveEvent]>)) {
        for runs in runs.chunks(TOGETHER) {
            self.mark(runs);
            let mut built: HashMap<u64, Arc<[LiveEvent]>> = HashMap::new();
            for no in self.touched.drain(..) {
                let Some(group) = self.groups.get_mut(&no) else { continue };
                let mask = std::mem::take(&mut group.mask);
                let events = built.entry(mask).or_insert_with(|| build(runs, mask));
                for (id, session) in &group.sessions {
                    hand(*id, session, events);
                }
            }
        }
    }

    /// Sets each group's mask of the runs it matches, and lists the groups that match any.
    fn mark(&mut self, runs: &[EncodedRun]) {
        for (bit, run) in runs.iter().enumerate() {
            self.refresh(run.type_no, &run.name);
            let Some(matches) = self.types.get(&run.type_no) else { continue };
            for no in &matches.groups {
                if let Some(group) = self.groups.get_mut(no) {
                    if group.mask == 0 {
                        self.touched.push(*no);
                    }
                    group.mask |= 1 << bit;
                }
            }
        }
    }
}

fn build(runs: &[EncodedRun], mask: u64) -> Arc<[LiveEvent]> {
    let chosen = runs.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0);
    chosen.flat_map(|(_, run)| run.events.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Position};

    fn run(no: u16, name: &str, positions: std::ops::Range<u64>) -> EncodedRun {
        let type_no = TypeNo::new(no).unwrap();
        let events = positions
            .map(|p| LiveEvent { id: EventId::new(type_no, Position::new(p)), json: format!("{name}{p}").into() })
            .collect();
        EncodedRun { type_no, name: name.parse().unwrap(), events }
    }

    fn fanout(filters: &[&str]) -> (Fanout<usize>, Vec<SessionId>) {
        let mut fanout = Fanout::default();
        let ids: Vec<_> = filters.iter().map(|_| SessionId::unused()).collect();
        for (i, (id, filter)) in ids.iter().zip(filters).enumerate() {
            fanout.insert(*id, filter.parse().unwrap(), i);
        }
        (fanout, ids)
    }

    type Handed = Vec<(usize, Arc<[LiveEvent]>)>;

    fn spread(fanout: &mut Fanout<usize>, runs: &[EncodedRun]) -> Handed {
        let mut handed: Handed = Vec::new();
        fanout.spread(runs, |_, session, events| handed.push((*session, Arc::clone(events))));
        handed.sort_by_key(|(session, _)| *session);
        handed
    }

    fn texts(handed: &Handed) -> Vec<(usize, Vec<&str>)> {
        handed.iter().map(|(s, events)| (*s, events.iter().map(|e| &*e.json).collect())).collect()
    }

    #[test]
    fn who_may_have_less_is_in_no_group_of_those_who_may_have_more() {
        let (mut fanout, _) = fanout(&["*"]);
        let limited = |limit: &str| TypeFilter::any().within(Arc::new(limit.parse().unwrap()));
        fanout.insert(SessionId::unused(), limited("a"), 1);
        fanout.insert(SessionId::unused(), limited("b"), 2);
        let handed = spread(&mut fanout, &[run(1, "a", 1..2), run(2, "b", 1..2)]);
        assert_eq!(texts(&handed), [(0, vec!["a1", "b1"]), (1, vec!["a1"]), (2, vec!["b1"])]);
    }

    #[test]
    fn a_session_gets_what_its_filter_lets_through_as_one_message() {
        let (mut fanout, _) = fanout(&["a:*", "b", "*", "c"]);
        let handed = spread(&mut fanout, &[run(1, "a:x", 0..2), run(2, "b", 0..1)]);
        assert_eq!(texts(&handed), [(0, vec!["a:x0", "a:x1"]), (1, vec!["b0"]), (2, vec!["a:x0", "a:x1", "b0"])]);
    }

    #[test]
    fn sessions_with_the_same_part_share_one_buffer() {
        let (mut fanout, _) = fanout(&["a", "a", "*", "b,a", "a,b", "b"]);
        let handed = spread(&mut fanout, &[run(1, "a", 0..1), run(2, "c", 0..1)]);
        let of = |s: usize| &handed.iter().find(|(session, _)| *session == s).unwrap().1;
        assert!([1, 3, 4].iter().all(|s| Arc::ptr_eq(of(0), of(*s))));
        assert!(!Arc::ptr_eq(of(0), of(2)));
        assert_eq!(handed.len(), 5);
        assert_eq!(fanout.groups.len(), 4);
    }

    #[test]
    fn a_session_that_left_gets_nothing_and_leaves_nothing_behind() {
        let (mut fanout, ids) = fanout(&["a", "a", "a", "b"]);
        assert_eq!(fanout.remove(ids[0]), Some(0));
        assert_eq!(fanout.remove(ids[0]), None);
        assert_eq!(texts(&spread(&mut fanout, &[run(1, "a", 0..1)])), [(1, vec!["a0"]), (2, vec!["a0"])]);
        for (i, id) in ids.iter().enumerate().skip(1) {
            assert_eq!(fanout.get(*id), Some(&i));
            assert_eq!(fanout.remove(*id), Some(i));
        }
        assert!(!fanout.wanted(TypeNo::new(1).unwrap(), &"a".parse().unwrap()));
        assert_eq!((fanout.len(), fanout.groups.len(), fanout.by_filter.len()), (0, 0, 0));
        assert!(fanout.types.values().all(|m| m.groups.is_empty()));
    }

    #[test]
    fn a_filter_that_comes_later_is_matched_against_known_types() {
        let (mut fanout, _) = fanout(&["a"]);
        spread(&mut fanout, &[run(1, "a", 0..1)]);
        fanout.insert(SessionId::unused(), "*".parse().unwrap(), 7);
        assert_eq!(texts(&spread(&mut fanout, &[run(1, "a", 1..2)])), [(0, vec!["a1"]), (7, vec!["a1"])]);
    }

    #[test]
    fn a_commit_of_very_many_runs_reaches_everybody_in_order() {
        let (mut fanout, _) = fanout(&["*", "t7"]);
        let runs: Vec<_> = (0..200).map(|no| run(no, &format!("t{no}"), 0..1)).collect();
        let mut seen: Vec<String> = Vec::new();
        let mut messages = 0;
        fanout.spread(&runs, |_, session, events| {
            messages += 1;
            if *session == 0 {
                seen.extend(events.iter().map(|e| e.json.to_string()));
            }
        });
        assert_eq!(seen, (0..200).map(|no| format!("t{no}0")).collect::<Vec<_>>());
        assert_eq!(messages, 5);
    }
}
