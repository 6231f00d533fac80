//! Who is asking, and what he may see.

use super::{Scope, Token};
use crate::error::{ApiError, Code};
use crate::event::{ClientId, EventType, TypeFilter};
use std::sync::Arc;

/// Whoever sent a request, as far as a token says it.
#[derive(Debug, Clone)]
pub struct Caller(pub(super) Option<Arc<Token>>);

impl Caller {
    /// Whoever asks a hub that has no tokens.
    pub fn anyone() -> Self {
        Self(None)
    }

    /// The token; `None` where none is asked for.
    pub fn token(&self) -> Option<&Token> {
        self.0.as_deref()
    }

    /// Whether he has the scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.0.as_ref().is_none_or(|token| token.scopes.contain(scope))
    }

    /// Whether he may know of a type.
    pub fn sees(&self, ty: &EventType) -> bool {
        self.types().is_none_or(|types| types.matches(ty))
    }

    /// The same of a type by its name, where there may be none of it.
    pub fn sees_named(&self, name: &str) -> bool {
        self.types().is_none_or(|types| name.parse().is_ok_and(|ty| types.matches(&ty)))
    }

    /// Whether there are types that he may not know of.
    pub fn is_limited(&self) -> bool {
        self.types().is_some()
    }

    /// # Errors
    /// A 403 for a type that he named and may not have to do with, whether there is such a type or not.
    pub fn check_type(&self, ty: &EventType) -> Result<(), ApiError> {
        if self.sees(ty) { Ok(()) } else { Err(ApiError::new(Code::Forbidden, format!("the token is not for {ty}"))) }
    }

    /// # Errors
    /// A 403 when he may only read and mark as another client, or (`None`) as one.
    pub fn check_client(&self, client: Option<&ClientId>) -> Result<(), ApiError> {
        match self.client() {
            Some(own) if client != Some(own) => {
                Err(ApiError::new(Code::Forbidden, format!("the token is for client {own} alone")))
            }
            _ => Ok(()),
        }
    }

    /// The only client that he may read and mark as.
    pub fn client(&self) -> Option<&ClientId> {
        self.0.as_ref()?.client.as_ref()
    }

    /// The types that he gets of those he asks for. `None` for all there are.
    pub fn limit(&self, asked: Option<TypeFilter>) -> Option<TypeFilter> {
        match self.types() {
            Some(types) => Some(asked.unwrap_or_else(TypeFilter::any).within(Arc::clone(types))),
            None => asked,
        }
    }

    /// All types that he may have to do with.
    pub fn all_types(&self) -> TypeFilter {
        self.limit(None).unwrap_or_else(TypeFilter::any)
    }

    /// Adds a text that is the same only for callers who get the same of whatever they ask for.
    pub fn write_limits(&self, key: &mut String) {
        let Some(token) = &self.0 else { return };
        // Neither a client nor a pattern has a line end in it, and a URL has none either.
        for limit in [token.client.as_ref().map(ToString::to_string), token.types.as_ref().map(|types| types.key())] {
            key.push('\n');
            key.push_str(limit.as_deref().unwrap_or_default());
        }
    }

    fn types(&self) -> Option<&Arc<TypeFilter>> {
        self.0.as_ref()?.types.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::super::TokenHash;
    use super::*;

    fn caller(types: Option<&str>, client: Option<&str>) -> Caller {
        Caller(Some(Arc::new(Token {
            name: "t".into(),
            hash: TokenHash::of("t"),
            scopes: [Scope::Feed].into_iter().collect(),
            types: types.map(|types| Arc::new(types.parse().unwrap())),
            client: client.map(|client| client.parse().unwrap()),
            limiter: None,
        })))
    }

    #[test]
    fn a_caller_sees_what_his_token_is_for() {
        let (ty, other) = ("a:b".parse().unwrap(), "c".parse().unwrap());
        let limited = caller(Some("a:*"), Some("7"));
        assert!(limited.may(Scope::Feed) && !limited.may(Scope::Ops));
        assert!(limited.check_type(&ty).is_ok());
        assert_eq!(limited.check_type(&other).unwrap_err().code, Code::Forbidden);
        assert!(limited.check_client(Some(&"7".parse().unwrap())).is_ok());
        assert!(limited.check_client(Some(&"8".parse().unwrap())).is_err() && limited.check_client(None).is_err());
        for filter in [limited.all_types(), limited.limit(Some("*".parse().unwrap())).unwrap()] {
            assert!(filter.matches(&ty) && !filter.matches(&other));
        }
        for free in [caller(None, None), Caller::anyone()] {
            assert!(free.sees(&other) && free.check_client(None).is_ok() && free.limit(None).is_none());
        }
        assert!(Caller::anyone().may(Scope::Ops));
    }
}
