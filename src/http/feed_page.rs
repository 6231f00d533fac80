//! A feed's answer: events and links. Stored payloads are copied, never parsed.

use super::links::{API, Base, Link, write_encoded, write_links};
use crate::event::{Bounds, ClientId, EventId, Millis, Slice, TypeFilter, rfc3339, write_members, write_rfc3339};
use crate::registry::{TypeEntry, TypeView};
use crate::store::{Page, StoredEvent};
use std::fmt::Write;
use std::sync::Arc;

/// Which events of a client's feed are shown (`status=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Those it has not marked.
    Pending,
    /// Those it has marked.
    Processed,
    /// Both.
    All,
}

impl Show {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Processed, Self::All];

    /// As it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processed => "processed",
            Self::All => "all",
        }
    }
}

/// One slice as somebody wants to see it. What was not asked for stays away from its links, too.
#[derive(Debug)]
pub struct View {
    /// How time is cut.
    pub slice: Slice,
    /// The slice.
    pub bounds: Bounds,
    /// Whether it has not ended.
    pub current: bool,
    /// Whose marks count.
    pub client: Option<ClientId>,
    /// Which types.
    pub types: Option<TypeFilter>,
    /// How many events at most.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub after: Option<EventId>,
    /// Which of a client's events.
    pub show: Option<Show>,
}

impl View {
    /// The URL of the slice that starts at `start`, or of the current one.
    pub fn url(&self, start: Option<Millis>, after: Option<EventId>, base: &Base<'_>) -> String {
        let mut path = format!("{API}/feed/{}/", self.slice);
        path.push_str(&start.map_or_else(|| "current".to_owned(), rfc3339));
        if let Some(client) = &self.client {
            path.push_str("/client/");
            write_encoded(client.as_str(), &mut path);
        }
        let limit = self.limit.map(|limit| limit.to_string());
        let after = after.map(|id| id.to_string());
        let types = self.types.as_ref().map(TypeFilter::to_string);
        let query = [
            ("types", types.as_deref()),
            ("status", self.show.map(Show::as_str)),
            ("limit", limit.as_deref()),
            ("after", after.as_deref()),
        ];
        let mut separator = '?';
        for (name, value) in query {
            if let Some(value) = value {
                // Writing into a String cannot fail.
                let _ = write!(path, "{separator}{name}=");
                write_encoded(value, &mut path);
                separator = '&';
            }
        }
        base.url(&path)
    }
}

/// Where the feed goes on: `self`, `prev`, `next` unless there is nothing newer, `current`, and `more`
/// when the page was cut after event `more`.
pub fn links(view: &View, more: Option<EventId>, base: &Base<'_>) -> Vec<Link> {
    let Bounds { start, end } = view.bounds;
    let mut links = vec![Link::new("self", view.url(Some(start), view.after, base))];
    if let Some(before) = view.slice.at(start - 1) {
        links.push(Link::new("prev", view.url(Some(before.start), None, base)));
    }
    if let Some(after) = view.slice.at(end).filter(|_| !view.current) {
        links.push(Link::new("next", view.url(Some(after.start), None, base)));
    }
    links.push(Link::new("current", view.url(None, None, base)));
    if let Some(last) = more {
        links.push(Link::new("more", view.url(Some(start), Some(last), base)));
    }
    links
}

/// The last event of a page that was cut: where the next one begins.
pub fn cut(page: &Page) -> Option<EventId> {
    page.events.last().filter(|_| page.more).map(|event| event.id)
}

/// `{"events": […], "links": […]}`.
pub fn render(view: &View, page: &Page, links: &[Link], types: &TypeView, base: &Base<'_>) -> Vec<u8> {
    let payloads: usize = page.events.iter().map(|event| event.payload.len()).sum();
    let mut out = Vec::with_capacity(payloads + page.events.len() * 320 + 1024);
    out.extend_from_slice(b"{\"events\":[");
    let mut entry: Option<Arc<TypeEntry>> = None;
    let mut first = true;
    for event in &page.events {
        // Neighbours are mostly of one type.
        let type_no = event.id.type_no();
        if entry.as_ref().is_none_or(|e| e.type_no != type_no) {
            entry = types.by_number(type_no);
        }
        // The types that were read came from the same view, which forgets none.
        let Some(entry) = &entry else { continue };
        if !first {
            out.push(b',');
        }
        first = false;
        out.push(b'{');
        write_members(event.id, &entry.name, &event.payload, &mut out);
        if let Some(client) = &view.client {
            write_mark(event, client, base, &mut out);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"],\"links\":");
    write_links(links, &mut out);
    out.push(b'}');
    out
}

/// When the client marked it, or how it can.
fn write_mark(event: &StoredEvent, client: &ClientId, base: &Base<'_>, out: &mut Vec<u8>) {
    if let Some(at) = event.processed_at {
        out.extend_from_slice(b",\"processed_at\":\"");
        write_rfc3339(at, out);
        out.push(b'"');
        return;
    }
    out.extend_from_slice(b",\"links\":[{\"rel\":\"mark-processed\",\"href\":\"");
    base.write(out);
    out.extend_from_slice(API.as_bytes());
    out.push(b'/');
    out.extend_from_slice(event.id.to_string().as_bytes());
    out.extend_from_slice(b"/ok/");
    // A client's characters need no encoding in a path, and no escaping in JSON.
    out.extend_from_slice(client.as_str().as_bytes());
    out.extend_from_slice(b"\",\"method\":\"PUT\"}]");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, TypeNo, parse_instant};
    use crate::http::testing::Hub;
    use bytes::Bytes;
    use serde_json::{Value, json};

    const BASE: &str = "http://h";

    fn view(slice: &str, at: &str, current: bool) -> View {
        let slice: Slice = slice.parse().unwrap();
        let bounds = slice.at(parse_instant(at).unwrap()).unwrap();
        View { slice, bounds, current, client: None, types: None, limit: None, after: None, show: None }
    }

    fn event(type_no: u16, at: &str, payload: &str) -> StoredEvent {
        let position = Position::first_of(parse_instant(at).unwrap());
        let id = EventId::new(TypeNo::new(type_no).unwrap(), position);
        StoredEvent { id, payload: Bytes::copy_from_slice(payload.as_bytes()), processed_at: None }
    }

    fn hrefs(view: &View, page: &Page) -> Vec<(&'static str, String)> {
        links(view, cut(page), &Base::fixed(BASE)).into_iter().map(|l| (l.rel, l.href)).collect()
    }

    #[test]
    fn links_are_aligned_and_keep_what_was_asked_for() {
        let view = View {
            client: Some("c~1".parse().unwrap()),
            types: Some("a:*,b".parse().unwrap()),
            limit: Some(7),
            after: Some("99".parse().unwrap()),
            show: Some(Show::All),
            ..view("hour", "2018-02-01T11:12:01Z", false)
        };
        let last = event(1, "2018-02-01T11:05:00Z", "1");
        let page = Page { events: vec![last.clone()], more: true };
        let query = "types=a:*,b&status=all&limit=7";
        let at = |hour: &str| format!("http://h/api/events/feed/hour/2018-02-01T{hour}:00:00.000Z/client/c~1?{query}");
        assert_eq!(
            hrefs(&view, &page),
            [
                ("self", at("11") + "&after=99"),
                ("prev", at("10")),
                ("next", at("12")),
                ("current", format!("http://h/api/events/feed/hour/current/client/c~1?{query}")),
                ("more", format!("{}&after={}", at("11"), last.id)),
            ]
        );
    }

    #[test]
    fn the_current_slice_has_no_next_and_the_first_no_prev() {
        let rels = |view: &View| hrefs(view, &Page::default()).into_iter().map(|l| l.0).collect::<Vec<_>>();
        assert_eq!(rels(&view("week", "2018-02-01T11:12:01Z", true)), ["self", "prev", "current"]);
        assert_eq!(rels(&view("hour", "0000-01-01T00:00:00Z", false)), ["self", "next", "current"]);
        assert_eq!(rels(&view("month", "9999-11-30T00:00:00Z", false)), ["self", "prev", "current"]);
    }

    #[actix_web::test]
    async fn payloads_are_copied_and_marks_shown() {
        let hub = Hub::start().await;
        let (ab, c) = (hub.register("a:b", &[]).await.get(), hub.register("c", &[]).await.get());
        let types = hub.state.types;
        let mut marked = event(c, "2018-02-01T11:05:00Z", "[1.50, 1e400]");
        marked.processed_at = Some(parse_instant("2018-02-01T11:06:00Z").unwrap());
        let page = Page { events: vec![event(ab, "2018-02-01T11:05:01Z", "null"), marked], more: false };
        let mut view = view("hour", "2018-02-01T11:12:01Z", true);
        let plain = render(&view, &page, &[], &types, &Base::fixed(BASE));
        let text = String::from_utf8(plain).unwrap();
        assert!(text.contains("\"payload\":[1.50, 1e400],"));
        assert!(!text.contains("mark-processed") && !text.contains("processed_at"));
        view.client = Some("x".parse().unwrap());
        let body: Value = serde_json::from_slice(&render(
            &view,
            &Page { events: page.events[..1].to_vec(), more: false },
            &[],
            &types,
            &Base::fixed(BASE),
        ))
        .unwrap();
        let id = page.events[0].id.to_string();
        let href = format!("http://h/api/events/{id}/ok/x");
        assert_eq!(
            body,
            json!({"events": [{
                "id": id, "type": "a:b", "payload": null, "created_at": "2018-02-01T11:05:01.000Z",
                "links": [{"rel": "mark-processed", "href": href, "method": "PUT"}],
            }], "links": []})
        );
        let text = String::from_utf8(render(&view, &page, &[], &types, &Base::fixed(BASE))).unwrap();
        assert!(text.contains("\"processed_at\":\"2018-02-01T11:06:00.000Z\"}"));
    }
}
