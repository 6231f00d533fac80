//! The hub at the other end: one HTTP client, and what its answers mean.

use super::failure::Failure;
use super::out::{Out, printable};
use crate::trust;
use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;
use awc::http::header::{HeaderMap, RETRY_AFTER};
use awc::{Client, ClientBuilder, ClientRequest, ClientResponse, Connector};
use bytes::Bytes;
use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where a hub is when nobody says.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// Longest exchange, unless the command says another.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const DIAL: Duration = Duration::from_secs(10);
/// Most of an answer that is read: well over a feed of 10 000 events.
const MAX_ANSWER: usize = 1 << 30;
/// Most of a token file that is read.
const MAX_TOKEN: usize = 4096;
/// How commands introduce themselves.
const AGENT: &str = concat!("event-source-api/", env!("CARGO_PKG_VERSION"), " (command line)");

/// Which hub, as whom, and for whom the output is.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Where the hub is [default: $EVENTS_URL, or http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// File whose first line is the access token [default: the token in $EVENTS_TOKEN, if any]
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Print JSON, one document a line
    #[arg(long, global = true)]
    json: bool,
}

impl Connection {
    /// Where results go.
    pub fn out(&self) -> Out {
        Out::new(self.json)
    }

    /// The client. `url`, where it is given, is meant before `--url`.
    ///
    /// # Errors
    /// When URL or token cannot be meant.
    pub fn hub(&self, url: Option<&str>) -> Result<Hub, Failure> {
        let variable = std::env::var("EVENTS_URL").ok().filter(|url| !url.is_empty());
        let url = url.or(self.url.as_deref()).or(variable.as_deref()).unwrap_or(DEFAULT_URL);
        Ok(Hub { base: base(url)?, token: self.token()?, client: client()? })
    }

    /// A hub of this machine by its address, as nobody in particular.
    ///
    /// # Errors
    /// When there can be no client.
    pub fn of_this_machine(address: SocketAddr) -> Result<Hub, Failure> {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let base = format!("http://{}", SocketAddr::new(ip, address.port()));
        Ok(Hub { base, token: None, client: client()? })
    }

    /// Never an argument, which everybody on the machine could read.
    fn token(&self) -> Result<Option<String>, Failure> {
        let text = match &self.token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Failure::Usage(format!("--token-file: cannot read {}: {error}", file.display()))
                })?;
                Some(text.lines().next().unwrap_or_default().to_owned())
            }
            None => std::env::var("EVENTS_TOKEN").ok(),
        };
        let Some(token) = text.map(|text| text.trim().to_owned()).filter(|token| !token.is_empty()) else {
            let nothing = "--token-file: the file's first line is empty";
            return if self.token_file.is_some() { Err(Failure::Usage(nothing.to_owned())) } else { Ok(None) };
        };
        // What cannot stand in a header is not repeated: it may be a token all the same.
        if token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::Usage("the access token holds characters that no token has".to_owned()));
        }
        Ok(Some(token))
    }
}

/// `http://host:port/prefix` without the slash at its end.
fn base(text: &str) -> Result<String, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("'{}' is not the URL of a hub: {why}", printable(text)));
    let url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("it must begin with http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::Usage(
            "the hub's URL must hold no user or password: give a token by EVENTS_TOKEN or --token-file".to_owned(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must have no query and no fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn client() -> Result<Client, Failure> {
    let config = trust::client_config().map_err(|error| Failure::Refused(format!("TLS cannot be set up: {error}")))?;
    let connector = Connector::new().rustls_0_23(config).timeout(DIAL).handshake_timeout(DIAL);
    // Redirects are not followed: a token would go with them.
    Ok(ClientBuilder::new().connector(connector).disable_redirects().disable_timeout().no_default_headers().finish())
}

/// A hub.
pub struct Hub {
    base: String,
    token: Option<String>,
    client: Client,
}

/// An answer, read to its end.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// A problem document (RFC 9457), as far as it is shown.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<Wrong>,
}

#[derive(Debug, Deserialize)]
struct Wrong {
    pointer: String,
    detail: String,
}

impl Hub {
    /// Where it is.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str) -> ClientRequest {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = request.insert_header(("user-agent", AGENT));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// One exchange. Every status is an answer.
    ///
    /// # Errors
    /// [`Failure::Away`] when there is none in time, [`Failure::Unreached`] when nothing can have been asked.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(method, path);
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let exchange = async {
            let sent = match body {
                Some(json) => request.insert_header(("content-type", "application/json")).send_body(json),
                None => request.send(),
            };
            let mut response = sent.await.map_err(|error| self.unreachable(&error))?;
            let body = response.body().limit(MAX_ANSWER).await;
            let body =
                body.map_err(|error| Failure::Away(format!("the answer of {} broke off: {error}", self.base)))?;
            Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
        };
        let late = || Failure::Away(format!("{} did not answer within {} s", self.base, TIMEOUT.as_secs()));
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// GET of a document that must be there.
    ///
    /// # Errors
    /// What the hub says against it.
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::GET, path, &[], None).await?.good()
    }

    /// Opens a stream of Server-Sent Events. Waits for its head alone.
    ///
    /// # Errors
    /// As [`call`](Self::call); a refusal is an answer.
    pub async fn open(&self, path: &str) -> Result<Result<ClientResponse, Answer>, Failure> {
        let sent = self.request(Method::GET, path).insert_header(("accept", "text/event-stream")).send();
        let late = || Failure::Away(format!("{} did not answer within {} s", self.base, TIMEOUT.as_secs()));
        let response = tokio::time::timeout(TIMEOUT, sent).await.map_err(|_| late())?;
        let mut response = response.map_err(|error| self.unreachable(&error))?;
        if response.status().as_u16() == 200 {
            return Ok(Ok(response));
        }
        let body = tokio::time::timeout(TIMEOUT, response.body().limit(1 << 20)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        Ok(Err(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }))
    }

    fn unreachable(&self, error: &SendRequestError) -> Failure {
        let line = format!("cannot reach a hub at {}: {}", self.base, printable(&error.to_string()));
        match error {
            // A connection that ended before there was an answer.
            SendRequestError::Connect(ConnectError::Disconnected) => Failure::Away(line),
            SendRequestError::Connect(_) => Failure::Unreached(line),
            _ => Failure::Away(line),
        }
    }
}

impl Answer {
    /// The answer, unless it tells of a failure.
    ///
    /// # Errors
    /// The hub's problem document as one line.
    pub fn good(self) -> Result<Self, Failure> {
        match self.status {
            200..300 => Ok(self),
            _ => Err(self.failure()),
        }
    }

    /// What an answer that is no success says, on one line.
    pub fn failure(&self) -> Failure {
        let line = self.problem();
        match self.status {
            429 | 500..600 => Failure::Away(line),
            _ => Failure::Refused(line),
        }
    }

    /// The problem document as one line.
    pub fn problem(&self) -> String {
        let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) else {
            let hint = if (300..400).contains(&self.status) { ", a redirect" } else { "" };
            return format!("the answer was {}{hint}: is that the URL of a hub?", self.status);
        };
        problem_line(self.status, &problem)
    }

    /// Seconds after which the hub wants to be asked again.
    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
    }

    /// The document.
    ///
    /// # Errors
    /// When it is not what a hub answers.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::Refused(format!("the answer is not a hub's: {error}; is that its URL?")))
    }

    /// Prints the document for programs: as it came, on one line.
    ///
    /// # Errors
    /// When nobody reads it.
    pub fn print(&self, out: Out) -> Result<(), Failure> {
        out.line(&super::out::one_line(&String::from_utf8_lossy(&self.body)))
    }
}

/// The line of a problem that stands inside another document.
pub fn problem_in(value: &serde_json::Value) -> String {
    let status = value.get("status").and_then(serde_json::Value::as_u64).unwrap_or_default();
    let problem: Problem = owned(value).unwrap_or_default();
    problem_line(u16::try_from(status).unwrap_or_default(), &problem)
}

fn owned<T: DeserializeOwned>(value: &serde_json::Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn problem_line(status: u16, problem: &Problem) -> String {
    let mut line = if problem.title.is_empty() { format!("the answer was {status}") } else { problem.title.clone() };
    if problem.errors.is_empty() {
        if !problem.detail.is_empty() {
            line = format!("{line}: {}", problem.detail);
        }
    } else {
        let each = problem.errors.iter().map(|wrong| match wrong.pointer.as_str() {
            "" => wrong.detail.clone(),
            pointer => format!("{pointer} {}", wrong.detail),
        });
        line = format!("{line}: {}", each.collect::<Vec<_>>().join("; "));
    }
    printable(&format!("{line} ({status})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn a_problem_is_one_line() {
        let plain =
            answer(404, r#"{"type":"/problems/x","title":"Not there","status":404,"detail":"no\nsuch \u001b[0m"}"#);
        assert_eq!(plain.problem(), "Not there: no such \\u{1b}[0m (404)");
        let fields =
            r#"{"title":"T","detail":"d","errors":[{"pointer":"/a","detail":"x"},{"pointer":"","detail":"y"}]}"#;
        assert_eq!(answer(422, fields).problem(), "T: /a x; y (422)");
        assert!(answer(200, "<html>").problem().contains("URL of a hub"));
        assert!(matches!(answer(503, "{}").failure(), Failure::Away(_)));
        assert!(matches!(answer(404, "{}").failure(), Failure::Refused(_)));
    }

    #[test]
    fn a_hubs_url_is_plain() {
        assert_eq!(base("http://h:1/").unwrap(), "http://h:1");
        assert_eq!(base("https://h/events/").unwrap(), "https://h/events");
        for bad in ["h:1", "ftp://h", "http://u:secret@h", "http://h/?a", "http://"] {
            let line = base(bad).unwrap_err().to_string();
            assert!(!line.contains("secret"), "{line}");
        }
    }
}
