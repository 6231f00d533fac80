//! Settings: built-in defaults, then the file, then the environment.
//!
//! `config/default.toml` is compiled in and documents every setting; a name that is not in it (or a
//! value it could not stand for) stops the start with one line.

use crate::event::parse_duration;
use crate::http::HttpSettings;
use crate::live::LiveSettings;
use crate::store::StoreOptions;
use crate::streams::{Retry, StreamSettings};
use bytesize::ByteSize;
use config::{Config, File, FileFormat};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULTS: &str = include_str!("../config/default.toml");
const ENVIRONMENT: &str = "EVENTS__";

/// A setting that cannot be used. One line, beginning with the setting's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting(String);

impl BadSetting {
    fn new(name: &str, problem: impl fmt::Display) -> Self {
        let text = format!("{name}: {problem}");
        Self(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadSetting {}

/// Where events are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A directory of this machine.
    Embedded(PathBuf),
    /// A Redis server's URL.
    Redis(String),
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses to listen on (a name may have several).
    pub bind: Vec<SocketAddr>,
    /// HTTP threads.
    pub http_workers: usize,
    /// Longest wait for a request's head.
    pub client_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a shutdown waits for what is in flight.
    pub shutdown: Duration,
    /// The HTTP side.
    pub http: HttpSettings,
    /// Where events are kept.
    pub store_url: StoreUrl,
    /// Before every key in Redis.
    pub store_prefix: String,
    /// Replicas that must have an event before the 202.
    pub wait_replicas: u32,
    /// Options of both stores.
    pub store: StoreOptions,
    /// Delivery.
    pub streams: StreamSettings,
    /// Threads that deliver.
    pub stream_workers: usize,
    /// The live side.
    pub live: LiveSettings,
}

impl Settings {
    /// Reads defaults, `file` and `environment` (pairs of variable and value; others than `EVENTS__…` are
    /// ignored).
    ///
    /// # Errors
    /// The first setting that is unknown, malformed or out of bounds.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BadSetting> {
        let defaults = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        let mut builder = defaults.clone();
        if let Some(path) = file {
            // Read here: the crate's own file source looks for other endings too.
            let text = std::fs::read_to_string(path)
                .map_err(|e| BadSetting::new("--config", format!("cannot read {}: {e}", path.display())))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let known: Value = tree(defaults.build())?;
        for (name, text) in environment {
            let Some(path) = name.strip_prefix(ENVIRONMENT) else { continue };
            let path = path.to_ascii_lowercase().replace("__", ".");
            let value = typed(known.pointer(&format!("/{}", path.replace('.', "/"))), &text)
                .map_err(|problem| BadSetting::new(&path, format!("{problem} (from {name})")))?;
            builder =
                builder.set_override(&path, value).map_err(|e| BadSetting::new(&path, format!("{e} (from {name})")))?;
        }
        let merged = tree(builder.build())?;
        let raw: Raw = serde_path_to_error::deserialize(merged).map_err(|e| {
            let path = e.path().to_string();
            BadSetting::new(if path == "." { "settings" } else { &path }, e.inner())
        })?;
        raw.check()
    }
}

fn tree(built: Result<Config, config::ConfigError>) -> Result<Value, BadSetting> {
    built.and_then(Config::try_deserialize).map_err(|e| BadSetting::new("--config", e))
}

/// A variable's text, read as what the default at its place is: a list, a table, a number or a switch.
fn typed(default: Option<&Value>, text: &str) -> Result<config::Value, String> {
    let value: config::ValueKind = match default {
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            return Ok(config::Value::from(items.map(config::Value::from).collect::<Vec<_>>()));
        }
        Some(Value::Array(_) | Value::Object(_)) => {
            return serde_json::from_str::<config::Value>(text).map_err(|e| format!("is not JSON: {e}"));
        }
        Some(Value::Number(_)) => text.trim().parse::<i64>().map_err(|_| "must be a whole number".to_owned())?.into(),
        Some(Value::Bool(_)) => text.trim().parse::<bool>().map_err(|_| "must be true or false".to_owned())?.into(),
        _ => text.into(),
    };
    Ok(config::Value::new(None, value))
}

/// A duration in settings.
#[derive(Debug, Clone, Copy)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    http: RawHttp,
    events: RawEvents,
    store: RawStore,
    rabbit: BTreeMap<String, Value>,
    streams: RawStreams,
    webhook: RawWebhook,
    live: RawLive,
    auth: RawAuth,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    bind: String,
    workers: usize,
    max_body: ByteSize,
    max_batch: usize,
    max_depth: usize,
    public_url: String,
    origins: Vec<String>,
    max_in_flight: usize,
    client_timeout: Span,
    keep_alive: Span,
    shutdown: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unregistered {
    Discard,
    Reject,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvents {
    unregistered: Unregistered,
    idempotency_window: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    url: String,
    prefix: String,
    wait_replicas: u32,
    timeout: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStreams {
    mailbox: usize,
    concurrency: usize,
    lease: Span,
    max_backlog: u64,
    dead_ttl: Span,
    workers: usize,
    retry: RawRetry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRetry {
    attempts: u32,
    first: Span,
    max: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    timeout: Span,
    deny: Vec<ipnet::IpNet>,
    allow: Vec<ipnet::IpNet>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLive {
    heartbeat: Span,
    mailbox: usize,
    max_sessions: usize,
    seam: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    open: bool,
}

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
    fn check(self) -> Result<Settings, BadSetting> {
        let short = Duration::from_millis(10);
        let bind = addresses(&self.http.bind)?;
        if !self.auth.open && !bind.iter().all(|a| a.ip().is_loopback()) {
            return Err(BadSetting::new(
                "http.bind",
                format!(
                    "{} is not loopback, and nothing protects it: set auth.open = true to allow that",
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

fn public_url(text: &str) -> Result<Option<String>, BadSetting> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain = url::Url::parse(text).ok().filter(|u| {
        matches!(u.scheme(), "http" | "https") && u.has_host() && u.query().is_none() && u.fragment().is_none()
    });
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
        Some(("redis" | "rediss", _)) if url::Url::parse(text).is_ok_and(|u| u.has_host()) => {
            Ok(StoreUrl::Redis(text.to_owned()))
        }
        // The URL may hold a password: it is not repeated.
        _ => Err(BadSetting::new("store.url", "must be embedded:DIRECTORY, redis://HOST:PORT or rediss://HOST:PORT")),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(env: &[(&str, &str)]) -> Result<Settings, BadSetting> {
        Settings::load(None, env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let s = with(&[]).unwrap();
        assert_eq!(s.bind, vec!["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!((s.http.max_body, s.http.max_batch, s.http.max_depth), (1 << 20, 1000, 128));
        assert_eq!(s.store_url, StoreUrl::Embedded("data".into()));
        assert_eq!((s.streams.mailbox, s.streams.concurrency, s.store.max_backlog), (1024, 16, 1_000_000));
        assert_eq!(
            s.streams.retry,
            Retry { attempts: 40, first: Duration::from_secs(1), max: Duration::from_secs(3600) }
        );
        assert_eq!((s.live.mailbox, s.live.max_sessions, s.live.seam), (256, 20_000, Duration::from_secs(2)));
        assert_eq!(s.http.idempotency_window, Duration::from_secs(86_400));
        assert_eq!(s.streams.brokers[""], "amqp://127.0.0.1:5672/%2f");
    }

    #[test]
    fn the_environment_wins_and_is_typed() {
        let s = with(&[
            ("EVENTS__HTTP__MAX_BATCH", "7"),
            ("EVENTS__HTTP__ORIGINS", "https://a.example, https://b.example:8443/"),
            ("EVENTS__HTTP__MAX_BODY", "64KiB"),
            ("EVENTS__STREAMS__RETRY__FIRST", "250ms"),
            ("EVENTS__STORE__URL", "redis://127.0.0.1:6379"),
            ("EVENTS__RABBIT__BILLING__URL", "amqps://mq.example/v"),
            ("EVENTS__WEBHOOK__DENY", ""),
            ("EVENTS__STREAMS__RETRY", r#"{"attempts":3,"first":"250ms","max":"2s"}"#),
            ("OTHER", "x"),
        ])
        .unwrap();
        assert_eq!((s.http.max_batch, s.http.max_body), (7, 65_536));
        assert_eq!(s.http.origins, ["https://a.example", "https://b.example:8443"]);
        assert_eq!(s.streams.retry.first, Duration::from_millis(250));
        assert_eq!(s.store_url, StoreUrl::Redis("redis://127.0.0.1:6379".into()));
        assert_eq!(s.streams.brokers["billing"], "amqps://mq.example/v");
        assert!(s.streams.webhook_deny.is_empty());
    }

    #[test]
    fn a_bad_setting_is_named_in_one_line() {
        for (name, value, setting) in [
            ("EVENTS__HTTP__BIND", "nowhere", "http.bind"),
            ("EVENTS__HTTP__BIND", "0.0.0.0:80", "http.bind"),
            ("EVENTS__HTTP__MAX_BATCH", "many", "http.max_batch"),
            ("EVENTS__HTTP__MAX_BATCH", "0", "http.max_batch"),
            ("EVENTS__HTTP__MAX_BODY", "huge", "http.max_body"),
            ("EVENTS__HTTP__BNID", "x", "http"),
            ("EVENTS__HTPT__BIND", "x", "htpt"),
            ("EVENTS__STORE__URL", "mysql://x", "store.url"),
            ("EVENTS__STORE__URL", "embedded:", "store.url"),
            ("EVENTS__STREAMS__LEASE", "soon", "streams.lease"),
            ("EVENTS__STREAMS__RETRY__MAX", "1ms", "streams.retry.max"),
            ("EVENTS__WEBHOOK__DENY", "10.0.0.0/99", "webhook.deny[0]"),
            ("EVENTS__EVENTS__UNREGISTERED", "maybe", "events.unregistered"),
            ("EVENTS__RABBIT__URL", "http://x", "rabbit.url"),
            ("EVENTS__AUTH__OPEN", "perhaps", "auth.open"),
        ] {
            let error = with(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{setting}")), "{name}={value}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(with(&[("EVENTS__HTTP__BIND", "0.0.0.0:80"), ("EVENTS__AUTH__OPEN", "true")]).is_ok());
    }
}
