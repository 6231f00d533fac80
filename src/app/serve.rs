//! The server: HTTP/1.1, plainly or under TLS. Put together like `HttpServer`, which would speak HTTP/2 under TLS (compiled
//! in for the webhook client alone; nothing here is made for it), and waits for ever for the head of any request but a
//! connection's first.

use super::tls::Certificates;
use crate::config::{BadSetting, Settings};
use crate::http::turn::{Timed, Times, Turn};
use crate::http::{self, AppState};
use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_server::{GracefulShutdownSignal, Server, ServerBuilder};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_tls::accept::TlsError;
use actix_tls::accept::rustls_0_23::{Acceptor, TlsStream};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use futures_util::TryFutureExt;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use std::any::Any;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a client may take to take leave.
const LEAVING: Duration = Duration::from_secs(1);

/// Binds the addresses; the server, and where it listens.
pub(super) fn listen(
    settings: &Settings,
    state: &AppState,
    certificates: Option<&Arc<Certificates>>,
) -> Result<io::Result<(Server, Vec<SocketAddr>)>, BadSetting> {
    let config = certificates.map(|certificates| certificates.server_config()).transpose()?;
    let config = config.map(|mut config| {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    });
    Ok(bind(settings, state, config.as_ref()))
}

fn bind(settings: &Settings, state: &AppState, config: Option<&ServerConfig>) -> io::Result<(Server, Vec<SocketAddr>)> {
    let mut server = Server::build()
        .workers(settings.http_workers)
        .shutdown_timeout(settings.shutdown.as_secs().max(1))
        .disable_signals();
    let mut bound = Vec::with_capacity(settings.bind.len());
    for listener in listeners(&settings.bind)? {
        bound.push(listener.local_addr()?);
        server = serve(server, listener, settings, state.clone(), config.cloned())?;
    }
    Ok((server.run(), bound))
}

fn serve(
    server: ServerBuilder,
    listener: TcpListener,
    settings: &Settings,
    state: AppState,
    config: Option<ServerConfig>,
) -> io::Result<ServerBuilder> {
    let stopping = server.graceful_shutdown_signal();
    let times = Times { head: settings.client_timeout, idle: settings.keep_alive };
    let name = format!("http-{}", listener.local_addr()?);
    let Some(config) = config else {
        return server.listen(name, listener, move || {
            fn_service(move |io: TcpStream| async move {
                let peer = io.peer_addr().ok();
                Ok((Timed::new(io, times), peer))
            })
            .and_then(speak(state.clone(), times, stopping.clone()))
        });
    };
    server.listen(name, listener, move || {
        let mut acceptor = Acceptor::new(config.clone());
        acceptor.set_handshake_timeout(times.head);
        acceptor
            .map_err(TlsError::into_service_error)
            .map(move |io: TlsStream<TcpStream>| {
                let peer = io.get_ref().0.peer_addr().ok();
                (Timed::new(io, times), peer)
            })
            .and_then(speak(state.clone(), times, stopping.clone()).map_err(TlsError::Service))
    })
}

/// HTTP on a connection.
fn speak<Io: AsyncRead + AsyncWrite + Unpin + 'static>(
    state: AppState,
    times: Times,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<(Timed<Io>, Option<SocketAddr>), Config = (), Response = (), Error = DispatchError, InitError = ()>
{
    let app = http::app(state);
    let app = app.into_factory().map_err(|error: actix_web::Error| error.error_response());
    // Which address and scheme this is, the connection's socket says.
    let app = map_config(app, |()| AppConfig::default());
    let app = actix_service::apply_fn_factory(app, |req: Request, app| {
        let serving = req.conn_data::<Rc<Turn>>().map(|turn| Rc::clone(turn).begin());
        let answer = Service::call(app, req);
        answer.map_ok(|answer| http::carry(answer.into(), serving))
    });
    let http = HttpService::build()
        // So that idle connections do not hold up the end; what `HttpServer` does as well.
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(times.idle)
        .client_request_timeout(times.head)
        .client_disconnect_timeout(LEAVING)
        .on_connect_ext(|io: &Timed<Io>, data: &mut _| {
            http::socket::on_connect(io.socket() as &dyn Any, data);
            data.insert(io.turn());
        })
        .h1(app);
    // On the heap: whoever spawns it has room for it twice.
    actix_service::apply_fn_factory(http, |connection, http| Box::pin(Service::call(http, connection)))
}

/// Those of the addresses that can be listened on: of a name's, one is enough.
fn listeners(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut failed = None;
    for address in addresses {
        match listener(*address) {
            Ok(listener) => listeners.push(listener),
            Err(e) => failed = Some(e),
        }
    }
    match failed {
        Some(e) if listeners.is_empty() => Err(e),
        _ => Ok(listeners),
    }
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
