//! Starting, stopping, who may do what, TLS, more than the hub can take, and a store that goes away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod admission;
mod clocks;
mod master_away;
mod settings;
mod shutdown;
mod store_away;
mod store_tls;
mod tls;
