//! Around every request: its id, in and out, and a line in the log when `debug` is on.

use super::admission;
use crate::logs::RequestId;
use crate::measure::ANSWERS;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, ResponseError};
use std::fmt;
use std::time::Instant;

/// The header of the id.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest path that is logged.
const MAX_PATH: usize = 200;

/// The middleware around everything: one, since each costs every request a future on the heap.
pub async fn around(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (id, header) = identify(req.headers());
    // Without the query: its values may be anybody's.
    let access = log::log_enabled!(log::Level::Debug).then(|| {
        let path: String = req.path().chars().take(MAX_PATH).collect();
        (Instant::now(), req.method().clone(), path)
    });
    let served = async {
        let answer = admission::admit(req, next).await;
        let status = match &answer {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        ANSWERS.note(status.as_u16());
        if let Some((began, method, path)) = access {
            let micros = began.elapsed().as_micros();
            log::debug!("request: method={method} path={path:?} status={} duration_us={micros}", status.as_u16());
        }
        answer
    };
    match id.scope(served).await {
        Ok(mut response) => {
            response.headers_mut().insert(X_REQUEST_ID, header);
            Ok(response)
        }
        Err(error) => Err(Identified { error, header }.into()),
    }
}

/// The id that the request came with, when there is one that is well-formed; else a new one.
fn identify(headers: &HeaderMap) -> (RequestId, HeaderValue) {
    let mut given = headers.get_all(X_REQUEST_ID);
    if let (Some(header), None) = (given.next(), given.next())
        && let Some(id) = header.to_str().ok().and_then(RequestId::taken)
    {
        return (id, header.clone());
    }
    let id = RequestId::made();
    // Visible characters make a header.
    let header = HeaderValue::from_maybe_shared(id.bytes()).unwrap_or_else(|_| HeaderValue::from_static("-"));
    (id, header)
}

/// An error whose answer names the request.
#[derive(Debug)]
struct Identified {
    error: Error,
    header: HeaderValue,
}

impl fmt::Display for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Identified {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.as_response_error().error_response();
        response.headers_mut().insert(X_REQUEST_ID, self.header.clone());
        response
    }
}
