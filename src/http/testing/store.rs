//! A store in memory: as much of the contract as handlers can tell.

use crate::event::*;
use crate::store::*;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The hash of the body and the positions that a key stands for.
type Answered = ([u8; 32], Vec<Position>);

/// Events and marks in memory, at a clock that a test sets.
#[derive(Default)]
pub struct FakeStore {
    /// Milliseconds since 2018.
    pub clock: Mutex<Millis>,
    /// Nothing answers.
    pub down: AtomicBool,
    /// Types that another node registered.
    pub elsewhere: Mutex<HashMap<EventType, TypeRecord>>,
    events: Mutex<Vec<(EventId, Bytes)>>,
    marks: Mutex<HashSet<(EventId, String)>>,
    discarded: Mutex<HashMap<EventType, u64>>,
    keys: Mutex<HashMap<(TypeNo, String), Answered>>,
}

impl FakeStore {
    fn up(&self) -> Result<Millis, StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("down".into()));
        }
        Ok(HUB_EPOCH_MS + *self.clock.lock().unwrap())
    }

    fn has(&self, id: EventId) -> bool {
        self.events.lock().unwrap().iter().any(|(known, _)| *known == id)
    }

    fn append_group(&self, group: AppendGroup, now: Millis) -> Appended {
        let known = group.idempotency.as_ref().map(|key| ((group.type_no, key.key.to_string()), key.body_hash));
        if let Some((key, hash)) = &known
            && let Some((first, positions)) = self.keys.lock().unwrap().get(key)
        {
            return if first == hash { Appended::Duplicate(positions.clone()) } else { Appended::KeyReused };
        }
        let mut events = self.events.lock().unwrap();
        let count = events.len() as u64;
        let positions: Vec<_> =
            (0..).map(|n| Position::first_of(now).plus(count + n)).take(group.payloads.len()).collect();
        let stored = positions.iter().zip(group.payloads);
        events.extend(stored.map(|(at, payload)| (EventId::new(group.type_no, *at), payload)));
        if let Some((key, hash)) = known {
            self.keys.lock().unwrap().insert(key, (hash, positions.clone()));
        }
        Appended::Stored(positions)
    }
}

#[async_trait]
impl Store for FakeStore {
    async fn ping(&self) -> Result<Millis, StoreError> {
        self.up()
    }

    async fn append(&self, groups: Vec<AppendGroup>) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
        let now = self.up()?;
        Ok(groups.into_iter().map(|group| Ok(self.append_group(group, now))).collect())
    }

    async fn read(&self, query: ReadQuery) -> Result<Page, StoreError> {
        self.up()?;
        let marks = self.marks.lock().unwrap();
        let marked =
            |id: EventId| query.marked.client().is_some_and(|client| marks.contains(&(id, client.as_str().to_owned())));
        let mut events: Vec<_> = self.events.lock().unwrap().clone();
        events.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        events.retain(|(id, _)| {
            (query.from..query.to).contains(&id.ms())
                && query.before.is_none_or(|before| *id < before)
                && query.types.iter().any(|ty| ty.type_no == id.type_no())
                && match &query.marked {
                    Marked::Pending(_) => !marked(*id),
                    Marked::Processed(_) => marked(*id),
                    _ => true,
                }
        });
        let more = events.len() > query.limit;
        events.truncate(query.limit);
        let events = events
            .into_iter()
            .map(|(id, payload)| StoredEvent { id, payload, processed_at: marked(id).then_some(id.ms()) })
            .collect();
        Ok(Page { events, more })
    }

    async fn event(
        &self,
        id: EventId,
        _: &TypeRef,
        streams: &[StreamSince],
    ) -> Result<Option<EventDetail>, StoreError> {
        self.up()?;
        let events = self.events.lock().unwrap();
        Ok(events.iter().find(|(known, _)| *known == id).map(|(id, payload)| EventDetail {
            event: StoredEvent { id: *id, payload: payload.clone(), processed_at: None },
            streams: vec![DeliveryState::Delivered; streams.len()],
            processed_by: Vec::new(),
        }))
    }

    async fn mark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.up()?;
        let found: Vec<_> = marks.iter().map(|mark| self.has(mark.id)).collect();
        let made = marks.iter().zip(&found).filter(|(_, found)| **found);
        self.marks.lock().unwrap().extend(made.map(|(mark, _)| (mark.id, mark.client.to_string())));
        Ok(found)
    }

    async fn unmark(&self, marks: &[MarkRequest]) -> Result<Vec<bool>, StoreError> {
        self.up()?;
        for mark in marks {
            self.marks.lock().unwrap().remove(&(mark.id, mark.client.to_string()));
        }
        Ok(marks.iter().map(|mark| self.has(mark.id)).collect())
    }

    async fn claim(&self, _: ClaimRequest) -> Result<Claim, StoreError> {
        Ok(Claim::default())
    }

    async fn renew(&self, _: &StreamKey, _: Lease, _: Duration) -> Result<Fenced, StoreError> {
        Ok(Fenced::Lost)
    }

    async fn settle(&self, _: Settle) -> Result<Fenced, StoreError> {
        Ok(Fenced::Lost)
    }

    async fn make_due(&self, _: &StreamKey) -> Result<(), StoreError> {
        Ok(())
    }

    async fn due(&self, _: Duration) -> Result<Vec<StreamKey>, StoreError> {
        Ok(Vec::new())
    }

    async fn counts(&self, streams: &[StreamKey]) -> Result<Vec<StreamCounts>, StoreError> {
        self.up()?;
        Ok(vec![StreamCounts::default(); streams.len()])
    }

    async fn dead_letters(&self, _: &StreamKey, _: Option<Position>, _: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(Vec::new())
    }

    async fn types(&self) -> Result<(u64, Vec<TypeRecord>), StoreError> {
        Ok((0, Vec::new()))
    }

    async fn registry_version(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn get_type(&self, name: &EventType) -> Result<Option<TypeRecord>, StoreError> {
        self.up()?;
        Ok(self.elsewhere.lock().unwrap().get(name).cloned())
    }

    async fn put_type(&self, _: PutType) -> Result<Put, StoreError> {
        Ok(Put::Conflict)
    }

    async fn get_or_discard(
        &self,
        types: &[(EventType, u64)],
        count: bool,
    ) -> Result<Vec<Option<TypeRecord>>, StoreError> {
        self.up()?;
        let elsewhere = self.elsewhere.lock().unwrap();
        let mut discarded = self.discarded.lock().unwrap();
        let answer = types.iter().map(|(name, events)| {
            let known = elsewhere.get(name).cloned();
            if known.is_none() && count {
                *discarded.entry(name.clone()).or_default() += events;
            }
            known
        });
        Ok(answer.collect())
    }

    async fn discarded(&self) -> Result<Vec<Discarded>, StoreError> {
        let now = self.up()?;
        let discarded = self.discarded.lock().unwrap();
        Ok(discarded
            .iter()
            .map(|(name, count)| Discarded { name: name.clone(), count: *count, last_at: now })
            .collect())
    }

    async fn forget_stream(&self, _: &StreamKey) -> Result<(), StoreError> {
        Ok(())
    }

    async fn last_positions(&self, types: &[TypeNo]) -> Result<Vec<Position>, StoreError> {
        Ok(vec![Position::default(); types.len()])
    }

    fn live(&self) -> tokio::sync::mpsc::Receiver<Live> {
        tokio::sync::mpsc::channel(1).1
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
