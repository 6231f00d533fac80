//! Whose turn it is on a connection, and how long a client may keep the hub waiting for a request's head.
//!
//! The server beneath times the head of a connection's first request, and connections on which nothing comes. A part of
//! the head of a later request would hold a connection for ever. [`Timed`] stands between the server and the socket, and
//! ends such a connection as if its client had.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// From an answer to the next request's first byte.
    pub idle: Duration,
}

/// What is known of a connection, shared by its socket and its requests.
#[derive(Debug)]
pub struct Turn {
    times: Times,
    /// Requests whose answers have not been handed over whole.
    serving: Cell<usize>,
    /// Bytes have come since the last answer.
    heard: Cell<bool>,
    /// By when a request must have begun. `None` while one is answered, and before the first, which the server times.
    due: Cell<Option<Instant>>,
}

impl Turn {
    fn new(times: Times) -> Self {
        Self { times, serving: Cell::new(0), heard: Cell::new(false), due: Cell::new(None) }
    }

    /// A request's head is there, and it is the hub's turn until what is returned is dropped.
    pub fn begin(self: Rc<Self>) -> Serving {
        self.serving.set(self.serving.get() + 1);
        self.heard.set(false);
        self.due.set(None);
        Serving(self)
    }

    fn end(&self) {
        self.serving.set(self.serving.get() - 1);
        if self.serving.get() == 0 {
            // What came together with the last request may hold a part of the next one, about which nobody knows here.
            self.due.set(Some(Instant::now() + self.times.idle + self.times.head));
        }
    }

    fn hear(&self) {
        if self.due.get().is_some() && !self.heard.replace(true) {
            self.due.set(Some(Instant::now() + self.times.head));
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Serving(Rc<Turn>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A connection's socket that does not wait for ever.
#[derive(Debug)]
pub struct Timed<Io> {
    io: Io,
    turn: Rc<Turn>,
    /// Rings at the latest when the turn is due. Kept while requests come and go: to set one for each would cost more.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<Io> Timed<Io> {
    /// A connection that has just been accepted.
    pub fn new(io: Io, times: Times) -> Self {
        Self { io, turn: Rc::new(Turn::new(times)), alarm: None }
    }

    /// The socket itself.
    pub fn socket(&self) -> &Io {
        &self.io
    }

    /// For the connection's requests.
    pub fn turn(&self) -> Rc<Turn> {
        Rc::clone(&self.turn)
    }

    /// There is nothing to read: the end of it all, when the client is late.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(due) = self.turn.due.get() else { return Poll::Pending };
        let soon = |now: Instant| due.min(now + self.turn.times.head);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(soon(Instant::now()))));
        while alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if now >= due {
                log::debug!("a connection ends, its client began a request and did not send it");
                return Poll::Ready(Ok(()));
            }
            alarm.as_mut().reset(soon(now));
        }
        Poll::Pending
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Timed<Io> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if read.is_pending() {
            return this.wait(cx);
        }
        if buf.filled().len() > before {
            this.turn.hear();
        }
        read
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Timed<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
