//! Cross-origin requests of browsers (Fetch, CORS): what pages of `http.origins` may do, and others may not.
//!
//! No cookies: a page of another origin brings a token of its own. A page that may not use the hub is not only kept
//! from reading answers; what would change something is refused, for some requests need no leave.

use super::HttpSettings;
use super::origin;
use crate::error::ApiError;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

/// What pages may send.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// With which headers, besides those that need no leave.
const HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, Prefer, \
traceparent, X-Request-Id";
/// Which headers of answers they may read, besides those that need no leave.
const EXPOSED: &str = "ETag, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, \
WWW-Authenticate, X-Request-Id";
/// How long, in seconds, a browser may keep the leave.
const KEPT: &str = "7200";

/// The answer to a preflight, if the request is one.
pub fn preflight(req: &HttpRequest, settings: &HttpSettings) -> Option<HttpResponse> {
    let asked = req.headers();
    let is_one = req.method() == Method::OPTIONS
        && asked.contains_key(header::ORIGIN)
        && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_one {
        return None;
    }
    let mut response = HttpResponse::new(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    // Without these headers the browser does not send the request.
    if origin::check(req, settings).is_ok() {
        allow(req, settings, headers);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(KEPT));
    }
    Some(response)
}

/// # Errors
/// 403 for a request that may change something, from a page of an origin that is not allowed.
pub fn check(req: &HttpRequest, settings: &HttpSettings) -> Result<(), ApiError> {
    if req.method().is_safe() || !req.headers().contains_key(header::ORIGIN) {
        return Ok(());
    }
    origin::check(req, settings)
}

/// Puts on an answer who may read it.
pub fn dress(req: &HttpRequest, settings: &HttpSettings, headers: &mut HeaderMap) {
    let from_page = req.headers().contains_key(header::ORIGIN);
    // Also where no page asks: the answer may be kept for one that does.
    if from_page || !settings.origins.is_empty() {
        vary_by_origin(headers);
    }
    if from_page && origin::check(req, settings).is_ok() {
        allow(req, settings, headers);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

fn allow(req: &HttpRequest, settings: &HttpSettings, headers: &mut HeaderMap) {
    let all = settings.origins.iter().any(|origin| origin == "*");
    let origin = if all { Some(HeaderValue::from_static("*")) } else { req.headers().get(header::ORIGIN).cloned() };
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

fn vary_by_origin(headers: &mut HeaderMap) {
    let all = headers.get_all(header::VARY).filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ");
    if all.split(',').any(|name| name.trim().eq_ignore_ascii_case("origin")) {
        return;
    }
    let vary = if all.is_empty() { "Origin".to_owned() } else { format!("{all}, Origin") };
    if let Ok(vary) = HeaderValue::from_str(&vary) {
        headers.insert(header::VARY, vary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::http::testing;
    use actix_web::test::TestRequest;

    fn settings(origins: &[&str]) -> HttpSettings {
        HttpSettings { origins: origins.iter().map(|o| (*o).to_owned()).collect(), ..testing::settings() }
    }

    fn from(origin: &'static str, method: Method) -> TestRequest {
        TestRequest::default().method(method).insert_header(("host", "hub")).insert_header(("origin", origin))
    }

    #[test]
    fn a_preflight_is_answered_for_origins_that_are_allowed() {
        let listed = settings(&["https://app.example"]);
        let ask = |origin: &'static str| {
            let req = from(origin, Method::OPTIONS).insert_header(("access-control-request-method", "PUT"));
            preflight(&req.to_http_request(), &listed).unwrap()
        };
        let yes = ask("https://app.example");
        assert_eq!(yes.status(), 204);
        assert_eq!(yes.headers().get("access-control-allow-origin").unwrap(), "https://app.example");
        assert!(yes.headers().get("access-control-allow-methods").unwrap().to_str().unwrap().contains("PATCH"));
        assert!(yes.headers().get("vary").unwrap().to_str().unwrap().contains("Origin"));
        assert!(yes.headers().get("access-control-allow-credentials").is_none());
        assert!(ask("https://evil.example").headers().get("access-control-allow-origin").is_none());
        assert!(preflight(&from("https://app.example", Method::OPTIONS).to_http_request(), &listed).is_none());
        assert!(preflight(&from("https://app.example", Method::GET).to_http_request(), &listed).is_none());
    }

    #[test]
    fn a_page_that_may_not_changes_nothing() {
        let listed = settings(&["https://app.example"]);
        let checked = |origin, method| check(&from(origin, method).to_http_request(), &listed).map_err(|e| e.code);
        assert_eq!(checked("https://app.example", Method::POST), Ok(()));
        assert_eq!(checked("http://hub", Method::POST), Ok(()));
        assert_eq!(checked("https://evil.example", Method::GET), Ok(()));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert_eq!(checked("https://evil.example", method), Err(Code::CrossOrigin));
        }
        assert!(check(&TestRequest::post().to_http_request(), &listed).is_ok());
    }

    #[test]
    fn answers_say_who_may_read_them_and_what_they_vary_by() {
        let dressed = |origin: &'static str, settings: &HttpSettings| {
            let mut headers = HeaderMap::new();
            headers.insert(header::VARY, HeaderValue::from_static("Accept"));
            dress(&from(origin, Method::GET).to_http_request(), settings, &mut headers);
            let get = |name: &str| headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            (get("access-control-allow-origin"), get("vary").unwrap(), get("access-control-expose-headers"))
        };
        let (origin, vary, exposed) = dressed("https://app.example", &settings(&["https://app.example"]));
        assert_eq!((origin.as_deref(), vary.as_str()), (Some("https://app.example"), "Accept, Origin"));
        assert!(exposed.unwrap().contains("ETag"));
        assert_eq!(dressed("https://a.example", &settings(&["*"])).0.as_deref(), Some("*"));
        assert_eq!(dressed("https://a.example", &settings(&[])).0, None);
    }
}
