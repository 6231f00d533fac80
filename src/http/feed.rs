//! `GET /api/events/feed/{slice}/{at}` and `…/client/{client}`: stored events, cut by time.
//!
//! "Current" and "in the future" are judged by the store's clock. An event's place in time is its
//! commit, so a slice that has ended gains no events.
//!
//! | file | what |
//! | --- | --- |
//! | `feed` | the way of a request |
//! | `feed_asked` | what it asks for |
//! | `feed_look` | a look at the store, and the answers it has for those who share it |
//! | `feed_page` | body and links |
//! | `feed_tag` | `ETag` and `If-None-Match` |
//! | `feed_wait` | `Prefer: wait=N` |
//! | `feed_cache` | what requests for the same feed share |

use super::feed_asked::Asked;
use super::feed_cache::{Flights, Rendered, Seen};
use super::feed_look::{Found, Head};
use super::feed_tag::Known;
use super::feed_wait::Waiting;
use super::links::Base;
use super::socket::PeerSocket;
use super::{AppState, Problem, admission, feed_wait, opening};
use crate::access::{Caller, Pass};
use crate::error::{ApiError, Code};
use crate::event::EventId;
use crate::measure::FEEDS;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LINK};
use actix_web::{HttpRequest, HttpResponse, web};
use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Looks at the store that requests of one worker share: they are read, answered and woken on one thread, so that those
/// who poll the same feed cost little more than the bytes they send and get.
#[derive(Default)]
pub struct Looks {
    under_way: Flights<Result<Rc<Found>, Problem>>,
    /// What the last ones have found, by what was asked for.
    last: RefCell<HashMap<String, Rc<Found>>>,
}

/// Most finds that a worker keeps; beyond, all are let go.
const KEPT: usize = 64;

impl Looks {
    fn keep(&self, key: &str, found: &Rc<Found>) {
        let mut last = self.last.borrow_mut();
        match last.get_mut(key) {
            Some(kept) => *kept = Rc::clone(found),
            None => {
                if last.len() >= KEPT {
                    last.clear();
                }
                last.insert(key.to_owned(), Rc::clone(found));
            }
        }
    }
}

/// Answers what is asked of a feed.
pub async fn get(
    req: HttpRequest,
    caller: Caller,
    state: web::Data<AppState>,
    looks: web::Data<Looks>,
) -> Result<HttpResponse, Problem> {
    let began = Instant::now();
    let visit = Visit { req: &req, caller: &caller, state: &state, looks: &looks };
    let mut answer = visit.find().await?;
    // A later page of a slice is about what is there; who asks for the head alone does not want to wait.
    let wait = feed_wait::preferred(&req).filter(|_| answer.found.may_grow());
    let mut applied = wait.filter(|_| req.method() == Method::GET);
    if let Some(seconds) = applied.filter(|_| answer.is_nothing_new()) {
        // On the heap, for few wait.
        match Box::pin(visit.wait(&answer.found.asked, Duration::from_secs(seconds))).await? {
            Some(after) => answer = after,
            None => applied = None,
        }
    }
    if applied.is_none() {
        FEEDS.time.time(began.elapsed());
    }
    let mut response = answer.into_response();
    if let Some(seconds) = applied.and_then(|seconds| HeaderValue::try_from(format!("wait={seconds}")).ok()) {
        response.headers_mut().insert(feed_wait::APPLIED, seconds);
    }
    Ok(response)
}

/// A request for a feed.
struct Visit<'a> {
    req: &'a HttpRequest,
    caller: &'a Caller,
    state: &'a AppState,
    looks: &'a Looks,
}

/// What a request is answered.
struct Answer {
    found: Rc<Found>,
    shown: Shown,
}

enum Shown {
    /// The page that the request knows already, cut there.
    Same(Option<EventId>),
    /// A page. `true` when the request wants none, whatever it is.
    Page(Rendered, bool),
}

impl Visit<'_> {
    async fn find(&self) -> Result<Answer, Problem> {
        let found = self.look().await?;
        let shown = match found.known(self.req) {
            Known::Same(more) => Shown::Same(more),
            Known::No => Shown::Page(found.page(self.state).await?, false),
            Known::Any => Shown::Page(found.page(self.state).await?, true),
        };
        Ok(Answer { found, shown })
    }

    /// A look that begins after this is called: what was committed before is in it.
    async fn look(&self) -> Result<Rc<Found>, Problem> {
        let base = Base::of(self.req, &self.state.http);
        // Everything of a request that the answer depends on, but what it knows already.
        let target = self.req.uri().path_and_query().map_or("", |target| target.as_str());
        let mut key = base.url(target);
        self.caller.write_limits(&mut key);
        let look = || async {
            let came = Instant::now();
            match self.look_anew(&key, base).await {
                Ok(Seen { what, began }) => Seen { what: Ok(what), began },
                Err(problem) => Seen { what: Err(problem), began: came },
            }
        };
        self.looks.under_way.share(&key, look).await.what
    }

    async fn look_anew(&self, key: &str, base: Base<'_>) -> Result<Seen<Rc<Found>>, Problem> {
        let last = self.looks.last.borrow().get(key).cloned();
        let found = match last {
            Some(last) => last.again(self.state).await?,
            None => {
                let mut asked = Asked::of(self.req)?;
                self.caller.check_client(asked.client.as_ref())?;
                // All that follows goes by this filter: what is read, waited for, shared and tagged.
                asked.types = self.caller.limit(asked.types);
                Found::look(self.state, asked, base.into_owned()).await?
            }
        };
        self.looks.keep(key, &found.what);
        Ok(found)
    }

    /// Waits for the first event that shows. `None` when there is no room for one who waits.
    async fn wait(&self, asked: &Asked, time: Duration) -> Result<Option<Answer>, Problem> {
        let deadline = Instant::now() + time;
        let Some(mut waiting) = Waiting::start(self.state, asked.types.as_ref()).await else { return Ok(None) };
        admission::leave(self.req);
        let peer = self.req.conn_data::<PeerSocket>();
        let mut gone = pin!(async {
            match peer {
                Some(peer) => peer.gone().await,
                // Who waits is then answered when the time is up.
                None => std::future::pending().await,
            }
        });
        let pass = Pass::new(self.caller.clone(), Arc::clone(&self.state.access));
        let mut revoked = pin!(pass.ended());
        loop {
            // Also before the first event: it may have been committed since the first look.
            let turn = self.state.feeds.late.acquire().await;
            let answer = self.find().await?;
            drop(turn);
            let mut left = deadline.saturating_duration_since(Instant::now());
            if asked.at.is_some() {
                // A slice that was named ends, and gets no more events.
                let now = self.state.clock.now(&*self.state.store).await?;
                left = left.min(Duration::from_millis(u64::try_from(answer.found.ends() - now).unwrap_or(0)));
            }
            if !answer.is_nothing_new() || left.is_zero() {
                return Ok(Some(answer));
            }
            let more = tokio::select! {
                more = waiting.next(self.state, left) => more,
                // Whatever is answered now, nobody reads it, or somebody who has ended his side.
                () = &mut gone => false,
                () = &mut revoked => return Err(ApiError::new(Code::Unauthorized, opening::NOT_VALID).into()),
            };
            if !more {
                return self.find().await.map(Some);
            }
        }
    }
}

impl Answer {
    /// Whether somebody who prefers to wait would.
    fn is_nothing_new(&self) -> bool {
        match &self.shown {
            Shown::Same(_) => true,
            Shown::Page(page, unwanted) => page.empty || *unwanted,
        }
    }

    fn into_response(self) -> HttpResponse {
        match self.shown {
            Shown::Page(_, false) => FEEDS.pages.add(1),
            _ => FEEDS.not_modified.add(1),
        }
        let (mut response, more) = match self.shown {
            Shown::Same(more) => (HttpResponse::NotModified().finish(), more),
            Shown::Page(page, true) => (HttpResponse::NotModified().finish(), page.more),
            Shown::Page(page, false) => {
                let json = HeaderValue::from_static("application/json");
                (HttpResponse::Ok().insert_header((CONTENT_TYPE, json)).body(page.body), page.more)
            }
        };
        write(&self.found.head(more), response.headers_mut());
        response
    }
}

fn write(head: &Head, headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, head.caching.clone());
    if let Some(tag) = &head.tag {
        headers.insert(ETAG, tag.clone());
    }
    if let Some(links) = &head.links {
        headers.insert(LINK, links.clone());
    }
}
