//! `GET /api/events/feed/{slice}/{at}` and `…/client/{client}`: stored events, cut by time.
//!
//! "Current" and "in the future" are judged by the store's clock. An event's place in time is its
//! commit, so a slice that has ended gains no events.

use super::feed_page::{Show, View};
use super::links::Base;
use super::{AppState, Problem, answer, feed_page, links, params};
use crate::error::ApiError;
use crate::event::{ClientId, EventId, HUB_EPOCH_MS, Millis, Slice, TypeFilter, parse_instant};
use crate::store::{Marked, Page, ReadQuery};
use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse, web};

const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;

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
    let now = state.clock.now(&*state.store).await?;
    let view = asked.at(now)?;
    let page = page(&view, state).await?;
    let base = Base::of(req, &state.http);
    let links = feed_page::links(&view, &page, &base);
    let body = feed_page::render(&view, &page, &links, &state.types, &base);
    let mut response = HttpResponse::Ok();
    if let Some(header) = links::header(&links) {
        response.insert_header((LINK, header));
    }
    Ok(answer::read(response, body))
}

async fn page(view: &View, state: &AppState) -> Result<Page, Problem> {
    let filter = view.types.as_ref().map_or_else(TypeFilter::any, Clone::clone);
    let entries = state.types.matching(&filter);
    let types: Vec<_> = entries.iter().filter(|e| !e.ttl.is_ephemeral()).map(|e| e.type_ref()).collect();
    if types.is_empty() || view.bounds.end <= HUB_EPOCH_MS {
        return Ok(Page::default());
    }
    let query = ReadQuery {
        types,
        from: view.bounds.start,
        to: view.bounds.end,
        before: view.after,
        limit: view.limit.unwrap_or(DEFAULT_LIMIT),
        marked: match (&view.client, view.show.unwrap_or(Show::Pending)) {
            (None, _) => Marked::Ignore,
            (Some(client), Show::Pending) => Marked::Pending(client.clone()),
            (Some(client), Show::Processed) => Marked::Processed(client.clone()),
            (Some(client), Show::All) => Marked::All(client.clone()),
        },
    };
    Ok(state.store.read(query).await?)
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
    fn at(self, now: Millis) -> Result<View, ApiError> {
        let bounds = self.slice.at(self.at.unwrap_or(now)).ok_or_else(|| {
            ApiError::not_found("this slice lies outside the calendar, which has the years 0 to 9999")
        })?;
        if bounds.start > now {
            return Err(ApiError::not_found("this slice lies in the future"));
        }
        Ok(View {
            slice: self.slice,
            bounds,
            current: now < bounds.end,
            client: self.client,
            types: self.types,
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
