//! The commands that people and scripts give. Each talks to a hub over HTTP as anybody does, apart from `check`, which
//! looks at what a hub would need, and `token`.
//!
//! | file | what |
//! | --- | --- |
//! | `send`, `register`, `tail`, `feed`, `streams`, `dead`, `nodes`, `health`, `check`, `token` | a command each |
//! | `hub` | the HTTP client, and problem documents as a line |
//! | `event`, `sse` | what a hub sends |
//! | `out`, `failure` | how results and failures are shown, and exit codes |
//!
//! Results go to standard output, all else to standard error. Nothing is logged here.

mod check;
mod dead;
mod event;
mod failure;
mod feed;
mod health;
mod hub;
mod nodes;
mod out;
mod register;
mod send;
mod sse;
mod streams;
mod tail;
mod token;

pub use failure::EXIT_CODES;

use clap::Subcommand;
use std::path::Path;
use std::process::ExitCode;

/// What a person or script may want of a hub.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send an event, or many.
    Send(send::Send),
    /// Register types from a JSON file.
    Register(register::Register),
    /// Print live events as they happen; goes on where it was after a lost connection.
    Tail(tail::Tail),
    /// Print the events of a slice of time.
    Feed(feed::Feed),
    /// Show streams; pause, resume, tune, replay or end one.
    Streams(streams::Streams),
    /// Show a stream's dead letters, send them again, or delete them.
    Dead(dead::Dead),
    /// Show the hubs that share the store.
    Nodes(nodes::Nodes),
    /// Check settings, store, brokers and address before a hub is started: what is wrong, and how to mend it.
    Check(check::Check),
    /// Ask a hub whether it is ready: exit code 0 or 1.
    Health(health::Health),
    /// Make an access token: prints it, and what auth.tokens is to say of it.
    Token(token::Token),
}

impl Command {
    /// Runs it to its end. `config` is the settings file of the command line.
    pub fn run(self, config: Option<&Path>) -> ExitCode {
        let done = actix::System::new().block_on(async {
            match self {
                Self::Send(send) => send.run().await,
                Self::Register(register) => register.run().await,
                Self::Tail(tail) => tail.run().await,
                Self::Feed(feed) => feed.run().await,
                Self::Streams(streams) => streams.run().await,
                Self::Dead(dead) => dead.run().await,
                Self::Nodes(nodes) => nodes.run().await,
                Self::Check(check) => check.run(config).await,
                Self::Health(health) => health.run().await,
                Self::Token(token) => token.run(),
            }
        });
        let Err(failure) = done else { return ExitCode::SUCCESS };
        if let Some(line) = failure.line() {
            out::say(&line);
        }
        failure.code()
    }
}
