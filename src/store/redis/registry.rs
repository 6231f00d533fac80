//! The registry: type records, and types that were discarded.

use super::keys::partition;
use super::slots::Route;
use super::value::{Answer, array, bytes, corrupt, int, uint};
use super::{RedisStore, SCRIPTS, lifetime};
use crate::event::{EventType, MAX_TYPES, TypeNo};
use crate::store::{Discarded, Put, PutType, RegistryVersion, StoreError, TypeRecord};
use bytes::Bytes;
use redis::{Cmd, Value};
use std::sync::Arc;

/// Discarded types that are kept.
const MAX_DISCARDED: usize = 1000;
/// Hours whose keys get a new expiry in one round trip: each costs Redis up to 60 commands a client that marks.
const HOURS: usize = 64;

impl RedisStore {
    pub(super) async fn all_types(&self) -> Result<(RegistryVersion, Vec<TypeRecord>), StoreError> {
        // The version first: a change in between is then seen again, not missed, and so is another master.
        let version = self.version().await?;
        let mut types = redis::cmd("HGETALL");
        types.arg(self.keys.types());
        let mut records = Vec::new();
        let mut fields = array(self.general.query(Route::Registry, &types).await?)?.into_iter();
        while let (Some(name), Some(record)) = (fields.next(), fields.next()) {
            records.push(decode(type_name(&bytes(name)?)?, &bytes(record)?)?);
        }
        Ok((version, records))
    }

    /// The source is the connection: whatever makes another master of the registry, or restarts it, ends that.
    pub(super) async fn version(&self) -> Result<RegistryVersion, StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.keys.version());
        let (changes, source) = self.general.query_from(Route::Registry, &cmd).await?;
        Ok(RegistryVersion { changes: uint(&changes)?, source })
    }

    pub(super) async fn one_type(&self, name: &EventType) -> Result<Option<TypeRecord>, StoreError> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys.types()).arg(name.as_str());
        match self.general.query(Route::Registry, &cmd).await? {
            Value::Nil => Ok(None),
            record => decode(name.clone(), &bytes(record)?).map(Some),
        }
    }

    pub(super) async fn change_type(&self, put: PutType) -> Result<Put, StoreError> {
        let mut cmd = SCRIPTS.put_type.call(&[self.keys.types(), self.keys.version(), self.keys.numbers()]);
        cmd.arg(put.name.as_str()).arg(encode(&put)).arg(put.based_on).arg(MAX_TYPES).arg(self.keys.changes());
        let mut answer = Answer::of(self.keep(Route::Registry, &cmd).await?)?;
        match int(&answer.next())? {
            0 => Ok(Put::Conflict),
            1 => {
                let record = decode(put.name, &bytes(answer.next())?)?;
                self.retain(&record, None).await?;
                Ok(Put::Stored(record))
            }
            2 => Ok(Put::LimitReached),
            _ => Err(corrupt("the registration script gave an unknown answer")),
        }
    }

    /// Changes the registry, or asks what is in it, and has it survive a failover before it is answered.
    async fn keep(&self, route: Route, cmd: &Cmd) -> Result<Value, StoreError> {
        // Where replicas are waited for, appends wait for them anyway, and nothing else should.
        let links = if self.wait_replicas == 0 { &self.general } else { &self.appends };
        links.kept(route, cmd, self.wait_replicas).await
    }

    /// Puts a record in force, if it is not yet or not to the end, or if what is in force instead is void.
    pub(super) async fn put_in_force(&self, record: &TypeRecord, void: Option<u64>) -> Result<(), StoreError> {
        if self.wait_replicas > 0 {
            // Whoever stored it may not have waited to the end.
            let mut seen = redis::cmd("GET");
            seen.arg(self.keys.version());
            self.keep(Route::Registry, &seen).await?;
        }
        let p = partition(record.type_no);
        let mut cmd = redis::cmd("HMGET");
        let field = |of: char| format!("{}:{of}", record.type_no.get());
        cmd.arg(self.keys.lifetimes(p)).arg(field('r')).arg(field('p'));
        let mut answer = Answer::of(self.keep(Route::Partition(p), &cmd).await?)?;
        let (in_force, being_applied) = (uint(&answer.next())?, uint(&answer.next())?);
        if in_force >= record.revision && being_applied != record.revision && void != Some(in_force) {
            return Ok(());
        }
        self.retain(record, void).await
    }

    /// Puts a record's lifetime and revision in force in the type's partition, which on a cluster is another slot than the
    /// registry's. Always, not only when it has changed: the registration before may have been cut off here, in which
    /// case it was answered with an error and is being repeated.
    ///
    /// The first step is atomic and all that readers and appends need. Giving every stored key its new expiry may take
    /// longer than a request waits, with years of hours and many clients: it then goes on by itself.
    async fn retain(&self, record: &TypeRecord, void: Option<u64>) -> Result<(), StoreError> {
        let (p, type_no) = (partition(record.type_no), record.type_no.get());
        let route = [self.keys.last(p)];
        let mut cmd = SCRIPTS.retain.call(&route);
        cmd.arg(&self.keys.prefix).arg(p).arg(type_no).arg(lifetime(&record.ttl)).arg(record.revision);
        cmd.arg(void.map_or_else(String::new, |void| void.to_string()));
        // Oldest first: those are the next to expire.
        let at = Route::Partition(p);
        let hours = array(self.keep(at, &cmd).await?)?;
        let (links, prefix) = (Arc::clone(&self.general), self.keys.prefix.clone());
        let mut applied = SCRIPTS.retained.call(&[self.keys.lifetimes(p)]);
        applied.arg(type_no).arg(record.revision);
        let name = record.name.clone();
        let mut task = self.runtime.spawn(async move {
            let apply = async {
                for some in hours.chunks(HOURS) {
                    let mut batch = Vec::with_capacity(some.len());
                    for hour in some {
                        let mut cmd = SCRIPTS.retain_hour.call(&route);
                        cmd.arg(&prefix).arg(p).arg(type_no).arg(int(hour)?);
                        batch.push((at, cmd));
                    }
                    links.pipeline(&batch).await?;
                }
                links.query(at, &applied).await.map(drop)
            };
            apply.await.inspect_err(|error| {
                log::error!(
                    "a new lifetime is applied in part, register the type again: type={name} error=\"{error}\""
                );
            })
        });
        match tokio::time::timeout(self.options.timeout / 2, &mut task).await {
            Ok(done) => done.unwrap_or_else(|_| Err(StoreError::Unavailable("the hub is shutting down".into()))),
            Err(_) => {
                log::info!("a new lifetime is still being applied: type={}", record.name);
                Ok(())
            }
        }
    }

    pub(super) async fn look_up(
        &self,
        types: &[(EventType, u64)],
        count: bool,
    ) -> Result<Vec<Option<TypeRecord>>, StoreError> {
        if types.is_empty() {
            return Ok(Vec::new());
        }
        let keys = [self.keys.types(), self.keys.discarded(), self.keys.discards()];
        let mut cmd = SCRIPTS.get_or_discard.call(&keys);
        cmd.arg(u8::from(count)).arg(MAX_DISCARDED);
        for (name, events) in types {
            cmd.arg(name.as_str()).arg(*events);
        }
        let answers = array(self.general.query(Route::Registry, &cmd).await?)?;
        if answers.len() != types.len() {
            return Err(corrupt("the look-up script did not answer for every type"));
        }
        let records = types.iter().zip(answers).map(|((name, _), record)| {
            let record = bytes(record)?;
            if record.is_empty() { Ok(None) } else { decode(name.clone(), &record).map(Some) }
        });
        records.collect()
    }

    pub(super) async fn discarded_types(&self) -> Result<Vec<Discarded>, StoreError> {
        let cmd = SCRIPTS.discarded.call(&[self.keys.discarded(), self.keys.discards()]);
        let mut answer = Answer::of(self.general.query(Route::Registry, &cmd).await?)?;
        let mut types = Vec::with_capacity(answer.left() / 3);
        while answer.left() > 0 {
            let name = type_name(&bytes(answer.next())?)?;
            let last_at = int(&answer.next())?;
            types.push(Discarded { name, last_at, count: uint(&answer.next())? });
        }
        Ok(types)
    }
}

fn type_name(name: &[u8]) -> Result<EventType, StoreError> {
    let name = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
    name.ok_or_else(|| corrupt("the registry names an impossible type"))
}

/// A record without revision and number, which the script puts before it: whether it is registered (1 byte), the
/// lifetime as it was written (length in 2 bytes), and the configuration.
fn encode(put: &PutType) -> Vec<u8> {
    let ttl = put.ttl.as_str().as_bytes();
    // A lifetime that was parsed can be long only by spaces; past 64 KiB of them it would not be read back.
    let length = u16::try_from(ttl.len()).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(put.config.len() + ttl.len() + 3);
    out.push(u8::from(put.registered));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(ttl.get(..usize::from(length)).unwrap_or_default());
    out.extend_from_slice(&put.config);
    out
}

fn decode(name: EventType, record: &Bytes) -> Result<TypeRecord, StoreError> {
    let parse = || {
        let revision = u64::from_be_bytes(record.get(..8)?.try_into().ok()?);
        let type_no = TypeNo::new(u16::from_be_bytes(record.get(8..10)?.try_into().ok()?))?;
        let registered = *record.get(10)? == 1;
        let end = 13 + usize::from(u16::from_be_bytes(record.get(11..13)?.try_into().ok()?));
        let ttl = std::str::from_utf8(record.get(13..end)?).ok()?.parse().ok()?;
        Some(TypeRecord { name, type_no, ttl, registered, config: record.slice(end..), revision })
    };
    parse().ok_or_else(|| corrupt("a type's record is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_damage_is_noticed() {
        let config = Bytes::from_static(br#"{"streams":[]}"#);
        let name: EventType = "a:b".parse().unwrap();
        let put = PutType { name, ttl: "2 weeks".parse().unwrap(), registered: true, config, based_on: 0 };
        let mut record = 9_u64.to_be_bytes().to_vec();
        record.extend(300_u16.to_be_bytes());
        record.extend(encode(&put));
        let record = Bytes::from(record);
        let read = decode(put.name.clone(), &record).unwrap();
        assert_eq!((read.revision, read.type_no.get(), read.registered), (9, 300, true));
        assert_eq!((read.ttl, read.config), (put.ttl, put.config));
        for length in 0..20 {
            assert!(decode(put.name.clone(), &record.slice(..length)).is_err());
        }
    }
}
