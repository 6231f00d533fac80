//! By which names a hub without tokens answers: loopback's alone.
//!
//! A page may give its own host name the address of the reader's machine (DNS rebinding), and then is of the same
//! origin as the hub. Only the name gives it away.

use super::AppState;
use crate::error::{ApiError, Code};
use actix_web::HttpRequest;
use actix_web::http::header::HOST;

/// # Errors
/// 403 where nobody is asked for a token and the request names a host that is neither loopback nor that of
/// `http.public_url`. Not with `auth.open`, which says that something else protects the hub.
pub fn check(req: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    if state.http.any_host || !state.access.is_open() {
        return Ok(());
    }
    // A client that names none is no browser.
    let header = req.headers().get(HOST).and_then(|host| host.to_str().ok());
    let target = req.uri().authority().map(|authority| authority.as_str());
    let foreign = |named: Option<&str>| named.is_some_and(|named| !is_known(named, state.http.public_url.as_deref()));
    if foreign(header) || foreign(target) {
        let detail = "without auth.tokens only localhost and loopback addresses are answered, and http.public_url";
        return Err(ApiError::new(Code::ForeignHost, detail));
    }
    Ok(())
}

fn is_known(named: &str, public_url: Option<&str>) -> bool {
    // As most ask, without more ado.
    let name = named.rsplit_once(':').map_or(named, |(name, _)| name);
    if matches!(name, "127.0.0.1" | "localhost") {
        return true;
    }
    let Ok(url) = url::Url::parse(&format!("http://{named}")) else { return false };
    if is_loopback(&url) {
        return true;
    }
    let public = public_url.and_then(|url| url::Url::parse(url).ok());
    public.is_some_and(|public| public.host() == url.host())
}

/// Whether a URL's host is this machine, whoever looks it up (RFC 6761).
fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_public_name_are_known() {
        for (named, known) in [
            ("localhost", true),
            ("LocalHost:8080", true),
            ("hub.localhost", true),
            ("127.0.0.1:80", true),
            ("127.8.9.1", true),
            ("2130706433", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]", true),
            ("hub.example:9000", true),
            ("hub.example.evil.example", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_known(named, Some("https://hub.example/base")), known, "{named}");
        }
        assert!(!is_known("hub.example", None));
    }
}
