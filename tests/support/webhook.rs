//! A recording webhook receiver whose answers a test scripts.
//!
//! Plain TCP rather than a web framework: it must also be able to hang, to cut the connection and to
//! answer without end, and nothing about a request may be normalised before it is recorded.

use super::http::{read_body, read_headers, read_line};
use super::wait::{PATIENCE, within};
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// An answer with an empty body.
    Status(u16),
    /// An answer with headers.
    With(u16, Vec<(&'static str, String)>),
    /// An answer that comes late.
    After(Duration, u16),
    /// An answer with a body.
    Text(u16, String),
    /// An answer that comes when the test says [`Webhook::release`].
    Held(u16),
    /// No answer, for as long as the client stays.
    Hang,
    /// The connection is cut.
    Drop,
    /// 200 with a body of so many bytes.
    Huge(usize),
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// Which request for its `webhook-id` this is, from 1.
    pub attempt: usize,
    /// The status that was answered, once it was.
    pub answered: Option<u16>,
}

impl Received {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a webhook's body is JSON")
    }

    /// The event's id by the body.
    pub fn id(&self) -> String {
        self.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Whether it was answered with a 2xx.
    pub fn succeeded(&self) -> bool {
        self.answered.is_some_and(|status| (200..300).contains(&status))
    }
}

type Script = Box<dyn Fn(&Received) -> Answer + Send>;

struct State {
    received: Vec<Received>,
    attempts: HashMap<String, usize>,
    script: Script,
}

/// The receiver; ends with the test's runtime.
#[derive(Clone)]
pub struct Webhook {
    address: SocketAddr,
    shared: Arc<(Mutex<State>, Notify)>,
    /// Turned once by a release.
    released: watch::Sender<bool>,
}

impl Webhook {
    /// Listens on a free port and answers 200 to everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let state = State { received: Vec::new(), attempts: HashMap::new(), script: Box::new(|_| Answer::Status(200)) };
        let webhook =
            Self { address, shared: Arc::new((Mutex::new(state), Notify::new())), released: watch::Sender::new(false) };
        let server = webhook.clone();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                actix_web::rt::spawn(async move {
                    // The client's going away is its own business.
                    let _ = server.serve(stream).await;
                });
            }
        });
        webhook
    }

    /// Decides answers from now on.
    pub fn answers(&self, script: impl Fn(&Received) -> Answer + Send + 'static) {
        self.state().script = Box::new(script);
    }

    /// Lets what is held be answered, now and later.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// A URI of the receiver.
    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What has arrived so far, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// Waits until what has arrived satisfies `enough`.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        self.until_within(PATIENCE, what, enough).await
    }

    /// Like [`until`](Self::until) with a limit of its own.
    pub async fn until_within(
        &self,
        limit: Duration,
        what: &str,
        enough: impl Fn(&[Received]) -> bool,
    ) -> Vec<Received> {
        let wait = async {
            loop {
                let notified = self.shared.1.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if enough(&self.state().received) {
                    return;
                }
                notified.await;
            }
        };
        within(limit, &format!("the webhook: {what}"), wait).await;
        self.received()
    }

    /// Waits for `n` successful deliveries of different events; their ids in the order of success.
    pub async fn delivered(&self, n: usize) -> Vec<String> {
        let received = self.until(&format!("{n} events delivered"), |r| distinct(r).len() >= n).await;
        distinct(&received)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let line = read_line(&mut stream).await?;
            let headers = read_headers(&mut stream).await?;
            let body = read_body(&mut stream, &headers, false).await?;
            let (index, answer) = self.record(Received { line, headers, body, attempt: 0, answered: None });
            let status = match &answer {
                Answer::Status(status) | Answer::With(status, _) | Answer::Text(status, _) => *status,
                Answer::Held(status) => {
                    let _ = self.released.subscribe().wait_for(|released| *released).await;
                    *status
                }
                Answer::After(delay, status) => {
                    tokio::time::sleep(*delay).await;
                    *status
                }
                Answer::Hang => std::future::pending().await,
                Answer::Drop => return Ok(()),
                Answer::Huge(_) => 200,
            };
            // Known before the client can know it, so that a test that has seen the effect sees the cause.
            self.state().received[index].answered = Some(status);
            self.shared.1.notify_waiters();
            let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
            if let Answer::With(_, headers) = &answer {
                for (name, value) in headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
            }
            let size = match &answer {
                Answer::Huge(size) => *size,
                Answer::Text(_, text) => text.len(),
                _ => 0,
            };
            head.push_str(&format!("Content-Length: {size}\r\n\r\n"));
            stream.get_mut().write_all(head.as_bytes()).await?;
            if let Answer::Text(_, text) = answer {
                stream.get_mut().write_all(text.as_bytes()).await?;
                continue;
            }
            let block = [b'x'; 8192];
            let mut left = size;
            while left > 0 {
                let part = left.min(block.len());
                stream.get_mut().write_all(&block[..part]).await?;
                left -= part;
            }
        }
    }

    fn record(&self, mut request: Received) -> (usize, Answer) {
        let mut state = self.state();
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        let attempt = state.attempts.entry(id).or_default();
        *attempt += 1;
        request.attempt = *attempt;
        let answer = (state.script)(&request);
        state.received.push(request);
        let index = state.received.len() - 1;
        drop(state);
        self.shared.1.notify_waiters();
        (index, answer)
    }
}

/// Ids of the events that were delivered successfully, each once, in the order of arrival.
pub fn distinct(received: &[Received]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    received
        .iter()
        .filter(|r| r.succeeded())
        .filter_map(|r| r.header("webhook-id").map(str::to_owned))
        .filter(|id| seen.insert(id.clone()))
        .collect()
}
