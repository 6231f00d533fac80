//! `GET /docs`: Swagger UI, as its authors publish it, on the hub's own document. Nothing comes from elsewhere, and the
//! page may run nothing but its files ([`page`](super::super::page)).

use super::asset::Asset;
use crate::http::{Problem, params};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

/// Name, media type, what names the content, and the content in gzip.
type File = (&'static str, &'static str, &'static str, &'static [u8]);

/// What `build.rs` took out of Swagger UI.
const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/swagger_ui.rs"));
/// Starts it.
const START: (&str, &str) = ("start.js", include_str!("start.js"));

/// The page. `{files}` and `{document}` are relative: it works wherever a proxy puts it.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Event Source API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{files}swagger-ui.css">
</head>
<body>
<div id="docs" data-document="{document}"></div>
<noscript>This page shows <a href="{document}">the document</a> with a script.</noscript>
<script src="{files}swagger-ui-bundle.js"></script>
<script src="{files}start.js"></script>
</body>
</html>
"#;

/// The names of the files.
pub fn names() -> Vec<&'static str> {
    FILES.iter().map(|file| file.0).chain([START.0]).collect()
}

/// `GET /docs`.
pub async fn page(req: HttpRequest) -> Result<HttpResponse, Problem> {
    let (files, document) = if req.path().ends_with('/') { ("", "../openapi.json") } else { ("docs/", "openapi.json") };
    let page = PAGE.replace("{files}", files).replace("{document}", document);
    answer("text/html; charset=utf-8", page.into(), &req).await
}

/// `GET /docs/{file}`.
pub async fn file(req: HttpRequest, path: web::Path<(String,)>) -> Result<HttpResponse, Problem> {
    if path.0 == START.0 {
        return answer("text/javascript; charset=utf-8", Bytes::from_static(START.1.as_bytes()), &req).await;
    }
    let (_, media_type, name, gzip) =
        FILES.iter().find(|file| file.0 == path.0).ok_or_else(|| params::nowhere(req.path()))?;
    Ok(Asset::compressed(media_type, name, gzip).answer(&req).await)
}

async fn answer(media_type: &'static str, content: Bytes, req: &HttpRequest) -> Result<HttpResponse, Problem> {
    let asset = Asset::compress(media_type, content).ok_or_else(|| params::nowhere(req.path()))?;
    Ok(asset.answer(req).await)
}
