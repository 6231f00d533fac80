//! A plain HTTP/1.1 client: what goes over the wire is what the test wrote, what came is kept byte by byte.

use super::wait::{PATIENCE, within};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}), status {}: {}", self.status, self.text()))
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "unexpected status; body: {}", self.text());
        self
    }

    /// Asserts that this is a complete problem document of that status, and answers it.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "unexpected status; body: {}", self.text());
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/problem+json"), "content type of a problem: {content_type}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["type"].as_str().is_some_and(|t| t.starts_with("/problems/")), "{problem}");
        assert!(problem["title"].as_str().is_some_and(|t| !t.is_empty()), "{problem}");
        assert!(problem["detail"].is_string(), "{problem}");
        if status == 503 {
            let after = self.header("retry-after").and_then(|v| v.parse::<u32>().ok());
            assert!(after.is_some(), "a 503 says when to come back");
        }
        problem
    }

    /// Asserts a 422 that names `pointer`.
    #[track_caller]
    pub fn invalid_at(&self, pointer: &str) {
        let problem = self.problem(422);
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        assert!(errors.iter().any(|e| e["pointer"] == pointer), "no error at {pointer}: {problem}");
        assert!(errors.iter().all(|e| e["detail"].as_str().is_some_and(|d| !d.is_empty())), "{problem}");
    }
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Vec<u8> {
    let mut out = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
        out.extend_from_slice(b"Host: hub.localhost\r\n");
    }
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if let Some(body) = body {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or_default());
    out
}

/// A kept-alive connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Writes the bytes and reads one answer.
    pub async fn exchange(&mut self, bytes: &[u8]) -> io::Result<Response> {
        self.write(bytes).await?;
        self.read(bytes.starts_with(b"HEAD ")).await
    }

    /// Writes the bytes alone.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// Reads one answer; interim (1xx) ones other than 101 are skipped.
    pub async fn read(&mut self, head: bool) -> io::Result<Response> {
        loop {
            let response = self.read_one(head).await?;
            if response.status == 101 || response.status >= 200 {
                return Ok(response);
            }
        }
    }

    async fn read_one(&mut self, head: bool) -> io::Result<Response> {
        let first = read_line(&mut self.stream).await?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {first:?}")))?;
        let headers = read_headers(&mut self.stream).await?;
        let bodiless = head || status < 200 || status == 204 || status == 304;
        let body = if bodiless { Vec::new() } else { read_body(&mut self.stream, &headers, true).await? };
        Ok(Response { status, headers, body })
    }
}

/// One exchange on a connection of its own.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Response> {
    Connection::open(address).await?.exchange(bytes).await
}

/// One exchange that must work, bounded in time.
pub async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> Response {
    let bytes = request(method, path, headers, body);
    let what = format!("the answer to {method} {}", path.chars().take(120).collect::<String>());
    within(PATIENCE, &what, exchange(address, &bytes)).await.unwrap_or_else(|e| panic!("{what}: {e}"))
}

/// Reads a line without its end; an end of the stream before one is an error.
pub async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Reads header lines up to the empty one.
pub async fn read_headers(stream: &mut BufReader<TcpStream>) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// Reads a body by its length, its chunks, or (`to_end`) the end of the connection.
pub async fn read_body(
    stream: &mut BufReader<TcpStream>,
    headers: &[(String, String)],
    to_end: bool,
) -> io::Result<Vec<u8>> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let line = read_line(stream).await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).await?;
            let end = read_line(stream).await?;
            if size == 0 {
                return Ok(body);
            }
            debug_assert!(end.is_empty());
        }
    }
    if let Some(length) = header("content-length") {
        let length = length.parse().map_err(|_| io::Error::other(format!("not a length: {length:?}")))?;
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
    } else if to_end {
        stream.read_to_end(&mut body).await?;
    }
    Ok(body)
}
