//! A run from beginning to end: servers, load, faults, quiet, evidence, verdict.

use crate::check::{Violation, check};
use crate::evidence;
use crate::faults::{carry_out, in_flight};
use crate::load::{Load, SENDERS, sender};
use crate::plan::{Plan, Shape};
use crate::report;
use crate::scenario::STREAMS;
use crate::support::random::Random;
use crate::thief::{Stolen, Theft};
use crate::world::World;
use futures_util::future::join_all;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How much longer than planned the load may take.
const SLACK: Duration = Duration::from_secs(120);

/// What to run.
pub struct Program {
    /// For reports.
    pub name: &'static str,
    /// Of the plan, and of what is sent.
    pub seed: u64,
    /// Events to be acknowledged at least.
    pub events: u64,
    /// Faults.
    pub faults: usize,
    /// Servers.
    pub shape: Shape,
    /// What is made to go wrong.
    pub theft: Option<Theft>,
}

/// How it went.
pub struct Verdict {
    /// The broken promises.
    pub violations: Vec<Violation>,
    /// What was stolen.
    pub stolen: Stolen,
    /// For people.
    pub report: String,
    /// Logs and the like; removed by [`forget`](Self::forget).
    folder: PathBuf,
}

impl Verdict {
    /// Nothing in the folder is of any more use.
    pub fn forget(self) {
        let _ = std::fs::remove_dir_all(self.folder);
    }
}

impl Program {
    /// What is expected to fail is nobody's business until it does not.
    fn say(&self, text: &str) {
        if self.theft.is_none() {
            report::say(text);
        }
    }

    /// Runs it.
    pub async fn run(&self) -> Verdict {
        let start = Instant::now();
        let plan = Plan::new(self.seed, self.faults, self.shape);
        let seed = self.seed;
        self.say(&format!("chaos {}: CHAOS_SEED={seed}, {} events\n{plan}", self.name, self.events));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}-{seed}", self.name));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder for logs");
        let world = Rc::new(World::start(self.shape, self.theft, &folder).await);
        let began = Instant::now();
        let load = Rc::new(Load {
            world: Rc::clone(&world),
            ledger: RefCell::default(),
            events: self.events,
            length: plan.length,
            began,
            issued: Cell::new(0),
            calm: Cell::new(false),
        });
        let mut random = Random::new(seed).fork();
        let senders: Vec<_> =
            (0..SENDERS).map(|number| actix_web::rt::spawn(sender(Rc::clone(&load), number, random.fork()))).collect();
        let happened = carry_out(&plan, &world, began).await;
        load.calm.set(true);
        let ends: Vec<_> = senders.iter().map(|sender| sender.abort_handle()).collect();
        let ended = timeout(SLACK, join_all(senders)).await;
        ends.iter().for_each(|end| end.abort());
        if ended.is_err() {
            let missing = self.events.saturating_sub(load.ledger.borrow().acknowledged());
            let what = format!("{SLACK:?} after the last fault, {missing} events were still to be acknowledged");
            load.ledger.borrow_mut().unexpected(what);
        }
        let loaded = began.elapsed();
        if let Err(what) = evidence::quiet(&world).await {
            load.ledger.borrow_mut().unexpected(what);
        }
        let drained = began.elapsed() - loaded;
        for what in world.receiver.malformed() {
            load.ledger.borrow_mut().unexpected(format!("no delivery of an event: {what}"));
        }
        // Nobody writes into it any more.
        let ledger = load.ledger.take();
        let bounds = STREAMS.iter().map(|stream| in_flight(stream, &happened, self.shape.nodes)).collect();
        let evidence = evidence::gather(&world, &ledger, bounds).await;
        world.stop().await;
        let violations = check(&evidence);
        let times = [
            ("in all", start.elapsed()),
            ("servers up", began - start),
            ("under load", loaded),
            ("until drained", drained),
        ];
        let mut report = report::table(self.name, seed, &evidence, &happened, &times);
        if !violations.is_empty() {
            report.push_str(&report::failure(seed, &violations, &happened, &folder));
        }
        self.say(&report);
        Verdict { violations, stolen: world.stolen.clone(), report, folder }
    }
}
