//! The one table of problems: every 4xx and 5xx the hub answers has its code, status and title here.
//!
//! Layers return [`ApiError`]; `http/problem.rs` alone renders it (RFC 9457).

use serde::Serialize;
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:literal, $title:literal;)*) => {
        /// What went wrong, as a client may act on it. The code ends the problem's `type` URI.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The last segment of `/problems/CODE`.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The same short sentence for every occurrence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or not UTF-8.
    MalformedJson = "malformed-json", 400, "The body is not valid JSON";
    /// A query parameter, path segment or header has not the form it must have.
    BadParameter = "bad-parameter", 400, "A parameter is malformed";
    /// No or an unknown token.
    Unauthorized = "unauthorized", 401, "A valid token is required";
    /// The token's scopes, types or client do not allow this.
    Forbidden = "forbidden", 403, "The token does not allow this";
    /// A page of an origin that may not do this.
    CrossOrigin = "cross-origin", 403, "The page's origin may not do this";
    /// A hub without tokens is asked by a name that is not its own: a page may have made the name.
    ForeignHost = "foreign-host", 403, "The request is for another host";
    /// No such resource.
    NotFound = "not-found", 404, "There is no such resource";
    /// The type is not registered, where settings say that this is an error.
    UnregisteredType = "unregistered-type", 404, "The type is not registered";
    /// The resource does not know this method.
    MethodNotAllowed = "method-not-allowed", 405, "The resource does not support this method";
    /// The sender was too slow.
    RequestTimeout = "request-timeout", 408, "The request took too long to arrive";
    /// The body is over `http.max_body`.
    BodyTooLarge = "body-too-large", 413, "The body is too large";
    /// The batch is over `http.max_batch`.
    BatchTooLarge = "batch-too-large", 413, "The batch has too many items";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported-media-type", 415, "The body must be application/json";
    /// Well-formed JSON that is not what the resource takes.
    Invalid = "invalid", 422, "The body is not valid for this resource";
    /// JSON nested deeper than `http.max_depth`.
    TooDeep = "too-deep", 422, "The JSON is nested too deeply";
    /// Every type number has been given away.
    TypeLimit = "type-limit", 422, "No more types can be registered";
    /// What a stream is asked for that only a registered one can do.
    StreamDropped = "stream-dropped", 422, "The stream is not registered any more";
    /// An `Idempotency-Key` came again with another body.
    IdempotencyKeyReused = "idempotency-key-reused", 422, "The idempotency key was used with a different body";
    /// Over a rate limit.
    TooManyRequests = "too-many-requests", 429, "Too many requests";
    /// A fault of the hub.
    Internal = "internal", 500, "The hub failed";
    /// The store is down or too slow.
    StoreUnavailable = "store-unavailable", 503, "The store is not available";
    /// The store takes no more data.
    StoreFull = "store-full", 503, "The store is full";
    /// A stream of the type holds `streams.max_backlog` undelivered events.
    StreamBacklogFull = "stream-backlog-full", 503, "A stream of this type has too many undelivered events";
    /// More is in flight than the hub admits.
    Overloaded = "overloaded", 503, "The hub has too much in flight";
    /// More than `live.max_sessions`.
    TooManySessions = "too-many-sessions", 503, "The hub has too many live sessions";
    /// A part of the hub stands still.
    NoProgress = "no-progress", 503, "A part of the hub makes no progress";
    /// The hub is stopping.
    ShuttingDown = "shutting-down", 503, "The hub is shutting down";
}

/// One thing wrong with a body, at a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where, e.g. `/streams/0/uri`; empty for the whole body.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl FieldError {
    /// `detail` at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Row of the table.
    pub code: Code,
    /// What happened this time.
    pub detail: String,
    /// For validation: every field that is wrong.
    pub errors: Vec<FieldError>,
    /// Seconds after which to try again; set for every 429 and 503.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An occurrence of `code`; 503 and 429 get a `Retry-After` of one second.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after = matches!(code.status(), 429 | 503).then_some(1);
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after }
    }

    /// A 422 that lists what is wrong.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.first().map_or_else(String::new, |first| {
            let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
            let at = if first.pointer.is_empty() { "the body" } else { first.pointer.as_str() };
            format!("{at}: {}{more}", first.detail)
        });
        Self { errors, ..Self::new(Code::Invalid, detail) }
    }

    /// A 422 with one wrong field.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, detail)])
    }

    /// A 404 naming what is not there.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(Code::NotFound, what)
    }

    /// A 400 for a malformed parameter.
    pub fn parameter(name: &str, problem: impl fmt::Display) -> Self {
        Self::new(Code::BadParameter, format!("{name}: {problem}"))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.code(), self.detail)
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_statuses_are_errors() {
        let names: HashSet<_> = Code::ALL.iter().map(|c| c.code()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|c| (400..600).contains(&c.status())));
    }

    #[test]
    fn every_503_says_when_to_come_back() {
        for code in Code::ALL.iter().filter(|c| c.status() == 503) {
            assert!(ApiError::new(*code, "").retry_after.is_some());
        }
    }
}
