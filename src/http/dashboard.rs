//! `GET /`: the dashboard, a page and the files it is made of, all of them in the program itself.
//!
//! It is a client of the API like any other. Nothing is built, and nothing is asked of another host: browsers load the
//! modules as they lie in `web/`.

use super::{Problem, params};
use actix_web::http::header::{self, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::LazyLock;

/// A file, and what of it is worked out once.
struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    tag: String,
}

macro_rules! files {
    ($($name:literal $kind:literal,)*) => {
        [$(($name, $kind, &include_bytes!(concat!("../../web/", $name))[..]),)*]
    };
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let files = files! {
        "index.html" "text/html; charset=utf-8",
        "app.css" "text/css; charset=utf-8",
        "icon.svg" "image/svg+xml",
        "api.js" "text/javascript; charset=utf-8",
        "app.js" "text/javascript; charset=utf-8",
        "chart.js" "text/javascript; charset=utf-8",
        "dead.js" "text/javascript; charset=utf-8",
        "dom.js" "text/javascript; charset=utf-8",
        "event.js" "text/javascript; charset=utf-8",
        "feed.js" "text/javascript; charset=utf-8",
        "form.js" "text/javascript; charset=utf-8",
        "live.js" "text/javascript; charset=utf-8",
        "nodes.js" "text/javascript; charset=utf-8",
        "overview.js" "text/javascript; charset=utf-8",
        "register.js" "text/javascript; charset=utf-8",
        "ring.js" "text/javascript; charset=utf-8",
        "rows.js" "text/javascript; charset=utf-8",
        "send.js" "text/javascript; charset=utf-8",
        "signin.js" "text/javascript; charset=utf-8",
        "socket.js" "text/javascript; charset=utf-8",
        "stream.js" "text/javascript; charset=utf-8",
        "stream_form.js" "text/javascript; charset=utf-8",
        "streams.js" "text/javascript; charset=utf-8",
        "talk.js" "text/javascript; charset=utf-8",
        "theme.js" "text/javascript; charset=utf-8",
        "types.js" "text/javascript; charset=utf-8",
        "words.js" "text/javascript; charset=utf-8",
    };
    files.into_iter().map(|(name, kind, bytes)| File { name, kind, bytes, tag: tag(bytes) }).collect()
});

/// The page.
pub async fn page(req: HttpRequest) -> HttpResponse {
    // It stands in the table above.
    find("index.html").map_or_else(|| HttpResponse::NotFound().finish(), |file| answer(&req, file))
}

/// One of its files.
pub async fn asset(req: HttpRequest, name: web::Path<(String,)>) -> Result<HttpResponse, Problem> {
    let file = find(&name.0).filter(|file| file.name != "index.html");
    Ok(answer(&req, file.ok_or_else(|| params::nowhere(req.path()))?))
}

/// Names of the files that the page consists of.
pub fn assets() -> Vec<&'static str> {
    FILES.iter().map(|file| file.name).filter(|name| *name != "index.html").collect()
}

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

fn answer(req: &HttpRequest, file: &'static File) -> HttpResponse {
    let known = req.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let same = |tag: &str| tag.trim().trim_start_matches("W/") == file.tag || tag.trim() == "*";
    let unchanged = known.flat_map(|tags| tags.split(',')).any(same);
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    // Asked about each time, which costs a 304: a page and its modules are always of one version.
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")));
    response.insert_header((ETAG, file.tag.as_str()));
    if unchanged {
        return response.finish();
    }
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static(file.kind))).body(file.bytes)
}

/// A strong entity tag.
fn tag(bytes: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in &Sha256::digest(bytes)[..12] {
        // Writing into a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}
