//! HTTP: one file a resource, named after it.

mod frames;
mod links;
pub mod live;
pub(crate) mod origin;
mod params;
mod problem;
pub(crate) mod session;
pub mod socket;
mod state;

pub use problem::Problem;
pub use state::{AppState, HttpSettings};
