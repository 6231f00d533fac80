//! Which browser origins may use the hub: the same one, and those of `http.origins`.
//!
//! A browser lets any page open a WebSocket to any host and says only where the page is from, so the server
//! must look. Requests without an `Origin` do not come from a page and are not concerned. Where a cookie says who asks,
//! only the hub's own pages may.

use super::HttpSettings;
use crate::error::{ApiError, Code};
use actix_web::HttpRequest;
use actix_web::http::header;
use url::Url;

/// Where the request comes from, seen from here, as the browser says it (Fetch Metadata).
const FETCH_SITE: &str = "sec-fetch-site";

/// Whether the request may be served as far as its `Origin` is concerned.
///
/// # Errors
/// 403 when it comes from a page of another origin that is not allowed.
pub fn check(req: &HttpRequest, settings: &HttpSettings) -> Result<(), ApiError> {
    let Some(origin) = req.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // Behind a proxy the hub may not know its own name, and the browser does.
    let same = req.headers().get(FETCH_SITE).is_some_and(|site| site == "same-origin");
    if same || allowed(origin, host, settings) {
        Ok(())
    } else {
        Err(ApiError::new(Code::CrossOrigin, "the page's origin is not among http.origins"))
    }
}

/// Whether a request that a cookie signs may be served: what changes nothing may, and what a page of the hub's own
/// origin sends, as the browser says.
///
/// # Errors
/// 403 for any other, since a browser adds cookies to what pages of others send, too.
pub fn check_own(req: &HttpRequest, settings: &HttpSettings) -> Result<(), ApiError> {
    // A WebSocket's handshake is a GET, and may change something later.
    if req.method().is_safe() && !req.headers().contains_key(header::UPGRADE) {
        return Ok(());
    }
    let text = |name: &str| req.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let own = match (text(FETCH_SITE), text(header::ORIGIN.as_str())) {
        // No script can set it.
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_own(origin, text(header::HOST.as_str()).unwrap_or_default(), settings),
        (None, None) => false,
    };
    let detail = "a cookie is good for requests of the hub's own pages; send Origin or Sec-Fetch-Site, or a token";
    if own { Ok(()) } else { Err(ApiError::new(Code::CrossOrigin, detail)) }
}

/// Whether a page sent the request, as far as browsers say so.
pub fn is_from_page(req: &HttpRequest) -> bool {
    req.headers().contains_key(header::ORIGIN) || req.headers().contains_key(FETCH_SITE)
}

fn allowed(origin: &str, host: &str, settings: &HttpSettings) -> bool {
    let listed = |allowed: &String| allowed == "*" || allowed.trim_end_matches('/').eq_ignore_ascii_case(origin);
    settings.origins.iter().any(listed) || is_own(origin, host, settings)
}

fn is_own(origin: &str, host: &str, settings: &HttpSettings) -> bool {
    let Some(origin) = parse(origin) else { return false };
    // The scheme of this side is not known behind a proxy that ends TLS, so the page's is assumed.
    let same_host = parse(&format!("{}://{host}", origin.scheme()));
    let public = settings.public_url.as_deref().and_then(parse);
    [same_host, public].into_iter().flatten().any(|own| own.origin() == origin.origin())
}

/// A URL with a host; anything else (`null`) has no origin to compare.
fn parse(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing;
    use actix_web::http::Method;
    use actix_web::test::TestRequest;

    fn settings(origins: &[&str], public_url: Option<&str>) -> HttpSettings {
        HttpSettings {
            public_url: public_url.map(Into::into),
            origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            ..testing::settings()
        }
    }

    #[test]
    fn the_same_origin_is_allowed_and_others_are_not() {
        let none = settings(&[], None);
        for (origin, host, ok) in [
            ("http://hub.example:8080", "hub.example:8080", true),
            ("http://HUB.example", "hub.example:80", true),
            ("https://hub.example", "hub.example", true),
            ("https://hub.example", "hub.example:443", true),
            ("http://hub.example:8081", "hub.example:8080", false),
            ("http://evil.example", "hub.example", false),
            ("http://hub.example.evil.example", "hub.example", false),
            ("http://hub.example@evil.example", "hub.example", false),
            ("null", "hub.example", false),
            ("", "hub.example", false),
            ("file://", "", false),
            ("http://[::1]:8080", "[::1]:8080", true),
        ] {
            assert_eq!(allowed(origin, host, &none), ok, "{origin} at {host}");
        }
    }

    #[test]
    fn settings_allow_more() {
        let listed = settings(&["https://app.example"], None);
        assert!(allowed("https://app.example", "hub.internal", &listed));
        assert!(!allowed("https://other.example", "hub.internal", &listed));
        assert!(allowed("null", "hub.internal", &settings(&["*"], None)));
        let public = settings(&[], Some("https://hub.example/base"));
        assert!(allowed("https://hub.example", "10.0.0.7:8080", &public));
        assert!(!allowed("http://hub.example", "10.0.0.7:8080", &public));
    }

    #[test]
    fn a_cookie_is_good_for_the_hub_s_own_pages() {
        let listed = settings(&["https://app.example"], None);
        let checked = |method: Method, headers: &[(&'static str, &'static str)]| {
            let mut req = TestRequest::default().method(method).insert_header(("host", "hub"));
            for header in headers {
                req = req.insert_header(*header);
            }
            check_own(&req.to_http_request(), &listed).is_ok()
        };
        for (headers, ok) in [
            (&[][..], false),
            (&[("origin", "http://hub")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", "https://app.example")], false),
            (&[("origin", "null")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://hub")], false),
        ] {
            assert_eq!(checked(Method::POST, headers), ok, "{headers:?}");
            assert!(checked(Method::GET, headers), "{headers:?}");
        }
        let behind =
            TestRequest::default().insert_header(("host", "10.0.0.1")).insert_header(("origin", "https://hub"));
        assert!(check(&behind.insert_header((FETCH_SITE, "same-origin")).to_http_request(), &listed).is_ok());
        assert!(!checked(Method::GET, &[("upgrade", "websocket")]));
        assert!(checked(Method::GET, &[("upgrade", "websocket"), ("origin", "http://hub")]));
    }
}
