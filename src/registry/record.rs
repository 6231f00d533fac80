//! A type's record in the store: how configurations are written, read back and changed. Pure.

use super::{StreamEntry, Tuning, TypeEntry};
use crate::event::{StreamName, TypeNo};
use crate::store::TypeRecord;
use crate::streams::{Secrets, StreamSettings, StreamSpec, parse_streams};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// The registry's JSON of a type.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    #[serde(default)]
    streams: Vec<StoredStream>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    draining: Vec<StoredStream>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredStream {
    /// As registered, secrets included.
    spec: Value,
    /// Revision with which it came; 0 stands for the revision of the record it is first written with,
    /// which the store gives only then.
    #[serde(default)]
    since: u64,
    /// Revision with which it was dropped; 0 as for `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

/// Reads a record. Streams that this version or these settings cannot make sense of are kept as they
/// are: they take their events, and wait.
///
/// # Errors
/// When the record is not the registry's JSON at all.
pub(super) fn decode(record: &TypeRecord, settings: &StreamSettings) -> Result<TypeEntry, serde_json::Error> {
    let stored: Stored = serde_json::from_slice(&record.config)?;
    let mut unreadable = Vec::new();
    let mut read = |streams: Vec<StoredStream>| -> Vec<StreamEntry> {
        let mut entries = Vec::with_capacity(streams.len());
        for stream in streams {
            let own = |revision| if revision == 0 { record.revision } else { revision };
            let (since, until) = (own(stream.since), stream.until.map(own));
            let (paused, deleted) = (stream.paused, stream.deleted);
            match parse_stored(&stream.spec, settings) {
                Some(spec) => entries.push(StreamEntry { spec, since, until, paused, deleted }),
                None => unreadable.push(stream.spec),
            }
        }
        entries
    };
    let streams = read(stored.streams);
    let draining = read(stored.draining);
    let names: Vec<StreamName> = streams
        .iter()
        .map(|s| s.spec.name.clone())
        .chain(unreadable.iter().filter_map(|spec| spec.get("name")?.as_str()?.parse().ok()))
        .collect();
    for spec in &unreadable {
        let name = spec.get("name").and_then(Value::as_str).unwrap_or("?");
        log::error!(
            "stream cannot be read, its events wait until the type is registered again: type={} stream={name}",
            record.name
        );
    }
    Ok(TypeEntry {
        name: record.name.clone(),
        type_no: record.type_no,
        ttl: record.ttl.clone(),
        registered: record.registered,
        revision: record.revision,
        names: names.into(),
        streams,
        draining,
        unreadable,
    })
}

/// What was valid when it was registered stays readable when settings change: a broker that is not
/// configured any more, or a network denied since, fail at delivery and say so.
fn parse_stored(spec: &Value, settings: &StreamSettings) -> Option<StreamSpec> {
    let mut settings = settings.clone();
    settings.webhook_deny.clear();
    if let Some(broker) = spec.get("broker").and_then(Value::as_str) {
        settings.brokers.entry(broker.to_owned()).or_default();
    }
    parse_streams(&Value::Array(vec![spec.clone()]), &settings).ok()?.pop()
}

fn store_entry(entry: &StreamEntry) -> StoredStream {
    StoredStream {
        spec: entry.spec.to_json(Secrets::Shown),
        since: entry.since,
        until: entry.until,
        paused: entry.paused.clone(),
        deleted: entry.deleted,
    }
}

fn encode(streams: &[StreamEntry], draining: &[StreamEntry], unreadable: &[Value]) -> Bytes {
    let keep = |spec: &Value| StoredStream { spec: spec.clone(), since: 0, until: None, paused: None, deleted: false };
    let stored = Stored {
        streams: streams.iter().map(store_entry).chain(unreadable.iter().map(keep)).collect(),
        draining: draining.iter().map(store_entry).collect(),
    };
    // A tree of strings and numbers always serialises.
    serde_json::to_vec(&stored).unwrap_or_default().into()
}

/// The record's JSON after a registration with `streams`. A stream that keeps its name keeps its
/// backlog, its secret and its pause; one that is gone drains.
pub(super) fn registration(previous: Option<&TypeEntry>, streams: Vec<StreamSpec>) -> Bytes {
    let known = previous.map_or(&[][..], |p| &p.streams);
    let mut dropped: Vec<StreamEntry> = known.to_vec();
    dropped.extend(previous.map_or(&[][..], |p| &p.draining).iter().cloned());
    let mut kept = Vec::with_capacity(streams.len());
    for mut spec in streams {
        let current = known.iter().find(|s| s.spec.name == spec.name);
        let before = dropped.iter().find(|s| s.spec.name == spec.name);
        if let Some(before) = before {
            spec.inherit(&before.spec);
        }
        let paused = before.and_then(|s| s.paused.clone());
        dropped.retain(|s| s.spec.name != spec.name);
        let since = current.map_or(0, |s| s.since);
        kept.push(StreamEntry { spec, since, until: None, paused, deleted: false });
    }
    drop_now(&mut dropped);
    encode(&kept, &dropped, &[])
}

/// Streams that are dropped with this record get no events from its revision on.
fn drop_now(streams: &mut [StreamEntry]) {
    for stream in streams {
        stream.until.get_or_insert(0);
    }
}

/// The record's JSON after the type was deleted: every stream drains.
pub(super) fn unregistration(previous: &TypeEntry) -> Bytes {
    let mut draining: Vec<_> = previous.streams.iter().chain(&previous.draining).cloned().collect();
    drop_now(&mut draining);
    encode(&[], &draining, &[])
}

/// The record's JSON once a draining stream has delivered everything.
pub(super) fn drained(previous: &TypeEntry, stream: &StreamName) -> Bytes {
    let left: Vec<_> = previous.draining.iter().filter(|s| s.spec.name != *stream).cloned().collect();
    encode(&previous.streams, &left, &previous.unreadable)
}

/// The record's JSON with a stream's mailbox, concurrency or state changed; `None` when there is no such stream.
pub(super) fn tuned(previous: &TypeEntry, stream: &StreamName, tuning: &Tuning) -> Option<Bytes> {
    let (mut streams, mut draining) = (previous.streams.clone(), previous.draining.clone());
    let all = streams.iter_mut().chain(&mut draining);
    let entry = all.into_iter().find(|entry| entry.spec.name == *stream && !entry.deleted)?;
    entry.spec.mailbox = tuning.mailbox.unwrap_or(entry.spec.mailbox);
    entry.spec.concurrency = tuning.concurrency.unwrap_or(entry.spec.concurrency);
    if let Some(paused) = &tuning.paused {
        entry.paused.clone_from(paused);
    }
    Some(encode(&streams, &draining, &previous.unreadable))
}

/// The record's JSON with a stream that takes no new events and delivers no more; it is gone once its outbox is
/// empty. One that cannot be read is gone at once. `None` when there is no such stream.
pub(super) fn deleted(previous: &TypeEntry, stream: &StreamName) -> Option<Bytes> {
    let (mut streams, mut draining) = (previous.streams.clone(), previous.draining.clone());
    let named = |spec: &Value| spec.get("name").and_then(Value::as_str) == Some(stream.as_str());
    if previous.unreadable.iter().any(named) {
        let left: Vec<_> = previous.unreadable.iter().filter(|spec| !named(spec)).cloned().collect();
        return Some(encode(&streams, &draining, &left));
    }
    draining.extend(streams.extract_if(.., |entry| entry.spec.name == *stream));
    draining.iter_mut().find(|entry| entry.spec.name == *stream && !entry.deleted)?.deleted = true;
    drop_now(&mut draining);
    Some(encode(&streams, &draining, &previous.unreadable))
}

/// A type's streams by their key in the store, with whether they drain.
pub(super) fn keyed(entry: &Arc<TypeEntry>) -> impl Iterator<Item = (TypeNo, &StreamEntry, bool)> {
    let no = entry.type_no;
    let active = entry.streams.iter().map(move |s| (no, s, false));
    active.chain(entry.draining.iter().map(move |s| (no, s, true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Ttl;
    use crate::streams::testing;
    use serde_json::json;

    fn settings(broker: &str) -> StreamSettings {
        StreamSettings {
            webhook_deny: vec!["10.0.0.0/8".parse().unwrap()],
            brokers: [(broker.to_owned(), "amqp://127.0.0.1/".to_owned())].into(),
            ..testing::settings()
        }
    }

    fn specs(streams: Value) -> Vec<StreamSpec> {
        parse_streams(&streams, &settings("billing")).unwrap()
    }

    fn record(config: Bytes, revision: u64) -> TypeRecord {
        TypeRecord {
            name: "a:b".parse().unwrap(),
            type_no: TypeNo::new(7).unwrap(),
            ttl: Ttl::permanent(),
            registered: true,
            config,
            revision,
        }
    }

    fn read(config: Bytes, revision: u64) -> TypeEntry {
        decode(&record(config, revision), &settings("billing")).unwrap()
    }

    fn names(streams: &[StreamEntry]) -> Vec<&str> {
        streams.iter().map(|s| s.spec.name.as_str()).collect()
    }

    fn hook(name: &str) -> Value {
        json!({"source": "webhook", "uri": format!("http://hook.example/{name}"), "name": name})
    }

    fn paused(reason: &str) -> Tuning {
        Tuning { paused: Some(Some(reason.into())), ..Tuning::default() }
    }

    fn secret(entry: &StreamEntry) -> Value {
        entry.spec.to_json(Secrets::Shown)["secret"].clone()
    }

    #[test]
    fn a_stream_that_keeps_its_name_keeps_secret_pause_and_age() {
        let first = read(registration(None, specs(json!([hook("a"), hook("b")]))), 3);
        assert_eq!((names(&first.streams), first.streams[0].since), (vec!["a", "b"], 3));
        let halted = read(tuned(&first, &first.streams[0].spec.name, &paused("410")).unwrap(), 4);
        let again = read(registration(Some(&halted), specs(json!([hook("a"), hook("c")]))), 5);
        assert_eq!((names(&again.streams), names(&again.draining)), (vec!["a", "c"], vec!["b"]));
        assert_eq!(again.names.iter().map(StreamName::as_str).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(secret(&again.streams[0]), secret(&first.streams[0]));
        assert_eq!(again.streams[0].paused.as_deref(), Some("410"));
        assert_eq!((again.streams[0].since, again.streams[1].since, again.draining[0].since), (3, 5, 3));
        assert_eq!((again.streams[0].until, again.draining[0].until), (None, Some(5)));
        let later = read(registration(Some(&again), specs(json!([hook("a")]))), 6);
        assert_eq!(later.draining.iter().map(|s| s.until).collect::<Vec<_>>(), [Some(6), Some(5)]);
    }

    #[test]
    fn a_dropped_stream_drains_until_it_is_empty_or_comes_back() {
        let first = read(registration(None, specs(json!([hook("a"), hook("b")]))), 1);
        let gone = read(unregistration(&first), 2);
        assert_eq!((names(&gone.streams), names(&gone.draining)), (vec![], vec!["a", "b"]));
        assert!(gone.names.is_empty());
        let left = read(drained(&gone, &first.streams[0].spec.name), 3);
        assert_eq!(names(&left.draining), ["b"]);
        let back = read(registration(Some(&left), specs(json!([hook("b")]))), 4);
        assert_eq!((names(&back.streams), names(&back.draining)), (vec!["b"], vec![]));
        assert_eq!(secret(&back.streams[0]), secret(&first.streams[1]));
        // What was sent while it was gone has no entry for it.
        assert_eq!(back.streams[0].since, 4);
    }

    #[test]
    fn tuning_changes_what_it_names_and_nothing_else() {
        let first = read(registration(None, specs(json!([hook("a"), hook("b")]))), 1);
        let name = &first.streams[0].spec.name;
        let smaller = Tuning { mailbox: Some(5), ..Tuning::default() };
        let tuned_once = read(tuned(&first, name, &smaller).unwrap(), 2);
        let (a, b) = (&tuned_once.streams[0], &tuned_once.streams[1]);
        assert_eq!((a.spec.mailbox, a.spec.concurrency, &a.paused), (5, 16, &None));
        assert_eq!((b.spec.mailbox, secret(a)), (1024, secret(&first.streams[0])));
        let halted = read(tuned(&tuned_once, name, &paused("")).unwrap(), 3);
        assert_eq!((halted.streams[0].spec.mailbox, halted.streams[0].paused.as_deref()), (5, Some("")));
        let resumed = Tuning { paused: Some(None), ..Tuning::default() };
        assert_eq!(read(tuned(&halted, name, &resumed).unwrap(), 4).streams[0].paused, None);
    }

    #[test]
    fn a_pause_outlives_a_registration_and_even_a_drop() {
        let first = read(registration(None, specs(json!([hook("a")]))), 1);
        let halted = read(tuned(&first, &first.streams[0].spec.name, &paused("")).unwrap(), 2);
        let dropped = read(registration(Some(&halted), specs(json!([]))), 3);
        let back = read(registration(Some(&dropped), specs(json!([hook("a")]))), 4);
        assert_eq!((back.streams[0].paused.as_deref(), back.streams[0].since), (Some(""), 4));
    }

    #[test]
    fn a_deleted_stream_takes_no_more_and_cannot_be_tuned() {
        let first = read(registration(None, specs(json!([hook("a"), hook("b")]))), 1);
        let name = &first.streams[0].spec.name;
        let gone = read(deleted(&first, name).unwrap(), 2);
        assert_eq!(
            (names(&gone.streams), names(&gone.draining), gone.draining[0].deleted),
            (vec!["b"], vec!["a"], true)
        );
        assert!(deleted(&gone, name).is_none() && tuned(&gone, name, &paused("")).is_none());
        let back = read(registration(Some(&gone), specs(json!([hook("a")]))), 3);
        assert_eq!((back.streams[0].deleted, names(&back.draining)), (false, vec!["b"]));
    }

    #[test]
    fn an_equal_registration_changes_nothing() {
        let first = registration(None, specs(json!([hook("a")])));
        let entry = read(first, 9);
        let known = registration(Some(&entry), specs(json!([hook("a")])));
        assert_eq!(known, registration(Some(&read(known.clone(), 9)), specs(json!([hook("a")]))));
    }

    #[test]
    fn what_settings_forbid_by_now_is_still_read() {
        let rabbit = json!([{"source": "rabbit", "exchange": "x", "routingKey": "y", "broker": "billing"}]);
        let config = registration(None, specs(rabbit));
        let entry = decode(&record(config, 1), &settings("other")).unwrap();
        assert_eq!((entry.streams.len(), entry.unreadable.len()), (1, 0));
    }

    #[test]
    fn a_stream_of_a_newer_version_takes_its_events_and_is_kept() {
        let config = json!({"streams": [{"spec": {"name": "k", "source": "kafka"}, "since": 1}]});
        let entry = read(serde_json::to_vec(&config).unwrap().into(), 2);
        assert_eq!((entry.streams.len(), &*entry.names), (0, &["k".parse().unwrap()][..]));
        assert!(tuned(&entry, &"k".parse().unwrap(), &paused("x")).is_none(), "nothing is known of it");
        let kept = read(drained(&entry, &"other".parse().unwrap()), 3);
        assert_eq!(kept.unreadable, entry.unreadable);
        assert!(read(deleted(&kept, &"k".parse().unwrap()).unwrap(), 4).unreadable.is_empty());
    }
}
