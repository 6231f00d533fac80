//! Tokens that come, go and stay.

use super::super::tests::token;
use super::super::{Limiter, Rate, Scope};
use super::*;
use futures_util::FutureExt;
use std::time::Instant;

fn limited(name: &str, per_second: u32) -> Token {
    let rate = Rate { per_second: per_second.try_into().unwrap(), burst: 1.try_into().unwrap() };
    Token { limiter: Some(Limiter::new(rate, Instant::now())), ..token(name) }
}

fn name(access: &Access, text: &str) -> Option<String> {
    Some(access.find(text)?.token()?.name.clone())
}

#[test]
fn a_token_is_found_by_its_text() {
    let access = Access::new(vec![token("a"), token("b")]);
    assert_eq!((name(&access, "a").as_deref(), name(&access, "b").as_deref()), (Some("a"), Some("b")));
    assert!(access.find("c").is_none() && access.find("").is_none() && !access.is_open());
    assert!(Access::default().is_open());
}

#[test]
fn a_change_says_what_came_and_went() {
    let access = Access::new(vec![token("a"), token("b")]);
    assert_eq!(access.replace(vec![token("b"), token("c")]), Changed { tokens: 2, added: 1, removed: 1 });
    assert!(access.find("a").is_none() && access.find("c").is_some());
}

#[test]
fn a_token_that_stays_goes_on_counting() {
    let access = Access::new(vec![limited("a", 5)]);
    let used = |access: &Access| {
        let caller = access.find("a").unwrap();
        caller.token().unwrap().limiter.as_ref().unwrap().take(Instant::now()).wait.is_some()
    };
    assert!(!used(&access));
    access.replace(vec![limited("a", 5)]);
    assert!(used(&access));
    access.replace(vec![limited("a", 7)]);
    assert!(!used(&access));
}

#[test]
fn a_session_stays_with_its_token_as_it_was() {
    let access = Arc::new(Access::new(vec![token("a"), token("b")]));
    let a = Pass::new(access.find("a").unwrap(), Arc::clone(&access));
    let b = Pass::new(access.find("b").unwrap(), Arc::clone(&access));
    assert!(a.is_good() && b.is_good());
    access.replace(vec![Token { name: "renamed".into(), ..token("b") }]);
    assert!(!a.is_good() && b.is_good());
    access.replace(vec![token("a"), Token { types: Some(Arc::new("x".parse().unwrap())), ..token("b") }]);
    assert!(a.is_good() && !b.is_good());
    access.replace(vec![Token { scopes: [Scope::Send].into_iter().collect(), ..token("a") }]);
    assert!(!a.is_good());
    let open = Pass::new(Caller::anyone(), Arc::clone(&access));
    assert!(!open.is_good());
    access.replace(Vec::new());
    assert!(open.is_good() && !a.is_good());
}

#[actix::test]
async fn a_session_hears_of_its_end_at_once() {
    let access = Arc::new(Access::new(vec![token("a"), token("b")]));
    let (of_a, of_b) = (access.find("a").unwrap(), access.find("b").unwrap());
    let late = Pass::new(of_a.clone(), Arc::clone(&access));
    let (a, b) = (Pass::new(of_a, Arc::clone(&access)).ended(), Pass::new(of_b, Arc::clone(&access)).ended());
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    assert!((&mut a).now_or_never().is_none() && (&mut b).now_or_never().is_none());
    access.replace(vec![token("b"), token("c")]);
    assert!((&mut a).now_or_never().is_some() && (&mut b).now_or_never().is_none());
    // One that is asked only after the change.
    assert!(late.ended().now_or_never().is_some());
    let waiting = async {
        tokio::task::yield_now().await;
        access.replace(Vec::new());
    };
    futures_util::join!(b, waiting);
}
