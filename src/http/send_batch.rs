//! A batch: an array of items, answered by an array of results in the same order.
//!
//! The items of a type are one group, which the store keeps whole or not at all. An item that is
//! invalid or could not be stored has its problem in its place and does not fail the others; only when
//! nothing was stored and the store is to blame for it, the whole answer is its 503.

use super::links::Base;
use super::send::{self, Stored, With};
use super::send_item::{self, Item, Target};
use super::{AppState, Problem, json, problem, send_again};
use crate::error::{ApiError, Code};
use crate::event::{EventType, TypeNo};
use crate::registry::TypeEntry;
use crate::store::Appended;
use actix_web::HttpResponse;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// What an item's result is made from.
#[derive(Debug)]
enum Slot {
    /// A problem, which many items may share.
    Failed(Arc<ApiError>),
    Discarded(EventType),
    /// The group, and the place in it.
    Grouped(usize, usize),
}

/// The payloads of one type.
#[derive(Debug)]
struct Group {
    entry: Arc<TypeEntry>,
    payloads: Vec<Bytes>,
}

/// What became of a group.
struct Settled {
    entry: Arc<TypeEntry>,
    /// `None` when the type was deleted meanwhile.
    result: Result<Option<Stored>, ApiError>,
}

impl Settled {
    fn stored(&self) -> Option<&Stored> {
        self.result.as_ref().ok()?.as_ref()
    }
}

/// Items sorted into groups.
#[derive(Debug, Default)]
struct Batch {
    slots: Vec<Slot>,
    groups: Vec<Group>,
    by_type: HashMap<TypeNo, usize>,
}

/// An item whose type this node does not know, and its place in the batch.
type Unknown = (usize, EventType, Bytes);

impl Batch {
    fn place(&mut self, entry: Arc<TypeEntry>, payload: Bytes) -> Slot {
        let next = self.groups.len();
        let at = *self.by_type.entry(entry.type_no).or_insert(next);
        match self.groups.get_mut(at) {
            Some(group) => {
                group.payloads.push(payload);
                Slot::Grouped(at, group.payloads.len() - 1)
            }
            None => {
                self.groups.push(Group { entry, payloads: vec![payload] });
                Slot::Grouped(next, 0)
            }
        }
    }
}

/// Sends the array `text`.
pub(super) async fn send(body: &Bytes, text: &str, with: &With<'_>, state: &AppState) -> Result<HttpResponse, Problem> {
    let max = state.http.max_batch;
    let elements = json::elements(text, max).map_err(|e| json::malformed(&e))?;
    if elements.total > max {
        let detail = format!("{} items, where at most {max} are taken", elements.total);
        return Err(ApiError::new(Code::BatchTooLarge, detail).into());
    }
    let mut batch = Batch { slots: Vec::with_capacity(elements.total), ..Batch::default() };
    let mut unknown: Vec<Unknown> = Vec::new();
    for item in elements.items {
        let read = Item::read(item, &state.types, state.http.max_depth);
        let slot = match read.and_then(|item| with.caller.check_type(item.target.name()).map(|()| item)) {
            Err(error) => Slot::Failed(Arc::new(error)),
            Ok(Item { target: Target::Known(entry), payload }) => {
                batch.place(entry, body.slice_ref(payload.as_bytes()))
            }
            Ok(Item { target: Target::Unknown(name), payload }) => {
                unknown.push((batch.slots.len(), name.clone(), body.slice_ref(payload.as_bytes())));
                Slot::Discarded(name)
            }
        };
        batch.slots.push(slot);
    }
    if !unknown.is_empty() {
        resolve(&mut batch, unknown, state).await;
    }
    let settled = append(batch.groups, with, state).await;
    for group in &settled {
        let Some(stored) = group.stored() else { continue };
        send::log_stored(&group.entry, stored);
        if !stored.repeated {
            send::hint(state, &group.entry);
        }
    }
    match nothing_stored(&batch.slots, &settled) {
        Some(error) => Err(error.clone().into()),
        None => Ok(send::accepted(render(&batch.slots, &settled, with.base))),
    }
}

/// Finds out whether types that this node does not know are known elsewhere.
async fn resolve(batch: &mut Batch, unknown: Vec<Unknown>, state: &AppState) {
    let mut counts: HashMap<EventType, u64> = HashMap::new();
    for (_, name, _) in &unknown {
        *counts.entry(name.clone()).or_default() += 1;
    }
    let asked: Vec<_> = counts.into_iter().collect();
    let found: Result<HashMap<EventType, Arc<TypeEntry>>, Arc<ApiError>> = match send::look_further(state, &asked).await
    {
        Ok(entries) => {
            Ok(asked.into_iter().zip(entries).filter_map(|((name, _), entry)| Some((name, entry?))).collect())
        }
        Err(Problem(error)) => Err(Arc::new(error)),
    };
    for (at, name, payload) in unknown {
        let slot = match &found {
            Err(error) => Slot::Failed(Arc::clone(error)),
            Ok(found) => match found.get(&name) {
                Some(entry) => batch.place(Arc::clone(entry), payload),
                None if state.http.reject_unregistered => Slot::Failed(Arc::new(send::unregistered(&name))),
                None => Slot::Discarded(name),
            },
        };
        if let Some(place) = batch.slots.get_mut(at) {
            *place = slot;
        }
    }
}

/// Appends the groups, and answers for each in order.
async fn append(groups: Vec<Group>, with: &With<'_>, state: &AppState) -> Vec<Settled> {
    if groups.is_empty() {
        return Vec::new();
    }
    let mut asked = Vec::with_capacity(groups.len());
    let mut kept = Vec::with_capacity(groups.len());
    for Group { entry, payloads } in groups {
        asked.push(send_item::group(&entry, payloads.clone(), with.idempotency, with.trace));
        kept.push((entry, payloads));
    }
    let answer = state.appender.append(asked).await.map_err(|error| problem::of_store(&error));
    let mut answers = match answer {
        Ok(answers) => answers.into_iter(),
        Err(error) => {
            return kept.into_iter().map(|(entry, _)| Settled { entry, result: Err(error.clone()) }).collect();
        }
    };
    let mut settled = Vec::with_capacity(kept.len());
    for (entry, payloads) in kept {
        let (entry, result) = match answers.next() {
            Some(Ok(Appended::Stale(newest))) => {
                let known = Arc::clone(&entry);
                match send_again::again(entry, newest, &|| payloads.clone(), with, state).await {
                    Ok((entry, stored)) => (entry, Ok(stored)),
                    Err(error) => (known, Err(error)),
                }
            }
            answer => {
                let stored = send::stored(answer, &entry).map(Some);
                (entry, stored)
            }
        };
        let result = match result {
            Ok(Some(stored)) if stored.positions.len() != payloads.len() => Err(send::short(&entry)),
            result => result,
        };
        settled.push(Settled { entry, result });
    }
    settled
}

/// The 503 of the whole batch, when it has one and stored nothing: repeating it all is then right.
fn nothing_stored<'a>(slots: &'a [Slot], settled: &'a [Settled]) -> Option<&'a ApiError> {
    if settled.iter().any(|group| group.stored().is_some()) {
        return None;
    }
    let of_groups = settled.iter().filter_map(|group| group.result.as_ref().err());
    let of_items = slots.iter().filter_map(|slot| match slot {
        Slot::Failed(error) => Some(&**error),
        _ => None,
    });
    of_groups.chain(of_items).find(|error| error.code.status() == 503)
}

fn render(slots: &[Slot], settled: &[Settled], base: &Base<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + slots.len() * 256);
    out.push(b'[');
    for (n, slot) in slots.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        match slot {
            Slot::Failed(error) => problem::write(error, &mut out),
            Slot::Discarded(name) => send_item::write_discarded(name, &mut out),
            Slot::Grouped(at, index) => write_grouped(settled.get(*at), *index, base, &mut out),
        }
    }
    out.push(b']');
    out
}

fn write_grouped(group: Option<&Settled>, index: usize, base: &Base<'_>, out: &mut Vec<u8>) {
    let stored = group.map(|group| (&group.entry, group.result.as_ref()));
    match stored {
        Some((entry, Ok(None))) => send_item::write_discarded(&entry.name, out),
        Some((entry, Ok(Some(stored)))) if index < stored.positions.len() => {
            let at = stored.positions.get(index).copied().unwrap_or_default();
            send_item::write_accepted(entry, at, stored.status, base, out);
        }
        Some((_, Err(error))) => problem::write(error, out),
        // Lengths were compared when the answer came; an item must not go unanswered all the same.
        _ => problem::write(&ApiError::new(Code::Internal, "a result is missing"), out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;
    use crate::http::testing::entry;
    use serde_json::Value;

    fn settled(result: Result<u64, Code>) -> Settled {
        let result = result
            .map(|count| {
                let positions = (0..count).map(Position::new).collect();
                Some(Stored { positions, status: "accepted", repeated: false })
            })
            .map_err(|code| ApiError::new(code, "x"));
        Settled { entry: entry("a", 1, &[]), result }
    }

    fn failed(code: Code) -> Slot {
        Slot::Failed(Arc::new(ApiError::new(code, "x")))
    }

    #[test]
    fn results_stand_in_the_order_of_the_items() {
        let slots = [
            Slot::Grouped(0, 1),
            failed(Code::Invalid),
            Slot::Grouped(1, 0),
            Slot::Discarded("b".parse().unwrap()),
            Slot::Grouped(0, 0),
            Slot::Grouped(7, 0),
        ];
        let settled = [settled(Ok(2)), settled(Err(Code::StoreUnavailable))];
        assert!(nothing_stored(&slots, &settled).is_none());
        let results: Value = serde_json::from_slice(&render(&slots, &settled, &Base::fixed("http://h"))).unwrap();
        let status: Vec<_> = results.as_array().unwrap().iter().map(|r| r["status"].to_string()).collect();
        assert_eq!(status, ["\"accepted\"", "422", "503", "\"discarded\"", "\"accepted\"", "500"]);
        assert!(results[0]["id"].as_str().unwrap() > results[4]["id"].as_str().unwrap());
    }

    #[test]
    fn a_batch_of_which_nothing_could_be_stored_is_one_503() {
        let down = [settled(Err(Code::StoreUnavailable))];
        let code = |slots: &[Slot], settled: &[Settled]| nothing_stored(slots, settled).map(|e| e.code);
        assert_eq!(code(&[Slot::Grouped(0, 0)], &down), Some(Code::StoreUnavailable));
        assert_eq!(code(&[failed(Code::Invalid), Slot::Grouped(0, 0)], &down), Some(Code::StoreUnavailable));
        assert_eq!(code(&[failed(Code::StoreUnavailable)], &[]), Some(Code::StoreUnavailable));
        assert_eq!(code(&[failed(Code::Invalid)], &[]), None);
        assert_eq!(code(&[Slot::Grouped(0, 0)], &[settled(Err(Code::IdempotencyKeyReused))]), None);
        assert_eq!(code(&[], &[]), None);
    }
}
