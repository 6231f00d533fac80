//! Problem documents (RFC 9457): how an [`ApiError`] is answered.

use crate::error::ApiError;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use std::fmt;

/// An error on its way to a client.
#[derive(Debug)]
pub struct Problem(pub ApiError);

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.0.retry_after {
            answer.insert_header(("Retry-After", seconds.to_string()));
        }
        let body = serde_json::json!({
            "type": format!("/problems/{}", self.0.code.code()),
            "title": self.0.code.title(),
            "status": self.0.code.status(),
            "detail": self.0.detail,
        });
        answer.content_type("application/problem+json").body(body.to_string())
    }
}
