//! Which browser origins may use the hub: the same one, and those of `http.origins`.
//!
//! A browser lets any page open a WebSocket to any host and says only where the page is from, so the server
//! must look. Requests without an `Origin` do not come from a page and are not concerned.

use super::HttpSettings;
use crate::error::{ApiError, Code};
use actix_web::HttpRequest;
use actix_web::http::header;
use url::Url;

/// Whether the request may be served as far as its `Origin` is concerned.
///
/// # Errors
/// 403 when it comes from a page of another origin that is not allowed.
pub fn check(req: &HttpRequest, settings: &HttpSettings) -> Result<(), ApiError> {
    let Some(origin) = req.headers().get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if allowed(origin, host, settings) {
        Ok(())
    } else {
        Err(ApiError::new(Code::Forbidden, "the page's origin is not among http.origins"))
    }
}

/// The request's `Origin`, for an answer that its page may read. To be asked after [`check`].
pub fn of(req: &HttpRequest) -> Option<&header::HeaderValue> {
    req.headers().get(header::ORIGIN)
}

fn allowed(origin: &str, host: &str, settings: &HttpSettings) -> bool {
    let listed = |allowed: &String| allowed == "*" || allowed.trim_end_matches('/').eq_ignore_ascii_case(origin);
    if settings.origins.iter().any(listed) {
        return true;
    }
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
    use std::time::Duration;

    fn settings(origins: &[&str], public_url: Option<&str>) -> HttpSettings {
        HttpSettings {
            max_body: 0,
            max_batch: 0,
            max_depth: 0,
            public_url: public_url.map(Into::into),
            max_in_flight: 0,
            origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            reject_unregistered: false,
            idempotency_window: Duration::ZERO,
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
}
