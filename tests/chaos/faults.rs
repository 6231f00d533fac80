//! Carries the plan out: each target's faults one after the other, different targets' side by side.

use crate::plan::{Behaviour, Fault, Plan, Planned, Target};
use crate::scenario::StreamSpec;
use crate::support::rabbit::RabbitServer;
use crate::world::World;
use futures_util::future::join_all;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A fault as it happened, in time since the load began.
#[derive(Debug, Clone, Copy)]
pub struct Happened {
    /// What.
    pub fault: Fault,
    /// When it began.
    pub from: Duration,
    /// When its repair was complete.
    pub to: Duration,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.2} s to {:>6.2} s  {}", self.from.as_secs_f64(), self.to.as_secs_f64(), self.fault)
    }
}

/// Carries out a plan whose time began at `began`; what happened, in order.
pub async fn carry_out(plan: &Plan, world: &World, began: Instant) -> Vec<Happened> {
    let mut lanes: BTreeMap<Target, Vec<Planned>> = BTreeMap::new();
    for planned in &plan.faults {
        lanes.entry(planned.fault.target()).or_default().push(*planned);
    }
    let log = RefCell::new(Vec::new());
    let run = |faults: Vec<Planned>| {
        let log = &log;
        async move {
            for Planned { at, lasts, fault } in faults {
                sleep_until(began + at).await;
                let from = began.elapsed();
                inflict(fault, lasts, world).await;
                log.borrow_mut().push(Happened { fault, from, to: began.elapsed() });
            }
        }
    };
    join_all(lanes.into_values().map(run)).await;
    let mut log = log.into_inner();
    log.sort_by_key(|happened| happened.from);
    log
}

async fn inflict(fault: Fault, lasts: Duration, world: &World) {
    match fault {
        Fault::KillHub(node) => {
            world.nodes[node].kill();
            sleep(lasts).await;
            world.start_node(node).await;
        }
        Fault::FreezeHub(node) => {
            world.nodes[node].freeze();
            sleep(lasts).await;
            world.nodes[node].thaw();
        }
        Fault::KillRedis => {
            world.kill_redis().await;
            sleep(lasts).await;
            world.restart_redis().await;
        }
        Fault::StopRabbit | Fault::KillRabbit => {
            let stop = if fault == Fault::StopRabbit { RabbitServer::stop } else { RabbitServer::kill };
            world.with_rabbit(stop).await;
            sleep(lasts).await;
            world.with_rabbit(RabbitServer::restart).await;
        }
        Fault::Webhooks(behaviour) => {
            world.receiver.behave(behaviour);
            sleep(lasts).await;
            world.receiver.behave(Behaviour::Well);
        }
    }
}

/// Most deliveries of a stream that the faults may have repeated: what was in flight when they came.
///
/// A node holds at most `mailbox` events of a stream in memory, those in flight included. When it dies, or stands still
/// until its leases have passed, any of them may have been delivered without the store having heard of it. When the
/// store is away, that holds for every node. When the broker goes, what every node had published and was not confirmed,
/// at most `concurrency`, comes again; and once more when it goes down in two steps (first the connections, then
/// itself). What a webhook does costs nothing: it either took an event, and said so, or it did not.
pub fn in_flight(stream: &StreamSpec, happened: &[Happened], nodes: usize) -> u64 {
    let of = |fault: &Happened| match fault.fault {
        Fault::KillHub(_) | Fault::FreezeHub(_) => stream.mailbox,
        Fault::KillRedis => nodes * stream.mailbox,
        Fault::StopRabbit | Fault::KillRabbit if !stream.hook => 2 * nodes * stream.concurrency,
        Fault::StopRabbit | Fault::KillRabbit | Fault::Webhooks(_) => 0,
    };
    happened.iter().map(of).sum::<usize>() as u64
}
