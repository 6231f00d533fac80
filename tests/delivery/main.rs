//! Delivery to webhooks and RabbitMQ, with everything that can be away being away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and shows the log of the hub it failed on"
)]

#[path = "../support/mod.rs"]
mod support;

mod dead;
mod lifecycle;
mod order;
mod outage;
mod rabbit;
mod rabbit_trouble;
mod tls;
mod tune;
mod webhook;
