//! What is registered before the load begins: three types, six streams, and what each is there to show.

use serde_json::{Value, json};

/// A type of the scenario.
#[derive(Debug)]
pub struct TypeSpec {
    /// Its name.
    pub name: &'static str,
    /// Its lifetime.
    pub ttl: &'static str,
    /// Whether its events are in the feed.
    pub stored: bool,
}

/// A stream of the scenario.
#[derive(Debug)]
pub struct StreamSpec {
    /// Index of its type.
    pub ty: usize,
    /// Its name.
    pub name: &'static str,
    /// Webhook, else RabbitMQ.
    pub hook: bool,
    /// Most events in memory on each node: what a fault can make come twice.
    pub mailbox: usize,
    /// Most attempts at a time on each node; 1 promises order.
    pub concurrency: usize,
    /// Attempts before an event is a dead letter.
    pub attempts: u32,
    /// Whether marked events are refused for ever, so that there are dead letters whatever the faults are.
    pub refuses_marked: bool,
}

/// So many attempts that no fault of a plan uses them up.
const PLENTY: u32 = 1000;

/// The types; an event names its own by the index.
pub const TYPES: [TypeSpec; 3] = [
    TypeSpec { name: "chaos:plain", ttl: "30days", stored: true },
    TypeSpec { name: "chaos:line", ttl: "permanent", stored: true },
    TypeSpec { name: "chaos:brief", ttl: "ephemeral", stored: false },
];

/// The streams; records name them by the index. Mailboxes are small, so that the bound on what may come twice is
/// worth something.
pub const STREAMS: [StreamSpec; 6] = [
    stream(0, "hook", true, 32, 8),
    StreamSpec { attempts: 3, refuses_marked: true, ..stream(0, "touchy", true, 16, 4) },
    stream(0, "queue", false, 32, 8),
    stream(1, "hook", true, 16, 1),
    stream(1, "queue", false, 16, 1),
    stream(2, "hook", true, 32, 8),
];

const fn stream(ty: usize, name: &'static str, hook: bool, mailbox: usize, concurrency: usize) -> StreamSpec {
    StreamSpec { ty, name, hook, mailbox, concurrency, attempts: PLENTY, refuses_marked: false }
}

impl StreamSpec {
    /// Whether its deliveries are promised in commit order.
    pub fn ordered(&self) -> bool {
        self.concurrency == 1
    }

    /// `type/name`, for people.
    pub fn label(&self) -> String {
        format!("{}/{}", TYPES[self.ty].name, self.name)
    }

    /// The stream as a registration has it, for a target given as its own fields.
    pub fn registration(&self, target: &Value) -> Value {
        let mut registration = json!({
            "name": self.name, "mailbox": self.mailbox, "concurrency": self.concurrency,
            "retry": {"attempts": self.attempts, "first": "50ms", "max": "400ms"},
        });
        for (field, value) in target.as_object().expect("fields of a target") {
            registration[field] = value.clone();
        }
        registration
    }
}
