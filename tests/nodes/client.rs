//! A client behind a balancer that goes round: each request to the next node, and what fails is repeated, which its
//! Idempotency-Key makes safe.

use crate::support::http::{Connection, Response, request};
use crate::support::wait::{PATIENCE, within};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// Longest wait for an answer before the next node is asked.
const ANSWER: Duration = Duration::from_secs(3);
/// Between repetitions, so that a node on its way out is not asked without end.
const AGAIN: Duration = Duration::from_millis(20);

/// The nodes that the balancer knows, whether or not they are there.
pub type Known = Rc<RefCell<Vec<SocketAddr>>>;

/// One client with a kept connection to each node.
pub struct Client {
    known: Known,
    next: usize,
    lines: HashMap<SocketAddr, Connection>,
    /// Requests that had to be repeated.
    pub repeated: usize,
}

impl Client {
    /// A client that begins with the node at `first`.
    pub fn new(known: &Known, first: usize) -> Self {
        Self { known: Rc::clone(known), next: first, lines: HashMap::new(), repeated: 0 }
    }

    /// Sends an event under a key until a node has accepted it; its id. Anything but a 202, a 503 and a connection that
    /// breaks is a fault.
    pub async fn send(&mut self, ty: &str, payload: Value, key: &str) -> String {
        let body = json!({"type": ty, "payload": payload}).to_string();
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        let bytes = request("POST", "/api/events/send", &headers, Some(body.as_bytes()));
        within(PATIENCE, "an event to be accepted by any node", async {
            loop {
                if let Some(answer) = self.ask(&bytes).await {
                    if answer.status == 202 {
                        let answer = answer.json();
                        assert!(matches!(answer["status"].as_str(), Some("accepted" | "duplicate")), "{answer}");
                        return answer["id"].as_str().expect("an id").to_owned();
                    }
                    answer.problem(503);
                }
                self.repeated += 1;
                tokio::time::sleep(AGAIN).await;
            }
        })
        .await
    }

    /// Asks the next node; `None` when nothing is known of what became of it.
    async fn ask(&mut self, bytes: &[u8]) -> Option<Response> {
        let address = {
            let known = self.known.borrow();
            self.next = (self.next + 1) % known.len();
            known[self.next]
        };
        let mut line = match self.lines.remove(&address) {
            Some(line) => line,
            None => Connection::open(address).await.ok()?,
        };
        let answer = tokio::time::timeout(ANSWER, line.exchange(bytes)).await.ok()?.ok()?;
        if answer.header("connection") != Some("close") {
            self.lines.insert(address, line);
        }
        Some(answer)
    }
}
