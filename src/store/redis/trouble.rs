//! What a failure means for what was asked: whether it was done, and what to do next.

use super::address::Node;
use super::value::store_error;
use crate::store::StoreError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// Not done: the scripts were missing, and are there now.
    Again,
    /// Not done: that server is the one to ask.
    Moved(Node),
    /// Not done: its slot is on its way to another server.
    Moving,
    /// Not done: nobody is there, or no master, or a cluster that is not in order.
    Away(StoreError),
    /// Sent, and the answer was lost: whether it was done is not known.
    Lost(StoreError),
    /// Not done, and no better the next time.
    Refused(StoreError),
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

impl Trouble {
    /// What an error of a server at `node`, or of the connection to it, means.
    pub(super) fn of(error: &RedisError, node: &Node) -> Self {
        use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, NoScript, ReadOnly, TryAgain};
        match error.kind() {
            ErrorKind::Server(NoScript) => Self::Again,
            ErrorKind::Server(Moved) => match error.redirect_node().and_then(|(address, _)| host_and_port(address)) {
                Some((host, port)) => {
                    // An empty host is the one that was asked.
                    let host = if host.is_empty() { &node.host } else { host };
                    Self::Moved(Node { host: host.trim_matches(['[', ']']).to_owned(), port })
                }
                None => Self::Away(store_error(error)),
            },
            // A script that followed `ASK` would see half a partition: what moved already, not what did not.
            ErrorKind::Server(Ask | TryAgain) => Self::Moving,
            ErrorKind::Server(ClusterDown | MasterDown | BusyLoading | ReadOnly) => Self::Away(store_error(error)),
            _ if error.code() == Some("NOREPLICAS") => Self::Away(store_error(error)),
            _ if error.is_io_error() || error.is_unrecoverable_error() => Self::Lost(store_error(error)),
            _ => Self::Refused(store_error(error)),
        }
    }

    /// What whoever asked is told.
    pub(super) fn error(self) -> StoreError {
        match self {
            Self::Away(error) | Self::Lost(error) | Self::Refused(error) => error,
            Self::Again => StoreError::Unavailable("Redis loses its scripts again and again".into()),
            Self::Moved(node) => StoreError::Unavailable(format!("the cluster sends from node to node, to {node}")),
            Self::Moving => StoreError::Unavailable("a slot of the cluster is being moved".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;

    /// As the parser makes it of what a server says.
    fn error(text: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
        Value::extract_error(value).unwrap_err()
    }

    fn of(text: &str) -> Trouble {
        Trouble::of(&error(text), &Node { host: "asked".into(), port: 1 })
    }

    #[test]
    fn a_redirection_names_who_is_to_be_asked() {
        for (text, expected) in [
            ("MOVED 7 10.0.0.1:6380", "10.0.0.1:6380"),
            ("MOVED 7 redis-2.example:6380", "redis-2.example:6380"),
            ("MOVED 7 :6380", "asked:6380"),
            ("MOVED 7 ::1:6380", "[::1]:6380"),
        ] {
            assert!(matches!(of(text), Trouble::Moved(node) if node.to_string() == expected), "{text}");
        }
        assert!(matches!(of("MOVED 7"), Trouble::Away(_)));
    }

    #[test]
    fn what_was_not_done_is_told_from_what_may_have_been() {
        assert!(matches!(of("NOSCRIPT No matching script"), Trouble::Again));
        assert!(matches!(of("ASK 7 10.0.0.1:6380"), Trouble::Moving));
        assert!(matches!(of("TRYAGAIN the slot is on its way"), Trouble::Moving));
        for away in ["CLUSTERDOWN x", "READONLY x", "LOADING x", "MASTERDOWN x", "NOREPLICAS x"] {
            assert!(matches!(of(away), Trouble::Away(StoreError::Unavailable(_))), "{away}");
        }
        assert!(matches!(of("OOM x"), Trouble::Refused(StoreError::Full(_))));
        assert!(matches!(of("ERR x"), Trouble::Refused(StoreError::Corrupt(_))));
        let not_allowed = ["NOPERM x", "ERR The user executing the script can't access at least one of the keys"];
        for text in not_allowed {
            assert!(matches!(of(text), Trouble::Refused(StoreError::Unavailable(_))), "{text}");
        }
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert!(matches!(Trouble::of(&lost, &Node { host: "a".into(), port: 1 }), Trouble::Lost(_)));
    }
}
