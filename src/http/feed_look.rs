//! A look at the store for a feed: its stamp, without its events. All who share it get their answers made of it.

use super::feed_asked::{Asked, Span};
use super::feed_cache::{Rendered, Seen};
use super::feed_page::{Show, View};
use super::feed_tag::{Content, Known};
use super::links::Base;
use super::{AppState, Problem, feed_page, links};
use crate::error::{ApiError, Code};
use crate::event::{Bounds, EventId, HUB_EPOCH_MS, Millis, TypeFilter};
use crate::store::{Marked, Page, ReadQuery, Stamp, StampQuery, TypeRef};
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderValue, IF_NONE_MATCH};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub const DEFAULT_LIMIT: usize = 1000;
/// Turns of its thread that a look lets others have before it begins; of an idle one each is about a microsecond.
const TURNS: u32 = 4;
/// Longest wait of a page to be read.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time, in seconds, for which an answer may be kept.
const YEAR: Millis = 365 * 86_400;

/// What a look at the store has found.
pub struct Found {
    /// What was asked for.
    pub asked: Asked,
    span: Span,
    view: View,
    base: Base<'static>,
    digest: Option<[u8; 32]>,
    /// `None` when the store cannot tell now what the page is made of.
    content: Option<Content>,
    /// Seconds for which nothing changes, of a slice that is closed.
    fresh: Option<Millis>,
    /// The last head that was made: those who share a look mostly get the same.
    head: RefCell<Option<Rc<Head>>>,
}

/// What stands in an answer's head.
pub struct Head {
    more: Option<EventId>,
    /// `Cache-Control`.
    pub caching: HeaderValue,
    /// `ETag`.
    pub tag: Option<HeaderValue>,
    /// `Link`.
    pub links: Option<HeaderValue>,
}

impl Found {
    /// Looks.
    ///
    /// # Errors
    /// 404 for a slice in the future, 503 when the store does not answer.
    pub async fn look(state: &AppState, asked: Asked, base: Base<'static>) -> Result<Seen<Rc<Self>>, Problem> {
        let (span, stamp) = stamp(state, &asked).await?;
        Ok(Seen { what: Self::seen(state, asked, base, span, &stamp.what), began: stamp.began })
    }

    /// Looks once more for the same. Where nothing has changed, nothing is made anew.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub async fn again(self: Rc<Self>, state: &AppState) -> Result<Seen<Rc<Self>>, Problem> {
        let (span, Seen { what: stamp, began }) = stamp(state, &self.asked).await?;
        let same = span == self.span && stamp.digest.is_some() && stamp.digest == self.digest;
        if same && fresh(state, &self.asked, &span, &stamp) == self.fresh {
            return Ok(Seen { what: self, began });
        }
        Ok(Seen { what: Self::seen(state, self.asked.clone(), self.base.clone(), span, &stamp), began })
    }

    fn seen(state: &AppState, asked: Asked, base: Base<'static>, span: Span, stamp: &Stamp) -> Rc<Self> {
        let view = asked.view(&span);
        let content = stamp.digest.map(|digest| Content::new(&digest, &view, &base));
        let fresh = content.and_then(|_| fresh(state, &asked, &span, stamp));
        Rc::new(Self { asked, span, view, base, digest: stamp.digest, content, fresh, head: RefCell::default() })
    }

    /// Whether events may come that the page would show.
    pub fn may_grow(&self) -> bool {
        self.view.current && self.view.after.is_none()
    }

    /// When the slice ends.
    pub fn ends(&self) -> Millis {
        self.view.bounds.end
    }

    /// What the request knows already.
    pub fn known(&self, req: &HttpRequest) -> Known {
        let (Some(content), Some(tag)) = (&self.content, req.headers().get(IF_NONE_MATCH)) else { return Known::No };
        match &*self.head.borrow() {
            Some(head) if head.tag.as_ref() == Some(tag) => Known::Same(head.more),
            _ => content.known(req),
        }
    }

    /// The head of an answer with the page that was cut after `more`.
    pub fn head(&self, more: Option<EventId>) -> Rc<Head> {
        if let Some(head) = self.head.borrow().as_ref().filter(|head| head.more == more) {
            return Rc::clone(head);
        }
        let caching = match self.fresh {
            Some(seconds) => header_value(&format!("private, max-age={seconds}, immutable")),
            None => HeaderValue::from_static("no-cache"),
        };
        let head = Rc::new(Head {
            more,
            caching,
            tag: self.content.map(|content| header_value(&content.tag(more))),
            links: links::header(&feed_page::links(&self.view, more, &self.base)),
        });
        self.head.replace(Some(Rc::clone(&head)));
        head
    }

    /// The page.
    ///
    /// # Errors
    /// 503 when the store does not answer.
    pub async fn page(&self, state: &AppState) -> Result<Rendered, Problem> {
        // A client's page is its own, and seldom asked for twice.
        let Some(content) = self.content.filter(|_| self.view.client.is_none()) else {
            return self.read(state).await;
        };
        if let Some(page) = state.feeds.get(&content) {
            return Ok(page);
        }
        let page = state.feeds.pages.share(&content.tag(None), || Seen::from_now(self.read(state))).await.what?;
        state.feeds.put(content, &page);
        Ok(page)
    }

    async fn read(&self, state: &AppState) -> Result<Rendered, Problem> {
        // What somebody waits for longer than for the store itself, he asks for again.
        let turn = tokio::time::timeout(PATIENCE, state.feeds.readers.acquire()).await;
        let _turn = turn.map_err(|_| ApiError::new(Code::Overloaded, "too many pages are being read"))?;
        state.outgoing.check()?;
        let view = &self.view;
        let types = types(state, &self.asked, &self.span);
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
            page = state.store.read(ReadQuery { types, from: start, to: end, before, limit, marked }).await?;
        }
        let (empty, more) = (page.events.is_empty(), feed_page::cut(&page));
        let links = feed_page::links(view, more, &self.base);
        let body = feed_page::render(view, &page, &links, &state.types, &self.base);
        Ok(Rendered { body: state.outgoing.weigh(body)?, empty, more })
    }
}

/// The types that show.
fn types(state: &AppState, asked: &Asked, span: &Span) -> Vec<TypeRef> {
    if span.bounds.end <= HUB_EPOCH_MS {
        return Vec::new();
    }
    let filter = asked.types.as_ref().map_or_else(TypeFilter::any, Clone::clone);
    let mut entries = state.types.matching(&filter);
    // In an order that is always the same.
    entries.sort_unstable_by_key(|entry| entry.type_no);
    entries.iter().filter(|e| !e.ttl.is_ephemeral()).map(|e| e.type_ref()).collect()
}

/// The slice that is meant, and its stamp. The stamp before the page: that may be newer than its tag, which is then not
/// met again, and never older.
async fn stamp(state: &AppState, asked: &Asked) -> Result<(Span, Seen<Stamp>), Problem> {
    let came = Instant::now();
    let span = asked.span(state.clock.now(&*state.store).await?)?;
    let Bounds { start, end } = span.bounds;
    let client = asked.client.as_ref().map_or("", |client| client.as_str());
    let filter = asked.types.as_ref().map_or_else(String::new, TypeFilter::key);
    let look = || async {
        // Whoever asks meanwhile is taken along: the fewer looks, the less each answer costs.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let (types, client) = (types(state, asked, &span), asked.client.clone());
        Seen::from_now(state.store.stamp(StampQuery { types, from: start, to: end, client })).await
    };
    // With the other workers, and with those who see the same in other pages.
    let Seen { what: stamp, began } = state.feeds.stamps.share(&format!("{start} {end} {client} {filter}"), look).await;
    let stamp = stamp?;
    // To those who came after its end another slice is the current one.
    let ended = asked.at.is_none() && stamp.now >= end;
    Ok((span, Seen { what: stamp, began: if ended { came } else { began } }))
}

/// For how many seconds a slice stays as it is: only a closed one does, of which nothing depends on a client. A type may
/// have borrowed milliseconds, and clocks of a cluster differ, so that a slice closes some time after its end.
fn fresh(state: &AppState, asked: &Asked, span: &Span, stamp: &Stamp) -> Option<Millis> {
    let seam = Millis::try_from(state.live.seam.as_millis()).unwrap_or(Millis::MAX);
    let closed = !span.current && asked.client.is_none() && stamp.now >= span.bounds.end.saturating_add(seam);
    closed.then(|| stamp.expires.map_or(YEAR, |at| (at.saturating_sub(stamp.now) / 1000).clamp(0, YEAR)))
}

/// A header that was put together here, of nothing but visible characters.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
