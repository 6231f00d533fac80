//! A front before an HTTP server: passes requests on, and answers some by itself without telling anybody.

use super::http::{Connection, Response, read_body, read_headers, read_line, request};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request at the front.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The exact bytes.
    pub body: Vec<u8>,
}

impl Asked {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Starts a front on a free port; it ends with the test's runtime. Requests for which `instead` has an answer get
/// that; all others go to where `upstream` says at the time, and when nobody is there the connection is cut.
pub async fn front(
    upstream: impl Fn() -> Option<SocketAddr> + 'static,
    instead: impl Fn(&Asked) -> Option<Response> + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let shared = Rc::new((upstream, instead));
    actix_web::rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Rc::clone(&shared);
            // Either side's going away ends the connection, and is their own business.
            actix_web::rt::spawn(async move { drop(relay(stream, &shared.0, &shared.1).await) });
        }
    });
    address
}

async fn relay(
    stream: TcpStream,
    upstream: &impl Fn() -> Option<SocketAddr>,
    instead: &impl Fn(&Asked) -> Option<Response>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut client = BufReader::new(stream);
    let mut server: Option<Connection> = None;
    loop {
        let line = read_line(&mut client).await?;
        let headers = read_headers(&mut client).await?;
        let body = read_body(&mut client, &headers, false).await?;
        let asked = Asked { line, headers, body };
        let answer = match instead(&asked) {
            Some(answer) => answer,
            None => pass(&asked, &mut server, upstream).await?,
        };
        client.get_mut().write_all(&bytes_of(&answer)).await?;
    }
}

async fn pass(
    asked: &Asked,
    server: &mut Option<Connection>,
    upstream: &impl Fn() -> Option<SocketAddr>,
) -> io::Result<Response> {
    let mut words = asked.line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let own = asked.headers.iter().filter(|(name, _)| !is_framing(name));
    let headers: Vec<_> = own.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let bytes = request(method, path, &headers, Some(&asked.body));
    let connection = match server {
        Some(connection) => connection,
        None => {
            let address = upstream().ok_or(io::ErrorKind::ConnectionRefused)?;
            server.insert(Connection::open(address).await?)
        }
    };
    connection.exchange(&bytes).await
}

fn is_framing(header: &str) -> bool {
    matches!(header, "content-length" | "transfer-encoding")
}

fn bytes_of(answer: &Response) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {} Passed\r\n", answer.status).into_bytes();
    for (name, value) in answer.headers.iter().filter(|(name, _)| !is_framing(name)) {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n", answer.body.len()).as_bytes());
    out.extend_from_slice(&answer.body);
    out
}
