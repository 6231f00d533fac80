//! What is the embedded store's alone: restarts, the folder, its clock, sweeping, and costs that must not
//! grow with what is stored. The contract both stores share is tested elsewhere.

mod feed;
mod folder;
mod outbox;
mod restart;
mod speed;
mod support;
mod sweep;
