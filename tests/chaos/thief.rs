//! What the program is tested with: a front that loses one event in a hundred, where the hub would not.

use crate::support::front::{Asked, front};
use crate::support::http::Response;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// One in so many.
const SHARE: usize = 100;

/// Where events are stolen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theft {
    /// Before the hub: a send is answered with 202 and goes nowhere.
    Sends,
    /// Before the webhooks: a delivery is answered with 200 and goes nowhere.
    Deliveries,
}

/// Ids of stolen events, with the stream's path or the type.
#[derive(Debug, Clone, Default)]
pub struct Stolen(Rc<RefCell<BTreeSet<(String, u64)>>>);

impl Stolen {
    /// All of them.
    pub fn all(&self) -> BTreeSet<(String, u64)> {
        self.0.borrow().clone()
    }

    fn add(&self, of: &str, id: u64) {
        self.0.borrow_mut().insert((of.to_owned(), id));
    }
}

/// A front before a hub. Of a batch it steals nothing.
pub async fn of_sends(hub: impl Fn() -> Option<SocketAddr> + 'static, stolen: Stolen) -> SocketAddr {
    let (count, last) = (Cell::new(0), Cell::new(0u64));
    let instead = move |asked: &Asked| {
        let event: Value = serde_json::from_slice(&asked.body).ok()?;
        // A batch counts as what is in it, and is let through.
        count.set(count.get() + event.as_array().map_or(1, Vec::len));
        let ty = event.get("type")?.as_str()?;
        count.set(count.get().checked_sub(SHARE)?);
        // As the hub makes them (41 bits of milliseconds since 2018, type, sequence), with a type number nobody has.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis() as u64 - 1_514_764_800_000;
        last.set(now.max(last.get() + 1));
        let id = last.get() << 23 | 16_000 << 9;
        stolen.add(ty, id);
        let body = json!({
            "id": id.to_string(), "type": ty, "created_at": "2030-01-01T00:00:00.000Z", "status": "accepted",
            "streams": [], "links": [],
        });
        Some(Response { status: 202, headers: Vec::new(), body: body.to_string().into() })
    };
    front(hub, instead).await
}

/// A front before the webhooks.
pub async fn of_deliveries(receiver: SocketAddr, stolen: Stolen) -> SocketAddr {
    let count = Cell::new(0);
    let instead = move |asked: &Asked| {
        count.set((count.get() + 1) % SHARE);
        if count.get() > 0 {
            return None;
        }
        let path = asked.line.split(' ').nth(1)?;
        stolen.add(path, asked.header("webhook-id")?.parse().ok()?);
        Some(Response { status: 200, headers: Vec::new(), body: Vec::new() })
    };
    front(move || Some(receiver), instead).await
}
