//! What the hub counts and measures of itself: where each layer notes a fact, and how `/metrics` shows it.
//!
//! Every figure is a static of atomics, so that noting one costs an addition: no look-up, no lock, no allocation.
//! Figures are of this process and start at zero with it. What stands in the store (backlogs, dead letters) is asked
//! for when somebody looks, not kept here.
//!
//! | file | what |
//! | --- | --- |
//! | `table` | every metric there is: name, kind, labels, meaning; `docs/metrics.md` is the same table |
//! | `kinds` | counter, gauge, histogram |
//! | `sends`, `commits`, `deliveries`, `sessions`, `answers` | the figures, one file a subject |
//! | `page` | the text that Prometheus reads |

mod answers;
mod commits;
mod deliveries;
mod kinds;
mod page;
mod sends;
mod sessions;
mod table;

pub use answers::{ANSWERS, Answers, FEEDS, Feeds};
pub use commits::{COMMITS, Commits, STORE, StoreErrors};
pub use deliveries::{DELIVERIES, Deliveries, Outcome, SOURCES};
pub use kinds::{Counter, Gauge, Histogram, Reading};
pub use page::Page;
pub use sends::{DISCARDED_TYPES, SENDS, Sends};
pub use sessions::{LIVE, LiveFigures};
pub use table::*;
