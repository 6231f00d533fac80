//! Events that were sent.

use super::Counter;
use crate::error::Code;
use crate::event::{EventType, TypeNo};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Most types that are told apart among the discarded ones; a misspelling sender may make up any number.
pub const DISCARDED_TYPES: usize = 100;

/// The figures of sends.
pub static SENDS: Sends = Sends {
    accepted: Counter::new(),
    accepted_by_type: Mutex::new(BTreeMap::new()),
    duplicate: Counter::new(),
    discarded: Counter::new(),
    by_type: Mutex::new(BTreeMap::new()),
    refused: [const { Counter::new() }; Code::ALL.len()],
};

/// What became of what was sent.
#[derive(Debug)]
pub struct Sends {
    /// Events stored.
    pub accepted: Counter,
    /// The same by type; types are bounded by the registry.
    accepted_by_type: Mutex<BTreeMap<TypeNo, u64>>,
    /// Events that an `Idempotency-Key` has shown to be stored already.
    pub duplicate: Counter,
    /// Events of types that nobody registered.
    pub discarded: Counter,
    /// The same by type, at most [`DISCARDED_TYPES`] of them.
    by_type: Mutex<BTreeMap<String, u64>>,
    /// Problems answered, by code.
    refused: [Counter; Code::ALL.len()],
}

impl Sends {
    /// A write to the store held so many events of each of these types.
    pub fn accept(&self, types: impl IntoIterator<Item = (TypeNo, u64)>) {
        let mut total = 0;
        // Once a write, however many events it holds.
        let mut by_type = self.accepted_by_type.lock().unwrap_or_else(PoisonError::into_inner);
        for (ty, count) in types {
            *by_type.entry(ty).or_default() += count;
            total += count;
        }
        drop(by_type);
        self.accepted.add(total);
    }

    /// Events stored, by type.
    pub fn accepted_by_type(&self) -> Vec<(TypeNo, u64)> {
        let by_type = self.accepted_by_type.lock().unwrap_or_else(PoisonError::into_inner);
        by_type.iter().map(|(ty, count)| (*ty, *count)).collect()
    }

    /// Events of a type that is not registered were discarded.
    pub fn discard(&self, ty: &EventType, count: u64) {
        self.discarded.add(count);
        let mut by_type = self.by_type.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_type.get_mut(ty.as_str()) {
            *known += count;
        } else if by_type.len() < DISCARDED_TYPES {
            by_type.insert(ty.as_str().to_owned(), count);
        }
    }

    /// A problem was answered, for a request or for an item of a batch.
    pub fn refuse(&self, code: Code) {
        if let Some(counter) = self.refused.get(code as usize) {
            counter.add(1);
        }
    }

    /// Discarded by type, and those that are not told apart.
    pub fn discarded_by_type(&self) -> (Vec<(String, u64)>, u64) {
        let by_type = self.by_type.lock().unwrap_or_else(PoisonError::into_inner);
        let told: u64 = by_type.values().sum();
        let types = by_type.iter().map(|(ty, count)| (ty.clone(), *count)).collect();
        (types, self.discarded.get().saturating_sub(told))
    }

    /// Problems answered so far, by code.
    pub fn refused(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.iter().zip(&self.refused).map(|(code, counter)| (*code, counter.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discarded_types_are_told_apart_up_to_a_bound() {
        let sends = Sends {
            accepted: Counter::new(),
            accepted_by_type: Mutex::default(),
            duplicate: Counter::new(),
            discarded: Counter::new(),
            by_type: Mutex::default(),
            refused: [const { Counter::new() }; Code::ALL.len()],
        };
        for n in 0..DISCARDED_TYPES + 20 {
            sends.discard(&format!("t{n}").parse().unwrap(), 2);
        }
        sends.discard(&"t0".parse().unwrap(), 1);
        let (types, other) = sends.discarded_by_type();
        assert_eq!((types.len(), other), (DISCARDED_TYPES, 40));
        assert_eq!(types[0], ("t0".to_owned(), 3));
    }

    #[test]
    fn every_code_has_its_counter() {
        for (n, code) in Code::ALL.iter().enumerate() {
            assert_eq!(*code as usize, n);
        }
    }
}
