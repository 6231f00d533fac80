//! What a token is for.

use crate::event::Malformed;
use std::fmt;
use std::str::FromStr;

/// A kind of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Sending events.
    Send,
    /// Registering types.
    Register,
    /// Reading feeds and events, and marking them.
    Feed,
    /// Live sessions.
    Live,
    /// Looking after streams, nodes and figures.
    Ops,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Send, Self::Register, Self::Feed, Self::Live, Self::Ops];

    /// As it stands in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Register => "register",
            Self::Feed => "feed",
            Self::Live => "live",
            Self::Ops => "ops",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Malformed::new(format!("'{shown}' is not a scope; there are send, register, feed, live and ops"))
        })
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether the scope is one of them.
    pub fn contain(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// They, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contain(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | 1 << scope as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set: Scopes = [Scope::Ops, Scope::Send].into_iter().collect();
        assert_eq!(set.iter().map(Scope::as_str).collect::<Vec<_>>(), ["send", "ops"]);
        assert!(!set.contain(Scope::Feed) && !Scopes::default().contain(Scope::Send));
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert!("admin".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
    }
}
