//! Event Source API: an event hub in one binary.
//!
//! Services send events over HTTP and know nothing of messaging or persistence. An event of a
//! registered type is stored for its lifetime, delivered to RabbitMQ and webhooks, pushed live to
//! WebSockets, and readable as a feed cut by time with marks per client.
//!
//! # The map
//!
//! Data flows one way: HTTP → registry → store → streams and live.
//!
//! | module | what |
//! | --- | --- |
//! | [`event`] | ids, types, filters, lifetimes, slices: pure values |
//! | [`error`] | the one table of problems |
//! | [`store`] | the `Store` trait, the batching `StoreActor`, Redis and embedded |
//! | [`live`] | `BroadcastActor`: commits to sessions |
//! | [`streams`] | `SinkActor` a stream: outbox to webhook and RabbitMQ |
//! | [`registry`] | `RegistryActor`: type configurations and their SinkActors |
//! | [`http`] | one file a resource; problem documents; sessions |
//! | [`access`] | tokens, their scopes and limits |
//! | [`alive`] | whether the parts still get anything done |
//! | [`measure`] | what is counted, and how `/metrics` shows it |
//! | [`logs`] | the form of log lines, and which request they are about |
//! | `trust` | whom TLS connections trust |
//! | [`config`] | settings: defaults, file, environment |
//! | [`cli`] | the commands of people and scripts: HTTP clients of a hub, and `check` |
//! | [`app`] | puts it together, and takes it apart in order |

pub mod access;
pub mod alive;
pub mod app;
pub mod cli;
pub mod config;
pub mod error;
pub mod event;
pub mod http;
pub mod live;
pub mod logs;
pub mod measure;
pub mod registry;
pub mod store;
pub mod streams;
mod trust;
