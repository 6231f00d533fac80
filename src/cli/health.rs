//! `health`: a probe for containers and scripts, which needs no other program there.

use super::failure::Failure;
use super::hub::Connection;
use clap::Args;
use std::time::Duration;

/// Ask a hub whether it is ready: exit code 0 or 1.
#[derive(Debug, Args)]
#[command(after_help = "Example, in a Dockerfile:
  HEALTHCHECK CMD [\"event-source-api\", \"health\", \"--alive\"]")]
pub struct Health {
    /// Where the hub is, instead of --url
    #[arg(value_name = "URL")]
    hub: Option<String>,
    /// Whether its process is alive (GET /healthz), also while its store is away
    #[arg(long)]
    alive: bool,
    /// Longest wait for the answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    #[command(flatten)]
    connection: Connection,
}

impl Health {
    /// Asks.
    ///
    /// # Errors
    /// Whatever is wrong, with exit code 1: probes know no other.
    pub async fn run(self) -> Result<(), Failure> {
        let (hub, out) = (self.connection.hub(self.hub.as_deref())?, self.connection.out());
        let (path, state) = if self.alive { ("/healthz", "alive") } else { ("/readyz", "ready") };
        let asked = tokio::time::timeout(Duration::from_secs(self.timeout), hub.get(path)).await;
        let late = || Err(Failure::Away(format!("{} did not answer within {} s", hub.base(), self.timeout)));
        match asked.unwrap_or_else(|_| late()) {
            Ok(answer) if out.json => answer.print(out),
            Ok(_) => out.line(state),
            Err(Failure::Away(line) | Failure::Unreached(line)) => Err(Failure::Refused(line)),
            Err(other) => Err(other),
        }
    }
}
