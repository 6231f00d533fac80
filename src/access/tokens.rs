//! The tokens in force. They may change while the hub runs; requests read them without waiting for anybody.

use super::{Caller, Token, TokenHash};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// All tokens, as of now.
#[derive(Debug, Default)]
pub struct Access {
    tokens: RwLock<Arc<[Arc<Token>]>>,
    /// Tells sessions of each change, so that they look only then.
    changes: watch::Sender<()>,
}

/// What a change was, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Tokens in force now.
    pub tokens: usize,
    /// Of these, new ones.
    pub added: usize,
    /// Tokens that are in force no more.
    pub removed: usize,
}

impl Access {
    /// These tokens; without any, nobody is asked who he is.
    pub fn new(tokens: Vec<Token>) -> Self {
        let tokens = tokens.into_iter().map(Arc::new).collect();
        Self { tokens: RwLock::new(tokens), changes: watch::Sender::default() }
    }

    /// The tokens in force.
    pub fn tokens(&self) -> Arc<[Arc<Token>]> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nobody is asked who he is.
    pub fn is_open(&self) -> bool {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whose token this is.
    pub fn find(&self, text: &str) -> Option<Caller> {
        self.by_hash(&TokenHash::of(text)).map(|token| Caller(Some(token)))
    }

    /// Looks at every token, whichever it is.
    fn by_hash(&self, hash: &TokenHash) -> Option<Arc<Token>> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        tokens.iter().fold(None, |found, token| if token.hash.same(hash).into() { Some(token) } else { found }).cloned()
    }

    /// Puts other tokens in force. One that stays goes on counting how often it is used.
    pub fn replace(&self, tokens: Vec<Token>) -> Changed {
        let mut current = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let before = |hash: &TokenHash| current.iter().find(|old| old.hash == *hash);
        let mut added = 0;
        let tokens: Arc<[Arc<Token>]> = tokens
            .into_iter()
            .map(|mut token| {
                match before(&token.hash).map(|old| &old.limiter) {
                    None => added += 1,
                    Some(Some(old)) if token.limiter.as_ref().is_some_and(|new| new.rate == old.rate) => {
                        token.limiter = Some(old.clone());
                    }
                    Some(_) => {}
                }
                Arc::new(token)
            })
            .collect();
        let changed = Changed { tokens: tokens.len(), added, removed: current.len() + added - tokens.len() };
        *current = tokens;
        // Whoever is told looks, and waits for nobody here.
        drop(current);
        self.changes.send_replace(());
        changed
    }
}

/// What a session was opened with, and whether that is still so.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Who opened it.
    pub caller: Caller,
    access: Arc<Access>,
}

impl Pass {
    /// A pass for somebody who has been let in.
    pub fn new(caller: Caller, access: Arc<Access>) -> Self {
        Self { caller, access }
    }

    /// Whether whoever opened the session would still be let in with the same rights.
    pub fn is_good(&self) -> bool {
        match self.caller.token() {
            None => self.access.is_open(),
            Some(token) => self.access.by_hash(&token.hash).is_some_and(|now| now.gives_the_same(token)),
        }
    }

    /// Ends when it is good no more, if that ever comes. Costs nothing while no tokens change.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        // Before it is looked at: no change goes unseen.
        let mut changes = self.access.changes.subscribe();
        let pass = self.clone();
        async move {
            // The other end is in the pass, and so is there as long as this.
            while pass.is_good() && changes.changed().await.is_ok() {}
        }
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
