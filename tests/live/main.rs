//! The live side at the level of frames and sockets: what RFC 6455 asks of a server, and peers that never read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod conformance;
mod partitions;
mod python;
mod raw;
mod replay;
mod stalled;
mod two_nodes;
mod vanished;
