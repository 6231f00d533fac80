//! The store as `check` finds it.

use super::{Finding, State};
use crate::config::Settings;
use crate::store::embedded::EmbeddedStore;
use crate::store::redis::RedisStore;
use crate::store::{Store, StoreError};
use futures_util::TryFutureExt;
use rustix::fs::{Access, access, statvfs};
use std::path::Path;

const WHAT: &str = "store.url";
/// What to do about a Redis that may take all memory. The machine may be large enough, so it is no warning.
const UNLIMITED: &str = "where memory runs out, the kernel kills a Redis without a limit, while one with a limit refuses \
sends: set maxmemory to two thirds of what it may take; the rest is for rewriting the append-only file";
/// Free room on the disk below which an operator should do something.
const LITTLE_ROOM: u64 = 1 << 30;

/// A folder of this machine. Also whether a stream delivers to RabbitMQ.
pub async fn embedded(folder: &Path, settings: &Settings) -> (Vec<Finding>, bool) {
    let shown = folder.display();
    // What is in its place, or in that of a folder above it.
    let other = folder.ancestors().find(|path| path.exists()).filter(|path| !path.is_dir());
    if let Some(other) = other {
        let found = format!("{} is not a folder", other.display());
        return (vec![Finding::new(State::Wrong, WHAT, found, "name another folder: embedded:DIRECTORY")], false);
    }
    let there = folder.ancestors().find(|path| path.is_dir() || path.as_os_str().is_empty());
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if access(there, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let mend = "give it to the user that the hub runs as, or name another folder";
        return (vec![Finding::new(State::Wrong, WHAT, format!("{} cannot be written", there.display()), mend)], false);
    }
    let mut findings = Vec::new();
    let mut uses_rabbit = false;
    if folder.is_dir() {
        match EmbeddedStore::open(folder, settings.store.clone()) {
            Ok(store) => {
                findings.push(Finding::ok(WHAT, format!("{shown} can be opened")));
                uses_rabbit = delivers_to_rabbit(&store).await;
                if let Err(error) = store.close().await {
                    findings.push(Finding::new(
                        State::Wrong,
                        WHAT,
                        error.to_string(),
                        "look at the disk's own messages",
                    ));
                }
            }
            Err(error) => findings.push(refused(&error)),
        }
    } else {
        findings.push(Finding::ok(WHAT, format!("{shown} is not there yet, and can be made")));
    }
    if let Ok(disk) = statvfs(there) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let found = format!("{} MiB are free on the disk", free >> 20);
        findings.push(if free < LITTLE_ROOM {
            Finding::new(State::Warning, WHAT, found, "make room: a hub whose disk is full refuses events")
        } else {
            Finding::ok(WHAT, found)
        });
    }
    (findings, uses_rabbit)
}

/// A running hub has its folder to itself, and that is as it should be.
fn refused(error: &StoreError) -> Finding {
    let line = error.to_string();
    match error {
        StoreError::Unavailable(_) if line.contains("is in use") => Finding::ok(WHAT, "the folder is in use by a hub"),
        StoreError::Corrupt(_) => {
            Finding::new(State::Wrong, WHAT, line, "run the version that wrote it, or restore a backup")
        }
        _ => Finding::new(State::Wrong, WHAT, line, "mend what the system says, or name another folder"),
    }
}

/// Redis. Also whether a stream delivers to RabbitMQ.
pub async fn redis(url: &str, settings: &Settings) -> (Vec<Finding>, bool) {
    let store = RedisStore::connect(url, &settings.store_prefix, settings.store.clone(), settings.wait_replicas);
    let store = match store {
        Ok(store) => store,
        Err(error) => return (vec![Finding::new(State::Wrong, WHAT, error.to_string(), "mend the URL")], false),
    };
    // First whether all of them can be used: what each says of itself comes also where one is away.
    let servers = match store.ping().and_then(|_| store.facts()).await {
        Ok(facts) => facts.servers,
        Err(error) => {
            return (vec![Finding::new(State::Wrong, WHAT, error.to_string(), mend(&error))], false);
        }
    };
    let mut findings = Vec::new();
    for server in &servers {
        if let Some(error) = &server.error {
            let found = format!("Redis at {}: {error}", server.address);
            findings.push(Finding::new(State::Wrong, WHAT, found, "see why it went away meanwhile, and check again"));
            continue;
        }
        findings.push(Finding::ok(WHAT, format!("Redis {} at {}", server.version, server.address)));
        for warning in &server.warnings {
            let found = format!("Redis has {} {}", warning.setting, warning.is);
            findings.push(Finding::new(State::Warning, WHAT, found, warning.risk.clone()));
        }
        if server.memory_limit.is_none() {
            findings.push(Finding::new(State::Note, WHAT, "Redis has maxmemory 0", UNLIMITED));
        }
        findings.push(replicas(server.replicas, settings.wait_replicas));
    }
    if servers.iter().all(|server| server.error.is_none() && server.warnings.is_empty()) {
        findings.push(Finding::ok(WHAT, "persistence and eviction keep what a 202 promises"));
    }
    let uses_rabbit = delivers_to_rabbit(&store).await;
    // What is connected ends with the process.
    let _ = store.close().await;
    (findings, uses_rabbit)
}

/// What to do about a Redis that cannot be used; what it says, and what the client says of it, is text.
fn mend(error: &StoreError) -> &'static str {
    const CURES: &[(&[&str], &str)] = &[
        (
            &["noauth", "wrongpass", "authentication"],
            "mend user and password: USER:PASSWORD@ before the host, or :PASSWORD@, \
            percent-encoded",
        ),
        (&["noperm"], "give the user the keys and channels of store.prefix and what Redis' ACL LOG says is missing"),
        (&["read only replica"], "that is a replica: name its master, or have it found by redis+sentinel://"),
        (&["cluster support disabled"], "that is no cluster: name it by redis://"),
        (&["db index"], "name a database that it has, or none"),
        (&["too old"], "install Redis 7.0 or newer there"),
        (&["lookup address"], "mend the host's name"),
        (&["timed out"], "mend the address; behind rediss:// a server must speak TLS, behind redis:// it must not"),
    ];
    if matches!(error, StoreError::Corrupt(_)) {
        return "run the version that wrote it, or another store.prefix";
    }
    let said = error.to_string().to_lowercase();
    let cure = CURES.iter().find(|(words, _)| words.iter().any(|word| said.contains(word)));
    cure.map_or("start Redis 7.0 or newer there, or mend the address", |(_, cure)| cure)
}

fn replicas(there: u64, wanted: u32) -> Finding {
    let what = "store.wait_replicas";
    let connected = match there {
        1 => "1 replica is connected".to_owned(),
        n => format!("{n} replicas are connected"),
    };
    if there < u64::from(wanted) {
        let mend = "connect more replicas, or lower store.wait_replicas: without them every send is a 503";
        return Finding::new(State::Wrong, what, format!("{connected}, and a send waits for {wanted}"), mend);
    }
    if there > 0 && wanted == 0 {
        let mend = "set it to 1: a failover may lose events answered with 202 that were not yet replicated";
        return Finding::new(State::Warning, what, format!("{connected}, and a send waits for none"), mend);
    }
    Finding::ok(what, format!("{connected}, a send waits for {wanted}"))
}

/// Reads the registry's own JSON no further than needed; what cannot be read is taken for yes.
async fn delivers_to_rabbit(store: &dyn Store) -> bool {
    let Ok((_, types)) = store.types().await else { return true };
    types.iter().filter(|record| record.registered).any(|record| {
        serde_json::from_slice::<serde_json::Value>(&record.config).is_ok_and(|config| names_rabbit(&config))
    })
}

fn names_rabbit(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Object(members) => {
            members.get("source").is_some_and(|source| source == "rabbit") || members.values().any(names_rabbit)
        }
        serde_json::Value::Array(elements) => elements.iter().any(names_rabbit),
        _ => false,
    }
}
