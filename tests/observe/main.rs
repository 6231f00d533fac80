//! What the hub says of itself: metrics, the overview, logs, traces.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod deploy;
mod figures;
mod logs;
mod metrics;
mod overview;
mod style;
mod traces;
