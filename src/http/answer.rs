//! Successful answers with a JSON body.

use actix_web::body::MessageBody;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

/// The body, with its media type.
pub fn json(mut response: HttpResponseBuilder, body: impl MessageBody + 'static) -> HttpResponse {
    response.insert_header((CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(body)
}

/// The body of what was read just now: may be kept, must be asked about before it is used again.
pub fn read(mut response: HttpResponseBuilder, body: impl MessageBody + 'static) -> HttpResponse {
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")));
    json(response, body)
}
