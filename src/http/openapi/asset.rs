//! Content that does not change while the hub runs: kept compressed, answered by its entity tag.

use crate::http::feed_tag;
use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY,
};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use sha2::{Digest, Sha256};
use std::io::Read;

/// One of them.
#[derive(Debug, Clone)]
pub struct Asset {
    media_type: &'static str,
    /// What names the content, without quotes. The two forms of it have tags of their own.
    name: String,
    gzip: Bytes,
}

impl Asset {
    /// Content that is compressed already.
    pub fn compressed(media_type: &'static str, name: &str, gzip: &'static [u8]) -> Self {
        Self { media_type, name: name.to_owned(), gzip: Bytes::from_static(gzip) }
    }

    /// Content that is not. `None` if it cannot be compressed, which does not happen in memory.
    pub fn compress(media_type: &'static str, plain: Bytes) -> Option<Self> {
        let name = Sha256::digest(&plain).iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let mut gzip = Vec::new();
        GzEncoder::new(&*plain, Compression::default()).read_to_end(&mut gzip).ok()?;
        Some(Self { media_type, name, gzip: gzip.into() })
    }

    /// The answer to a request for it.
    pub async fn answer(&self, req: &HttpRequest) -> HttpResponse {
        let compressed = takes_gzip(req);
        let tag = if compressed { format!("\"{}-gzip\"", self.name) } else { format!("\"{}\"", self.name) };
        let known = req.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        let known = known.flat_map(feed_tag::tags).any(|known| known == "*" || known == tag);
        let mut response = if known {
            HttpResponse::NotModified()
        } else {
            let mut response = HttpResponse::Ok();
            response.insert_header((CONTENT_TYPE, HeaderValue::from_static(self.media_type)));
            response
        };
        // Asked about each time, for another version of the hub has other content under the same name.
        response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")));
        response.insert_header((VARY, HeaderValue::from_static("Accept-Encoding")));
        response.insert_header((ETAG, tag));
        if known {
            return response.finish();
        }
        if compressed {
            response.insert_header((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            return response.body(self.gzip.clone());
        }
        let gzip = self.gzip.clone();
        // A megabyte takes some milliseconds.
        match web::block(move || inflate(&gzip)).await {
            Ok(Ok(plain)) => response.body(plain),
            // Its own checksum is wrong, or the process ends.
            _ => HttpResponse::InternalServerError().finish(),
        }
    }
}

fn inflate(gzip: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut plain)?;
    Ok(plain)
}

/// Whether `Accept-Encoding` names gzip, and not to refuse it.
fn takes_gzip(req: &HttpRequest) -> bool {
    let values = req.headers().get_all(ACCEPT_ENCODING).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|part| {
            part.split_once('=').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("q") && !value.trim().parse::<f32>().is_ok_and(|q| q > 0.0)
            })
        });
        gzip && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (accepts, taken) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q = 0.000", false),
            ("gzip;q=x", false),
            ("identity", false),
            ("*", false),
            ("", false),
        ] {
            let request = TestRequest::default().insert_header(("accept-encoding", accepts)).to_http_request();
            assert_eq!(takes_gzip(&request), taken, "{accepts}");
        }
    }

    #[actix_web::test]
    async fn both_forms_are_the_same_content_under_two_tags() {
        let asset = Asset::compress("text/plain", Bytes::from_static(b"something")).unwrap();
        let plain = asset.answer(&TestRequest::default().to_http_request()).await;
        let tag = plain.headers().get(ETAG).unwrap().clone();
        assert_eq!(to_bytes(plain.into_body()).await.unwrap(), "something");
        let request = TestRequest::default().insert_header((ACCEPT_ENCODING, "gzip"));
        let gzip = asset.answer(&request.to_http_request()).await;
        assert_ne!(gzip.headers().get(ETAG).unwrap(), tag);
        assert_eq!(inflate(&to_bytes(gzip.into_body()).await.unwrap()).unwrap(), b"something");
        let again = TestRequest::default().insert_header((IF_NONE_MATCH, tag));
        assert_eq!(asset.answer(&again.to_http_request()).await.status().as_u16(), 304);
    }
}
