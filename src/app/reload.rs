//! SIGHUP: tokens and certificate are read again, without dropping anybody. Other settings need a restart.

use super::tls::Certificates;
use crate::access::Access;
use crate::config::{BadSetting, Settings};
use std::sync::Arc;

/// Reads the settings as they are now.
pub type ReadSettings = Arc<dyn Fn() -> Result<Settings, BadSetting> + Send + Sync>;

/// What can be changed while the hub runs.
pub(super) struct Reload {
    /// How the settings are read.
    pub load: ReadSettings,
    /// The tokens.
    pub access: Arc<Access>,
    /// The certificate, under TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether the hub may be without tokens where it is bound.
    pub may_be_open: bool,
}

impl Reload {
    /// Reads everything again. What cannot be used changes nothing.
    fn all(&self) {
        match (self.load)() {
            Err(e) => log::error!("the settings stay as they were: error=\"{e}\""),
            Ok(settings) if settings.tokens.is_empty() && !self.may_be_open => {
                log::error!(
                    "the settings stay as they were: error=\"auth.tokens is empty, and the hub is not bound to loopback\""
                );
            }
            Ok(settings) => {
                let changed = self.access.replace(settings.tokens);
                log::info!(
                    "the access tokens were read again: tokens={} added={} removed={}",
                    changed.tokens,
                    changed.added,
                    changed.removed
                );
            }
        }
        if let Some(certificates) = &self.certificates {
            certificates.reload();
        }
    }

    /// Reads everything again at each SIGHUP, from when this is called.
    #[cfg(unix)]
    pub fn at_hangup(self) {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(e) => return log::error!("cannot listen for SIGHUP: error={e}"),
        };
        let reload = Arc::new(self);
        actix::spawn(async move {
            while hangups.recv().await.is_some() {
                let reload = Arc::clone(&reload);
                // Files are read off this thread, which the store's connections live on.
                if tokio::task::spawn_blocking(move || reload.all()).await.is_err() {
                    log::error!("the settings were not read again");
                }
            }
        });
    }

    #[cfg(not(unix))]
    pub fn at_hangup(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_beyond_loopback_does_not_lose_its_last_token() {
        let environment = |tokens: &str| [("EVENTS__AUTH__TOKENS".to_owned(), tokens.to_owned())];
        let hash = crate::access::TokenHash::of("secret");
        let some = format!(r#"[{{"name":"a","sha256":"{hash}","scopes":["send"]}}]"#);
        let access = Arc::new(Access::new(Settings::load(None, environment(&some)).unwrap().tokens));
        let reload = |tokens: &'static str, may_be_open| {
            let load: ReadSettings = Arc::new(move || Settings::load(None, environment(tokens)));
            Reload { load, access: Arc::clone(&access), certificates: None, may_be_open }.all();
        };
        reload("[]", false);
        assert!(access.find("secret").is_some());
        reload("[5]", true);
        assert!(access.find("secret").is_some());
        reload("[]", true);
        assert!(access.is_open());
    }
}
