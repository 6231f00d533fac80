//! Entity tags of feeds: what a feed's answer is made of, in short, known before its events are read.
//!
//! `"HASH"`, or `"HASH.ID"` when the page was cut after event `ID`. The hash covers the store's stamp, everything of
//! the request that shows in the answer, and that id, so that a 304 can repeat the `more` link without a look at the
//! events.

use super::feed_page::{Show, View};
use super::links::Base;
use crate::event::{EventId, TypeFilter};
use actix_web::HttpRequest;
use actix_web::http::header::IF_NONE_MATCH;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Changes with the form of the answer: what an earlier version gave is then asked for again.
const FORM: u8 = 1;

/// What a view shows at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content([u8; 32]);

/// What a request knows already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing, or something else.
    No,
    /// This content, in a page that was cut there.
    Same(Option<EventId>),
    /// `*`: whatever it is.
    Any,
}

impl Content {
    /// Of a view and the store's stamp of its range.
    pub fn new(stamp: &[u8; 32], view: &View, base: &Base<'_>) -> Self {
        let mut hash = Sha256::new();
        hash.update([FORM, u8::from(view.current)]);
        hash.update(stamp);
        let mut part = |text: Option<&str>| {
            // With its length: no two lists of parts are the same text.
            hash.update(text.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
            hash.update(text.unwrap_or_default());
        };
        part(Some(view.slice.as_str()));
        part(Some(&view.bounds.start.to_string()));
        part(view.client.as_ref().map(|client| client.as_str()));
        part(view.types.as_ref().map(TypeFilter::key).as_deref());
        part(view.limit.map(|limit| limit.to_string()).as_deref());
        part(view.after.map(|after| after.to_string()).as_deref());
        part(view.show.map(Show::as_str));
        part(Some(&base.url("")));
        Self(hash.finalize().into())
    }

    /// The tag of a page of it that was cut after `more`.
    pub fn tag(&self, more: Option<EventId>) -> String {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(more.map_or(0, EventId::get).to_be_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        // 144 bits: enough for nobody to meet the same one twice, and no padding.
        let hash = URL_SAFE_NO_PAD.encode(hash.get(..18).unwrap_or_default());
        match more {
            Some(id) => format!("\"{hash}.{id}\""),
            None => format!("\"{hash}\""),
        }
    }

    /// Whether the request's `If-None-Match` names it.
    pub fn known(&self, req: &HttpRequest) -> Known {
        let values = req.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        for tag in values.flat_map(tags) {
            if tag == "*" {
                return Known::Any;
            }
            let more = tag.trim_matches('"').split_once('.').map(|(_, id)| id.parse().ok());
            let more = match more {
                Some(None) => continue,
                Some(Some(id)) => Some(id),
                None => None,
            };
            if self.tag(more) == tag {
                return Known::Same(more);
            }
        }
        Known::No
    }
}

/// The entity tags of an `If-None-Match`, without `W/`: a 304 takes weak ones, too. A comma may stand inside a tag.
pub fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let tag = rest.strip_prefix("W/").unwrap_or(rest);
        if tag.is_empty() {
            return None;
        }
        let end = match tag.strip_prefix('"') {
            Some(inner) => inner.find('"').map_or(tag.len(), |end| end + 2),
            None => tag.find(',').unwrap_or(tag.len()),
        };
        let (tag, after) = tag.split_at_checked(end)?;
        rest = after;
        Some(tag.trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Slice, parse_instant};
    use actix_web::test::TestRequest;

    fn view(at: &str) -> View {
        let slice: Slice = "hour".parse().unwrap();
        let bounds = slice.at(parse_instant(at).unwrap()).unwrap();
        View { slice, bounds, current: true, client: None, types: None, limit: None, after: None, show: None }
    }

    #[test]
    fn lists_of_tags_are_read() {
        let read = |list: &'static str| tags(list).collect::<Vec<_>>();
        assert_eq!(read(r#""a", W/"b" ,"c,d""#), [r#""a""#, r#""b""#, r#""c,d""#]);
        assert_eq!(read(" * "), ["*"]);
        assert_eq!(read(r#"a b, "unclosed"#), ["a b", "\"unclosed"]);
        assert!(read(" ,, ").is_empty());
    }

    #[test]
    fn whatever_shows_in_the_answer_changes_the_tag() {
        let base = Base::fixed("http://h");
        let at = "2018-02-01T11:12:01Z";
        let plain = || view(at);
        let mut seen = Vec::new();
        let views = [
            plain(),
            view("2018-02-01T12:12:01Z"),
            View { current: false, ..plain() },
            View { client: Some("c".parse().unwrap()), ..plain() },
            View { client: Some("c".parse().unwrap()), show: Some(Show::Pending), ..plain() },
            View { types: Some("*".parse().unwrap()), ..plain() },
            View { types: Some(TypeFilter::any().within("a".parse::<TypeFilter>().unwrap().into())), ..plain() },
            View { types: Some(TypeFilter::any().within("b".parse::<TypeFilter>().unwrap().into())), ..plain() },
            View { limit: Some(1000), ..plain() },
            View { after: Some("1000".parse().unwrap()), ..plain() },
        ];
        for view in &views {
            seen.push(Content::new(&[1; 32], view, &base).tag(None));
        }
        seen.push(Content::new(&[2; 32], &plain(), &base).tag(None));
        seen.push(Content::new(&[1; 32], &plain(), &Base::fixed("https://h")).tag(None));
        seen.push(Content::new(&[1; 32], &plain(), &base).tag(Some("7".parse().unwrap())));
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), seen.len());
        assert_eq!(Content::new(&[1; 32], &plain(), &base).tag(None), seen[0]);
    }

    #[test]
    fn a_tag_is_known_again_with_where_its_page_was_cut() {
        let content = Content::new(&[1; 32], &view("2018-02-01T11:12:01Z"), &Base::fixed("http://h"));
        let asked = |value: String| {
            let req = TestRequest::default().insert_header((IF_NONE_MATCH, value)).to_http_request();
            content.known(&req)
        };
        let cut: Option<EventId> = Some("123".parse().unwrap());
        assert_eq!(asked(content.tag(None)), Known::Same(None));
        assert_eq!(asked(format!("\"x\", W/{}", content.tag(cut))), Known::Same(cut));
        assert_eq!(asked(content.tag(cut).replace("123", "124")), Known::No);
        assert_eq!(asked(content.tag(None).trim_matches('"').to_owned()), Known::No);
        assert_eq!(asked("\"x\",*".to_owned()), Known::Any);
        assert_eq!(content.known(&TestRequest::default().to_http_request()), Known::No);
    }
}
