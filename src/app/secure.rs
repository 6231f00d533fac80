//! The server under TLS. `HttpServer` would offer HTTP/2 there, which is compiled in for the webhook client alone and
//! which nothing here is made for; this one speaks HTTP/1.1 and is else put together like it.

use super::tls::Certificates;
use crate::config::{BadSetting, Settings};
use crate::http::{self, AppState};
use actix_http::HttpService;
use actix_server::{Server, ServerBuilder};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a client may take to take leave.
const LEAVING: Duration = Duration::from_secs(1);

/// Binds the addresses; the server, and where it listens.
pub(super) fn listen(
    settings: &Settings,
    state: &AppState,
    certificates: &Arc<Certificates>,
) -> Result<io::Result<(Server, Vec<SocketAddr>)>, BadSetting> {
    let mut config = certificates.server_config()?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(bind(settings, state, &config))
}

fn bind(settings: &Settings, state: &AppState, config: &ServerConfig) -> io::Result<(Server, Vec<SocketAddr>)> {
    let mut server = Server::build()
        .workers(settings.http_workers)
        .shutdown_timeout(settings.shutdown.as_secs().max(1))
        .disable_signals();
    let mut bound = Vec::with_capacity(settings.bind.len());
    for address in &settings.bind {
        let listener = listener(*address)?;
        bound.push(listener.local_addr()?);
        server = serve(server, listener, settings, state.clone(), config.clone())?;
    }
    Ok((server.run(), bound))
}

fn serve(
    server: ServerBuilder,
    listener: TcpListener,
    settings: &Settings,
    state: AppState,
    config: ServerConfig,
) -> io::Result<ServerBuilder> {
    let stopping = server.graceful_shutdown_signal();
    let (client_timeout, keep_alive) = (settings.client_timeout, settings.keep_alive);
    let name = format!("tls-{}", listener.local_addr()?);
    server.listen(name, listener, move || {
        let state = state.clone();
        let app = http::app(state);
        let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let stopping = stopping.clone();
        let http = HttpService::build()
            // So that idle connections do not hold up the end; what `HttpServer` does as well.
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(keep_alive)
            .client_request_timeout(client_timeout)
            .client_disconnect_timeout(LEAVING)
            .on_connect_ext(|io: &TlsStream<TcpStream>, data: &mut _| http::socket::on_connect(io as &dyn Any, data))
            // Which address and scheme this is, the connection's socket says.
            .h1(map_config(app, |()| AppConfig::default()));
        let mut acceptor = Acceptor::new(config.clone());
        acceptor.set_handshake_timeout(client_timeout);
        acceptor
            .map_err(TlsError::into_service_error)
            .map(|io: TlsStream<TcpStream>| {
                let peer = io.get_ref().0.peer_addr().ok();
                (io, peer)
            })
            .and_then(http.map_err(TlsError::Service))
    })
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
