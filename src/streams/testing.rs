//! Settings of delivery as tests of this layer and those above use them.

use super::{Retry, StreamSettings};
use std::time::Duration;

/// How the contract's defaults retry.
pub fn retry() -> Retry {
    Retry { attempts: 40, first: Duration::from_secs(1), max: Duration::from_secs(3600) }
}

/// The contract's defaults, without brokers, and with webhooks to anywhere.
pub fn settings() -> StreamSettings {
    StreamSettings {
        mailbox: 1024,
        concurrency: 16,
        retry: retry(),
        lease: Duration::from_secs(60),
        webhook_timeout: Duration::from_secs(15),
        webhook_deny: Vec::new(),
        webhook_allow: Vec::new(),
        brokers: Default::default(),
    }
}
