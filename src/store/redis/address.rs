//! The addresses that `store.url` can name: one server, a master that Sentinels know, or a cluster.
//!
//! ```text
//! redis://[user:pass@]host[:port][/database]
//! redis+sentinel://[user:pass@]host[:port],…/MASTER[/database][?sentinel_user=…&sentinel_password=…]
//! redis-cluster://[user:pass@]host[:port],…
//! ```
//!
//! `rediss` in place of `redis` speaks TLS, with the Sentinels too. User and password are those of the data nodes, and
//! percent-encoded; a password alone is written `:pass@`. No error repeats any part of a URL that can be secret.

use crate::store::StoreError;
use crate::trust::system_pem;
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use redis::{RedisError, TlsCertificates};
use std::fmt;
use std::net::Ipv6Addr;

/// What an address looks like, for errors.
pub const FORMS: &str = "redis://HOST:PORT, redis+sentinel://HOST:PORT,HOST:PORT/MASTER or \
     redis-cluster://HOST:PORT,HOST:PORT (rediss for TLS)";
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    /// A name or an address; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What the nodes of an address are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The one server.
    Single,
    /// Sentinels that know the master of this name.
    Sentinel(String),
    /// Some members of a cluster, from which the others are learnt.
    Cluster,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Credentials {
    user: Option<String>,
    password: Option<String>,
}

/// A parsed `store.url`.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) kind: Kind,
    /// In the order they were given; at least one.
    pub(super) nodes: Vec<Node>,
    tls: bool,
    database: i64,
    data: Credentials,
    sentinel: Credentials,
}

/// Without what is secret.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("kind", &self.kind)
            .field("nodes", &self.nodes)
            .field("tls", &self.tls)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong with it, in one line that does not name the setting and holds nothing secret.
    pub fn parse(url: &str) -> Result<Self, String> {
        let unknown = || format!("must be {FORMS}");
        let (scheme, rest) = url.split_once("://").ok_or_else(unknown)?;
        let (tls, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => (false, scheme.strip_prefix("redis").ok_or_else(unknown)?),
        };
        if rest.contains('#') {
            return Err("has a '#', which must be written %23".to_owned());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (data, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (credentials(user)?, hosts),
            None => (Credentials::default(), authority),
        };
        let (kind, database) = match kind {
            "" => (Kind::Single, path),
            "+sentinel" => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                let master = decode(master).filter(|name| !name.is_empty());
                (Kind::Sentinel(master.ok_or("lacks the master's name: redis+sentinel://HOST:PORT/MASTER")?), database)
            }
            "-cluster" if path.is_empty() => (Kind::Cluster, path),
            "-cluster" => return Err("has a path, but a cluster has one database only".to_owned()),
            _ => return Err(unknown()),
        };
        let database = match database {
            "" => 0,
            number => number.parse::<u16>().map_err(|_| "has a database that is not a number".to_owned())?.into(),
        };
        let port = if matches!(kind, Kind::Sentinel(_)) { SENTINEL_PORT } else { PORT };
        let nodes = hosts.split(',').map(|host| node(host, port)).collect::<Result<Vec<_>, _>>()?;
        if kind == Kind::Single && nodes.len() > 1 {
            return Err("names several servers: that is redis+sentinel:// or redis-cluster://".to_owned());
        }
        let sentinel = parameters(query, &kind)?;
        Ok(Self { kind, nodes, tls, database, data, sentinel })
    }

    /// Makes connections to a data node, in the protocol that `value.rs` reads.
    pub(super) fn client(&self, node: &Node) -> Result<Client, StoreError> {
        self.client_for(node, &self.data, self.database)
    }

    /// Makes connections to one of the Sentinels.
    pub(super) fn sentinel_client(&self, node: &Node) -> Result<Client, StoreError> {
        self.client_for(node, &self.sentinel, 0)
    }

    fn client_for(&self, node: &Node, credentials: &Credentials, database: i64) -> Result<Client, StoreError> {
        let (host, port) = (node.host.clone(), node.port);
        let mut settings = RedisConnectionInfo::default().set_db(database).set_protocol(ProtocolVersion::RESP2);
        if let Some(user) = &credentials.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &credentials.password {
            settings = settings.set_password(password);
        }
        let with = |addr: ConnectionAddr| -> Result<ConnectionInfo, RedisError> {
            let info = addr.into_connection_info()?;
            Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)).set_redis_settings(settings))
        };
        let malformed = |error: RedisError| StoreError::Unavailable(format!("store.url: {error}"));
        if !self.tls {
            return with(ConnectionAddr::Tcp(host, port)).and_then(Client::open).map_err(malformed);
        }
        let info = with(ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }).map_err(malformed)?;
        // The client takes either these or its own, which are the public ones: for systems that have none.
        let system = Some(system_pem().into_bytes()).filter(|pem| !pem.is_empty());
        Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: system }).map_err(malformed)
    }
}

/// `user:pass` or `:pass`, percent-encoded.
fn credentials(text: &str) -> Result<Credentials, String> {
    let lacking = || "has a user without a password; a password alone is written :PASSWORD@".to_owned();
    let (user, password) = text.split_once(':').ok_or_else(lacking)?;
    let malformed = || "has a user or password that is not percent-encoded as it should be".to_owned();
    let (user, password) = (decode(user).ok_or_else(malformed)?, decode(password).ok_or_else(malformed)?);
    if password.is_empty() {
        return Err(lacking());
    }
    Ok(Credentials { user: Some(user).filter(|user| !user.is_empty()), password: Some(password) })
}

fn node(text: &str, default_port: u16) -> Result<Node, String> {
    let malformed = || "has a host or port that is malformed, or none".to_owned();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(malformed)?;
            address.parse::<Ipv6Addr>().map_err(|_| malformed())?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(malformed)?) };
            (address, port)
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(in_name) {
        return Err(malformed());
    }
    let port = match port {
        None => default_port,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?,
    };
    Ok(Node { host: host.to_owned(), port })
}

/// Who the Sentinels are told we are: their users are not those of the data nodes.
fn parameters(query: &str, kind: &Kind) -> Result<Credentials, String> {
    let mut found = Credentials::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value).filter(|value| !value.is_empty());
        match (name, kind, value) {
            ("sentinel_user", Kind::Sentinel(_), Some(value)) => found.user = Some(value),
            ("sentinel_password", Kind::Sentinel(_), Some(value)) => found.password = Some(value),
            _ => return Err("may have no parameters but sentinel_user and sentinel_password, of Sentinels".to_owned()),
        }
    }
    if found.user.is_some() && found.password.is_none() {
        return Err("has a sentinel_user without a sentinel_password".to_owned());
    }
    Ok(found)
}

/// Percent-decodes; `None` when that is not possible, or not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        out.push(if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (url, kind, nodes, tls, database) in [
            ("redis://127.0.0.1", Kind::Single, "127.0.0.1:6379", false, 0),
            ("redis://localhost:7000/", Kind::Single, "localhost:7000", false, 0),
            ("rediss://[::1]:7000/5", Kind::Single, "[::1]:7000", true, 5),
            ("redis://[fe80::7]", Kind::Single, "[fe80::7]:6379", false, 0),
            ("redis+sentinel://a,b:7,[::1]:8/main", Kind::Sentinel("main".into()), "a:26379 b:7 [::1]:8", false, 0),
            ("rediss+sentinel://a/my%20main/2", Kind::Sentinel("my main".into()), "a:26379", true, 2),
            ("redis-cluster://a:1,b,c_1.example:3", Kind::Cluster, "a:1 b:6379 c_1.example:3", false, 0),
            ("rediss-cluster://a:1/", Kind::Cluster, "a:1", true, 0),
        ] {
            let address = Address::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let found: Vec<_> = address.nodes.iter().map(ToString::to_string).collect();
            assert_eq!((&address.kind, &*found.join(" ")), (&kind, nodes), "{url}");
            assert_eq!((address.tls, address.database), (tls, database), "{url}");
            assert!(address.data == Credentials::default(), "{url}");
        }
    }

    #[test]
    fn users_and_passwords_are_decoded_and_go_where_they_belong() {
        let some = |text: &str| Some(text.to_owned());
        let address = Address::parse("redis-cluster://us%3Aer:p%40s:s@w@h:1,i:2").unwrap();
        assert_eq!((address.data.user, address.data.password), (some("us:er"), some("p@s:s@w")));
        let address = Address::parse("redis://:%C3%A9%25@h").unwrap();
        assert_eq!((address.data.user.as_deref(), address.data.password.as_deref()), (None, Some("é%")));
        let url = "redis+sentinel://u:p@h/m?sentinel_user=s&sentinel_password=q%26r";
        let address = Address::parse(url).unwrap();
        let client = address.client(&address.nodes[0]).unwrap();
        let settings = client.get_connection_info().redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("u"), Some("p")));
        let client = address.sentinel_client(&address.nodes[0]).unwrap();
        let settings = client.get_connection_info().redis_settings();
        assert_eq!((settings.username(), settings.password()), (Some("s"), Some("q&r")));
        assert!(client.get_connection_info().tcp_settings().nodelay());
        assert!(!format!("{address:?}").contains("q&r"));
    }

    #[test]
    fn what_is_malformed_is_refused_without_its_password() {
        for url in [
            "redis:/h",
            "redis://",
            "redis://:1",
            "redis://h:0",
            "redis://h:99999",
            "redis://h:x",
            "redis://h i",
            "redis://h/db",
            "redis://h/70000",
            "redis://h/1/2",
            "redis://a,b",
            "redis://[::1",
            "redis://[::g]",
            "redis://[::1]7",
            "redis://user@h",
            "redis://user:@h",
            "redis://u:secret%@h",
            "redis://u:secret%zz@h",
            "redis://u:secret%ff@h",
            "redis://u:secret/x@h",
            "redis://u:secret#x@h",
            "redis://u:secret?x@h",
            "redis://h?protocol=resp3",
            "redis://h?sentinel_password=secret",
            "redis-cluster://a,",
            "redis-cluster://a/1",
            "redis-cluster://",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel://u:secret@a,b/m/x",
            "redis+sentinel://a/m?sentinel_user=secret",
            "redis+sentinel://a/m?sentinel_passwort=secret",
            "redis+cluster://u:secret@a",
            "redisx://a",
            "http://u:secret@a",
        ] {
            let error = Address::parse(url).expect_err(url);
            assert!(!error.contains("secret") && !error.contains('\n'), "{url}: {error}");
        }
    }
}
