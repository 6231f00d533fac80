//! HTTP: one file a resource, named after it.

mod state;

pub use state::{AppState, HttpSettings};
