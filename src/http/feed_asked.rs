//! What a request for a feed asks for: its path and its query.

use super::feed_page::{Show, View};
use super::params;
use crate::error::ApiError;
use crate::event::{Bounds, ClientId, EventId, Millis, Slice, TypeFilter, parse_instant};
use actix_web::HttpRequest;

/// The largest page.
pub const MAX_LIMIT: usize = 10_000;

/// The slice that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// From when to when.
    pub bounds: Bounds,
    /// Whether it has not ended.
    pub current: bool,
}

/// What a URL asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How time is cut.
    pub slice: Slice,
    /// `None` for `current`.
    pub at: Option<Millis>,
    /// Whose marks count.
    pub client: Option<ClientId>,
    /// Which types; `None` for every one.
    pub types: Option<TypeFilter>,
    /// How many events at most.
    pub limit: Option<usize>,
    /// Where the page before ended.
    pub after: Option<EventId>,
    /// Which of a client's events.
    pub show: Option<Show>,
}

impl Asked {
    /// What a request below [`FEED`](super::links::FEED) asks for.
    ///
    /// # Errors
    /// 404 when the path is none of a feed, 400 when a part of it or of the query is malformed.
    pub fn of(req: &HttpRequest) -> Result<Self, ApiError> {
        let Some((slice, at, client)) = parts(req.match_info().unprocessed()) else {
            return Err(params::nowhere(req.path()));
        };
        let client = client.map(params::segment);
        Self::read(&params::segment(slice), &params::segment(at), client.as_deref(), req.query_string())
    }

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
    ///
    /// # Errors
    /// 404 when it has not begun, or lies outside the calendar.
    pub fn span(&self, now: Millis) -> Result<Span, ApiError> {
        let bounds = self.slice.at(self.at.unwrap_or(now)).ok_or_else(|| {
            ApiError::not_found("this slice lies outside the calendar, which has the years 0 to 9999")
        })?;
        if bounds.start > now {
            return Err(ApiError::not_found("this slice lies in the future"));
        }
        let current = now < bounds.end;
        Ok(Span { bounds, current })
    }

    /// What shows of a slice.
    pub fn view(&self, span: &Span) -> View {
        View {
            slice: self.slice.clone(),
            bounds: span.bounds,
            current: span.current,
            client: self.client.clone(),
            types: self.types.clone(),
            limit: self.limit,
            after: self.after,
            show: self.show,
        }
    }
}

/// `/{slice}/{at}` and `/{slice}/{at}/client/{client}`, with or without a slash at the end. By hand: matching the pattern
/// costs as much as half of an answer that says that nothing has changed.
fn parts(path: &str) -> Option<(&str, &str, Option<&str>)> {
    let path = path.strip_prefix('/')?;
    let mut segments =
        path.strip_suffix('/').unwrap_or(path).split('/').map(|part| Some(part).filter(|p| !p.is_empty()));
    let (slice, at) = (segments.next()??, segments.next()??);
    let client = match segments.next() {
        None => None,
        Some(Some("client")) => Some(segments.next()??),
        Some(_) => return None,
    };
    segments.next().is_none().then_some((slice, at, client))
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
    use proptest::prelude::*;

    fn refused(slice: &str, at: &str, client: Option<&str>, query: &str) -> Option<Code> {
        Asked::read(slice, at, client, query).err().map(|e| e.code)
    }

    #[test]
    fn a_path_has_a_slice_an_instant_and_perhaps_a_client() {
        for (path, found) in [
            ("/hour/current", Some(("hour", "current", None))),
            ("/hour/current/", Some(("hour", "current", None))),
            ("/hour/current/client/c", Some(("hour", "current", Some("c")))),
            ("/hour/current/client/client/", Some(("hour", "current", Some("client")))),
            ("", None),
            ("/", None),
            ("/hour", None),
            ("/hour/", None),
            ("/hour//", None),
            ("//current", None),
            ("//hour/current", None),
            ("/hour/current//", None),
            ("/hour/current/client", None),
            ("/hour/current/client/", None),
            ("/hour/current/clients/c", None),
            ("/hour/current/client/c/d", None),
            ("x/hour/current", None),
        ] {
            assert_eq!(parts(path), found, "{path}");
        }
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
        let at = |at: &str| Asked::read("hour", at, None, "").unwrap().span(now);
        assert!(at("current").unwrap().current);
        assert!(at("2018-02-01T11:59:59Z").unwrap().current);
        assert!(!at("2018-02-01T10:59:59.999Z").unwrap().current);
        assert_eq!(at("2018-02-01T12:00:00Z").unwrap_err().code, Code::NotFound);
        assert_eq!(at("9999-12-31T23:59:59Z").unwrap_err().code, Code::NotFound);
        assert!(!at("0000-01-01T00:00:00Z").unwrap().current);
    }

    proptest! {
        #[test]
        fn what_is_well_formed_is_read_and_its_slice_holds_the_instant(
            slice in "(minute|hour|day|week|month|[1-9][0-9]?(minutes|h|days))",
            at in 0i64..4_000_000_000_000,
            after in any::<u64>(),
            limit in 1usize..=10_000,
            types in "[a-c]{1,3}(:[*a]{1,2})?(,[*ab]{1,3}){0,2}",
        ) {
            let query = format!("types={types}&after={after}&limit={limit}");
            let asked = Asked::read(&slice, &crate::event::rfc3339(at), Some("c~1"), &query).unwrap();
            prop_assert_eq!((asked.after.map(|id| id.get()), asked.limit), (Some(after), Some(limit)));
            prop_assert_eq!(asked.types.unwrap().to_string(), types);
            let span = Asked::read(&slice, &crate::event::rfc3339(at), None, "").unwrap().span(4_000_000_000_000).unwrap();
            prop_assert!(span.bounds.start <= at && at < span.bounds.end);
        }

        #[test]
        fn no_request_panics(
            slice in "\\PC{0,12}", at in "[-0-9TZ:.+currentx]{0,30}", client in prop::option::of("\\PC{0,5}"),
            query in "((types|after|limit|status|x)=[%0-9a-fA-F*:,&=]{0,12}&?){0,3}",
        ) {
            if let Err(error) = Asked::read(&slice, &at, client.as_deref(), &query) {
                prop_assert_eq!(error.code, Code::BadParameter);
            }
        }
    }
}
