//! A live session as Server-Sent Events (WHATWG HTML, 9.2): a body that never ends.
//!
//! The connection asks for the next piece when it has room to write, so events are taken from the [`Inbox`] only
//! as fast as the peer reads, as in a WebSocket session.

use super::HttpSettings;
use super::controls;
use super::opening::{self, Opened};
use crate::access::Pass;
use crate::error::ApiError;
use crate::live::{Door, Ending, Inbox, LiveEvent};
use actix_web::http::header::{CACHE_CONTROL, VARY};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::Stream;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// About how many bytes of events are taken at a time.
const PORTION: usize = 64 * 1024;
/// After how many milliseconds a client that has lost the connection comes back.
const RETRY_MS: u32 = 2000;
/// The codes of a WebSocket's close frame, which the last control message names as well.
const SLOW: u16 = 4000;
const AWAY: u16 = 1001;

/// Answers a request with a stream of events.
///
/// # Errors
/// As [`opening::open`].
pub async fn start(req: &HttpRequest, http: &HttpSettings, door: &Door, pass: Pass) -> Result<HttpResponse, ApiError> {
    let Opened { inbox, resumed, socket: _ } = opening::open(req, http, door, &pass.caller).await?;
    let mut first = format!("retry: {RETRY_MS}\n\n").into_bytes();
    if let Some(resumed) = &resumed {
        control(&controls::resumed(resumed), &mut first);
    }
    let heartbeat = door.settings.heartbeat;
    let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut response = HttpResponse::Ok();
    response.content_type("text/event-stream").insert_header((CACHE_CONTROL, "no-store"));
    // Proxies that gather answers would keep events back; nginx is told so by this.
    response.insert_header(("X-Accel-Buffering", "no")).insert_header((VARY, "Accept"));
    // The connection carries nothing after a stream: what ends one may end the other.
    response.force_close();
    Ok(response.streaming(Body { inbox: Some(inbox), first: Some(first), beat, revoked: Box::pin(pass.ended()) }))
}

/// One stream.
struct Body {
    /// Its events; dropping it ends the subscription. `None` after the last message.
    inbox: Option<Inbox>,
    /// What is sent at once.
    first: Option<Vec<u8>>,
    /// When a comment is due.
    beat: Interval,
    /// When its token is not good any more.
    revoked: Pin<Box<dyn Future<Output = ()>>>,
}

impl Stream for Body {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first.into())));
        }
        let Some(inbox) = &mut this.inbox else { return Poll::Ready(None) };
        let mut out = Vec::new();
        let ending = match inbox.poll_take(cx, PORTION, |event| write_event(event, &mut out)) {
            Poll::Ready(Ok(more)) => {
                if more {
                    cx.waker().wake_by_ref();
                }
                None
            }
            Poll::Ready(Err(ending)) => Some(ending),
            Poll::Pending => None,
        };
        if this.beat.poll_tick(cx).is_ready() {
            // Its next time is set by being asked for.
            let _ = this.beat.poll_tick(cx);
            out.extend_from_slice(b":\n\n");
        }
        if let Some(ending) = ending {
            let message = match ending {
                Ending::TooSlow => controls::closed(SLOW, &opening::slow_consumer(inbox)),
                Ending::GoingAway => controls::closed(AWAY, "the hub is shutting down"),
            };
            control(&message, &mut out);
            this.inbox = None;
        } else if this.revoked.as_mut().poll(cx).is_ready() {
            control(&controls::closed(opening::REVOKED, opening::NOT_VALID), &mut out);
            this.inbox = None;
        }
        if out.is_empty() { Poll::Pending } else { Poll::Ready(Some(Ok(out.into()))) }
    }
}

/// `id:` and `data:`.
fn write_event(event: &LiveEvent, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(event.id.to_string().as_bytes());
    out.push(b'\n');
    data(&event.json, out);
}

/// A message that is no event: it has no id, and so does not move the client's cursor.
fn control(json: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: control\n");
    data(json, out);
}

/// Each line by itself, for a payload is as it was sent and may have line ends between its tokens (never inside
/// a string, where JSON escapes them).
fn data(json: &str, out: &mut Vec<u8>) {
    let mut rest = json;
    loop {
        let end = rest.find(['\r', '\n']);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().as_bytes());
        out.push(b'\n');
        let Some(end) = end else { break };
        let after = rest.get(end..).unwrap_or_default();
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..)).unwrap_or_default();
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Position, TypeNo};
    use crate::http::testing::json_text;
    use proptest::prelude::*;

    fn written(json: &'static str) -> String {
        let id = EventId::new(TypeNo::new(0).unwrap(), Position::new(5));
        let mut out = Vec::new();
        write_event(&LiveEvent { id, json: json.into() }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_end_begins_another_line_of_data() {
        assert_eq!(written("{}"), "id: 5\ndata: {}\n\n");
        assert_eq!(written("{\n\"a\":\r\n1\r}"), "id: 5\ndata: {\ndata: \"a\":\ndata: 1\ndata: }\n\n");
        assert_eq!(written("[\n\n\r\r\n]"), "id: 5\ndata: [\ndata: \ndata: \ndata: \ndata: ]\n\n");
    }

    #[test]
    fn a_control_message_has_no_id() {
        let mut out = Vec::new();
        control("{}", &mut out);
        assert_eq!(out, b"event: control\ndata: {}\n\n");
    }

    proptest! {
        #[test]
        fn any_event_is_read_back_with_its_tokens_as_they_were(json in json_text()) {
            let id = EventId::new(TypeNo::new(3).unwrap(), Position::new(77));
            let mut out = Vec::new();
            write_event(&LiveEvent { id, json: json.clone().into() }, &mut out);
            let text = String::from_utf8(out).unwrap();
            let (message, rest) = text.split_once("\n\n").unwrap();
            prop_assert_eq!(rest, "");
            let mut lines = message.split('\n');
            let first = format!("id: {id}");
            prop_assert_eq!(lines.next(), Some(first.as_str()));
            let data: Vec<_> = lines.map(|line| line.strip_prefix("data: ").unwrap()).collect();
            // Line ends stand between tokens only, where any of them means the same.
            let plain = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(data.join("\n"), plain(&json));
        }
    }
}
