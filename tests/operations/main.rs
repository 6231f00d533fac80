//! Starting, stopping, and a store that goes away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod master_away;
mod settings;
mod shutdown;
mod store_away;
