//! Problem documents (RFC 9457): the one place where an error becomes an answer.

use super::json::write_str;
use crate::error::{ApiError, Code};
use crate::measure::SENDS;
use crate::store::StoreError;
use actix::MailboxError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use std::fmt;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An [`ApiError`] on its way to a client; what handlers return.
#[derive(Debug, Clone)]
pub struct Problem(pub ApiError);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self(of_store(&error))
    }
}

impl From<MailboxError> for Problem {
    /// The actors live as long as the process, so a closed mailbox means that it is stopping.
    fn from(error: MailboxError) -> Self {
        log::debug!("an actor did not take the request: error=\"{error}\"");
        Self(ApiError::new(Code::ShuttingDown, "the hub did not take the request; try again"))
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = Vec::with_capacity(256);
        write(&self.0, &mut body);
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON)));
        if self.0.code.status() == 401 {
            response.insert_header((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        if let Some(seconds) = self.0.retry_after {
            response.insert_header((RETRY_AFTER, HeaderValue::from(seconds)));
        }
        response.body(body)
    }
}

/// What a client is told of a fault of the store. The cause stays inside: it may name machines.
pub fn of_store(error: &StoreError) -> ApiError {
    match error {
        StoreError::Unavailable(cause) => {
            log::debug!("store is not available: error=\"{cause}\"");
            ApiError::new(
                Code::StoreUnavailable,
                "the store did not answer in time, so what was asked may or may not have been done; repeating is safe, for a send with the same Idempotency-Key",
            )
        }
        StoreError::Full(cause) => {
            log::debug!("store is full: error=\"{cause}\"");
            ApiError::new(Code::StoreFull, "the store has no room; nothing was stored")
        }
        StoreError::Corrupt(cause) => {
            log::error!("store holds what cannot be understood: error=\"{cause}\"");
            ApiError::new(Code::Internal, "the store holds data that cannot be read")
        }
    }
}

/// Appends the problem document.
pub fn write(error: &ApiError, out: &mut Vec<u8>) {
    let code = error.code;
    SENDS.refuse(code);
    out.extend_from_slice(b"{\"type\":\"/problems/");
    // Codes and titles are ours, and need no escaping.
    out.extend_from_slice(code.code().as_bytes());
    out.extend_from_slice(b"\",\"title\":\"");
    out.extend_from_slice(code.title().as_bytes());
    out.extend_from_slice(b"\",\"status\":");
    out.extend_from_slice(code.status().to_string().as_bytes());
    out.extend_from_slice(b",\"detail\":");
    write_str(&error.detail, out);
    if !error.errors.is_empty() {
        out.extend_from_slice(b",\"errors\":");
        for (n, field) in error.errors.iter().enumerate() {
            out.push(if n == 0 { b'[' } else { b',' });
            out.extend_from_slice(b"{\"pointer\":");
            write_str(&field.pointer, out);
            out.extend_from_slice(b",\"detail\":");
            write_str(&field.detail, out);
            out.push(b'}');
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// The row of the table for an error that actix answered by itself.
pub fn of_status(status: StatusCode) -> ApiError {
    let (code, detail) = match status.as_u16() {
        404 => (Code::NotFound, "there is nothing at this path"),
        405 => (Code::MethodNotAllowed, "the Allow header names the methods"),
        408 => (Code::RequestTimeout, "the request did not arrive in time"),
        413 => (Code::BodyTooLarge, "the body is too large"),
        415 => (Code::UnsupportedMediaType, "the body must be application/json"),
        503 => (Code::Overloaded, "try again later"),
        400..500 => (Code::BadParameter, "the request is malformed"),
        _ => (Code::Internal, "the fault has been logged"),
    };
    ApiError::new(code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FieldError;
    use serde_json::{Value, json};

    #[test]
    fn a_problem_document_has_the_members_of_the_contract() {
        let mut out = Vec::new();
        let error = ApiError::invalid(vec![FieldError::new("/streams/0/uri", "is \"odd\"\n")]);
        write(&error, &mut out);
        let document: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            document,
            json!({
                "type": "/problems/invalid",
                "title": Code::Invalid.title(),
                "status": 422,
                "detail": "/streams/0/uri: is \"odd\"\n",
                "errors": [{"pointer": "/streams/0/uri", "detail": "is \"odd\"\n"}],
            })
        );
    }

    #[test]
    fn every_row_of_the_table_is_a_readable_document() {
        for code in Code::ALL {
            let mut out = Vec::new();
            write(&ApiError::new(*code, "d"), &mut out);
            let document: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(document["type"], format!("/problems/{}", code.code()));
            assert_eq!(Problem(ApiError::new(*code, "")).status_code().as_u16(), code.status());
        }
    }

    #[test]
    fn a_503_says_when_to_come_back_and_hides_its_cause() {
        let response = Problem::from(StoreError::Unavailable("redis-3.internal refused".into())).error_response();
        assert_eq!(response.status().as_u16(), 503);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "1");
        assert!(!of_store(&StoreError::Full("x9".into())).detail.contains("x9"));
    }
}
