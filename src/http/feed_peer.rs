//! Whether the client of a request that waits is still there. The server goes on with a request whose client has gone,
//! since one that has only ended its own side may still read.

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use std::any::Any;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

type TlsStream = actix_tls::accept::rustls_0_23::TlsStream<TcpStream>;

/// How long to look away from a client that has sent something meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// A second descriptor of a connection's socket, in the connection's data.
#[derive(Clone)]
struct Peer(Arc<std::net::TcpStream>);

/// For [`HttpServer::on_connect`](actix_web::HttpServer::on_connect).
pub fn on_connect(io: &dyn Any, data: &mut Extensions) {
    let tls = || Some(io.downcast_ref::<TlsStream>()?.get_ref().0);
    let Some(tcp) = io.downcast_ref::<TcpStream>().or_else(tls) else { return };
    match tcp.as_fd().try_clone_to_owned() {
        Ok(descriptor) => drop(data.insert(Peer(Arc::new(descriptor.into())))),
        // Who waits is then answered when the time is up.
        Err(e) => log::debug!("a connection has no second descriptor: error={e}"),
    }
}

/// Ends when the client has closed the connection, or its side of it.
pub async fn gone(req: &HttpRequest) {
    if let Some(Peer(socket)) = req.conn_data::<Peer>() {
        match until_closed(socket).await {
            Ok(()) => return,
            Err(e) => log::debug!("a connection cannot be watched: error={e}"),
        }
    }
    std::future::pending().await
}

async fn until_closed(socket: &std::net::TcpStream) -> io::Result<()> {
    // A descriptor of its own, for the reactor knows each by its number.
    let socket = TcpStream::from_std(socket.try_clone()?)?;
    let mut byte = [0];
    loop {
        match socket.peek(&mut byte).await {
            // A reset is an end, too.
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}
