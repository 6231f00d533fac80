//! The contract as a client sees it over HTTP and WebSocket, on both stores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod dashboard;
mod event;
mod feed;
mod feed_cache;
mod feed_client;
mod feed_shared;
mod feed_wait;
mod health;
mod lifetime;
mod live;
mod live_controls;
mod live_example;
mod live_full_speed;
mod live_resume;
mod live_sse;
mod nasty;
mod openapi;
mod payload;
mod register;
mod register_invalid;
mod send;
