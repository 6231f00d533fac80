//! Whether the hub's parts still get anything done.
//!
//! `app` asks every part once a second; each answers [`Alive`] from where it works, and `/readyz` reads
//! the answers from [`Progress`]. A part that stands still cannot say so itself.

use actix::Message;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a part may be silent. Every wait inside one is bounded below this.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Answered by a part that works; `Err` with what it has been waiting for too long.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), String>")]
pub struct Alive;

/// When each part was last heard of. Written by whoever asks, read by `/readyz`.
#[derive(Debug, Default)]
pub struct Progress(Mutex<BTreeMap<String, Heard>>);

#[derive(Debug)]
struct Heard {
    at: Instant,
    trouble: Option<String>,
}

impl Progress {
    /// A part has answered, or begins to be asked.
    pub fn heard(&self, part: &str, answer: Result<(), String>, now: Instant) {
        self.lock().insert(part.to_owned(), Heard { at: now, trouble: answer.err() });
    }

    /// The first part that makes no progress, with what is known of it.
    pub fn stuck(&self, now: Instant) -> Option<String> {
        self.lock().iter().find_map(|(part, heard)| {
            let silent = now.saturating_duration_since(heard.at);
            match &heard.trouble {
                Some(trouble) => Some(format!("{part}: {trouble}")),
                None if silent > LIMIT => Some(format!("{part}: no progress for {} s", silent.as_secs())),
                None => None,
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_trouble_are_told_until_they_end() {
        let (progress, now) = (Progress::default(), Instant::now());
        assert_eq!(progress.stuck(now + LIMIT * 9), None, "nobody is asked");
        progress.heard("StoreActor", Ok(()), now);
        assert_eq!(progress.stuck(now + LIMIT), None);
        let late = now + LIMIT + Duration::from_secs(2);
        assert_eq!(progress.stuck(late).as_deref(), Some("StoreActor: no progress for 17 s"));
        progress.heard("StoreActor", Err("a flush for 30 s".into()), late);
        assert_eq!(progress.stuck(late).as_deref(), Some("StoreActor: a flush for 30 s"));
        progress.heard("StoreActor", Ok(()), late);
        assert_eq!(progress.stuck(late), None);
    }
}
