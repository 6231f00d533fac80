//! What every connection gets when it is accepted: socket options, and a second descriptor of its socket,
//! by which a peer that has stalled can be let go from outside its connection's task.

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, Socket, TcpKeepalive};
use std::any::Any;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// How long written bytes may stay unacknowledged, and a peer's window shut, before the connection is reset.
/// It also ends sessions that have stalled with little to be sent, which no queue notices.
const UNANSWERED: Duration = Duration::from_secs(30);
/// When an idle connection is probed first, and how often then.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));
/// The send buffer of a live session in bytes; the kernel doubles it. Left alone it grows to 2.8 MB for a
/// peer that does not read. Other connections keep the kernel's choice, for a large feed needs it.
const LIVE_SEND_BUFFER: usize = 128 * 1024;

/// How long to look away from a peer that has sent something while it is watched.
const AGAIN: Duration = Duration::from_secs(1);

type TlsStream = actix_tls::accept::rustls_0_23::TlsStream<TcpStream>;

/// A connection's socket, in the connection's data.
#[derive(Clone)]
pub struct PeerSocket {
    socket: Arc<Socket>,
    tls: bool,
}

/// For [`HttpServer::on_connect`](actix_web::HttpServer::on_connect).
pub fn on_connect(io: &dyn Any, data: &mut Extensions) {
    let (tcp, tls) = if let Some(tcp) = io.downcast_ref::<TcpStream>() {
        (tcp, false)
    } else if let Some(tls) = io.downcast_ref::<TlsStream>() {
        (tls.get_ref().0, true)
    } else {
        return;
    };
    // A connection without an option, or without a second descriptor, still works.
    if let Err(e) = set_options(tcp) {
        log::debug!("socket options were not set: error=\"{e}\"");
    }
    match tcp.as_fd().try_clone_to_owned() {
        Ok(descriptor) => {
            data.insert(PeerSocket { socket: Arc::new(Socket::from(descriptor)), tls });
        }
        Err(e) => log::warn!("a connection has no second descriptor and cannot be cut: error=\"{e}\""),
    }
}

fn set_options(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let (first, then) = KEEPALIVE;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(first).with_interval(then))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNANSWERED))?;
    Ok(())
}

impl PeerSocket {
    /// Bounds what the kernel holds for a peer that reads slowly.
    pub fn bound_send_buffer(&self) {
        if let Err(e) = self.socket.set_send_buffer_size(LIVE_SEND_BUFFER) {
            log::debug!("send buffer was not bounded: error=\"{e}\"");
        }
    }

    /// Ends the connection at once, whatever its task is doing.
    pub fn cut(&self) {
        // An error says that it has ended already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Says that nothing more will be sent, once what was written so far has been. Not under TLS, where the
    /// connection itself must say so.
    pub fn finish(&self) {
        if !self.tls {
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Ends when the peer has closed the connection, or its side of it. The server goes on with a request whose
    /// client has gone, since one that has only ended its own side may still read; whoever waits for long need
    /// not.
    pub async fn gone(&self) {
        if let Err(e) = self.until_closed().await {
            log::debug!("a connection cannot be watched: error=\"{e}\"");
            std::future::pending().await
        }
    }

    async fn until_closed(&self) -> io::Result<()> {
        // A descriptor of its own, for the reactor knows each by its number.
        let socket = TcpStream::from_std(self.socket.try_clone()?.into())?;
        let mut byte = [0];
        loop {
            match socket.peek(&mut byte).await {
                // A reset is an end, too.
                Ok(0) | Err(_) => return Ok(()),
                // It has sent something meanwhile, which is not ours to read.
                Ok(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}
