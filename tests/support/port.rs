//! Ports of a test's own.

use std::fmt;
use std::sync::Arc;
use tokio::net::TcpSocket;

/// A port of the loopback on which nobody listens but a server that its owner starts there: while it is held, whoever
/// asks for any free port is given another one, even while that server is away.
#[derive(Debug, Clone)]
pub struct Port {
    number: u16,
    _held: Arc<TcpSocket>,
}

impl Port {
    /// One that nobody else has.
    pub fn free() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // It is bound and never listens, so a server that sets the same option can bind the port too, as all of ours do.
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let number = socket.local_addr().expect("a bound address").port();
        Self { number, _held: Arc::new(socket) }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}
