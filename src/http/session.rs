//! A live session over a WebSocket: one actor a connection. The only file that names the WebSocket crate.
//!
//! The session is subscribed before the handshake is answered, so a client that sends an event after its
//! handshake gets it. It takes events from its [`Inbox`] only as fast as its peer reads: the connection
//! polls the actor when there is room to write, and the actor then takes one portion.

use super::HttpSettings;
use super::authorise::BEARER;
use super::commands::{Commands, Full, MOST_WAITING};
use super::frames::{Frames, Gate, Inflow};
use super::opening::{self, Opened};
use super::socket::PeerSocket;
use crate::access::Pass;
use crate::error::{ApiError, Code};
use crate::live::{Door, Ending, Inbox, Resumed};
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
/// Why a session ends whose client sends text that is none.
const NOT_UTF8: &str = "text is UTF-8";
/// The close code of a session that was too slow; private to this API.
const SLOW: u16 = 4000;

/// Answers a WebSocket upgrade with a session.
///
/// # Errors
/// 400 for a malformed filter, cursor or handshake, 403 for a page of another origin, 503 when there are too
/// many sessions, or the hub is stopping, or the store does not say what a cursor means.
pub async fn start(
    req: &HttpRequest,
    payload: Payload,
    http: &HttpSettings,
    door: &Door,
    pass: Pass,
) -> Result<HttpResponse, ApiError> {
    // Looked at before there is a subscription to be taken back.
    ws::handshake(req).map_err(bad_handshake)?;
    let Opened { inbox, resumed, socket } = opening::open(req, http, door, &pass.caller).await?;
    let inflow = Rc::new(Cell::new(Inflow::Open));
    let gate = Rc::new(Gate::default());
    let frames = Frames::new(payload, MAX_MESSAGE as u64, Rc::clone(&inflow), Rc::clone(&gate));
    let session = Session {
        commands: Commands::new(door.clone(), pass.caller.clone()),
        inbox,
        resumed,
        heartbeat: door.settings.heartbeat,
        heard: Instant::now(),
        socket,
        inflow,
        gate,
        partial: None,
        closing: false,
        pass,
    };
    // The frame's bound is kept by `Frames`, which knows it before the frame is there.
    ws::WsResponseBuilder::new(session, req, frames)
        .frame_size(MAX_MESSAGE)
        // A browser takes the handshake for failed when none of what it offers is chosen.
        .protocols(&[BEARER])
        .start()
        .map_err(|e| ApiError::new(Code::BadParameter, e.to_string()))
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
    /// What the client has asked for and was not answered yet.
    commands: Commands,
    /// What it is told first.
    resumed: Option<Resumed>,
    /// How often the peer is pinged.
    heartbeat: Duration,
    /// When the peer was last heard.
    heard: Instant,
    /// For options and for ending the connection; `None` when the server was not told of connections.
    socket: Option<PeerSocket>,
    /// How the peer's stream ended.
    inflow: Rc<Cell<Inflow>>,
    /// Shut while too many of the client's messages wait for the store.
    gate: Rc<Gate>,
    /// A message that comes in several frames, at most [`MAX_MESSAGE`], and whether it is text.
    partial: Option<(Vec<u8>, bool)>,
    /// A close frame has been sent: nothing may follow it.
    closing: bool,
    /// By which it was opened.
    pass: Pass,
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
            log::debug!("live session dropped, its peer is silent");
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
        match self.commands.take(text) {
            Ok(waiting) => {
                if waiting == Full::Yes {
                    // The rest is read when there is room: the client waits, not this memory.
                    self.gate.shut();
                }
                self.work(ctx);
            }
            Err(detail) => ctx.text(super::controls::error(&detail)),
        }
    }

    /// Works on what the client has asked for, one thing after the other, unless that is being done.
    fn work(&mut self, ctx: &mut Ctx) {
        let Some(work) = self.commands.next(&mut self.inbox) else { return };
        ctx.spawn(work.into_actor(self).map(|answers, session, ctx| {
            session.commands.done();
            if session.closing {
                return;
            }
            for answer in answers {
                ctx.text(answer);
            }
            if session.commands.waiting() < MOST_WAITING / 2 && session.gate.open() {
                // It was not listened to meanwhile.
                session.heard = Instant::now();
            }
            session.work(ctx);
        }));
    }

    /// A part of a message that comes in several frames.
    fn part(&mut self, item: actix_http::ws::Item, ctx: &mut Ctx) {
        use actix_http::ws::Item;
        let (part, last): (Bytes, bool) = match item {
            Item::FirstText(part) => return self.partial = Some((part.to_vec(), true)),
            Item::FirstBinary(part) => return self.partial = Some((part.to_vec(), false)),
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if let Some((whole, _)) = &mut self.partial {
            whole.extend_from_slice(&part);
        }
        if last && let Some((whole, is_text)) = self.partial.take() {
            if is_text && std::str::from_utf8(&whole).is_err() {
                return self.fail(ws::CloseCode::Invalid, NOT_UTF8, ctx);
            }
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
                (ws::CloseCode::Invalid, NOT_UTF8)
            }
            _ => (ws::CloseCode::Protocol, "malformed frame"),
        };
        self.fail(code, reason, ctx);
    }

    /// Ends a session whose client does not keep to the protocol.
    fn fail(&mut self, code: ws::CloseCode, reason: &str, ctx: &mut Ctx) {
        if !self.closing {
            self.close(code, reason, ctx);
            // No answer can be read any more.
            self.finish(ctx);
        }
    }

    /// The client closes: it is answered with its own code, if that is one.
    fn closed(&mut self, reason: Option<ws::CloseReason>, ctx: &mut Ctx) {
        if let Some(reason) = &reason
            && !may_be_sent(reason.code.into())
        {
            return self.fail(ws::CloseCode::Protocol, "malformed close code", ctx);
        }
        if !std::mem::replace(&mut self.closing, true) {
            ctx.close(reason.map(|reason| ws::CloseReason { code: reason.code, description: None }));
        }
        self.finish(ctx);
    }
}

/// Whether a code may stand in a close frame (RFC 6455, 7.4, and the registry it founds).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl Actor for Session {
    type Context = Ctx;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(resumed) = self.resumed.take() {
            ctx.text(super::controls::resumed(&resumed));
        }
        ctx.spawn(Pump);
        ctx.run_interval(self.heartbeat, Self::beat);
        ctx.spawn(self.pass.ended().into_actor(self).map(|(), session, ctx| {
            session.close(ws::CloseCode::Other(opening::REVOKED), opening::NOT_VALID, ctx);
        }));
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Session {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Err(error) => self.broken(&error, ctx),
            Ok(ws::Message::Close(reason)) => self.closed(reason, ctx),
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
                let reason = opening::slow_consumer(&mut session.inbox);
                session.close(ws::CloseCode::Other(SLOW), &reason, ctx);
                Poll::Ready(())
            }
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
