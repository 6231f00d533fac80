//! Streams on a pool of arbiters over both stores, with targets that do as they are told: what is
//! delivered, held, given back and rebuilt, whatever the other side does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

/// Of the shared support, the parts that need no running hub.
#[allow(dead_code, reason = "each test binary uses its own part")]
#[path = "../support"]
mod support {
    pub mod guard;
    pub mod port;
    pub mod redis;
}

/// Makes each named `async fn` a test over each store: `NAME::embedded` and `NAME::redis`.
macro_rules! both_stores {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use crate::bench::Home;

            #[actix_web::test]
            async fn embedded() {
                super::$name(Home::embedded()).await
            }

            #[actix_web::test]
            async fn redis() {
                super::$name(Home::redis()).await
            }
        }
    )*};
}

mod bench;
mod deliver;
mod failing;
mod lifecycle;
mod ordered;
