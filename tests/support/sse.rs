//! A client of Server-Sent Events that reads as the WHATWG specification says (HTML, 9.2.6), byte by byte.

use super::hub::Hub;
use super::wait::{PATIENCE, within};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A dispatched message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `message` unless the stream says otherwise.
    pub event: String,
    pub data: String,
    /// The client's cursor after it.
    pub last_event_id: String,
}

impl Message {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.data))
    }
}

/// The specification's parser.
#[derive(Default)]
pub struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    data: String,
    event: String,
    last_event_id: String,
    /// The reconnection time in force.
    pub retry: Option<u64>,
    /// Comments seen.
    pub comments: usize,
}

impl Parser {
    /// Takes a byte; a message when it dispatches one.
    pub fn push(&mut self, byte: u8) -> Option<Message> {
        let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
        match byte {
            b'\n' if after_cr => None,
            b'\n' | b'\r' => {
                let line = String::from_utf8(std::mem::take(&mut self.line)).expect("a stream of events is UTF-8");
                self.take(&line)
            }
            byte => {
                self.line.push(byte);
                None
            }
        }
    }

    fn take(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let (mut data, event) = (std::mem::take(&mut self.data), std::mem::take(&mut self.event));
            if data.is_empty() {
                return None;
            }
            assert_eq!(data.pop(), Some('\n'));
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return Some(Message { event, data, last_event_id: self.last_event_id.clone() });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.comments += 1,
            "event" => self.event = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.last_event_id = value.to_owned(),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => self.retry = value.parse().ok(),
            other => panic!("the hub sends a field that the specification ignores: {other}"),
        }
        None
    }
}

/// An open stream.
pub struct Events {
    stream: BufReader<TcpStream>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub parser: Parser,
    /// Bytes of the chunk at hand that are still to come.
    chunk: usize,
}

impl Events {
    /// Opens `/api/events/` with a query and more headers.
    pub async fn open(hub: &Hub, query: &str, headers: &[(&str, &str)]) -> Self {
        let open = async {
            let mut stream = TcpStream::connect(hub.address()).await.expect("the hub listens");
            let mut head =
                format!("GET /api/events/{query} HTTP/1.1\r\nHost: hub.localhost\r\nAccept: text/event-stream\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            stream.write_all(head.as_bytes()).await.expect("a request is written");
            let mut stream = BufReader::new(stream);
            let status = super::http::read_line(&mut stream).await.expect("a status line");
            assert!(status.starts_with("HTTP/1.1 200"), "{status}");
            let headers = super::http::read_headers(&mut stream).await.expect("headers");
            Self { stream, headers, parser: Parser::default(), chunk: 0 }
        };
        within(PATIENCE, "a stream of events", open).await
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        within(PATIENCE, "a message of the stream", async {
            loop {
                let byte = self.byte().await?;
                if let Some(message) = self.parser.push(byte) {
                    return Some(message);
                }
            }
        })
        .await
    }

    /// The next event's id.
    pub async fn id(&mut self) -> String {
        let message = self.next().await.expect("an event");
        assert_eq!(message.event, "message", "{message:?}");
        assert_eq!(message.json()["id"], message.last_event_id.as_str());
        message.last_event_id
    }

    /// Waits for a comment.
    pub async fn comment(&mut self) {
        let seen = self.parser.comments;
        within(PATIENCE, "a comment", async {
            while self.parser.comments == seen {
                let byte = self.byte().await.expect("the stream goes on");
                assert_eq!(self.parser.push(byte), None);
            }
        })
        .await;
    }

    async fn byte(&mut self) -> Option<u8> {
        if self.chunk == 0 {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
            if line == "\r\n" {
                line.clear();
                self.stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
            }
            self.chunk = usize::from_str_radix(line.trim_end(), 16).expect("the length of a chunk");
            if self.chunk == 0 {
                return None;
            }
        }
        self.chunk -= 1;
        self.stream.read_u8().await.ok()
    }
}
