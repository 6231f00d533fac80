//! What the black-box tests share: real servers on free ports, clients that see bytes, and bounded waits.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

pub mod amqp;
pub mod api;
pub mod front;
pub mod guard;
pub mod http;
pub mod hub;
pub mod port;
pub mod rabbit;
pub mod random;
pub mod redis;
pub mod sse;
pub mod wait;
pub mod webhook;
pub mod ws;

/// Makes each named `async fn` a test on both stores: `NAME::embedded` and `NAME::redis`. The function
/// takes a running [`Hub`](hub::Hub), or the [`Setup`](hub::Setup) of one that it starts itself.
#[macro_export]
macro_rules! both_stores {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[actix_web::test]
            async fn embedded() {
                use $crate::support::hub::{Setup, run};
                run(Setup::embedded(), super::$name).await
            }

            #[actix_web::test]
            async fn redis() {
                use $crate::support::hub::{Setup, run};
                run(Setup::redis(), super::$name).await
            }
        }
    )*};
}
