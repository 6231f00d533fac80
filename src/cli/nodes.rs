//! `nodes`: the hubs on the same store.

use super::failure::Failure;
use super::hub::Connection;
use super::out::{Cell, Tone, cell, span};
use clap::Args;
use serde::Deserialize;

/// A node that was not heard of for so long is about to be taken for gone.
const QUIET_MS: u64 = 5_000;

/// Show the hubs that share the store.
#[derive(Debug, Args)]
pub struct Nodes {
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Deserialize)]
struct All {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    #[serde(rename = "self")]
    own: bool,
    state: String,
    since: String,
    seen_age_ms: u64,
    version: String,
    host: String,
    addresses: Vec<String>,
    sessions: u64,
    requests: u64,
    in_flight: u64,
    waiting: u64,
}

impl Nodes {
    /// Shows them.
    ///
    /// # Errors
    /// When the hub refuses or is away.
    pub async fn run(self) -> Result<(), Failure> {
        let (hub, out) = (self.connection.hub(None)?, self.connection.out());
        let answer = hub.get("/api/events/nodes").await?;
        if out.json {
            return answer.print(out);
        }
        let All { nodes } = answer.json()?;
        let rows: Vec<Vec<Cell>> = nodes.iter().map(row).collect();
        let head = [
            "NODE",
            "STATE",
            "HOST",
            "ADDRESS",
            "VERSION",
            "SINCE",
            "SEEN",
            "SESSIONS",
            "REQUESTS",
            "IN FLIGHT",
            "WAITING",
        ];
        out.table(&head, &rows)
    }
}

fn row(node: &Node) -> Vec<Cell> {
    let own = if node.own { "*" } else { "" };
    vec![
        cell(format!("{}{own}", node.id)),
        (super::out::printable(&node.state), if node.state == "running" { Tone::Good } else { Tone::Warn }),
        cell(&node.host),
        cell(node.addresses.join(",")),
        cell(&node.version),
        cell(&node.since),
        (format!("{} ago", span(node.seen_age_ms)), if node.seen_age_ms < QUIET_MS { Tone::Plain } else { Tone::Warn }),
        cell(node.sessions.to_string()),
        cell(node.requests.to_string()),
        cell(node.in_flight.to_string()),
        cell(node.waiting.to_string()),
    ]
}
