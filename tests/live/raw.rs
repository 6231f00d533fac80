//! Clients below the level of messages: a WebSocket that sends exactly the bytes it is given, right or wrong, and a
//! stream of events that is not read.

use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, within};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// A frame from the hub.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// Unmasked, as a server's frames are.
    pub payload: Vec<u8>,
}

/// A session below the level of messages.
pub struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    /// Opens a session on all types.
    pub async fn open(hub: &Hub) -> Self {
        Self::open_with(hub, None).await
    }

    /// Opens one whose socket takes in little that is not read.
    pub async fn open_with(hub: &Hub, receive_buffer: Option<u32>) -> Self {
        let mut stream = BufReader::new(connect(hub, receive_buffer).await);
        let request = "GET /api/events/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a request");
        let status = crate::support::http::read_line(&mut stream).await.expect("an answer");
        assert_eq!(status, "HTTP/1.1 101 Switching Protocols");
        let headers = crate::support::http::read_headers(&mut stream).await.expect("a head");
        // The accept key of RFC 6455, section 1.3.
        assert!(headers.contains(&("sec-websocket-accept".into(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())));
        Self { stream }
    }

    /// Sends these bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// The next frame; `None` when the connection ended.
    pub async fn frame(&mut self) -> Option<Frame> {
        within(PATIENCE, "a frame or the end", async {
            let (first, second) = (self.stream.read_u8().await.ok()?, self.stream.read_u8().await.ok()?);
            assert!(second < 128, "a server's frames are not masked");
            let length = match second {
                126 => usize::from(self.stream.read_u16().await.ok()?),
                127 => usize::try_from(self.stream.read_u64().await.ok()?).expect("a length"),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame { first, payload })
        })
        .await
    }

    /// Waits for the end of the connection; the code of a close frame before it, if there was one.
    pub async fn ended(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some(frame) = self.frame().await {
            if frame.first == 0x88 {
                code = frame.payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
            }
        }
        code
    }
}

async fn connect(hub: &Hub, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).expect("a buffer size");
    }
    let stream = within(PATIENCE, "a connection", socket.connect(hub.address())).await.expect("the hub listens");
    stream.set_nodelay(true).expect("a socket option");
    stream
}

/// Asks for a stream of events, and reads no further than the status of the answer.
pub async fn stream(hub: &Hub, receive_buffer: Option<u32>) -> (u16, TcpStream) {
    let mut stream = connect(hub, receive_buffer).await;
    let request = "GET /api/events/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut status = [0; "HTTP/1.1 200".len()];
    within(PATIENCE, "a status", stream.read_exact(&mut status)).await.expect("an answer");
    let status = std::str::from_utf8(&status[9..]).expect("digits").parse().expect("a status");
    (status, stream)
}

/// Connections between others and the hub, by the kernel's table.
pub fn connections(hub: &Hub) -> usize {
    let port = format!("{:04X}", hub.address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of sockets");
    let established = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
    };
    table.lines().skip(1).filter(established).count()
}

/// A client's frame: first byte, payload masked with a key that is not zero.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("a small length")),
        length @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).expect("a length").to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}
