//! Bounds of the settings, and what follows from several of them together.

use super::raw::{Raw, RawTls, Span, Unregistered};
use super::tokens::tokens;
use super::{BadSetting, Settings, StoreUrl, TlsFiles};
use crate::http::HttpSettings;
use crate::live::LiveSettings;
use crate::store::StoreOptions;
use crate::store::redis::{Address, FORMS};
use crate::streams::{Retry, StreamSettings};
use bytesize::ByteSize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

fn within<T: PartialOrd + fmt::Display>(name: &str, value: T, least: T, most: T) -> Result<T, BadSetting> {
    if value < least || value > most {
        return Err(BadSetting::new(name, format!("must be from {least} to {most}, not {value}")));
    }
    Ok(value)
}

fn at_least(name: &str, span: Span, least: Duration) -> Result<Duration, BadSetting> {
    if span.0 < least {
        return Err(BadSetting::new(name, format!("must be at least {least:?}")));
    }
    Ok(span.0)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Raw {
    /// Checks every bound.
    pub(super) fn check(self) -> Result<Settings, BadSetting> {
        let short = Duration::from_millis(10);
        let bind = addresses(&self.http.bind)?;
        let tokens = tokens(self.auth.tokens)?;
        if tokens.is_empty() && !self.auth.open && !bind.iter().all(|a| a.ip().is_loopback()) {
            return Err(BadSetting::new(
                "http.bind",
                format!(
                    "{} is not loopback, and nothing protects it: give auth.tokens, or set auth.open = true to allow that",
                    self.http.bind
                ),
            ));
        }
        let max_body = usize::try_from(self.http.max_body.as_u64()).unwrap_or(usize::MAX);
        let http = HttpSettings {
            max_body: within("http.max_body", max_body, 1024, 64 << 20)?,
            max_batch: within("http.max_batch", self.http.max_batch, 1, 10_000)?,
            max_depth: within("http.max_depth", self.http.max_depth, 1, 10_000)?,
            public_url: public_url(&self.http.public_url)?,
            max_in_flight: within("http.max_in_flight", self.http.max_in_flight, 1, 1_000_000)?,
            max_in_flight_bytes: bytes_in_flight(self.http.max_in_flight_bytes, max_body)?,
            body_timeout: at_least("http.body_timeout", self.http.body_timeout, short)?,
            any_host: self.auth.open,
            origins: self.http.origins.into_iter().map(|o| origin(&o)).collect::<Result<_, _>>()?,
            reject_unregistered: self.events.unregistered == Unregistered::Reject,
            idempotency_window: at_least("events.idempotency_window", self.events.idempotency_window, short)?,
        };
        let first = at_least("streams.retry.first", self.streams.retry.first, short)?;
        let streams = StreamSettings {
            mailbox: within("streams.mailbox", self.streams.mailbox, 1, 100_000)?,
            concurrency: within("streams.concurrency", self.streams.concurrency, 1, 1024)?,
            retry: Retry {
                attempts: within("streams.retry.attempts", self.streams.retry.attempts, 1, 10_000)?,
                first,
                max: at_least("streams.retry.max", self.streams.retry.max, first)?,
            },
            lease: at_least("streams.lease", self.streams.lease, Duration::from_millis(500))?,
            webhook_timeout: at_least("webhook.timeout", self.webhook.timeout, short)?,
            webhook_deny: self.webhook.deny,
            webhook_allow: self.webhook.allow,
            brokers: brokers(self.rabbit)?,
        };
        let auto = |given: usize, own: usize| if given == 0 { own.max(1) } else { given };
        Ok(Settings {
            tokens,
            tls: tls(self.http.tls)?,
            bind,
            http_workers: auto(within("http.workers", self.http.workers, 0, 1024)?, cores()),
            client_timeout: at_least("http.client_timeout", self.http.client_timeout, short)?,
            keep_alive: at_least("http.keep_alive", self.http.keep_alive, short)?,
            shutdown: self.http.shutdown.0,
            http,
            store_url: store_url(&self.store.url)?,
            store_prefix: prefix(self.store.prefix)?,
            wait_replicas: self.store.wait_replicas,
            store: StoreOptions {
                max_backlog: within("streams.max_backlog", self.streams.max_backlog, 1, 1 << 40)?,
                dead_ttl: at_least("streams.dead_ttl", self.streams.dead_ttl, Duration::from_secs(1))?,
                timeout: at_least("store.timeout", self.store.timeout, short)?,
            },
            streams,
            stream_workers: auto(within("streams.workers", self.streams.workers, 0, 1024)?, cores() / 2),
            live: LiveSettings {
                heartbeat: at_least("live.heartbeat", self.live.heartbeat, short)?,
                mailbox: within("live.mailbox", self.live.mailbox, 1, 1_000_000)?,
                max_sessions: within("live.max_sessions", self.live.max_sessions, 0, 10_000_000)?,
                seam: self.live.seam.0,
            },
        })
    }
}

fn addresses(bind: &str) -> Result<Vec<SocketAddr>, BadSetting> {
    let found: Vec<_> = bind
        .to_socket_addrs()
        .map_err(|e| {
            BadSetting::new("http.bind", format!("'{bind}' is not an address and port such as 127.0.0.1:8080: {e}"))
        })?
        .collect();
    if found.is_empty() {
        return Err(BadSetting::new("http.bind", format!("'{bind}' has no address")));
    }
    Ok(found)
}

/// Room for at least one body: it would never be let in else.
fn bytes_in_flight(size: ByteSize, max_body: usize) -> Result<usize, BadSetting> {
    let bytes = usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
    if bytes < max_body {
        return Err(BadSetting::new("http.max_in_flight_bytes", "must be at least http.max_body"));
    }
    Ok(bytes)
}

fn tls(raw: RawTls) -> Result<Option<TlsFiles>, BadSetting> {
    match (raw.cert.is_empty(), raw.key.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(TlsFiles { cert: raw.cert.into(), key: raw.key.into() })),
        (false, true) => Err(BadSetting::new("http.tls.key", "is needed with http.tls.cert")),
        (true, false) => Err(BadSetting::new("http.tls.cert", "is needed with http.tls.key")),
    }
}

fn public_url(text: &str) -> Result<Option<String>, BadSetting> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain = url::Url::parse(text).ok().filter(|u| {
        matches!(u.scheme(), "http" | "https") && u.has_host() && u.query().is_none() && u.fragment().is_none()
    });
    // Links are made of it, for everybody.
    if plain.as_ref().is_some_and(|u| !u.username().is_empty() || u.password().is_some()) {
        return Err(BadSetting::new("http.public_url", "must hold no user and no password"));
    }
    plain.map(|u| Some(u.as_str().trim_end_matches('/').to_owned())).ok_or_else(|| {
        BadSetting::new("http.public_url", format!("'{text}' is not an http or https URL without query and fragment"))
    })
}

fn origin(text: &str) -> Result<String, BadSetting> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let parsed = url::Url::parse(text).map(|u| u.origin());
    match parsed {
        Ok(origin) if origin.is_tuple() => Ok(origin.ascii_serialization()),
        _ => {
            Err(BadSetting::new("http.origins", format!("'{text}' is not an origin such as https://example.com, or *")))
        }
    }
}

fn prefix(text: String) -> Result<String, BadSetting> {
    // A brace would move every key into one slot of a cluster.
    if text.contains(['{', '}']) || text.len() > 64 {
        return Err(BadSetting::new("store.prefix", "must be at most 64 bytes without '{' and '}'"));
    }
    Ok(text)
}

fn store_url(text: &str) -> Result<StoreUrl, BadSetting> {
    match text.split_once(':') {
        Some(("embedded", path)) if !path.is_empty() => Ok(StoreUrl::Embedded(path.into())),
        Some((scheme, _)) if scheme != "embedded" => match Address::parse(text) {
            Ok(_) => Ok(StoreUrl::Redis(text.to_owned())),
            // It may hold a password, so that it is not repeated, here or there.
            Err(problem) => Err(BadSetting::new("store.url", problem)),
        },
        _ => Err(BadSetting::new("store.url", format!("must be embedded:DIRECTORY or {FORMS}"))),
    }
}

/// `[rabbit] url` is the broker named "", `[rabbit.NAME] url` the one named NAME.
fn brokers(tables: BTreeMap<String, Value>) -> Result<BTreeMap<String, String>, BadSetting> {
    let mut brokers = BTreeMap::new();
    for (key, value) in tables {
        let (name, setting, url) = match value {
            Value::String(url) if key == "url" => (String::new(), "rabbit.url".to_owned(), url),
            Value::Object(mut table) => {
                let setting = format!("rabbit.{key}");
                let url = table.remove("url");
                if let Some(unknown) = table.keys().next() {
                    return Err(BadSetting::new(&format!("{setting}.{unknown}"), "unknown setting"));
                }
                match url {
                    Some(Value::String(url)) => (key, format!("{setting}.url"), url),
                    _ => return Err(BadSetting::new(&format!("{setting}.url"), "must be an amqp:// or amqps:// URL")),
                }
            }
            _ => return Err(BadSetting::new(&format!("rabbit.{key}"), "must be url or a table with a url")),
        };
        if !url::Url::parse(&url).is_ok_and(|u| matches!(u.scheme(), "amqp" | "amqps") && u.has_host()) {
            return Err(BadSetting::new(&setting, "must be an amqp:// or amqps:// URL"));
        }
        brokers.insert(name, url);
    }
    Ok(brokers)
}
