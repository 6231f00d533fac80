//! Reading request bodies: declared as JSON, bounded in size and time.
//!
//! Compressed bodies are refused (415): an event is small, and a bound on what comes out of a
//! decompressor is one more thing to get wrong.

use super::{HttpSettings, Problem, admission};
use crate::error::{ApiError, Code};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

/// Most of an unwanted body that is read to keep the connection usable.
const UNWANTED: usize = 64 << 10;

/// The bytes of a JSON body.
///
/// # Errors
/// 415 for another media type or an encoding, 413 over `http.max_body`, 503 over `http.max_in_flight_bytes`, 408 when
/// it is too slow, 400 when it breaks off.
pub async fn read(req: &HttpRequest, payload: web::Payload, http: &HttpSettings) -> Result<Bytes, Problem> {
    check_headers(req.headers(), http.max_body)?;
    let hold = |bytes| admission::hold(req, bytes, http.max_in_flight_bytes);
    match tokio::time::timeout(http.body_timeout, collect(payload, http.max_body, hold)).await {
        Ok(body) => {
            let body = body?;
            admission::read(req);
            Ok(body)
        }
        Err(_) => {
            let detail = format!("the body did not arrive within {:?}", http.body_timeout);
            Err(ApiError::new(Code::RequestTimeout, detail).into())
        }
    }
}

/// The bytes of a JSON body that may be left out.
///
/// # Errors
/// As [`read`], when there is one.
pub async fn read_optional(
    req: &HttpRequest,
    payload: web::Payload,
    http: &HttpSettings,
) -> Result<Option<Bytes>, Problem> {
    let headers = req.headers();
    let announced = headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
    if announced || headers.contains_key(TRANSFER_ENCODING) {
        return read(req, payload, http).await.map(Some);
    }
    Ok(None)
}

/// Takes in and forgets a body that the resource has no use for, so that the connection can go on.
pub async fn discard(req: &HttpRequest, payload: web::Payload, http: &HttpSettings) {
    // One that is too large or too slow costs its sender the connection, nothing else.
    let hold = |bytes| admission::hold(req, bytes, http.max_in_flight_bytes);
    if let Ok(Ok(_)) = tokio::time::timeout(http.body_timeout, collect(payload, UNWANTED, hold)).await {
        admission::read(req);
    }
}

/// # Errors
/// A 400 that says where the bytes stop being UTF-8.
pub fn text(body: &Bytes) -> Result<&str, ApiError> {
    std::str::from_utf8(body)
        .map_err(|e| ApiError::new(Code::MalformedJson, format!("not UTF-8 after byte {}", e.valid_up_to())))
}

fn check_headers(headers: &HeaderMap, max: usize) -> Result<(), ApiError> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media_type.is_some_and(is_json) {
        let sent = media_type.unwrap_or("none");
        return Err(ApiError::new(
            Code::UnsupportedMediaType,
            format!(
                "Content-Type must be application/json in UTF-8, not {}",
                sent.chars().take(100).collect::<String>()
            ),
        ));
    }
    let plain = |value: &actix_web::http::header::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).all(plain) {
        return Err(ApiError::new(Code::UnsupportedMediaType, "the body must not be compressed"));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > max as u64 => Err(too_large(max)),
        _ => Ok(()),
    }
}

fn is_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    })
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(Code::BodyTooLarge, format!("a body has at most {max} bytes"))
}

/// A body that came in one piece, as most do, is not copied.
async fn collect(
    mut payload: web::Payload,
    max: usize,
    hold: impl Fn(usize) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|e| broken(&e, max))?;
    if first.len() > max {
        return Err(too_large(max));
    }
    hold(first.len())?;
    let Some(second) = payload.next().await else { return Ok(first) };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        let chunk = chunk.map_err(|e| broken(&e, max))?;
        if chunk.len() > max - whole.len() {
            return Err(too_large(max));
        }
        hold(chunk.len())?;
        whole.extend_from_slice(&chunk);
        next = payload.next().await;
    }
    Ok(whole.freeze())
}

fn broken(error: &PayloadError, max: usize) -> ApiError {
    match error {
        PayloadError::Overflow => too_large(max),
        _ => ApiError::new(Code::MalformedJson, "the body breaks off, or its transfer encoding is broken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn refused(headers: &[(HeaderName, &'static str)]) -> Option<Code> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        check_headers(&map, 100).err().map(|e| e.code)
    }

    #[test]
    fn only_json_in_utf_8_is_taken() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"; v=1",
            "application/json;",
        ] {
            assert_eq!(refused(&[(CONTENT_TYPE, good)]), None, "{good}");
        }
        for bad in ["", "text/plain", "application/jsonp", "application/json; charset=latin1", "json", "text/json"] {
            assert_eq!(refused(&[(CONTENT_TYPE, bad)]), Some(Code::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(refused(&[]), Some(Code::UnsupportedMediaType));
    }

    #[test]
    fn compressed_and_too_large_bodies_are_refused_before_they_are_read() {
        let json = (CONTENT_TYPE, "application/json");
        assert_eq!(refused(&[json.clone(), (CONTENT_ENCODING, "gzip")]), Some(Code::UnsupportedMediaType));
        assert_eq!(refused(&[json.clone(), (CONTENT_ENCODING, "identity")]), None);
        assert_eq!(refused(&[json.clone(), (CONTENT_LENGTH, "101")]), Some(Code::BodyTooLarge));
        assert_eq!(refused(&[json, (CONTENT_LENGTH, "100")]), None);
    }
}
