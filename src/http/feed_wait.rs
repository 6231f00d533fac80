//! `Prefer: wait=N` (RFC 7240): a feed that answers when there is something new.
//!
//! A request that waits is a live session that takes one event: it costs no thread, no look at the store, and counts
//! against `live.max_sessions`. Its place among the requests in flight it gives back, so that those who wait never keep
//! a send out.

use super::{AppState, live};
use crate::event::TypeFilter;
use crate::live::Inbox;
use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

/// The longest wait, in seconds.
pub const LONGEST: u64 = 60;
/// Bytes taken from the inbox at a time; what is taken is only counted.
const PORTION: usize = 64 * 1024;

/// `Prefer`.
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// `Preference-Applied`.
pub const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The seconds that a request is willing to wait. What is malformed is as if it were not there, as RFC 7240 has it; of
/// several the first counts.
pub fn preferred(req: &HttpRequest) -> Option<u64> {
    let values = req.headers().get_all(PREFER).filter_map(|value| value.to_str().ok());
    let mut waits = values.flat_map(preferences).filter_map(|preference| {
        // What follows a semicolon are parameters, of which `wait` has none.
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim())
    });
    let value = waits.next()?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number holds are more than the longest wait.
    digits.then(|| value.parse().unwrap_or(u64::MAX).min(LONGEST)).filter(|seconds| *seconds > 0)
}

/// Splits at commas outside of quotes.
fn preferences(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// Somebody waiting for events of some types.
pub struct Waiting(Inbox);

impl Waiting {
    /// Begins to wait: every event committed from now on ends a [`next`](Self::next). `None` when there are too many
    /// live sessions, or the hub is stopping.
    pub async fn start(state: &AppState, types: Option<&TypeFilter>) -> Option<Self> {
        let filter = types.map_or_else(TypeFilter::any, Clone::clone);
        // Its queue is emptied at each look, so nothing has to be cut.
        Inbox::open(&live::door(state), filter, None, Box::new(|| true)).await.ok().map(|(inbox, _)| Self(inbox))
    }

    /// Waits until an event was committed that a feed can show, for at most `time`. False when there was none, or the
    /// hub is stopping.
    pub async fn next(&mut self, state: &AppState, time: Duration) -> bool {
        let waiting = poll_fn(|cx| {
            loop {
                let mut shows = false;
                let taken = self.0.poll_take(cx, PORTION, |event| {
                    let entry = state.types.by_number(event.id.type_no());
                    shows |= entry.is_none_or(|entry| !entry.ttl.is_ephemeral());
                });
                match taken {
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    _ if shows => return Poll::Ready(true),
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) | Poll::Pending => return Poll::Pending,
                }
            }
        });
        tokio::time::timeout(time, waiting).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn a_wait_is_read_and_what_is_malformed_is_not_there() {
        for (value, wait) in [
            ("wait=5", Some(5)),
            ("respond-async, WAIT = 10", Some(10)),
            ("wait=\"7\"", Some(7)),
            ("foo=\"a, wait=3\", wait=4; x=y", Some(4)),
            ("wait=61", Some(60)),
            ("wait=99999999999999999999999", Some(60)),
            ("wait=2, wait=9", Some(2)),
            ("wait=0", None),
            ("wait", None),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("wait=abc", None),
            ("waiting=5", None),
            ("", None),
        ] {
            let req = TestRequest::default().insert_header((PREFER, value)).to_http_request();
            assert_eq!(preferred(&req), wait, "{value}");
        }
    }
}
