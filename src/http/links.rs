//! Absolute URLs, as `links` members and as a `Link` header (RFC 8288).

use super::HttpSettings;
use super::json::write_str;
use super::socket::PeerSocket;
use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderValue};
use std::borrow::Cow;

/// Where the API starts.
pub const API: &str = "/api/events";
/// Where feeds are.
pub const FEED: &str = "/api/events/feed";
/// A `Link` header beyond this is left out, for proxies and clients refuse heads of that size; the
/// links stand in the body in any case.
const MAX_HEADER: usize = 16 << 10;

/// What stands before the path in an absolute URL.
#[derive(Debug, Clone)]
pub struct Base<'a> {
    scheme: &'static str,
    rest: Cow<'a, str>,
}

impl<'a> Base<'a> {
    /// `http.public_url`, else the host that the request names, else the address that is listened on.
    pub fn of(req: &'a HttpRequest, http: &'a HttpSettings) -> Self {
        if let Some(url) = &http.public_url {
            return Self { scheme: "", rest: Cow::Borrowed(url) };
        }
        let scheme = if is_https(req, http) { "https://" } else { "http://" };
        let named = req.uri().authority().map(|a| a.as_str()).or_else(|| req.headers().get(HOST)?.to_str().ok());
        let rest = match named.filter(|host| is_host(host)) {
            Some(host) => Cow::Borrowed(host),
            None => {
                let address = req.conn_data::<PeerSocket>().and_then(PeerSocket::local_addr);
                Cow::Owned(address.unwrap_or(req.app_config().local_addr()).to_string())
            }
        };
        Self { scheme, rest }
    }

    /// Independent of request and settings.
    pub fn into_owned(self) -> Base<'static> {
        Base { scheme: self.scheme, rest: Cow::Owned(self.rest.into_owned()) }
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.scheme.as_bytes());
        out.extend_from_slice(self.rest.as_bytes());
    }

    /// An absolute URL; `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        // By hand: most requests need one.
        let mut url = String::with_capacity(self.scheme.len() + self.rest.len() + path.len());
        for part in [self.scheme, &self.rest, path] {
            url.push_str(part);
        }
        url
    }

    /// For tests.
    #[cfg(test)]
    pub fn fixed(url: &'a str) -> Self {
        Self { scheme: "", rest: Cow::Borrowed(url) }
    }
}

/// Whether clients reach the hub by TLS, as far as it knows.
pub fn is_https(req: &HttpRequest, http: &HttpSettings) -> bool {
    req.conn_data::<PeerSocket>().is_some_and(PeerSocket::is_tls)
        || http.public_url.as_deref().is_some_and(|url| url.starts_with("https:"))
}

/// Whether this can stand in a URL's authority and in JSON without any escaping: a name or an address
/// with an optional port, and no user.
pub fn is_host(host: &str) -> bool {
    (1..=261).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
}

/// A link of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it leads to.
    pub rel: &'static str,
    /// An absolute URL.
    pub href: String,
}

impl Link {
    /// A link.
    pub fn new(rel: &'static str, href: String) -> Self {
        Self { rel, href }
    }
}

/// Appends `[{"rel":…,"href":…}, …]`.
pub fn write_links(links: &[Link], out: &mut Vec<u8>) {
    out.push(b'[');
    for (n, link) in links.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"rel\":\"");
        out.extend_from_slice(link.rel.as_bytes());
        out.extend_from_slice(b"\",\"href\":");
        write_str(&link.href, out);
        out.push(b'}');
    }
    out.push(b']');
}

/// The `Link` header of an answer; `None` when it would be too long to arrive.
pub fn header(links: &[Link]) -> Option<HeaderValue> {
    let mut text = String::new();
    for link in links {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push('<');
        text.push_str(&link.href);
        text.push_str(">; rel=\"");
        text.push_str(link.rel);
        text.push('"');
    }
    (text.len() <= MAX_HEADER).then(|| HeaderValue::from_str(&text).ok()).flatten()
}

/// Appends `text` so that it can be a segment of a path or a value in a query: everything but unreserved
/// characters and those without a meaning in either (`: , *`) is percent-encoded.
pub fn write_encoded(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b',' | b'*') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(DIGITS[usize::from(digit)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing;
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    #[test]
    fn links_start_with_the_public_url_or_the_host() {
        let mut http = testing::settings();
        let req = TestRequest::default().insert_header((HOST, "hub.example:8080")).to_http_request();
        assert_eq!(Base::of(&req, &http).url("/x"), "http://hub.example:8080/x");
        http.public_url = Some("https://events.example/hub".into());
        assert_eq!(Base::of(&req, &http).url("/x"), "https://events.example/hub/x");
    }

    #[test]
    fn a_host_that_is_none_is_not_repeated() {
        let http = testing::settings();
        for bad in ["", "a b", "a\"b", "a/b", "a@b", "<x>"] {
            let req = TestRequest::default().insert_header((HOST, bad)).to_http_request();
            assert_eq!(Base::of(&req, &http).url(""), "http://127.0.0.1:8080", "{bad}");
        }
        assert!(is_host("[::1]:80") && is_host("127.0.0.1") && !is_host(&"a".repeat(300)));
    }

    #[test]
    fn the_header_says_what_the_body_says() {
        let links = [Link::new("self", "http://h/a?types=b:*".into()), Link::new("prev", "http://h/c".into())];
        assert_eq!(header(&links).unwrap(), "<http://h/a?types=b:*>; rel=\"self\", <http://h/c>; rel=\"prev\"");
        let mut out = Vec::new();
        write_links(&links, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"[{"rel":"self","href":"http://h/a?types=b:*"},{"rel":"prev","href":"http://h/c"}]"#
        );
        assert_eq!(header(&[Link::new("self", "x".repeat(MAX_HEADER))]), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_again(text in ".{0,20}") {
            let mut encoded = String::new();
            write_encoded(&text, &mut encoded);
            let query = format!("v={encoded}");
            let back: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
            prop_assert_eq!(&back[0].1, text.as_str());
        }
    }
}
