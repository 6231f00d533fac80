//! The store as a whole: made, and the tasks of its own ended.

use super::RedisStore;
use super::address::Address;
use super::check::Greeter;
use super::connection::Dialer;
use super::keys::Keys;
use super::links::Links;
use super::live::Subscriptions;
use super::masters::Masters;
use super::token::Tokens;
use crate::store::{StoreError, StoreOptions};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

impl RedisStore {
    /// A store at `url` (see [`FORMS`](super::FORMS)) with `prefix` before every key. An append waits for `wait_replicas`
    /// replicas.
    ///
    /// Connects when it is first used, so that a hub starts while Redis is away. Its connections live on the tokio
    /// runtime this is called on.
    ///
    /// # Errors
    /// When URL or prefix are malformed, or there is no tokio runtime.
    pub fn connect(url: &str, prefix: &str, options: StoreOptions, wait_replicas: u32) -> Result<Self, StoreError> {
        let runtime =
            Handle::try_current().map_err(|_| StoreError::Unavailable("no tokio runtime to connect on".into()))?;
        if prefix.contains(['{', '}']) {
            // The first pair of braces in a key decides its slot on a cluster.
            return Err(StoreError::Unavailable("store.prefix: braces are not allowed".into()));
        }
        let address = Address::parse(url).map_err(|why| StoreError::Unavailable(format!("store.url: {why}")))?;
        let keys = Keys { prefix: prefix.to_owned() };
        let timeout = options.timeout;
        let greeter = Arc::new(Greeter::new(keys.clone(), address.clone(), timeout));
        let dialer = Arc::new(Dialer { address, greeter, timeout, runtime: runtime.clone(), made: AtomicU64::new(0) });
        let masters = Arc::new(Masters::new(Arc::clone(&dialer)));
        let links = || Arc::new(Links::new(Arc::clone(&masters), Arc::clone(&dialer)));
        let (appends, general) = (links(), links());
        if masters.can_change() && wait_replicas == 0 {
            log::warn!(
                "Redis does not keep what a 202 promises: setting=\"store.wait_replicas\" is=\"0\" risk=\"a failover loses events that were \
                 answered with 202 and not yet replicated: set it to 1\""
            );
        }
        let watch = masters.can_change().then(|| {
            let (masters, appends, general) = (Arc::clone(&masters), Arc::clone(&appends), Arc::clone(&general));
            runtime.spawn(look_after(masters, appends, general)).abort_handle()
        });
        Ok(Self {
            keys,
            options,
            wait_replicas,
            dialer,
            masters,
            appends,
            general,
            tokens: Tokens::default(),
            lanes: Mutex::default(),
            started: Instant::now(),
            clocks_apart: AtomicBool::new(false),
            runtime,
            watch,
            subscriber: Mutex::default(),
            subscriptions: Subscriptions::default(),
        })
    }

    /// Ends the tasks that run beside the calls.
    pub(super) fn stop(&self) {
        let subscriber = self.subscriber.lock().unwrap_or_else(PoisonError::into_inner).take();
        subscriber.iter().chain(&self.watch).for_each(AbortHandle::abort);
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Looks after the masters, and lets go of connections to those that are none any more.
async fn look_after(masters: Arc<Masters>, appends: Arc<Links>, general: Arc<Links>) {
    loop {
        // Who cannot be asked now is asked again.
        let _ = masters.look(None).await;
        appends.tidy();
        general.tidy();
        masters.due().await;
    }
}
