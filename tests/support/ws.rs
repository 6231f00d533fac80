//! WebSocket sessions through a client that is not the hub's own.

use super::hub::Hub;
use super::wait::{PATIENCE, within};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A live session.
pub struct Session {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Session {
    /// Opens `/api/events/` with a query (`?types=…` or nothing).
    pub async fn open(hub: &Hub, query: &str) -> Self {
        let url = format!("ws://{}/api/events/{query}", hub.address());
        let opened = within(PATIENCE, "the WebSocket handshake", tokio_tungstenite::connect_async(&url)).await;
        let (socket, _) = opened.unwrap_or_else(|e| panic!("no session at {url}: {e}"));
        Self { socket }
    }

    /// Opens `/api/events/` with a token, as a browser sends it.
    pub async fn open_with(hub: &Hub, query: &str, token: &str) -> Self {
        let url = format!("ws://{}/api/events/{query}", hub.address());
        let mut request = url.into_client_request().expect("a URL");
        let protocols = format!("bearer, {token}").parse().expect("a header");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocols);
        let opened = within(PATIENCE, "the WebSocket handshake", tokio_tungstenite::connect_async(request)).await;
        let (socket, answer) = opened.unwrap_or_else(|e| panic!("no session: {e}"));
        assert_eq!(answer.headers().get("sec-websocket-protocol").expect("a choice"), "bearer");
        Self { socket }
    }

    /// Asserts that a session is refused; the status of the refusal.
    pub async fn refused(hub: &Hub, query: &str) -> u16 {
        let url = format!("ws://{}/api/events/{query}", hub.address());
        match within(PATIENCE, "the WebSocket handshake", tokio_tungstenite::connect_async(&url)).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("neither a session nor a refusal at {url}: {other}"),
            Ok(_) => panic!("a session was opened at {url}"),
        }
    }

    /// The next text frame as it came.
    pub async fn text(&mut self) -> String {
        match self.message("a text frame").await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("not a text frame: {other:?}"),
        }
    }

    /// The next text frame as JSON.
    pub async fn event(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON ({e}): {text}"))
    }

    /// Reads up to the event with this id: whatever had been handed to sessions before it has been handed to all.
    pub async fn until(&mut self, id: &str) {
        while self.event().await["id"] != id {}
    }

    /// The ids of the next events, sorted: events of different types may overtake each other, and those of one
    /// millisecond are replayed in the order of their types.
    pub async fn ids(&mut self, events: usize) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for _ in 0..events {
            let event = self.event().await;
            ids.insert(event["id"].as_str().unwrap_or_else(|| panic!("not an event: {event}")).to_owned());
        }
        ids
    }

    /// The code of the hub's close frame; `None` when the connection ended without one.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            match self.message("the session to be closed").await {
                Some(Message::Close(frame)) => return frame.map(|f| f.code.into()),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Sends a text frame.
    pub async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the session takes a frame");
    }

    async fn message(&mut self, what: &str) -> Option<Message> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => return Some(message),
                    Some(Err(_)) | None => return None,
                }
            }
        };
        within(PATIENCE, what, next).await
    }
}
