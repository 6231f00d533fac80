//! Appending: positions, event rows, outbox entries and idempotency answers, in one group commit.

use super::super::{AppendGroup, Appended, Idempotency, LiveRun, StoreError};
use super::core::Core;
use super::disk::{Disk, Table};
use super::keys;
use super::rows::{self, AnswerRow};
use super::tx::Tx;
use crate::event::{EventId, Millis, Position, TypeNo};
use fjall::Slice;

/// Appends groups in order. After an error some of them may still be committed with the group: the answer
/// is that nothing is known.
pub(super) fn append(
    core: &mut Core,
    disk: &Disk,
    tx: &mut Tx<'_>,
    groups: Vec<AppendGroup>,
) -> Result<Vec<Result<Appended, StoreError>>, StoreError> {
    core.check_space(disk)?;
    tx.durable = true;
    let now = core.now();
    groups.into_iter().map(|group| append_group(core, tx, now, group).map(Ok)).collect()
}

fn append_group(core: &mut Core, tx: &mut Tx<'_>, now: Millis, group: AppendGroup) -> Result<Appended, StoreError> {
    let ty = group.type_no;
    if let Some(known) = known_answer(tx, ty, now, group.idempotency.as_ref())? {
        return Ok(known);
    }
    let in_force = core.registry.revision(ty.get());
    if in_force > group.revision {
        return Ok(Appended::Stale(in_force));
    }
    for name in group.streams.iter() {
        let key = super::super::StreamKey { type_no: ty, name: name.clone() };
        let limit = core.options.max_backlog;
        if core.stream(&key).is_some_and(|stream| stream.row.backlog >= limit) {
            return Ok(Appended::BacklogFull(name.clone()));
        }
    }

    let previous = core.last(ty);
    let first = Position::first_of(now).max(previous.plus(1));
    let events: Vec<_> = (0..).map(|n| first.plus(n)).zip(group.payloads).collect();
    let rows: Vec<Slice> =
        events.iter().map(|(_, payload)| Slice::from(rows::event(group.revision, payload))).collect();

    if !group.ttl.is_ephemeral() {
        for ((position, _), row) in events.iter().zip(&rows) {
            tx.insert(Table::Events, &keys::event(EventId::new(ty, *position)), row.clone());
        }
        for run in events.chunk_by(|(a, _), (b, _)| keys::hour_no(*a) == keys::hour_no(*b)) {
            if let Some((position, _)) = run.first() {
                core.add_events(ty, keys::hour_no(*position), run.len() as u64);
            }
        }
    }
    for name in group.streams.iter() {
        let stream = core.stream_for_change(ty, name);
        stream.row.backlog += events.len() as u64;
        stream.cursor.get_or_insert(first);
        let number = stream.row.number;
        for ((position, _), row) in events.iter().zip(&rows) {
            tx.insert(Table::Outbox, &keys::outbox(number, *position), row.clone());
        }
    }
    core.set_last(ty, first.plus((events.len() as u64).saturating_sub(1)));
    if let Some(idempotency) = group.idempotency {
        keep_answer(tx, ty, now, &idempotency, first, events.len() as u64);
    }

    let positions = events.iter().map(|(position, _)| *position).collect();
    tx.runs.push(LiveRun { type_no: ty, previous, events });
    Ok(Appended::Stored(positions))
}

/// What an idempotency key was answered, while it is known.
fn known_answer(
    tx: &Tx<'_>,
    ty: TypeNo,
    now: Millis,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Appended>, StoreError> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let Some(row) = tx.get(Table::State, &keys::answer(ty, &idempotency.key))? else { return Ok(None) };
    let answer = AnswerRow::decode(&row)?;
    Ok((answer.expires > now).then(|| {
        if answer.body_hash == idempotency.body_hash {
            Appended::Duplicate(answer.positions())
        } else {
            Appended::KeyReused
        }
    }))
}

fn keep_answer(tx: &mut Tx<'_>, ty: TypeNo, now: Millis, idempotency: &Idempotency, first: Position, count: u64) {
    let window = Millis::try_from(idempotency.window.as_millis()).unwrap_or(Millis::MAX);
    let expires = now.saturating_add(window);
    let key = keys::answer(ty, &idempotency.key);
    let time = u64::try_from(expires).unwrap_or(0);
    tx.set(Table::State, keys::expiry(keys::EXPIRES_ANSWER, time, &key), Vec::new());
    let answer = AnswerRow { expires, body_hash: idempotency.body_hash, first, count };
    tx.set(Table::State, key, answer.encode());
}
