//! One event with what became of it at each stream and client.

use super::chunk::decode;
use super::keys::partition;
use super::streams::{dead_letter, failure};
use super::value::{Answer, array, bytes, corrupt, int, score};
use super::{RedisStore, SCRIPTS, millis};
use crate::event::{EventId, Millis};
use crate::store::{DeliveryState, EventDetail, StoreError, StoredEvent, StreamSince, TypeRef};
use redis::Value;

impl RedisStore {
    /// `None` when the event is unknown or its lifetime has ended.
    pub(super) async fn event_detail(
        &self,
        id: EventId,
        ty: &TypeRef,
        streams: &[StreamSince],
    ) -> Result<Option<EventDetail>, StoreError> {
        let (p, position) = (partition(ty.type_no), id.position());
        if id.type_no() != ty.type_no {
            return Ok(None);
        }
        let mut cmd = SCRIPTS.event.call(&[self.keys.last(p)]);
        cmd.arg(&self.keys.prefix).arg(p).arg(ty.type_no.get()).arg(position.get()).arg(millis(self.options.dead_ttl));
        for stream in streams {
            cmd.arg(stream.name.as_str());
        }
        let mut answer = Answer::of(self.general.query(ty.type_no.into(), &cmd).await?)?;
        let now = int(&answer.next())?;
        let chunk = bytes(answer.next())?;
        if chunk.is_empty() || !ty.ttl.shows(id.ms(), now) {
            return Ok(None);
        }
        let chunk = decode(&chunk)?;
        let payload = chunk.events.into_iter().find(|(at, _)| *at == position).map(|(_, payload)| payload);
        let payload = payload.ok_or_else(|| corrupt("a chunk does not hold the event it was found for"))?;
        let event = StoredEvent { id, payload, processed_at: None };

        let marks = array(answer.next())?;
        let mut processed_by = Vec::with_capacity(marks.len() / 2);
        for mark in marks.chunks_exact(2) {
            let [Value::BulkString(client), seconds] = mark else { continue };
            let client = std::str::from_utf8(client).ok().and_then(|client| client.parse().ok());
            let client = client.ok_or_else(|| corrupt("a mark names an impossible client"))?;
            processed_by.push((client, marked_at(id.ms(), int(seconds)?)));
        }
        processed_by.sort();

        let states = streams.iter().map(|stream| state(answer.next(), stream, chunk.revision));
        let streams = states.collect::<Result<_, _>>()?;
        Ok(Some(EventDetail { event, streams, processed_by }))
    }
}

/// When an event of `created` was marked, of which the seconds after its commit are kept.
pub(super) fn marked_at(created: Millis, seconds: i64) -> Millis {
    created.saturating_add(seconds.saturating_mul(1000))
}

fn state(answer: Value, stream: &StreamSince, revision: u64) -> Result<DeliveryState, StoreError> {
    let mut answer = Answer::of(answer)?;
    match int(&answer.next())? {
        // Nowhere: delivered, unless it never had an entry for this stream, not by a replay either.
        0 if !stream.gets(revision) && int(&answer.next())? == 0 => Ok(DeliveryState::None),
        0 => Ok(DeliveryState::Delivered),
        1 => {
            let score = score(&answer.next())?.unwrap_or_default();
            // Leases are half-integers.
            let next_attempt_at = (score.fract() == 0.0).then_some(score as Millis);
            Ok(DeliveryState::Pending { failed: failure(&bytes(answer.next())?), next_attempt_at })
        }
        2 => {
            let letter = dead_letter(&bytes(answer.next())?).ok_or_else(|| corrupt("a dead letter is damaged"))?;
            Ok(DeliveryState::Dead(letter.failure))
        }
        _ => Ok(DeliveryState::Dropped),
    }
}
