//! What is the embedded store's alone: restarts, the folder, its clock, sweeping, and costs that must not
//! grow with what is stored. The contract both stores share is tested elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

mod broken;
mod bulk;
mod bulk_kill;
mod feed;
mod folder;
mod outbox;
mod restart;
mod support;
mod sweep;
