//! The faults of a run: derived from the seed alone, and known before it begins.

use crate::support::random::Random;
use std::fmt;
use std::time::Duration;

/// What there is that can be hurt.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Hub processes.
    pub nodes: usize,
    /// Whether their store is a Redis.
    pub redis: bool,
    /// Whether there is a RabbitMQ.
    pub rabbit: bool,
}

/// What a webhook does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// 200.
    Well,
    /// 500.
    Refuse,
    /// No answer for as long as the client stays.
    Hang,
    /// The connection is dropped within the answer's status line.
    CutHead,
    /// The connection is dropped after a 200, within the answer's body.
    CutBody,
    /// 200 and a body of 50 MiB.
    Huge,
}

/// One kind of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of a hub, and another on the same store afterwards.
    KillHub(usize),
    /// A hub is stopped (SIGSTOP) for longer than its leases last, and goes on as if nothing had been.
    FreezeHub(usize),
    /// kill -9 of Redis, and a start on the same folder afterwards.
    KillRedis,
    /// RabbitMQ is told to stop, and started again.
    StopRabbit,
    /// kill -9 of RabbitMQ, and a start on the same folder.
    KillRabbit,
    /// All webhooks behave like that for a while.
    Webhooks(Behaviour),
}

/// A fault with its time.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    /// Not before, counted from the beginning of the load.
    pub at: Duration,
    /// From the harm to the beginning of its repair.
    pub lasts: Duration,
    /// What happens.
    pub fault: Fault,
}

/// All faults of a run, by their time.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it was derived from.
    pub seed: u64,
    /// In the order of their beginning.
    pub faults: Vec<Planned>,
    /// When the last one should be over.
    pub length: Duration,
}

/// So many faults hold every kind.
const BLOCK: usize = 24;
/// From one fault to the next, on the average.
const SPACING: u64 = 1500;
/// What a target is left alone for after a fault of its own.
const REST: u64 = 400;

/// Whatever can be hurt on its own: faults of one target never overlap, faults of several do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A hub process.
    Node(usize),
    /// Redis.
    Redis,
    /// RabbitMQ.
    Rabbit,
    /// The webhooks.
    Webhooks,
}

impl Fault {
    /// Whom it hurts.
    pub fn target(self) -> Target {
        match self {
            Self::KillHub(node) | Self::FreezeHub(node) => Target::Node(node),
            Self::KillRedis => Target::Redis,
            Self::StopRabbit | Self::KillRabbit => Target::Rabbit,
            Self::Webhooks(_) => Target::Webhooks,
        }
    }

    /// The kind alone, for counting.
    pub fn kind(self) -> &'static str {
        match self {
            Self::KillHub(_) => "hub killed",
            Self::FreezeHub(_) => "hub frozen",
            Self::KillRedis => "redis killed",
            Self::StopRabbit => "rabbitmq stopped",
            Self::KillRabbit => "rabbitmq killed",
            Self::Webhooks(Behaviour::Well) => "webhooks well",
            Self::Webhooks(Behaviour::Refuse) => "webhooks answer 500",
            Self::Webhooks(Behaviour::Hang) => "webhooks hang",
            Self::Webhooks(Behaviour::CutHead) => "webhooks drop the connection within the head",
            Self::Webhooks(Behaviour::CutBody) => "webhooks drop the connection within the body",
            Self::Webhooks(Behaviour::Huge) => "webhooks answer 50 MiB",
        }
    }

    /// How long it lasts: shortest and longest, in milliseconds. Leases last 2 s and webhooks time out after 2 s: a
    /// frozen hub has lost its leases, a hanging webhook is seen to hang, and Redis is away for either side of a lease.
    fn lasts(self) -> (u64, u64) {
        match self {
            Self::KillHub(_) => (100, 1200),
            Self::FreezeHub(_) => (2300, 3500),
            Self::KillRedis => (100, 2600),
            Self::StopRabbit | Self::KillRabbit => (0, 1000),
            Self::Webhooks(Behaviour::Hang) => (2200, 3000),
            Self::Webhooks(_) => (500, 2000),
        }
    }

    /// How long the repair may take, in milliseconds; only a guess to space faults by.
    fn repair(self) -> u64 {
        match self.target() {
            Target::Rabbit => 6000,
            Target::Node(_) => 700,
            Target::Redis => 200,
            Target::Webhooks => 0,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::KillHub(node) | Self::FreezeHub(node) => write!(f, " (node {node})"),
            _ => Ok(()),
        }
    }
}

impl Plan {
    /// Of every [`BLOCK`] faults each kind that the shape allows once, as far as they go, and then any; in any order.
    pub fn new(seed: u64, count: usize, shape: Shape) -> Self {
        let mut random = Random::new(seed);
        let kinds = kinds(shape);
        let deck: Vec<Fault> = kinds.iter().flat_map(|(fault, weight)| vec![*fault; *weight]).collect();
        let mut dealt: Vec<Fault> = Vec::with_capacity(count);
        while dealt.len() < count {
            let size = BLOCK.min(count - dealt.len());
            let mut block: Vec<Fault> = kinds.iter().map(|(fault, _)| *fault).collect();
            random.shuffle(&mut block);
            block.truncate(size);
            block.extend((block.len()..size).map(|_| *random.pick(&deck)));
            random.shuffle(&mut block);
            // What takes long to repair comes early, so that the end of a run need not wait for it.
            block.sort_by_key(|fault| fault.target() == Target::Rabbit);
            for slow in (0..size).rev().take_while(|at| block[*at].target() == Target::Rabbit).collect::<Vec<_>>() {
                block.swap(slow, random.between(0, size as u64 / 2) as usize);
            }
            dealt.extend(block);
        }
        let mut free = std::collections::BTreeMap::new();
        let mut faults = Vec::with_capacity(count);
        let mut length = SPACING;
        for (n, fault) in dealt.into_iter().enumerate() {
            let fault = match fault {
                Fault::KillHub(_) => Fault::KillHub(random.between(0, shape.nodes as u64 - 1) as usize),
                Fault::FreezeHub(_) => Fault::FreezeHub(random.between(0, shape.nodes as u64 - 1) as usize),
                other => other,
            };
            let free = free.entry(fault.target()).or_insert(0);
            let at = (SPACING * (n as u64 + 1) + random.between(0, SPACING / 2)).max(*free);
            let (shortest, longest) = fault.lasts();
            let lasts = random.between(shortest, longest);
            let over = at + lasts + fault.repair();
            *free = over + REST;
            length = length.max(over);
            faults.push(Planned { at: Duration::from_millis(at), lasts: Duration::from_millis(lasts), fault });
        }
        faults.sort_by_key(|planned| planned.at);
        Self { seed, faults, length: Duration::from_millis(length + REST) }
    }
}

/// Kinds of faults that are possible, and how often each is drawn beyond the first.
fn kinds(shape: Shape) -> Vec<(Fault, usize)> {
    let mut kinds = vec![
        (Fault::KillHub(0), 5),
        (Fault::FreezeHub(0), 2),
        (Fault::Webhooks(Behaviour::Refuse), 2),
        (Fault::Webhooks(Behaviour::Hang), 1),
        (Fault::Webhooks(Behaviour::CutHead), 1),
        (Fault::Webhooks(Behaviour::CutBody), 1),
        (Fault::Webhooks(Behaviour::Huge), 1),
    ];
    if shape.redis {
        kinds.push((Fault::KillRedis, 4));
    }
    if shape.rabbit {
        // Its start takes seconds.
        kinds.extend([(Fault::StopRabbit, 0), (Fault::KillRabbit, 0)]);
    }
    kinds
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} faults in {:.1} s:", self.seed, self.faults.len(), self.length.as_secs_f64())?;
        for Planned { at, lasts, fault } in &self.faults {
            writeln!(f, "  {:>6.1} s  {fault}, for {:.1} s", at.as_secs_f64(), lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

#[test]
fn a_plan_is_its_seeds_alone_and_holds_every_kind() {
    let shape = Shape { nodes: 2, redis: true, rabbit: true };
    let text = |seed| Plan::new(seed, 24, shape).to_string();
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
    for seed in 0..50 {
        let plan = Plan::new(seed, 24, shape);
        assert_eq!(plan.faults.len(), 24);
        for (kind, _) in kinds(shape) {
            assert!(plan.faults.iter().any(|p| p.fault.kind() == kind.kind()), "seed {seed} has no {kind}");
        }
        for target in [Target::Node(0), Target::Node(1), Target::Redis, Target::Rabbit, Target::Webhooks] {
            let own: Vec<_> = plan.faults.iter().filter(|p| p.fault.target() == target).collect();
            assert!(
                own.windows(2).all(|w| w[0].at + w[0].lasts < w[1].at),
                "seed {seed} hurts {target:?} twice at once"
            );
        }
    }
}
