//! Several hubs on one Redis: what one does the others know, and what one leaves undone the others do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod announce;
mod client;
mod failover;
mod fenced;
mod follower;
mod gate;
mod hubs;
mod live;
mod ordered;
mod registry;
mod rolling;
mod skew;
mod stale;
mod streams;
mod takeover;
