//! When a stream counts as failing, and when it may try again.
//!
//! Pure: time and randomness are parameters.

use super::Retry;
use crate::event::Position;
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row, with nothing delivered in between, that make a stream failing.
const THRESHOLD: u32 = 5;
/// Longest wait between looks at a host or broker that is away: dialling costs the other side nothing,
/// and an outage should not last longer here than there.
const MAX_UNREACHABLE: Duration = Duration::from_secs(30);
/// Shortest wait between two probes, however they come about.
const MIN_PROBE: Duration = Duration::from_millis(250);

/// A stream's failures since the last delivery.
///
/// While *open*, the stream holds back: one event at a time is tried, on the stream's retry schedule.
/// A single event that fails again and again is on that schedule anyway; it makes the stream failing,
/// but holds nothing else back before a second one has failed too.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    first: Option<Position>,
    /// More than one event has failed.
    several: bool,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// Failed probes, for the schedule; the opening failure counts.
    failed: u32,
    probe_at: Instant,
    /// When the last one was let through.
    last_probe: Option<Instant>,
    /// The probe under way.
    probe: Option<Position>,
    /// The other side was not there at all.
    unreachable: bool,
}

/// What an attempt's failure says of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// It was not there at all.
    pub unreachable: bool,
    /// It asked to be left alone for so long.
    pub after: Option<Duration>,
}

impl Circuit {
    /// An event was delivered. Whether the stream was holding back: it has recovered.
    pub fn delivered(&mut self) -> bool {
        let was = self.is_open();
        *self = Self::default();
        was
    }

    /// An attempt has failed. Whether the circuit has just opened.
    pub fn failed(&mut self, event: Position, fault: Fault, retry: &Retry, now: Instant, random: f64) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.several |= self.first.is_some_and(|first| first != event);
        self.first.get_or_insert(event);
        let trips = fault.unreachable || (self.failures >= THRESHOLD && self.several);
        match &mut self.open {
            None if trips => {
                let probe_at = now + wait(retry, 1, fault, random);
                let unreachable = fault.unreachable;
                self.open = Some(Open { failed: 1, probe_at, last_probe: None, probe: None, unreachable });
                true
            }
            None => false,
            Some(open) => {
                if open.probe == Some(event) {
                    open.probe = None;
                    open.failed = open.failed.saturating_add(1);
                    open.unreachable = fault.unreachable;
                    open.probe_at = now + wait(retry, open.failed, fault, random);
                } else if let Some(after) = fault.after {
                    // Of an attempt that was under way when the circuit opened.
                    open.probe_at = open.probe_at.max(now + after.min(retry.max));
                }
                false
            }
        }
    }

    /// A probe ended without saying anything of the other side (it was given back, or dead for its own
    /// reasons): another may follow.
    pub fn inconclusive(&mut self, event: Position) {
        if let Some(open) = &mut self.open
            && open.probe == Some(event)
        {
            open.probe = None;
        }
    }

    /// The other side may be there again: the next probe need not wait for its time. Heard once, until a
    /// probe finds nobody again; else the stream would ask without end.
    pub fn probe_soon(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.unreachable = false;
            let earliest = open.last_probe.map_or(now, |last| last + MIN_PROBE).max(now);
            open.probe_at = open.probe_at.min(earliest);
        }
    }

    /// An attempt of `event` starts.
    pub fn started(&mut self, event: Position, now: Instant) {
        if let Some(open) = &mut self.open {
            (open.probe, open.last_probe) = (Some(event), Some(now));
        }
    }

    /// Whether an attempt may start now.
    pub fn lets_through(&self, now: Instant) -> bool {
        self.open.as_ref().is_none_or(|open| open.probe.is_none() && now >= open.probe_at)
    }

    /// Whether the stream holds back.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the stream is to be called failing.
    pub fn failing(&self) -> bool {
        self.is_open() || self.failures >= THRESHOLD
    }

    /// Whether it holds back because the other side was not there, and has not heard since that it is back.
    pub fn unreachable(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.unreachable && open.probe.is_none())
    }

    /// When the next probe is due, if one is awaited.
    pub fn probe_at(&self) -> Option<Instant> {
        self.open.as_ref().filter(|open| open.probe.is_none()).map(|open| open.probe_at)
    }
}

fn wait(retry: &Retry, failures: u32, fault: Fault, random: f64) -> Duration {
    let wait = retry.wait(failures, fault.after, random);
    if fault.unreachable { wait.min(MAX_UNREACHABLE) } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Fault = Fault { unreachable: false, after: None };
    const AWAY: Fault = Fault { unreachable: true, after: None };

    fn retry() -> Retry {
        Retry { attempts: 40, first: Duration::from_secs(1), max: Duration::from_secs(3600) }
    }

    fn fail(circuit: &mut Circuit, event: u64, fault: Fault, now: Instant) -> bool {
        circuit.failed(Position::new(event), fault, &retry(), now, 0.0)
    }

    #[test]
    fn five_failures_of_several_events_open_it() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for event in 0..4 {
            assert!(!fail(&mut circuit, event, REFUSED, now));
        }
        assert!(!circuit.failing() && circuit.lets_through(now));
        assert!(fail(&mut circuit, 4, REFUSED, now));
        assert!(circuit.failing() && !circuit.lets_through(now));
        assert!(circuit.lets_through(now + Duration::from_secs(1)));
    }

    #[test]
    fn one_bad_event_makes_it_failing_and_holds_nothing_back() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..20 {
            assert!(!fail(&mut circuit, 7, REFUSED, now));
        }
        assert!(circuit.failing() && !circuit.is_open() && circuit.lets_through(now));
        assert!(fail(&mut circuit, 8, REFUSED, now), "a second one has failed too");
    }

    #[test]
    fn a_delivery_in_between_starts_the_count_again() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for event in 0..4 {
            fail(&mut circuit, event, REFUSED, now);
        }
        assert!(!circuit.delivered(), "it was not failing yet");
        assert!(!fail(&mut circuit, 5, REFUSED, now));
    }

    #[test]
    fn one_probe_at_a_time_on_the_schedule() {
        let (mut circuit, mut now) = (Circuit::default(), Instant::now());
        assert!(fail(&mut circuit, 1, AWAY, now));
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(circuit.probe_at(), Some(now + Duration::from_secs(wait)));
            now += Duration::from_secs(wait);
            assert!(circuit.lets_through(now));
            circuit.started(Position::new(2), now);
            assert!(!circuit.lets_through(now) && circuit.probe_at().is_none());
            assert!(!fail(&mut circuit, 2, AWAY, now));
        }
        assert!(circuit.delivered() && circuit.lets_through(now));
    }

    #[test]
    fn retry_after_holds_the_next_probe_up_to_the_longest_wait() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        fail(&mut circuit, 1, AWAY, now);
        let asked = Fault { unreachable: false, after: Some(Duration::from_secs(90)) };
        fail(&mut circuit, 9, asked, now);
        assert_eq!(circuit.probe_at(), Some(now + Duration::from_secs(90)));
        let asked = Fault { unreachable: false, after: Some(Duration::from_secs(90_000)) };
        fail(&mut circuit, 9, asked, now);
        assert_eq!(circuit.probe_at(), Some(now + Duration::from_secs(3600)));
    }

    #[test]
    fn recovery_seen_elsewhere_brings_the_probe_forward_but_not_in_a_loop() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        fail(&mut circuit, 1, AWAY, now);
        circuit.probe_soon(now);
        assert!(circuit.lets_through(now));
        circuit.started(Position::new(1), now);
        fail(&mut circuit, 1, AWAY, now);
        circuit.probe_soon(now);
        assert!(!circuit.lets_through(now) && circuit.lets_through(now + MIN_PROBE));
    }
}
