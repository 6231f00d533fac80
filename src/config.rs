//! Settings: built-in defaults, then the file, then the environment.
//!
//! `config/default.toml` is compiled in and documents every setting; a name that is not in it (or a
//! value it could not stand for) stops the start with one line.

mod check;
mod raw;
mod tokens;

use crate::access::Token;
use crate::http::HttpSettings;
use crate::live::LiveSettings;
use crate::store::StoreOptions;
use crate::streams::StreamSettings;
use config::{Config, File, FileFormat};
use raw::Raw;
use serde_json::Value;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEFAULTS: &str = include_str!("../config/default.toml");
const ENVIRONMENT: &str = "EVENTS__";

/// A setting that cannot be used. One line, beginning with the setting's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting(String);

impl BadSetting {
    /// The setting's name, and what is wrong with it.
    pub fn new(name: &str, problem: impl fmt::Display) -> Self {
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
    /// The URL of a Redis: one server, behind Sentinel, or a cluster.
    Redis(String),
}

/// Where the hub's certificate is (`http.tls`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and an authority: PEM.
    pub cert: PathBuf,
    /// Its private key: PEM.
    pub key: PathBuf,
}

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The tokens; none means that nobody is asked for one.
    pub tokens: Vec<Token>,
    /// TLS instead of plain HTTP.
    pub tls: Option<TlsFiles>,
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
            BadSetting::new(if path == "." { "settings" } else { &path }, without_value(&e.inner().to_string()))
        })?;
        raw.check()
    }
}

fn tree(built: Result<Config, config::ConfigError>) -> Result<Value, BadSetting> {
    built.and_then(Config::try_deserialize).map_err(|e| BadSetting::new("--config", without_excerpt(&e.to_string())))
}

/// What is wrong with a file, without the lines of it that the parser shows: a password may stand there, and this line in
/// a log.
fn without_excerpt(error: &str) -> String {
    let shown = |line: &&str| !line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    error.lines().filter(shown).collect::<Vec<_>>().join(" ")
}

/// What is wrong with a value, without the value, for the same reason, and in words of the settings.
fn without_value(error: &str) -> String {
    let expected = error.rsplit_once(", expected ").filter(|(found, _)| found.contains("type: string "));
    let plain = expected.map(|(_, expected)| format!("invalid type: a string, expected {expected}"));
    match plain.as_deref().unwrap_or(error).split_once("struct Raw") {
        Some((before, _)) => format!("{before}a table"),
        None => plain.unwrap_or_else(|| error.to_owned()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::Retry;

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
    fn what_is_wrong_is_said_without_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hub.toml");
        for (text, said) in [
            ("[rabbit]\nurl = \"amqp://u:SECRET@h\n", "at line 2"),
            ("[store]\nurl = redis://:SECRET@h\n", "at line 2"),
            ("[rabbit]\nurl = \"a\"\nurl = \"amqp://u:SECRET@h\"\n", "duplicate key"),
            ("[auth]\ntokens = [\"SECRET\"]\n", "auth.tokens[0]: invalid type: a string, expected a table"),
            ("auth = \"SECRET, expected\"\n", "auth: invalid type: a string, expected a table"),
            ("[[auth.tokens]]\nname = \"a\"\nsha256 = \"x\"\nscopes = \"SECRET\"\n", "expected a sequence"),
            ("[[auth.tokens]]\nname = \"a\"\nsha256 = \"SECRET\"\nscopes = [\"send\"]\n", "auth.tokens[0].sha256"),
            ("[store]\nurl = \"redis://:SECRET@h:bad\"\n", "store.url"),
            ("[rabbit]\nurl = \"http://u:SECRET@h\"\n", "rabbit.url"),
            ("[http]\npublic_url = \"https://u:SECRET@h\"\n", "http.public_url"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Settings::load(Some(&file), []).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("SECRET") && !error.contains('\n'), "{text}: {error}");
        }
        assert_eq!(with(&[("EVENTS__AUTH__TOKENS", "SECRET")]).unwrap_err().to_string().find("SECRET"), None);
    }

    #[test]
    fn the_examples_are_read() {
        for (file, url) in [("config/cluster.toml", "redis-cluster://"), ("config/sentinel.toml", "redis+sentinel://")]
        {
            let s = Settings::load(Some(Path::new(file)), []).unwrap();
            assert!(matches!(&s.store_url, StoreUrl::Redis(found) if found.starts_with(url)), "{file}");
            assert_eq!(s.wait_replicas, 1, "{file}");
        }
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
            ("EVENTS__STORE__URL", "redis+sentinel://a:1", "store.url"),
            ("EVENTS__STORE__URL", "redis-cluster://a:1/3", "store.url"),
            ("EVENTS__STREAMS__LEASE", "soon", "streams.lease"),
            ("EVENTS__STREAMS__RETRY__MAX", "1ms", "streams.retry.max"),
            ("EVENTS__WEBHOOK__DENY", "10.0.0.0/99", "webhook.deny[0]"),
            ("EVENTS__EVENTS__UNREGISTERED", "maybe", "events.unregistered"),
            ("EVENTS__RABBIT__URL", "http://x", "rabbit.url"),
            ("EVENTS__AUTH__OPEN", "perhaps", "auth.open"),
            ("EVENTS__HTTP__TLS__CERT", "cert.pem", "http.tls.key"),
            ("EVENTS__HTTP__TLS__KEY", "key.pem", "http.tls.cert"),
            ("EVENTS__HTTP__MAX_IN_FLIGHT_BYTES", "1KiB", "http.max_in_flight_bytes"),
        ] {
            let error = with(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(setting), "{name}={value}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(with(&[("EVENTS__HTTP__BIND", "0.0.0.0:80"), ("EVENTS__AUTH__OPEN", "true")]).is_ok());
    }

    /// Every leaf of the defaults, as the contract writes it.
    fn names(value: &Value, path: &str, all: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                members.iter().for_each(|(name, member)| names(member, &within(name), all));
            }
            _ => all.push(path.to_owned()),
        }
    }

    #[test]
    fn every_setting_is_explained_to_operators() {
        let defaults = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml)).build();
        let mut all = Vec::new();
        names(&tree(defaults).unwrap(), "", &mut all);
        let page = include_str!("../docs/operations.md");
        let missing: Vec<_> = all.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
        assert!(all.len() > 30 && missing.is_empty(), "docs/operations.md says nothing of {missing:?}");
    }
}
