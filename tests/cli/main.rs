//! The commands for people and scripts: the real binary against a real hub, what it prints and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod feed;
mod program;
mod register;
mod rules;
mod send;
mod streams;
mod tail;
