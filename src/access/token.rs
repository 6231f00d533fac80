//! One token. The hub knows its hash alone.

use super::{Limiter, Scopes};
use crate::event::{ClientId, Malformed, TypeFilter};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

/// Stands before a token that was made here, so that it is recognised where it should not be.
const PREFIX: &str = "es_";

/// The SHA-256 of a token's text. A token is 32 random bytes, so that there is nothing to guess and no need of a slow
/// hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub(super) [u8; 32]);

impl TokenHash {
    /// The hash of a token's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether both are the same, found out in a time that says nothing of how much of them is.
    pub fn same(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

/// Hexadecimal, as `sha256sum` prints it.
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not the hash: what is printed for debugging ends up in logs.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl FromStr for TokenHash {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = || Malformed::new("must be 64 hexadecimal digits, the SHA-256 of the token");
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// What a token allows (`auth.tokens`).
#[derive(Debug, Clone)]
pub struct Token {
    /// For people and logs; not secret.
    pub name: String,
    /// By which it is recognised.
    pub hash: TokenHash,
    /// What it is for.
    pub scopes: Scopes,
    /// Which types it may have to do with; `None` for all.
    pub types: Option<Arc<TypeFilter>>,
    /// The only client it may read and mark as; `None` for any.
    pub client: Option<ClientId>,
    /// How often it may be used; `None` for as often as it likes.
    pub limiter: Option<Limiter>,
}

impl Token {
    /// Whether it gives what `other` gives: a session that was opened with one may go on with the other.
    pub fn gives_the_same(&self, other: &Self) -> bool {
        self.scopes == other.scopes && self.types == other.types && self.client == other.client
    }
}

/// A new token: 32 random bytes in a form that fits into a header, a cookie and a WebSocket's subprotocol.
pub fn generate() -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        let hash = TokenHash::of("abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
        assert!(bool::from(hash.same(&text.parse().unwrap())) && !bool::from(hash.same(&TokenHash::of("abd"))));
        for bad in ["", "ab", &text[1..], &format!("{text}0"), &text.replace('b', "g"), &text.replace("ba", "é")] {
            assert!(bad.parse::<TokenHash>().is_err(), "{bad}");
        }
        assert!(!format!("{hash:?}").contains("ba78"));
    }

    #[test]
    fn new_tokens_are_long_different_and_fit_anywhere() {
        let (a, b) = (generate(), generate());
        assert_ne!(a, b);
        assert_eq!(a.len(), 3 + 43);
        assert!(a.starts_with(PREFIX) && a.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }
}
