//! A live session over a WebSocket: one actor a connection. The only file that names the WebSocket crate.
//!
//! The session is subscribed before the handshake is answered, so a client that sends an event after its
//! handshake gets it. It takes events from its [`Inbox`] only as fast as its peer reads: the connection
//! polls the actor when there is room to write, and the actor then takes one portion.

use super::HttpSettings;
use super::frames::{Frames, Inflow};
use super::origin;
use super::params;
use super::socket::PeerSocket;
use crate::error::{ApiError, Code};
use crate::event::TypeFilter;
use crate::live::{BroadcastActor, Cut, Ending, Inbox, LiveSettings, Refused};
use actix::fut::ActorFuture;
use actix::prelude::*;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws;
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Largest message of a client, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// About how many bytes are taken from the inbox at a time: what a session holds that its peer has not
/// read, besides references to shared events.
const PORTION: usize = 64 * 1024;
/// How long a client may take to answer a close frame.
const CLOSING: Duration = Duration::from_secs(1);
/// Twice this long after a close frame it has been given to the kernel, if the peer reads at all.
const FLUSH: Duration = Duration::from_millis(20);
/// The close code of a session that was too slow; private to this API.
const SLOW: u16 = 4000;

/// Answers a WebSocket upgrade with a session.
///
/// # Errors
/// 400 for a malformed filter or handshake, 403 for a page of another origin, 503 when there are too many
/// sessions or the hub is stopping.
pub async fn start(
    req: &HttpRequest,
    payload: Payload,
    http: &HttpSettings,
    live: &LiveSettings,
    broadcast: &Addr<BroadcastActor>,
) -> Result<HttpResponse, ApiError> {
    origin::check(req, http)?;
    let filter = filter(req.query_string())?;
    // Looked at before there is a subscription to be taken back.
    ws::handshake(req).map_err(bad_handshake)?;
    let socket = req.conn_data::<PeerSocket>().cloned();
    let cut: Cut = match socket.clone() {
        Some(socket) => Box::new(move || socket.cut()),
        None => Box::new(|| {}),
    };
    let inbox = Inbox::open(broadcast, live, filter, cut).await.map_err(|refused| {
        let code = match refused {
            Refused::TooMany => Code::TooManySessions,
            Refused::Stopping => Code::ShuttingDown,
        };
        ApiError::new(code, refused.to_string())
    })?;
    if let Some(socket) = &socket {
        socket.bound_send_buffer();
    }
    let inflow = Rc::new(Cell::new(Inflow::Open));
    let frames = Frames::new(payload, MAX_MESSAGE as u64, Rc::clone(&inflow));
    let session = Session {
        inbox,
        heartbeat: live.heartbeat,
        heard: Instant::now(),
        socket,
        inflow,
        partial: Vec::new(),
        closing: false,
    };
    // The frame's bound is kept by `Frames`, which knows it before the frame is there.
    ws::WsResponseBuilder::new(session, req, frames)
        .frame_size(MAX_MESSAGE)
        .start()
        .map_err(|e| ApiError::new(Code::BadParameter, e.to_string()))
}

/// The `types` of a query; absent means every type.
pub fn filter(query: &str) -> Result<TypeFilter, ApiError> {
    let [types] = params::query(query, &["types"])?;
    types.map_or_else(|| Ok(TypeFilter::any()), |types| types.parse().map_err(|e| ApiError::parameter("types", e)))
}

fn bad_handshake(error: ws::HandshakeError) -> ApiError {
    let name = match error {
        ws::HandshakeError::NoVersionHeader | ws::HandshakeError::UnsupportedVersion => "Sec-WebSocket-Version",
        ws::HandshakeError::BadWebsocketKey => "Sec-WebSocket-Key",
        ws::HandshakeError::NoConnectionUpgrade => "Connection",
        _ => "Upgrade",
    };
    ApiError::parameter(name, error)
}

/// One connection.
struct Session {
    /// Its events; dropping it ends the subscription.
    inbox: Inbox,
    /// How often the peer is pinged.
    heartbeat: Duration,
    /// When the peer was last heard.
    heard: Instant,
    /// For options and for ending the connection; `None` when the server was not told of connections.
    socket: Option<PeerSocket>,
    /// How the peer's stream ended.
    inflow: Rc<Cell<Inflow>>,
    /// A message that comes in several frames; at most [`MAX_MESSAGE`].
    partial: Vec<u8>,
    /// A close frame has been sent: nothing may follow it.
    closing: bool,
}

type Ctx = ws::WebsocketContext<Session>;

impl Session {
    /// Sends a close frame and waits a moment for the answer.
    fn close(&mut self, code: ws::CloseCode, reason: &str, ctx: &mut Ctx) {
        if !std::mem::replace(&mut self.closing, true) {
            ctx.close(Some(ws::CloseReason { code, description: Some(reason.to_owned()) }));
            ctx.run_later(CLOSING, |session, ctx| session.finish(ctx));
        }
    }

    /// Ends the connection once what has been written is on its way. The server's connection would wait for
    /// the client to close first, and a WebSocket client waits for the server.
    fn finish(&mut self, ctx: &mut Ctx) {
        // A timer fires only when the connection has room to write, and after the first it has tried to.
        ctx.run_later(FLUSH, |_, ctx| {
            ctx.run_later(FLUSH, |session, ctx| {
                if let Some(socket) = &session.socket {
                    socket.finish();
                }
                ctx.stop();
            });
        });
    }

    /// Pings, unless the peer has been silent for two heartbeats.
    fn beat(&mut self, ctx: &mut Ctx) {
        if self.closing {
            return;
        }
        // Beats are whole heartbeats apart: silent at the last one and ever since.
        if self.heard.elapsed() > self.heartbeat * 3 / 2 {
            log::debug!("live session dropped: why=\"its peer is silent\"");
            if let Some(socket) = &self.socket {
                socket.cut();
            }
            ctx.stop();
        } else {
            ctx.ping(b"");
        }
    }

    /// A message of the client.
    fn message(&mut self, text: &[u8], ctx: &mut Ctx) {
        let detail = match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
            Err(_) => "a message is JSON",
            Ok(_) => "there is no such message",
        };
        ctx.text(serde_json::json!({"control": "error", "detail": detail}).to_string());
    }

    /// A part of a message that comes in several frames.
    fn part(&mut self, item: actix_http::ws::Item, ctx: &mut Ctx) {
        use actix_http::ws::Item;
        let (part, last): (Bytes, bool) = match item {
            Item::FirstText(part) | Item::FirstBinary(part) => {
                self.partial.clear();
                (part, false)
            }
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        self.partial.extend_from_slice(&part);
        if last {
            let whole = std::mem::take(&mut self.partial);
            self.message(&whole, ctx);
        }
    }

    /// The client's stream cannot be understood, or has ended.
    fn broken(&mut self, error: &ws::ProtocolError, ctx: &mut Ctx) {
        // It must not be polled again: the codec would find the same fault for ever.
        ctx.cancel_future(ctx.handle());
        let (code, reason) = match (self.inflow.get(), error) {
            (Inflow::Disconnected, _) => return ctx.stop(),
            (Inflow::TooLarge, _) | (_, ws::ProtocolError::Overflow) => {
                (ws::CloseCode::Size, "a message has at most 65536 bytes")
            }
            (_, ws::ProtocolError::Io(e)) if e.kind() != std::io::ErrorKind::InvalidData => {
                (ws::CloseCode::Invalid, "text is UTF-8")
            }
            _ => (ws::CloseCode::Protocol, "malformed frame"),
        };
        if !self.closing {
            self.close(code, reason, ctx);
            // No answer can be read any more.
            self.finish(ctx);
        }
    }
}

impl Actor for Session {
    type Context = Ctx;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Pump);
        ctx.run_interval(self.heartbeat, Self::beat);
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Session {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Err(error) => self.broken(&error, ctx),
            Ok(ws::Message::Close(reason)) => {
                if !std::mem::replace(&mut self.closing, true) {
                    let code = reason.map(|reason| ws::CloseReason { code: reason.code, description: None });
                    ctx.close(code);
                }
                self.finish(ctx);
            }
            Ok(_) if self.closing => {}
            Ok(ws::Message::Ping(data)) => ctx.pong(&data),
            Ok(ws::Message::Text(text)) => self.message(text.as_bytes(), ctx),
            Ok(ws::Message::Binary(data)) => self.message(&data, ctx),
            Ok(ws::Message::Continuation(item)) => self.part(item, ctx),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
        }
    }
}

/// Moves events from the inbox to the connection, a portion each time the connection has room.
struct Pump;

impl ActorFuture<Session> for Pump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, session: &mut Session, ctx: &mut Ctx, task: &mut Context<'_>) -> Poll<()> {
        if session.closing {
            return Poll::Ready(());
        }
        match session.inbox.poll_take(task, PORTION, |event| ctx.text(event.json.clone())) {
            Poll::Pending | Poll::Ready(Ok(false)) => Poll::Pending,
            Poll::Ready(Ok(true)) => {
                // The rest is for when this portion has been written.
                task.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Err(Ending::GoingAway)) => {
                session.close(ws::CloseCode::Away, "the hub is shutting down", ctx);
                Poll::Ready(())
            }
            Poll::Ready(Err(Ending::TooSlow)) => {
                let cursor = session.inbox.cursor().map_or_else(String::new, |id| format!(" with since={id}"));
                session.close(ws::CloseCode::Other(SLOW), &format!("slow consumer: reconnect{cursor}"), ctx);
                Poll::Ready(())
            }
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
