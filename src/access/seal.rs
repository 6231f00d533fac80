//! A token in a browser's cookie: encrypted, and good for a while.
//!
//! The key is made from the token's hash, which every node has in its settings and no browser has: nodes need not share
//! anything else, a token that is taken away takes its cookies with it, whoever steals a cookie does not learn the
//! token, and whoever reads the settings cannot make a cookie, for he does not know the token that must be in it.

use super::{Access, Caller, TokenHash};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

/// What the cookie is for, and its form: keys of another use or form are others.
const KEY: &[u8] = b"event-source-api cookie 1 key";
const MARK: &[u8] = b"event-source-api cookie 1 mark";
/// Bytes by which the right token is found.
const MARK_LEN: usize = 8;

/// A cookie's value with a token in it, good until `expires` (Unix seconds). `None` when the token cannot be
/// encrypted, which no token of a sensible length is.
pub fn seal(token: &str, expires: u64) -> Option<String> {
    let hash = TokenHash::of(token);
    let nonce: [u8; NONCE_LEN] = rand::random();
    let mut inner = expires.to_be_bytes().to_vec();
    inner.extend_from_slice(token.as_bytes());
    let sealed = key(&hash)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(KEY), &mut inner);
    sealed.ok()?;
    Some(URL_SAFE_NO_PAD.encode([&mark(&hash)[..], &nonce, &inner].concat()))
}

/// Whose cookie this is, if it is one that is good at `now` (Unix seconds).
pub fn unseal(cookie: &str, access: &Access, now: u64) -> Option<Caller> {
    let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
    let (its_mark, rest) = bytes.split_at_checked(MARK_LEN)?;
    let (nonce, inner) = rest.split_at_checked(NONCE_LEN)?;
    access.tokens().iter().find_map(|token| {
        if mark(&token.hash) != its_mark {
            return None;
        }
        let mut inner = inner.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = key(&token.hash)?.open_in_place(nonce, Aad::from(KEY), &mut inner).ok()?;
        let (expires, text) = opened.split_at_checked(8)?;
        let expires = u64::from_be_bytes(expires.try_into().ok()?);
        let text = std::str::from_utf8(text).ok()?;
        let good = expires > now && bool::from(TokenHash::of(text).same(&token.hash));
        good.then(|| Caller(Some(token.clone())))
    })
}

fn key(hash: &TokenHash) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, &derived(hash, KEY)?).ok().map(LessSafeKey::new)
}

fn mark(hash: &TokenHash) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    for (to, from) in mark.iter_mut().zip(derived(hash, MARK).unwrap_or_default()) {
        *to = from;
    }
    mark
}

fn derived(hash: &TokenHash, label: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&hash.0).ok()?;
    mac.update(label);
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::super::tests::token;
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_token_and_its_time() {
        let access = Access::new(vec![token("a"), token("b")]);
        let cookie = seal("b", 1000).unwrap();
        assert_ne!(cookie, seal("b", 1000).unwrap());
        assert_eq!(unseal(&cookie, &access, 999).unwrap().token().unwrap().name, "b");
        assert!(unseal(&cookie, &access, 1000).is_none());
        assert!(unseal(&cookie, &Access::new(vec![token("a")]), 0).is_none());
        assert!(unseal(&seal("c", 1000).unwrap(), &access, 0).is_none());
        for bad in ["", "x", "!", "AAAA", &cookie[1..], &cookie[..40]] {
            assert!(unseal(bad, &access, 0).is_none(), "{bad}");
        }
        // Every bit counts.
        let bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(unseal(&URL_SAFE_NO_PAD.encode(changed), &access, 0).is_none(), "{at}");
        }
    }

    #[test]
    fn a_cookie_does_not_show_its_token() {
        let token = super::super::generate();
        let bytes = URL_SAFE_NO_PAD.decode(seal(&token, 1000).unwrap()).unwrap();
        assert!(!bytes.windows(8).any(|part| token.as_bytes().windows(8).any(|of| of == part)));
    }
}
