//! What a store says of itself to operators.

use serde::Serialize;
use std::fmt;

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreFacts {
    /// `embedded` or `redis`.
    pub kind: &'static str,
    /// The servers that hold it; none for the embedded store.
    pub servers: Vec<ServerFacts>,
    /// Bytes free on the disk of the embedded store.
    pub disk_free: Option<u64>,
}

/// A server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServerFacts {
    /// Its address.
    pub address: String,
    /// Why nothing more is known of it.
    pub error: Option<String>,
    /// Its version.
    pub version: String,
    /// Memory that its data takes, in bytes.
    pub memory_used: u64,
    /// Most memory that it may take, in bytes; `None` without a limit.
    pub memory_limit: Option<u64>,
    /// Clients connected to it.
    pub clients: u64,
    /// Replicas connected to it.
    pub replicas: u64,
    /// What an operator should change.
    pub warnings: Vec<StoreWarning>,
}

/// A setting that does not keep what a 202 promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreWarning {
    /// Its name.
    pub setting: String,
    /// As it is.
    pub is: String,
    /// What may happen, and what to do.
    pub risk: String,
}

impl fmt::Display for StoreWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting={:?} is={:?} risk={:?}", self.setting, self.is, self.risk)
    }
}
