//! HTTP: one file a resource, named after it.
//!
//! [`app`] is the actix app that serves everything, given an [`AppState`]. Handlers
//! return [`Problem`] for whatever goes wrong; `admission` makes sure that errors which actix itself
//! answers leave as problem documents, too. What cannot be caught here: requests whose head is not
//! HTTP at all, or too slow or too large, which the connection answers before there is a request
//! (400, 408 and 431 with an empty body).

mod accept;
mod admission;
mod answer;
mod attempts;
mod attention;
mod authorise;
mod body;
mod carry;
mod clients;
mod clock;
mod commands;
mod controls;
mod cors;
mod counts;
mod dashboard;
mod dead;
mod descriptor;
mod discarded;
mod doors;
mod event;
mod feed;
mod feed_asked;
mod feed_cache;
mod feed_look;
mod feed_page;
mod feed_tag;
#[cfg(test)]
mod feed_tests;
mod feed_wait;
mod frames;
mod health;
mod history;
mod host;
mod json;
mod links;
mod live;
mod marks;
mod metrics;
mod nodes;
mod openapi;
mod opening;
mod origin;
mod outgoing;
mod outlook;
mod overview;
mod page;
mod params;
mod problem;
mod register;
mod replay;
mod request;
mod routes;
mod send;
mod send_again;
mod send_batch;
mod send_item;
mod session;
mod sign_in;
pub mod socket;
mod sse;
mod state;
mod store;
mod stream_history;
mod stream_ref;
mod streams;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod turn;
#[cfg(test)]
mod wire_tests;

pub use carry::carry;
pub use clock::StoreClock;
pub use descriptor::descriptors_each;
pub use feed_cache::Feeds;
pub use history::keep as keep_history;
pub use outgoing::Outgoing;
pub use outlook::Outlook;
pub use problem::Problem;
pub use routes::app;
pub use state::{AppState, HttpSettings, RegistryHandle};
