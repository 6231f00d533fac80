//! `check`: whether a hub could start with these settings and keep its promises; what is wrong, and how to mend it.
//!
//! The one command that is no client: it opens the store and connects to brokers as the hub would. It may run beside
//! a hub that runs already.

mod store;

use super::failure::Failure;
use super::hub::Connection;
use super::out::{Out, Tone, printable};
use crate::app::check_certificate;
use crate::config::{Settings, StoreUrl};
use crate::http::descriptors_each;
use crate::streams::Brokers;
use clap::Args;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// The broker that settings name when they name none.
const DEFAULT_BROKER: &str = "amqp://127.0.0.1:5672/%2f";
/// Descriptors a hub needs besides those of its sessions.
const OWN_DESCRIPTORS: u64 = 1000;

/// Check settings, store, brokers and address; what is wrong, and how to mend it.
///
/// Looks at what `event-source-api serve` with the same settings would need. Exit code 0 when nothing is wrong, 1 when
/// something is, 78 when the settings cannot be used.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  event-source-api check --config hub.toml
  EVENTS__STORE__URL=redis://redis:6379 event-source-api check --strict")]
pub struct Check {
    /// Warnings count as wrong, too
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// As it should be for a hub, and worth a thought all the same: never counted, and for programs as it should be.
    #[serde(rename = "ok")]
    Note,
    /// A hub would run, and not keep all it promises.
    Warning,
    /// A hub would not start, or not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    state: State,
    /// The setting it is about.
    what: String,
    found: String,
    /// What to do; empty when nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    mend: String,
}

impl Finding {
    /// All is well.
    pub fn ok(what: &str, found: impl Into<String>) -> Self {
        Self { state: State::Ok, what: what.to_owned(), found: found.into(), mend: String::new() }
    }

    /// Something is not.
    pub fn new(state: State, what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state, what: what.to_owned(), found: found.into(), mend: mend.into() }
    }

    fn show(&self, out: Out) -> Result<(), Failure> {
        let (word, tone) = match self.state {
            State::Ok => ("ok     ", Tone::Good),
            State::Note => ("note   ", Tone::Plain),
            State::Warning => ("warning", Tone::Warn),
            State::Wrong => ("wrong  ", Tone::Bad),
        };
        let mend = if self.mend.is_empty() { String::new() } else { format!("\n           {}", printable(&self.mend)) };
        out.line(&format!("{}  {}: {}{mend}", out.paint(word, tone), self.what, printable(&self.found)))
    }
}

impl Check {
    /// Looks at everything, and says it as it goes.
    ///
    /// # Errors
    /// [`Failure::Settings`] when settings cannot be used; [`Failure::Said`] when anything is wrong.
    pub async fn run(self, config: Option<&Path>) -> Result<(), Failure> {
        let out = Out::new(self.json);
        let mut report = Report { out, all: Vec::new() };
        let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let settings = match Settings::load(config, environment) {
            Ok(settings) => settings,
            Err(bad) if self.json => {
                let mend = "config/default.toml documents every setting";
                report.add(Finding::new(State::Wrong, "settings", bad.to_string(), mend))?;
                // Which says that something is wrong; the exit code says more.
                let _ = report.end(self.strict);
                return Err(Failure::Settings(bad.to_string()));
            }
            Err(bad) => return Err(Failure::Settings(format!("{bad} (config/default.toml documents every setting)"))),
        };
        let from = config.map_or_else(|| "defaults and environment".to_owned(), |file| file.display().to_string());
        report.add(Finding::ok("settings", from))?;
        for address in &settings.bind {
            report.add(address_finding(*address, settings.tls.is_some()).await)?;
        }
        if settings.tls.is_some() {
            report.add(match check_certificate(&settings) {
                Ok(()) => Finding::ok("http.tls", "certificate and key belong together"),
                Err(bad) => Finding::new(
                    State::Wrong,
                    "http.tls",
                    bad.to_string(),
                    "give both files in PEM, and the right to read them",
                ),
            })?;
        }
        if let Some(finding) = exposed(&settings) {
            report.add(finding)?;
        }
        report.add(descriptors(settings.live.max_sessions))?;
        let (findings, uses_rabbit) = match &settings.store_url {
            StoreUrl::Embedded(folder) => store::embedded(folder, &settings).await,
            StoreUrl::Redis(url) => store::redis(url, &settings).await,
        };
        for finding in findings {
            report.add(finding)?;
        }
        for finding in brokers(&settings, uses_rabbit).await {
            report.add(finding)?;
        }
        report.end(self.strict)
    }
}

struct Report {
    out: Out,
    all: Vec<Finding>,
}

impl Report {
    fn add(&mut self, finding: Finding) -> Result<(), Failure> {
        if !self.out.json {
            finding.show(self.out)?;
        }
        self.all.push(finding);
        Ok(())
    }

    fn end(&self, strict: bool) -> Result<(), Failure> {
        let count = |state| self.all.iter().filter(|finding| finding.state == state).count();
        let (wrong, warnings) = (count(State::Wrong), count(State::Warning));
        let failed = wrong > 0 || (strict && warnings > 0);
        if self.out.json {
            let document = serde_json::json!({"ok": !failed, "checks": self.all});
            self.out.line(&document.to_string())?;
        } else if wrong + warnings > 0 {
            let s = if warnings == 1 { "" } else { "s" };
            self.out.line(&format!("{wrong} wrong, {warnings} warning{s}"))?;
        } else {
            self.out.line("nothing is wrong")?;
        }
        if failed { Err(Failure::Said) } else { Ok(()) }
    }
}

/// Whether it can be listened on; a hub that does already is no fault.
async fn address_finding(address: SocketAddr, tls: bool) -> Finding {
    let what = "http.bind";
    let error = match TcpListener::bind(address) {
        Ok(_) => return Finding::ok(what, format!("{address} is free")),
        Err(error) => error,
    };
    if !tls
        && error.kind() == std::io::ErrorKind::AddrInUse
        && let Ok(hub) = Connection::of_this_machine(address)
        && matches!(tokio::time::timeout(std::time::Duration::from_secs(2), hub.get("/healthz")).await, Ok(Ok(_)))
    {
        return Finding::ok(what, format!("a hub listens on {address} already"));
    }
    if tls && error.kind() == std::io::ErrorKind::AddrInUse {
        // Its certificate is for the name that clients know it by, so it cannot be asked from here.
        let mend = "if that is a hub, all is well; else end it, or take another port";
        return Finding::new(State::Warning, what, format!("something listens on {address} already"), mend);
    }
    let mend = match error.kind() {
        std::io::ErrorKind::AddrInUse => "another program listens there: end it, or take another port",
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: give it, or take another port"
        }
        std::io::ErrorKind::AddrNotAvailable => "that is no address of this machine: 0.0.0.0 means all it has",
        _ => "take another address or port",
    };
    Finding::new(State::Wrong, what, format!("cannot listen on {address}: {error}"), mend)
}

/// A hub that others reach should be meant to be.
fn exposed(settings: &Settings) -> Option<Finding> {
    let outside = settings.bind.iter().find(|address| !address.ip().is_loopback())?;
    if settings.tokens.is_empty() {
        let found = format!("whoever reaches {outside} may do everything");
        let mend = "give auth.tokens, or see to it that nobody else reaches it: a firewall, a network policy, a proxy";
        return Some(Finding::new(State::Warning, "auth.open", found, mend));
    }
    let proxied = settings.http.public_url.as_ref().is_some_and(|url| url.starts_with("https:"));
    if settings.tls.is_none() && !proxied {
        let found = format!("requests to {outside} and their tokens can be read on their way");
        let mend = "set http.tls, or http.public_url of a proxy with TLS";
        return Some(Finding::new(State::Warning, "http.tls", found, mend));
    }
    None
}

fn descriptors(sessions: usize) -> Finding {
    let each = u64::try_from(descriptors_each()).unwrap_or(2);
    let wanted = u64::try_from(sessions).unwrap_or(u64::MAX).saturating_mul(each).saturating_add(OWN_DESCRIPTORS);
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < wanted => Finding::new(
            State::Warning,
            "live.max_sessions",
            format!("{sessions} sessions may need {wanted} file descriptors, and a process may have {limit}"),
            "raise LimitNOFILE (systemd) or ulimit -Hn, or lower live.max_sessions",
        ),
        _ => Finding::ok("live.max_sessions", format!("file descriptors are enough for {sessions} sessions")),
    }
}

/// Each broker; the default one matters only when a stream uses it.
async fn brokers(settings: &Settings, uses_rabbit: bool) -> Vec<Finding> {
    let urls = &settings.streams.brokers;
    let brokers = Brokers::new(urls);
    let mut findings = Vec::new();
    for (name, url) in urls {
        let setting = if name.is_empty() { "rabbit.url".to_owned() } else { format!("rabbit.{name}.url") };
        let unused = url == DEFAULT_BROKER && !uses_rabbit;
        findings.push(match brokers.probe(name).await {
            Ok(()) => Finding::ok(&setting, "the broker takes connections"),
            Err(_) if unused => Finding::ok(&setting, "no broker there, and no stream that needs one"),
            Err(error) => Finding::new(
                State::Wrong,
                &setting,
                format!("the broker cannot be used: {error}"),
                "start it, or mend address, user, password and virtual host; events for it wait in the store meanwhile",
            ),
        });
    }
    brokers.close().await;
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_broker_is_that_of_the_defaults() {
        let settings = Settings::load(None, []).unwrap();
        assert_eq!(settings.streams.brokers[""], DEFAULT_BROKER);
    }
}
