//! What must hold at the end, checked on what was seen. Pure: nothing here asks a server.

use crate::ledger::{Ledger, Mark, Sent};
use crate::receiver::{Arrival, Outcome};
use crate::scenario::{STREAMS, TYPES};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

/// An event of the feed.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    /// Its id.
    pub id: u64,
    /// Its mark.
    pub mark: Mark,
    /// Index of its type.
    pub ty: usize,
}

/// All that was seen of a run.
pub struct Evidence<'a> {
    /// What was sent and promised.
    pub ledger: &'a Ledger,
    /// The streams that were registered.
    pub streams: Vec<usize>,
    /// The whole feed, in any order.
    pub feed: Vec<Stored>,
    /// By stream: what came, in order of arrival.
    pub arrivals: Vec<Vec<Arrival>>,
    /// By stream: what the hub says of events that did not come.
    pub said: Vec<HashMap<u64, String>>,
    /// By stream: most deliveries that may have been repeated.
    pub bounds: Vec<u64>,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged, and not in the feed.
    NotStored { id: u64, mark: Mark },
    /// In the feed, or delivered, under more than one id.
    StoredTwice { mark: Mark, ids: (u64, u64) },
    /// In the feed or delivered, and never sent like that.
    NeverSent { id: u64, mark: Mark },
    /// An id that stands for another event than the one it was given to.
    Confused { id: u64, promised: Mark, found: Mark },
    /// The repetitions of one Idempotency-Key were told different ids.
    KeyWithTwoIds { mark: Mark, ids: (u64, u64) },
    /// Promised to a stream, not delivered there, and no dead letter either.
    NotDelivered { stream: usize, id: u64, said: String },
    /// Delivered, and not in the feed.
    Phantom { stream: usize, id: u64 },
    /// Attempted at an ordered stream before an older event was delivered there.
    OutOfOrder { stream: usize, id: u64, older: u64 },
    /// Given an id below that of an event which had been acknowledged before this one was sent.
    IdFell { id: u64, below: u64 },
    /// More repeated deliveries than what was in flight at the faults.
    TooManyRepeated { stream: usize, repeated: u64, bound: u64 },
    /// The hub did what it never should.
    Unexpected(String),
}

impl Violation {
    /// What kind of promise was broken: a heading for a list of them.
    pub fn kind(&self) -> String {
        match self {
            Self::NotStored { .. } => "acknowledged, but missing in the feed".into(),
            Self::StoredTwice { .. } => "stored twice".into(),
            Self::NeverSent { .. } => "never sent".into(),
            Self::Confused { .. } => "an id of another event".into(),
            Self::KeyWithTwoIds { .. } => "one Idempotency-Key, two ids".into(),
            Self::NotDelivered { stream, .. } => format!("missing at {}", STREAMS[*stream].label()),
            Self::Phantom { stream, .. } => format!("delivered to {}, but not stored", STREAMS[*stream].label()),
            Self::OutOfOrder { stream, .. } => format!("out of order at {}", STREAMS[*stream].label()),
            Self::IdFell { .. } => "ids not in commit order".into(),
            Self::TooManyRepeated { .. } => "too many repeated deliveries".into(),
            Self::Unexpected(_) => "unexpected".into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStored { id, mark } | Self::NeverSent { id, mark } => write!(f, "{id} (mark {})", mark.0),
            Self::StoredTwice { mark, ids } | Self::KeyWithTwoIds { mark, ids } => {
                write!(f, "mark {}: {} and {}", mark.0, ids.0, ids.1)
            }
            Self::Confused { id, promised, found } => {
                write!(f, "{id}: mark {} was promised, {} found", promised.0, found.0)
            }
            Self::NotDelivered { id, said, .. } => write!(f, "{id} ({said})"),
            Self::Phantom { id, .. } => write!(f, "{id}"),
            Self::OutOfOrder { id, older, .. } => write!(f, "{id} before {older}"),
            Self::IdFell { id, below } => write!(f, "{id} after {below}"),
            Self::TooManyRepeated { stream, repeated, bound } => {
                write!(f, "{}: {repeated}, where {bound} were in flight at the faults", STREAMS[*stream].label())
            }
            Self::Unexpected(what) => f.write_str(what),
        }
    }
}

/// What a stream did, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Which stream.
    pub stream: usize,
    /// Requests, or messages.
    pub attempts: u64,
    /// Events that arrived.
    pub delivered: u64,
    /// Deliveries beyond the first of an event.
    pub repeated: u64,
    /// Events that are dead letters.
    pub dead: u64,
}

/// Everything that was promised and does not hold.
pub fn check(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut found = evidence.ledger.violations().to_vec();
    feed(evidence, &mut found);
    ids_rise(evidence, &mut found);
    for &stream in &evidence.streams {
        delivered(evidence, stream, &mut found);
        if STREAMS[stream].ordered() {
            ordered(evidence, stream, &mut found);
        }
        let (repeated, bound) = (figures(evidence, stream).repeated, evidence.bounds[stream]);
        if repeated > bound {
            found.push(Violation::TooManyRepeated { stream, repeated, bound });
        }
    }
    found
}

/// A stream's numbers.
pub fn figures(evidence: &Evidence<'_>, stream: usize) -> Figures {
    let arrivals = &evidence.arrivals[stream];
    let mut whole: HashMap<u64, u64> = HashMap::new();
    for arrival in arrivals.iter().filter(|a| a.outcome == Outcome::Delivered) {
        *whole.entry(arrival.id).or_default() += 1;
    }
    Figures {
        stream,
        attempts: arrivals.len() as u64,
        delivered: taken(arrivals).len() as u64,
        repeated: whole.values().map(|count| count - 1).sum(),
        dead: evidence.said[stream].values().filter(|said| *said == "dead").count() as u64,
    }
}

/// Events promised to a stream of which nothing has arrived there.
pub fn missing(evidence: &Evidence<'_>, stream: usize) -> Vec<u64> {
    let arrived = taken(&evidence.arrivals[stream]);
    let mut missing: Vec<u64> = promised(evidence, STREAMS[stream].ty).filter(|id| !arrived.contains(id)).collect();
    missing.sort_unstable();
    missing
}

/// Ids that a type's streams have to deliver: whatever is stored, acknowledged or not, since an event is stored
/// together with its deliveries; of an ephemeral type what was acknowledged, since nothing else is known.
fn promised<'a>(evidence: &'a Evidence<'_>, ty: usize) -> Box<dyn Iterator<Item = u64> + 'a> {
    if TYPES[ty].stored {
        Box::new(evidence.feed.iter().filter(move |event| event.ty == ty).map(|event| event.id))
    } else {
        Box::new(acknowledged(evidence.ledger).filter(move |(_, event, ..)| event.ty == ty).map(|(_, _, id, _)| id))
    }
}

fn acknowledged(ledger: &Ledger) -> impl Iterator<Item = (Mark, &Sent, u64, Duration)> {
    ledger.events().iter().filter_map(|(mark, event)| {
        let (id, at) = event.acknowledged?;
        Some((*mark, event, id, at))
    })
}

/// Ids that a stream's other end has taken.
fn taken(arrivals: &[Arrival]) -> HashSet<u64> {
    arrivals.iter().filter(|arrival| arrival.outcome != Outcome::Failed).map(|arrival| arrival.id).collect()
}

/// Every acknowledged event of a stored type is in the feed, once, as what it is; and nothing else is.
fn feed(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    let mut by_id: HashMap<u64, Mark> = HashMap::new();
    let mut by_mark: HashMap<Mark, u64> = HashMap::new();
    for &Stored { id, mark, ty } in &evidence.feed {
        by_id.insert(id, mark);
        if let Some(other) = by_mark.insert(mark, id) {
            found.push(Violation::StoredTwice { mark, ids: (other.min(id), other.max(id)) });
        }
        if evidence.ledger.events().get(&mark).is_none_or(|sent| sent.ty != ty) || !TYPES[ty].stored {
            found.push(Violation::NeverSent { id, mark });
        }
    }
    for (mark, _, id, _) in acknowledged(evidence.ledger).filter(|(_, event, ..)| TYPES[event.ty].stored) {
        match by_id.get(&id) {
            None => found.push(Violation::NotStored { id, mark }),
            Some(other) if *other != mark => {
                found.push(Violation::Confused { id, promised: mark, found: *other });
            }
            Some(_) => {}
        }
    }
}

/// Ids of a type rise in commit order: an event that was sent after another had been acknowledged has the higher id,
/// whichever nodes took them, and those of one batch follow each other.
fn ids_rise(evidence: &Evidence<'_>, found: &mut Vec<Violation>) {
    for (ty, spec) in TYPES.iter().enumerate() {
        // An id that was made up is reported as what it is, not here.
        let real: HashSet<u64> = if spec.stored {
            promised(evidence, ty).collect()
        } else {
            evidence
                .streams
                .iter()
                .filter(|s| STREAMS[**s].ty == ty)
                .flat_map(|s| taken(&evidence.arrivals[*s]))
                .collect()
        };
        let own = acknowledged(evidence.ledger).filter(|(_, event, id, _)| event.ty == ty && real.contains(id));
        let mut by_send: Vec<_> = own.map(|(mark, event, id, at)| (event.sent, mark, id, at)).collect();
        let mut by_answer = by_send.clone();
        by_send.sort_unstable();
        by_answer.sort_unstable_by_key(|(.., at)| *at);
        let (mut answered, mut highest) = (by_answer.iter().peekable(), 0);
        let mut previous: Option<(Mark, u64)> = None;
        for (sent, mark, id, _) in by_send {
            while let Some((_, _, earlier, _)) = answered.next_if(|(.., at)| *at < sent) {
                highest = highest.max(*earlier);
            }
            // Marks of one send differ in their last byte alone.
            let floor =
                previous.filter(|(other, _)| other.0 >> 8 == mark.0 >> 8).map_or(highest, |(_, id)| id.max(highest));
            if id <= floor {
                found.push(Violation::IdFell { id, below: floor });
            }
            previous = Some((mark, id));
        }
    }
}

/// Whatever was promised to a stream is there, or a dead letter; and nothing else is there.
fn delivered(evidence: &Evidence<'_>, stream: usize, found: &mut Vec<Violation>) {
    for id in missing(evidence, stream) {
        let said = evidence.said[stream].get(&id).map_or("unknown", String::as_str);
        if said != "dead" {
            found.push(Violation::NotDelivered { stream, id, said: said.to_owned() });
        }
    }
    let ty = STREAMS[stream].ty;
    let stored: HashMap<u64, Mark> = evidence.feed.iter().filter(|e| e.ty == ty).map(|e| (e.id, e.mark)).collect();
    let mut seen: BTreeMap<u64, Mark> = BTreeMap::new();
    let mut ids: HashMap<Mark, u64> = HashMap::new();
    for &Arrival { id, mark, .. } in &evidence.arrivals[stream] {
        if seen.insert(id, mark).is_some_and(|before| before == mark) {
            continue;
        }
        if evidence.ledger.events().get(&mark).is_none_or(|sent| sent.ty != ty) {
            found.push(Violation::NeverSent { id, mark });
        } else if TYPES[ty].stored {
            match stored.get(&id) {
                None => found.push(Violation::Phantom { stream, id }),
                Some(other) if *other != mark => found.push(Violation::Confused { id, promised: *other, found: mark }),
                Some(_) => {}
            }
        }
        if let Some(other) = ids.insert(mark, id).filter(|other| *other != id) {
            found.push(Violation::StoredTwice { mark, ids: (other.min(id), other.max(id)) });
        }
    }
}

/// Strictly in commit order, through retries and over nodes: no event is even attempted before every older one has
/// been delivered (or has become a dead letter). After a fault a node may begin again at an older one; that repeats
/// what has been delivered, and skips nothing.
fn ordered(evidence: &Evidence<'_>, stream: usize, found: &mut Vec<Violation>) {
    let arrivals = &evidence.arrivals[stream];
    let dead = |id: &u64| evidence.said[stream].get(id).is_some_and(|said| said == "dead");
    // What never came is missing, not out of order.
    let came = taken(arrivals);
    let mut wanted: Vec<u64> =
        promised(evidence, STREAMS[stream].ty).filter(|id| came.contains(id) && !dead(id)).collect();
    wanted.sort_unstable();
    let mut wanted = wanted.into_iter().peekable();
    let mut delivered = HashSet::new();
    for arrival in arrivals {
        while wanted.next_if(|id| delivered.contains(id)).is_some() {}
        if let Some(&older) = wanted.peek().filter(|older| **older < arrival.id) {
            found.push(Violation::OutOfOrder { stream, id: arrival.id, older });
        }
        if arrival.outcome != Outcome::Failed {
            delivered.insert(arrival.id);
        }
    }
}
