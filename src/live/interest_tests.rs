//! What sessions need of partitions, whoever comes and goes.

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
