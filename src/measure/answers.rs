//! Answers of the HTTP side, and of feeds among them.

use super::kinds::SHORT;
use super::{Counter, Histogram};

/// The figures of all answers.
pub static ANSWERS: Answers = Answers { classes: [const { Counter::new() }; 5] };

/// Answers by class of status.
#[derive(Debug)]
pub struct Answers {
    classes: [Counter; 5],
}

impl Answers {
    /// A request was answered with this status.
    pub fn note(&self, status: u16) {
        if let Some(counter) = usize::from(status / 100).checked_sub(1).and_then(|class| self.classes.get(class)) {
            counter.add(1);
        }
    }

    /// So far, by class (`2xx`).
    pub fn by_class(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&self.classes).map(|(class, count)| (class, count.get()))
    }
}

/// The figures of feeds.
pub static FEEDS: Feeds =
    Feeds { time: Histogram::of_times(SHORT), pages: Counter::new(), not_modified: Counter::new() };

/// Feeds that were answered.
#[derive(Debug)]
pub struct Feeds {
    /// From asking to answering, of those that did not wait for an event.
    pub time: Histogram,
    /// Answered with events.
    pub pages: Counter,
    /// Answered with 304.
    pub not_modified: Counter,
}
