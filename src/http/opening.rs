//! What every live session begins with, whatever it speaks: who may have one, which types, from where on.

use super::HttpSettings;
use super::origin;
use super::params;
use super::socket::PeerSocket;
use crate::access::Caller;
use crate::error::{ApiError, Code};
use crate::event::{EventId, TypeFilter};
use crate::live::{Cursor, Cut, Door, Inbox, OpenError, Refused, Resumed};
use actix_web::HttpRequest;

/// The header in which a browser says where it was; wins over `since`, which its URL keeps for ever.
const LAST_EVENT_ID: &str = "Last-Event-ID";

/// A session that is subscribed, or about to read what it has missed.
pub struct Opened {
    /// Its events.
    pub inbox: Inbox,
    /// What its client is told first.
    pub resumed: Option<Resumed>,
    /// Its connection; `None` when the server was not told of connections.
    pub socket: Option<PeerSocket>,
}

/// Opens a session for a request.
///
/// # Errors
/// 400 for a malformed filter or cursor, 403 for a page of another origin, 503 when there are too many sessions,
/// or the hub is stopping, or the store does not say what a cursor means.
pub async fn open(req: &HttpRequest, http: &HttpSettings, door: &Door, caller: &Caller) -> Result<Opened, ApiError> {
    origin::check(req, http)?;
    let (filter, since) = asked(req)?;
    let filter = caller.limit(Some(filter)).unwrap_or_else(TypeFilter::none);
    let since = match since {
        Some(id) => Some(Cursor { id, now: door.store.ping().await? }),
        None => None,
    };
    let socket = req.conn_data::<PeerSocket>().cloned();
    let cut: Cut = match socket.clone() {
        Some(socket) => Box::new(move || socket.cut()),
        None => Box::new(|| true),
    };
    let (inbox, resumed) = Inbox::open(door, filter, since, cut).await.map_err(|error| match error {
        OpenError::Refused(refused) => {
            let code = match refused {
                Refused::TooMany => Code::TooManySessions,
                Refused::Stopping => Code::ShuttingDown,
                Refused::Unavailable => Code::StoreUnavailable,
            };
            ApiError::new(code, refused.to_string())
        }
        OpenError::Store(error) => error.into(),
    })?;
    if let Some(socket) = &socket {
        socket.bound_send_buffer();
    }
    Ok(Opened { inbox, resumed, socket })
}

/// The `types` and the cursor of a request; absent types mean every type.
///
/// # Errors
/// 400 for a malformed filter or cursor.
pub fn asked(req: &HttpRequest) -> Result<(TypeFilter, Option<EventId>), ApiError> {
    let [types, since] = params::query(req.query_string(), &["types", "since"])?;
    let filter = types
        .map_or_else(|| Ok(TypeFilter::any()), |types| types.parse().map_err(|e| ApiError::parameter("types", e)))?;
    let since = since.map(|id| cursor("since", &id)).transpose()?;
    let header = req.headers().get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?").trim());
    let header = header.filter(|id| !id.is_empty()).map(|id| cursor(LAST_EVENT_ID, id)).transpose()?;
    Ok((filter, header.or(since)))
}

fn cursor(name: &str, id: &str) -> Result<EventId, ApiError> {
    id.parse().map_err(|e| ApiError::parameter(name, e))
}

/// The close code of a session whose token is no longer what it was opened with; private to this API.
pub const REVOKED: u16 = 4001;
/// What it is told.
pub const NOT_VALID: &str = "the token is no longer valid: reconnect with another";

/// What a session that was too slow is told.
pub fn slow_consumer(inbox: &mut Inbox) -> String {
    let cursor = inbox.cursor().map_or_else(String::new, |id| format!(" with since={id}"));
    format!("slow consumer: reconnect{cursor}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn since(query: &str, header: Option<&str>) -> Result<Option<u64>, Code> {
        let mut request = TestRequest::with_uri(&format!("/api/events/{query}"));
        if let Some(header) = header {
            request = request.insert_header(("last-event-id", header));
        }
        asked(&request.to_http_request()).map(|(_, since)| since.map(EventId::get)).map_err(|e| e.code)
    }

    #[test]
    fn a_cursor_comes_by_query_or_header_and_the_header_wins() {
        assert_eq!(since("", None), Ok(None));
        assert_eq!(since("?since=5", None), Ok(Some(5)));
        assert_eq!(since("?since=5", Some("7")), Ok(Some(7)));
        assert_eq!(since("?since=5", Some("")), Ok(Some(5)));
        for (query, header) in [
            ("?since=", None),
            ("?since=x", None),
            ("?since=-1", None),
            ("?since=1&since=2", None),
            ("?since=18446744073709551616", None),
            ("?since=x", Some("7")),
            ("", Some("x")),
            ("", Some("7, 8")),
        ] {
            assert_eq!(since(query, header), Err(Code::BadParameter), "{query} {header:?}");
        }
    }
}
