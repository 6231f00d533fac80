//! What every connection gets when it is accepted: socket options, and a way to its socket by which a peer that
//! has stalled can be let go from outside its connection's task.

use super::descriptor::Descriptor;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, Socket, TcpKeepalive};
use std::any::Any;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
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
    socket: Descriptor,
    tls: bool,
}

/// For a server that has accepted a connection.
pub fn on_connect(io: &dyn Any, data: &mut Extensions) {
    let (tcp, tls) = if let Some(tcp) = io.downcast_ref::<TcpStream>() {
        (tcp, false)
    } else if let Some(tls) = io.downcast_ref::<TlsStream>() {
        (tls.get_ref().0, true)
    } else {
        return;
    };
    // A connection without an option, or that cannot be reached from outside, still works.
    if let Err(e) = set_options(tcp) {
        log::debug!("socket options were not set: error=\"{e}\"");
    }
    match Descriptor::of(tcp.as_fd()) {
        Ok(socket) => {
            data.insert(PeerSocket { socket, tls });
        }
        Err(e) => log::warn!("a connection cannot be cut if it stalls: error=\"{e}\""),
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
    /// Whether the connection is under TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The address that its peer has connected to.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        // Asked when it is needed, which is seldom.
        self.socket.open().ok()??.local_addr().ok()?.as_socket()
    }

    /// Bounds what the kernel holds for a peer that reads slowly.
    pub fn bound_send_buffer(&self) {
        self.reach("bounding its send buffer", |socket| socket.set_send_buffer_size(LIVE_SEND_BUFFER));
    }

    /// Ends the connection at once, whatever its task is doing. False when it could not be reached: it may be tried
    /// again.
    pub fn cut(&self) -> bool {
        self.reach("cutting it", |socket| socket.shutdown(Shutdown::Both))
    }

    /// Says that nothing more will be sent, once what was written so far has been. Not under TLS, where the
    /// connection itself must say so.
    pub fn finish(&self) {
        if !self.tls {
            self.reach("ending it", |socket| socket.shutdown(Shutdown::Write));
        }
    }

    /// Does something to the socket, if it is still there. False when nobody knows whether it is.
    fn reach(&self, what: &str, act: impl FnOnce(&Socket) -> io::Result<()>) -> bool {
        match self.socket.open() {
            Ok(Some(socket)) => {
                if let Err(e) = act(&socket) {
                    // What has ended already needs nothing.
                    log::debug!("a connection has ended: what=\"{what}\" error={e}");
                }
                true
            }
            Ok(None) => true,
            Err(e) => {
                log::warn!("a connection is out of reach: what=\"{what}\" error={e}");
                false
            }
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
        let Some(socket) = self.socket.open()? else { return Ok(()) };
        let socket = TcpStream::from_std(socket.into())?;
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
