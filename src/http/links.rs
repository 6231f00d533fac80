//! Absolute URLs, as `links` members.

use super::HttpSettings;
use actix_web::HttpRequest;
use actix_web::http::header::HOST;

/// Where the API starts.
pub const API: &str = "/api/events";

/// What stands before the path in an absolute URL.
#[derive(Debug, Clone)]
pub struct Base(String);

impl Base {
    /// `http.public_url`, else the host that the request names.
    pub fn of(req: &HttpRequest, http: &HttpSettings) -> Self {
        let host = req.headers().get(HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
        Self(http.public_url.clone().unwrap_or_else(|| format!("http://{host}")))
    }

    /// An absolute URL; `path` starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

/// A link of an answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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
    out.extend_from_slice(&serde_json::to_vec(links).unwrap_or_default());
}
