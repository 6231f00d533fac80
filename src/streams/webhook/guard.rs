//! Which addresses webhooks may reach, and the connector that keeps to it.
//!
//! The check stands between resolving and connecting, on the very addresses that are then dialled: a
//! name that answers differently the second time (DNS rebinding) gains nothing by it.

use super::super::StreamSettings;
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use ipnet::IpNet;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// The networks of `webhook.deny` and `webhook.allow`.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    deny: Vec<IpNet>,
    allow: Vec<IpNet>,
}

impl Guard {
    /// As the settings have it.
    pub fn new(settings: &StreamSettings) -> Self {
        Self { deny: settings.webhook_deny.clone(), allow: settings.webhook_allow.clone() }
    }

    /// Whether `ip`, or an address that is reached by way of it, is denied and not allowed.
    pub fn denies(&self, ip: IpAddr) -> bool {
        let holds = |nets: &[IpNet], ip: IpAddr| nets.iter().any(|net| net.contains(&ip));
        aliases(ip).into_iter().flatten().any(|ip| holds(&self.deny, ip) && !holds(&self.allow, ip))
    }
}

/// The address itself, the IPv4 address inside an IPv6 one (mapped, compatible, NAT64, 6to4), and for
/// "any address", which reaches this machine, its loopback.
fn aliases(ip: IpAddr) -> [Option<IpAddr>; 3] {
    let v4 = match ip {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => embedded(v6),
    };
    let local = match (ip, v4) {
        (_, Some(v4)) if v4.is_unspecified() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        (IpAddr::V6(v6), _) if v6.is_unspecified() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => None,
    };
    [Some(ip), v4.map(IpAddr::V4), local]
}

fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        // `::` and `::1` are addresses of their own, not 0.0.0.0 and 0.0.0.1.
        [0, 0, 0, 0, 0, 0] if (g, h) > (0, 1) => v4(g, h),
        [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

/// Every address of a host is denied.
#[derive(Debug, thiserror::Error)]
#[error("{0} may not be reached by webhooks (webhook.deny)")]
pub(super) struct Denied(IpAddr);

tokio::task_local! {
    /// Set when a request had to open a connection of its own, rather than find one in the pool.
    pub(super) static DIALLED: Cell<bool>;
}

/// Resolves, checks, and connects.
#[derive(Debug, Clone)]
pub(super) struct GuardedConnector(Rc<Guard>);

impl GuardedConnector {
    /// Connects only to where `guard` lets it.
    pub fn new(guard: Guard) -> Self {
        Self(Rc::new(guard))
    }
}

impl Service<ConnectInfo<Uri>> for GuardedConnector {
    type Response = Connection<Uri, TcpStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let guard = Rc::clone(&self.0);
        Box::pin(async move {
            let _ = DIALLED.try_with(|dialled| dialled.set(true));
            let stream = connect(&guard, info.hostname(), info.port()).await?;
            Ok(Connection::new(info.request().clone(), stream))
        })
    }
}

async fn connect(guard: &Guard, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host((bare, port)).await.map_err(|error| ConnectError::Resolver(Box::new(error)))?.collect();
    let mut failure = ConnectError::NoRecords;
    for addr in found {
        if guard.denies(addr.ip()) {
            // An allowed address that does not answer says less than a denied one.
            failure = ConnectError::Resolver(Box::new(Denied(addr.ip())));
            continue;
        }
        match TcpStream::connect(addr).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(ConnectError::Io)?;
                return Ok(stream);
            }
            Err(error) if !matches!(failure, ConnectError::Resolver(_)) => failure = ConnectError::Io(error),
            Err(_) => {}
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guard(deny: &[&str], allow: &[&str]) -> Guard {
        let nets = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect();
        Guard { deny: nets(deny), allow: nets(allow) }
    }

    #[test]
    fn an_address_inside_another_is_denied_with_it() {
        let guard = guard(&["169.254.0.0/16", "127.0.0.0/8", "::1/128"], &[]);
        for denied in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "0.0.0.0",
            "::ffff:0.0.0.0",
            "::",
            "::1",
        ] {
            assert!(guard.denies(denied.parse().unwrap()), "{denied}");
        }
        for fine in ["169.253.255.255", "10.0.0.1", "::2:1", "2001:db8::1"] {
            assert!(!guard.denies(fine.parse().unwrap()), "{fine}");
        }
    }

    #[test]
    fn allow_overrides_deny() {
        let guard = guard(&["10.0.0.0/8"], &["10.1.0.0/16"]);
        assert!(guard.denies("10.2.0.1".parse().unwrap()));
        assert!(!guard.denies("10.1.0.1".parse().unwrap()));
        assert!(!guard.denies("::ffff:10.1.0.1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_what_it_maps(ip in any::<u32>()) {
            let guard = guard(&["10.0.0.0/8", "192.168.0.0/16"], &["10.9.0.0/16"]);
            let ip = Ipv4Addr::from(ip);
            prop_assert_eq!(guard.denies(ip.into()), guard.denies(ip.to_ipv6_mapped().into()));
        }
    }
}
