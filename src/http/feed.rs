//! `GET /api/events/feed/{slice}/{at}` and `…/client/{client}`: stored events, cut by time.
//!
//! "Current" and "in the future" are judged by the store's clock. An event's place in time is its
//! commit, so a slice that has ended gains no events.
//!
//! | file | what |
//! | --- | --- |
//! | `feed` | the way of a request |
//! | `feed_page` | body and links |
//! | `feed_tag` | `ETag` and `If-None-Match` |
//! | `feed_wait` | `Prefer: wait=N` |
//! | `feed_cache` | what requests for the same feed share |

use super::feed_cache::Rendered;
use super::feed_page::{Show, View};
use super::feed_tag::{Content, Known};
use super::feed_wait::Waiting;
use super::links::Base;
use super::socket::PeerSocket;
use super::{AppState, Problem, admission, feed_page, feed_wait, links, params};
use crate::error::ApiError;
use crate::event::{Bounds, ClientId, EventId, HUB_EPOCH_MS, Millis, Slice, TypeFilter, parse_instant};
use crate::measure::FEEDS;
use crate::store::{Marked, Page, ReadQuery, Stamp, StampQuery, StoreError, TypeRef};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, LINK};
use actix_web::{HttpRequest, HttpResponse, web};
use std::pin::pin;
use std::time::{Duration, Instant};

const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;
/// The longest time, in seconds, for which an answer may be kept.
const YEAR: Millis = 365 * 86_400;

/// The feed of all events.
pub async fn all(
    req: HttpRequest,
    path: web::Path<(String, String)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (slice, at) = path.into_inner();
    answer_for(&req, &slice, &at, None, &state).await
}

/// A client's feed, with what it has not marked processed.
pub async fn of_client(
    req: HttpRequest,
    path: web::Path<(String, String, String)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let (slice, at, client) = path.into_inner();
    answer_for(&req, &slice, &at, Some(&client), &state).await
}

async fn answer_for(
    req: &HttpRequest,
    slice: &str,
    at: &str,
    client: Option<&str>,
    state: &AppState,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(slice, at, client, req.query_string())?;
    let began = Instant::now();
    let look = Look { req, state, asked: &asked, base: Base::of(req, &state.http) };
    let mut found = look.find().await?;
    // A later page of a slice is about what is there; who asks for the head alone does not want to wait.
    let wait = feed_wait::preferred(req).filter(|_| found.view.current && asked.after.is_none());
    let mut applied = wait.filter(|_| req.method() == Method::GET);
    if let Some(seconds) = applied.filter(|_| found.is_nothing_new()) {
        match look.wait(Duration::from_secs(seconds)).await? {
            Some(after) => found = after,
            None => applied = None,
        }
    }
    if applied.is_none() {
        FEEDS.time.time(began.elapsed());
    }
    let mut response = look.answer(found);
    if let Some(seconds) = applied {
        response.headers_mut().insert(feed_wait::APPLIED, header_value(&format!("wait={seconds}")));
    }
    Ok(response)
}

/// A request for a feed.
struct Look<'a> {
    req: &'a HttpRequest,
    state: &'a AppState,
    asked: &'a Asked,
    base: Base<'a>,
}

/// What a look at the store has found.
struct Found {
    view: View,
    /// `None` when the store cannot tell now what the page is made of.
    content: Option<Content>,
    /// Seconds for which nothing changes, of a slice that is closed.
    fresh: Option<Millis>,
    shown: Shown,
}

enum Shown {
    /// The page that the request knows already, cut there.
    Same(Option<EventId>),
    /// A page. `true` when the request wants none, whatever it is.
    Page(Rendered, bool),
}

impl Found {
    /// Whether somebody who prefers to wait would.
    fn is_nothing_new(&self) -> bool {
        match &self.shown {
            Shown::Same(_) => true,
            Shown::Page(page, unwanted) => page.empty || *unwanted,
        }
    }
}

impl Look<'_> {
    async fn find(&self) -> Result<Found, Problem> {
        let state = self.state;
        let view = self.asked.at(state.clock.now(&*state.store).await?)?;
        // The stamp first: a page may be newer than its tag, which is then not met again, and never older.
        let stamp = self.stamp(&view).await?;
        let content = stamp.digest.map(|digest| Content::new(&digest, &view, &self.base));
        let fresh = content.and_then(|_| self.fresh(&view, &stamp));
        let shown = match content.map_or(Known::No, |content| content.known(self.req)) {
            Known::Same(more) => Shown::Same(more),
            Known::No => Shown::Page(self.page(&view, content).await?, false),
            Known::Any => Shown::Page(self.page(&view, content).await?, true),
        };
        Ok(Found { view, content, fresh, shown })
    }

    /// Waits for the first event that shows. `None` when there is no room for one who waits.
    async fn wait(&self, time: Duration) -> Result<Option<Found>, Problem> {
        let deadline = Instant::now() + time;
        let Some(mut waiting) = Waiting::start(self.state, self.asked.types.as_ref()).await else { return Ok(None) };
        admission::leave(self.req);
        let peer = self.req.conn_data::<PeerSocket>();
        let mut gone = pin!(async {
            match peer {
                Some(peer) => peer.gone().await,
                // Who waits is then answered when the time is up.
                None => std::future::pending().await,
            }
        });
        loop {
            // Also before the first event: it may have been committed since the first look.
            let turn = self.state.feeds.late.acquire().await;
            let found = self.find().await?;
            drop(turn);
            let mut left = deadline.saturating_duration_since(Instant::now());
            if self.asked.at.is_some() {
                // A slice that was named ends, and gets no more events.
                let now = self.state.clock.now(&*self.state.store).await?;
                left = left.min(Duration::from_millis(u64::try_from(found.view.bounds.end - now).unwrap_or(0)));
            }
            if !found.is_nothing_new() || left.is_zero() {
                return Ok(Some(found));
            }
            let more = tokio::select! {
                more = waiting.next(self.state, left) => more,
                // Whatever is answered now, nobody reads it, or somebody who has ended his side.
                () = &mut gone => false,
            };
            if !more {
                return self.find().await.map(Some);
            }
        }
    }

    /// The types that a view shows.
    fn types(&self, view: &View) -> Vec<TypeRef> {
        if view.bounds.end <= HUB_EPOCH_MS {
            return Vec::new();
        }
        let filter = view.types.as_ref().map_or_else(TypeFilter::any, Clone::clone);
        let mut entries = self.state.types.matching(&filter);
        // In an order that is always the same.
        entries.sort_unstable_by_key(|entry| entry.type_no);
        entries.iter().filter(|e| !e.ttl.is_ephemeral()).map(|e| e.type_ref()).collect()
    }

    async fn stamp(&self, view: &View) -> Result<Stamp, StoreError> {
        let Bounds { start, end } = view.bounds;
        let client = view.client.as_ref().map_or("", |client| client.as_str());
        let filter = view.types.as_ref().map_or_else(String::new, TypeFilter::to_string);
        let look = async {
            let (types, client) = (self.types(view), view.client.clone());
            self.state.store.stamp(StampQuery { types, from: start, to: end, client }).await
        };
        self.state.feeds.stamps.share(format!("{start} {end} {client} {filter}"), look).await
    }

    /// For how many seconds a slice stays as it is: only a closed one does, of which nothing depends on a client. A
    /// type may have borrowed milliseconds, and clocks of a cluster differ, so that a slice closes some time after its
    /// end.
    fn fresh(&self, view: &View, stamp: &Stamp) -> Option<Millis> {
        let seam = Millis::try_from(self.state.live.seam.as_millis()).unwrap_or(Millis::MAX);
        let closed = !view.current && view.client.is_none() && stamp.now >= view.bounds.end.saturating_add(seam);
        closed.then(|| stamp.expires.map_or(YEAR, |at| (at.saturating_sub(stamp.now) / 1000).clamp(0, YEAR)))
    }

    async fn page(&self, view: &View, content: Option<Content>) -> Result<Rendered, Problem> {
        // A client's page is its own, and seldom asked for twice.
        let Some(content) = content.filter(|_| view.client.is_none()) else { return Ok(self.read(view).await?) };
        if let Some(page) = self.state.feeds.get(&content) {
            return Ok(page);
        }
        let page = self.state.feeds.pages.share(content.tag(None), self.read(view)).await?;
        self.state.feeds.put(content, &page);
        Ok(page)
    }

    async fn read(&self, view: &View) -> Result<Rendered, StoreError> {
        let types = self.types(view);
        let mut page = Page::default();
        if !types.is_empty() {
            let marked = match (&view.client, view.show.unwrap_or(Show::Pending)) {
                (None, _) => Marked::Ignore,
                (Some(client), Show::Pending) => Marked::Pending(client.clone()),
                (Some(client), Show::Processed) => Marked::Processed(client.clone()),
                (Some(client), Show::All) => Marked::All(client.clone()),
            };
            let Bounds { start, end } = view.bounds;
            let (before, limit) = (view.after, view.limit.unwrap_or(DEFAULT_LIMIT));
            page = self.state.store.read(ReadQuery { types, from: start, to: end, before, limit, marked }).await?;
        }
        let (empty, more) = (page.events.is_empty(), feed_page::cut(&page));
        let links = feed_page::links(view, more, &self.base);
        let body = feed_page::render(view, &page, &links, &self.state.types, &self.base);
        Ok(Rendered { body: body.into(), empty, more })
    }

    fn answer(&self, found: Found) -> HttpResponse {
        match found.shown {
            Shown::Page(_, false) => FEEDS.pages.add(1),
            _ => FEEDS.not_modified.add(1),
        }
        let (mut response, more) = match found.shown {
            Shown::Same(more) => (HttpResponse::NotModified().finish(), more),
            Shown::Page(page, true) => (HttpResponse::NotModified().finish(), page.more),
            Shown::Page(page, false) => {
                let json = HeaderValue::from_static("application/json");
                (HttpResponse::Ok().insert_header((CONTENT_TYPE, json)).body(page.body), page.more)
            }
        };
        let headers = response.headers_mut();
        let caching = match found.fresh {
            Some(seconds) => header_value(&format!("private, max-age={seconds}, immutable")),
            None => HeaderValue::from_static("no-cache"),
        };
        headers.insert(CACHE_CONTROL, caching);
        if let Some(content) = found.content {
            headers.insert(ETAG, header_value(&content.tag(more)));
        }
        if let Some(links) = links::header(&feed_page::links(&found.view, more, &self.base)) {
            headers.insert(LINK, links);
        }
        response
    }
}

/// A header that was put together here, of nothing but visible characters.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What a URL asks for.
#[derive(Debug)]
struct Asked {
    slice: Slice,
    /// `None` for `current`.
    at: Option<Millis>,
    client: Option<ClientId>,
    types: Option<TypeFilter>,
    limit: Option<usize>,
    after: Option<EventId>,
    show: Option<Show>,
}

impl Asked {
    fn read(slice: &str, at: &str, client: Option<&str>, query: &str) -> Result<Self, ApiError> {
        let slice = slice.parse().map_err(|e| ApiError::parameter("slice", e))?;
        let at = match at {
            "current" => None,
            instant => Some(
                parse_instant(instant)
                    .map_err(|e| ApiError::parameter("at", format!("is 'current' or an instant; {e}")))?,
            ),
        };
        let client = client.map(params::client).transpose()?;
        let [types, limit, after, status] = params::query(query, &["types", "limit", "after", "status"])?;
        let show = status.map(|text| show(&text, client.is_some())).transpose()?;
        Ok(Self {
            slice,
            at,
            client,
            types: types.map(|text| text.parse().map_err(|e| ApiError::parameter("types", e))).transpose()?,
            limit: limit.map(|text| params::limit(&text, MAX_LIMIT)).transpose()?,
            after: after.map(|text| text.parse().map_err(|e| ApiError::parameter("after", e))).transpose()?,
            show,
        })
    }

    /// The slice that is meant, seen from `now`.
    fn at(&self, now: Millis) -> Result<View, ApiError> {
        let bounds = self.slice.at(self.at.unwrap_or(now)).ok_or_else(|| {
            ApiError::not_found("this slice lies outside the calendar, which has the years 0 to 9999")
        })?;
        if bounds.start > now {
            return Err(ApiError::not_found("this slice lies in the future"));
        }
        Ok(View {
            slice: self.slice.clone(),
            bounds,
            current: now < bounds.end,
            client: self.client.clone(),
            types: self.types.clone(),
            limit: self.limit,
            after: self.after,
            show: self.show,
        })
    }
}

fn show(text: &str, has_client: bool) -> Result<Show, ApiError> {
    if !has_client {
        return Err(ApiError::parameter("status", "is for a client's feed: …/client/{client}"));
    }
    Show::ALL
        .into_iter()
        .find(|show| show.as_str() == text)
        .ok_or_else(|| ApiError::parameter("status", "is pending, processed or all"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn refused(slice: &str, at: &str, client: Option<&str>, query: &str) -> Option<Code> {
        Asked::read(slice, at, client, query).err().map(|e| e.code)
    }

    #[test]
    fn a_malformed_part_is_a_400() {
        let now = "2018-02-01T11:12:01Z";
        assert_eq!(refused("hour", now, None, ""), None);
        assert_eq!(refused("hour", "2018-02-01T12:12:01.5+01:00", Some("a~1"), "status=all&limit=10000&after=5"), None);
        for (slice, at, client, query) in [
            ("hours", now, None, ""),
            ("hour", "now", None, ""),
            ("hour", "2018-02-30T00:00:00Z", None, ""),
            ("hour", now, Some("a b"), ""),
            ("hour", now, None, "limit=0"),
            ("hour", now, None, "limit=10001"),
            ("hour", now, None, "limit=+5"),
            ("hour", now, None, "limit="),
            ("hour", now, None, "limit=1&limit=2"),
            ("hour", now, None, "after=x"),
            ("hour", now, None, "types="),
            ("hour", now, None, "types=a,,b"),
            ("hour", now, None, "types=%FF"),
            ("hour", now, None, "status=all"),
            ("hour", now, Some("c"), "status=done"),
            ("hour", now, Some("c"), "status="),
        ] {
            assert_eq!(refused(slice, at, client, query), Some(Code::BadParameter), "{slice} {at} {client:?} {query}");
        }
    }

    #[test]
    fn the_future_is_not_found_and_the_present_is_current() {
        let now = parse_instant("2018-02-01T11:12:01Z").unwrap();
        let at = |at: &str| Asked::read("hour", at, None, "").unwrap().at(now);
        assert!(at("current").unwrap().current);
        assert!(at("2018-02-01T11:59:59Z").unwrap().current);
        assert!(!at("2018-02-01T10:59:59.999Z").unwrap().current);
        assert_eq!(at("2018-02-01T12:00:00Z").unwrap_err().code, Code::NotFound);
        assert_eq!(at("9999-12-31T23:59:59Z").unwrap_err().code, Code::NotFound);
        assert!(!at("0000-01-01T00:00:00Z").unwrap().current);
    }
}
