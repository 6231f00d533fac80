//! Tokens: by which the store recognises an append that is repeated.
//!
//! A token is a name and a number. The script keeps its answer under the name together with the number, so that the
//! next append with the same name takes its place: what is kept does not grow with the appends, only with how many are
//! under way at once. A token whose append was given up is not used again: that append might still arrive.

use std::sync::{Mutex, PoisonError};

/// One append's token.
#[derive(Debug)]
pub(super) struct Token {
    /// Random, of this process alone.
    pub(super) name: String,
    /// Counts the appends under the name.
    pub(super) number: u64,
}

/// Those that are not in use.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<Vec<Token>>);

impl Tokens {
    /// One that nobody else has.
    pub(super) fn take(&self) -> Token {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        known.unwrap_or_else(|| Token { name: format!("{:016x}", rand::random::<u64>()), number: 0 })
    }

    /// Its append was answered.
    pub(super) fn give_back(&self, mut token: Token) {
        token.number += 1;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_by_one_append_at_a_time_and_never_twice_the_same() {
        let tokens = Tokens::default();
        let (first, second) = (tokens.take(), tokens.take());
        assert_ne!(first.name, second.name);
        let name = first.name.clone();
        tokens.give_back(first);
        let third = tokens.take();
        assert_eq!((third.name, third.number), (name, 1));
    }
}
