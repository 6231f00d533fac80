//! The client of an arbiter, and the sink that delivers with it.

use super::super::{Delivery, Outcome, Report, Sink, SinkEnv, StreamSettings, text::one_line};
use super::guard::{DIALLED, Denied, Guard, GuardedConnector};
use super::sign::{Secret, signature};
use actix_http::error::ParseError;
use async_trait::async_trait;
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, HttpDate, RETRY_AFTER, USER_AGENT};
use awc::http::{Method, StatusCode, Uri};
use awc::{Client, ClientBuilder, ClientResponse, Connector};
use futures_util::StreamExt;
use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Most of an answer that is read.
const MAX_ANSWER: usize = 64 << 10;
/// How much of a failing answer is shown with its attempt.
const KEPT: usize = 1 << 10;
/// How much of it may stand in an error line.
const EXCERPT: usize = 200;
/// How the hub introduces itself.
const AGENT: &str = concat!("event-source-api/", env!("CARGO_PKG_VERSION"));

/// The HTTP client of one arbiter: connections to a host are kept and used again. `!Send`.
#[derive(Clone)]
pub struct WebhookClient(Client);

impl WebhookClient {
    /// A client that keeps to `webhook.deny`, with HTTP/1.1 and the certificate authorities of `trust`.
    pub fn new(settings: &StreamSettings) -> Self {
        // Part of an exchange's time: a host that does not answer a dial is away, not slow.
        let dial = settings.webhook_timeout.mul_f64(0.6);
        let mut connector = Connector::new();
        match crate::trust::client_config() {
            Ok(config) => connector = connector.rustls_0_23(config),
            Err(error) => log::error!("webhooks over https will fail: error={:?}", error.to_string()),
        }
        let connector = connector
            .connector(GuardedConnector::new(Guard::new(settings)))
            .timeout(dial)
            .handshake_timeout(dial)
            // Each stream has its own limit; a common one would let a slow host hold up the others.
            .limit(0);
        let client = ClientBuilder::new()
            .connector(connector)
            .disable_redirects()
            .disable_timeout()
            .no_default_headers()
            .finish();
        Self(client)
    }
}

/// Delivers to one URI.
pub(super) struct WebhookSink {
    client: Client,
    uri: Uri,
    secrets: Vec<Secret>,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl WebhookSink {
    pub fn new(env: &SinkEnv, uri: Uri, secrets: Vec<Secret>, headers: Vec<(HeaderName, HeaderValue)>) -> Self {
        let timeout = env.settings.webhook_timeout;
        Self { client: env.webhooks.0.clone(), uri, secrets, headers, timeout }
    }

    /// One exchange at `now`, by this node's clock: the receiver compares the timestamp with its own, within minutes,
    /// and means the time of the world, which the store's clock need not be. Whether it needed a new connection tells if a failure may be the old one's.
    async fn exchange(&self, delivery: &Delivery, now: SystemTime) -> (Result<ClientResponse, SendRequestError>, bool) {
        let id = delivery.id.to_string();
        let timestamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
        let signature = signature(&self.secrets, &id, &timestamp, &delivery.body);
        let mut request = self
            .client
            .request(Method::POST, self.uri.clone())
            .insert_header((USER_AGENT, AGENT))
            .insert_header((CONTENT_TYPE, "application/json"))
            .insert_header(("webhook-id", id))
            .insert_header(("webhook-timestamp", timestamp))
            .insert_header(("webhook-signature", signature));
        if let Some(trace) = &delivery.trace {
            request = request.insert_header(("traceparent", trace.parent.as_str()));
            if let Some(state) = &trace.state {
                request = request.insert_header(("tracestate", state.as_str()));
            }
        }
        for (name, value) in &self.headers {
            request = request.insert_header((name.clone(), value.clone()));
        }
        let body = delivery.body.clone();
        DIALLED
            .scope(Cell::new(false), async move {
                let answer = request.send_body(body).await;
                (answer, DIALLED.with(Cell::get))
            })
            .await
    }

    async fn attempt(&self, delivery: &Delivery) -> Report {
        let (mut answer, dialled) = self.exchange(delivery, SystemTime::now()).await;
        // The other side may close a kept connection just as it is used again; that is no failure.
        if !dialled && matches!(&answer, Err(error) if is_closed(error)) {
            answer = self.exchange(delivery, SystemTime::now()).await.0;
        }
        match answer {
            Ok(answer) => judge(answer, SystemTime::now()).await,
            Err(error) => explain(&error).into(),
        }
    }
}

#[async_trait(?Send)]
impl Sink for WebhookSink {
    async fn deliver(&self, delivery: &Delivery) -> Report {
        tokio::time::timeout(self.timeout, self.attempt(delivery)).await.unwrap_or_else(|_| {
            let error = format!("no complete answer within {}", crate::event::format_duration(self.timeout));
            Outcome::Retry { error, after: None }.into()
        })
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// The connection ended before there was an answer.
fn is_closed(error: &SendRequestError) -> bool {
    matches!(
        error,
        SendRequestError::Connect(ConnectError::Disconnected)
            | SendRequestError::Send(_)
            | SendRequestError::Response(ParseError::Io(_))
    )
}

fn explain(error: &SendRequestError) -> Outcome {
    let error_line = |text: String| one_line(&text);
    match error {
        SendRequestError::Connect(ConnectError::Resolver(cause)) if cause.is::<Denied>() => {
            Outcome::Retry { error: error_line(cause.to_string()), after: None }
        }
        _ if is_closed(error) => {
            Outcome::Retry { error: "the connection was closed before an answer".into(), after: None }
        }
        SendRequestError::Connect(cause) => Outcome::Unreachable { error: error_line(cause.to_string()) },
        other => Outcome::Retry { error: error_line(other.to_string()), after: None },
    }
}

/// Reads the answer, at most 64 KiB of it, and decides.
async fn judge(mut answer: ClientResponse, now: SystemTime) -> Report {
    let mut start = Vec::new();
    let mut read = 0;
    // A body that breaks off changes nothing: the status has been given. Dropping an answer that was
    // not read to its end closes its connection.
    while let Some(Ok(chunk)) = answer.next().await {
        start.extend(chunk.iter().take(KEPT - start.len().min(KEPT)));
        read += chunk.len();
        if read >= MAX_ANSWER {
            break;
        }
    }
    let status = answer.status();
    let code = Some(status.as_u16());
    if status.is_success() {
        return Report { status: code, ..Outcome::Delivered.into() };
    }
    let excerpt = one_line(&String::from_utf8_lossy(start.get(..EXCERPT).unwrap_or(&start)));
    let mut error = match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_str()),
        None => status.as_str().to_owned(),
    };
    if status.is_redirection() {
        error.push_str(" (redirects are not followed)");
    }
    if !excerpt.is_empty() {
        error = format!("{error}: {excerpt}");
    }
    let outcome = match status {
        StatusCode::GONE => Outcome::Pause { error },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Outcome::Retry { error, after: retry_after(answer.headers(), now) }
        }
        _ => Outcome::Retry { error, after: None },
    };
    let answer = (!start.is_empty()).then(|| String::from_utf8_lossy(&start).into_owned());
    Report { outcome, status: code, answer }
}

/// `Retry-After`: seconds, or an HTTP date. That is by the clock of whoever answered, as is the answer's own date; `now`
/// is for answers without one.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds is still "much later".
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = |text: &str| text.parse::<HttpDate>().ok().map(SystemTime::from);
    let now = headers.get(DATE).and_then(|value| date(value.to_str().ok()?)).unwrap_or(now);
    Some(date(text)?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read(" 0 "), Some(Duration::ZERO));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(read("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT"));
        headers.insert(DATE, HeaderValue::from_static("Wed, 21 Oct 2015 07:27:30 GMT"));
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(30)), "by the receiver's clock");
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        assert_eq!(retry_after(&headers, now), Some(Duration::from_secs(10)));
        for bad in ["", "-1", "1.5", "soon"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
