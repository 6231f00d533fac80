//! `auth.tokens`: what is written, made into tokens.

use super::BadSetting;
use crate::access::{Limiter, Rate, Scope, Token};
use crate::event::TypeFilter;
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

/// Most tokens: each is looked at for every request.
const MOST: usize = 1000;
/// The highest rate and burst: beyond it a limit protects nothing.
const FASTEST: u32 = 1_000_000;

/// One token as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawToken {
    name: String,
    sha256: String,
    scopes: Vec<String>,
    types: Option<Vec<String>>,
    client: Option<String>,
    rate: Option<u32>,
    burst: Option<u32>,
}

/// Checks all of them.
pub(super) fn tokens(raw: Vec<RawToken>) -> Result<Vec<Token>, BadSetting> {
    if raw.len() > MOST {
        return Err(BadSetting::new("auth.tokens", format!("at most {MOST} are taken, not {}", raw.len())));
    }
    let mut known = HashSet::new();
    let mut tokens = Vec::with_capacity(raw.len());
    for (n, raw) in raw.into_iter().enumerate() {
        let token = token(n, raw)?;
        if !known.insert(token.hash) {
            return Err(bad(n, "sha256", "stands before another token already"));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn token(n: usize, raw: RawToken) -> Result<Token, BadSetting> {
    let named = (1..=64).contains(&raw.name.len())
        && raw.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !named {
        return Err(bad(n, "name", "must be 1 to 64 of letters, digits, '.', '_' and '-'"));
    }
    if raw.scopes.is_empty() {
        return Err(bad(n, "scopes", "must name at least one of send, register, feed, live, ops"));
    }
    let hash = raw.sha256.parse().map_err(|e| bad(n, "sha256", e))?;
    let scopes = raw.scopes.iter().enumerate();
    let scopes = scopes.map(|(at, scope)| scope.parse::<Scope>().map_err(|e| bad(n, &format!("scopes[{at}]"), e)));
    let scopes = scopes.collect::<Result<_, _>>()?;
    let types = raw.types.map(|types| self::types(n, &types)).transpose()?;
    let client = raw.client.map(|client| client.parse().map_err(|e| bad(n, "client", e))).transpose()?;
    let limiter = rate(n, raw.rate, raw.burst)?.map(|rate| Limiter::new(rate, Instant::now()));
    Ok(Token { name: raw.name, hash, scopes, types: types.map(Arc::new), client, limiter })
}

fn types(n: usize, list: &[String]) -> Result<TypeFilter, BadSetting> {
    if list.is_empty() {
        return Err(bad(n, "types", "must name at least one type or pattern; leave it out for all"));
    }
    let mut all = TypeFilter::none();
    for (at, entry) in list.iter().enumerate() {
        let here = |e| bad(n, &format!("types[{at}]"), e);
        all = all.with(&entry.parse().map_err(here)?).map_err(here)?;
    }
    Ok(all)
}

fn rate(n: usize, rate: Option<u32>, burst: Option<u32>) -> Result<Option<Rate>, BadSetting> {
    let bounded = |name: &str, value: u32| {
        let fits = NonZeroU32::new(value).filter(|value| value.get() <= FASTEST);
        fits.ok_or_else(|| bad(n, name, format!("must be from 1 to {FASTEST}, not {value}")))
    };
    match (rate, burst) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(bad(n, "burst", "needs a rate")),
        (Some(rate), burst) => {
            let per_second = bounded("rate", rate)?;
            Ok(Some(Rate { per_second, burst: bounded("burst", burst.unwrap_or(rate))? }))
        }
    }
}

fn bad(n: usize, field: &str, problem: impl fmt::Display) -> BadSetting {
    BadSetting::new(&format!("auth.tokens[{n}].{field}"), problem)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::access::TokenHash;

    fn load(tokens: &str) -> Result<Vec<Token>, String> {
        let environment = [("EVENTS__AUTH__TOKENS".to_owned(), tokens.to_owned())];
        Settings::load(None, environment).map(|settings| settings.tokens).map_err(|e| e.to_string())
    }

    #[test]
    fn a_token_has_scopes_and_limits() {
        let hash = TokenHash::of("secret");
        let tokens = load(&format!(
            r#"[{{"name":"a","sha256":"{hash}","scopes":["feed","ops"]}},
                {{"name":"a","sha256":"{}","scopes":["send"],"types":["a:*","b,c"],"client":"7","rate":50}},
                {{"name":"c","sha256":"{}","scopes":["send"],"rate":5,"burst":100}}]"#,
            TokenHash::of("b"),
            TokenHash::of("c"),
        ))
        .unwrap();
        let [a, b, c] = &tokens[..] else { panic!("three tokens") };
        assert_eq!(a.hash, hash);
        assert_eq!(a.scopes, [Scope::Ops, Scope::Feed].into_iter().collect());
        assert!(a.types.is_none() && a.client.is_none() && a.limiter.is_none());
        assert_eq!(b.types.as_ref().unwrap().patterns(), ["a:*", "b", "c"]);
        assert_eq!(b.client.as_ref().unwrap().as_str(), "7");
        let rates = [b, c].map(|t| t.limiter.as_ref().unwrap().rate);
        assert_eq!(rates.map(|r| (r.per_second.get(), r.burst.get())), [(50, 50), (5, 100)]);
    }

    #[test]
    fn a_bad_token_is_named_in_one_line() {
        let hash = TokenHash::of("x");
        let with = |fields: &str| format!(r#"[{{"name":"a","sha256":"{hash}","scopes":["send"]{fields}}}]"#);
        let good = with("");
        assert!(load(&good).is_ok());
        let one = good.trim_matches(['[', ']']).to_owned();
        for (tokens, named) in [
            (r#"[{"name":"a","sha256":"x","scopes":["send"]}]"#.to_owned(), "auth.tokens[0].sha256: "),
            (format!("[{one},{one}]"), "auth.tokens[1].sha256: "),
            (good.replace(r#""a""#, r#""""#), "auth.tokens[0].name: "),
            (good.replace(r#""a""#, r#""a b""#), "auth.tokens[0].name: "),
            (good.replace(r#"["send"]"#, "[]"), "auth.tokens[0].scopes: "),
            (good.replace(r#"["send"]"#, r#"["send","admin"]"#), "auth.tokens[0].scopes[1]: "),
            (good.replace(r#"["send"]"#, "5"), "auth.tokens[0].scopes: "),
            (with(r#","types":[]"#), "auth.tokens[0].types: "),
            (with(r#","types":["a","b c"]"#), "auth.tokens[0].types[1]: "),
            (with(r#","client":"a b""#), "auth.tokens[0].client: "),
            (with(r#","rate":0"#), "auth.tokens[0].rate: "),
            (with(r#","rate":1,"burst":2000000"#), "auth.tokens[0].burst: "),
            (with(r#","burst":5"#), "auth.tokens[0].burst: "),
            (with(r#","rate":-1"#), "auth.tokens[0].rate: "),
            (with(r#","scope":"send""#), "auth.tokens[0]"),
            (r#"[{"name":"a","scopes":["send"]}]"#.to_owned(), "auth.tokens[0]"),
            ("[5]".to_owned(), "auth.tokens[0]"),
            ("[".to_owned(), "auth.tokens"),
            ("secret".to_owned(), "auth.tokens[0]"),
        ] {
            let error = load(&tokens).unwrap_err();
            assert!(error.starts_with(named), "{tokens}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
