//! SIGTERM and SIGINT: what is in flight is finished, nothing is lost, the exit code is 0.

use crate::both_stores;
use crate::support::api::sent;
use crate::support::http::{Connection, request};
use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, eventually, within};
use serde_json::json;
use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

both_stores!(
    an_idle_hub_stops_at_once,
    an_interrupt_stops_it_too,
    nothing_accepted_is_lost_at_shutdown,
    a_request_in_flight_is_answered,
    an_idle_connection_does_not_hold_the_shutdown,
);

async fn an_idle_hub_stops_at_once(hub: Hub) {
    let start = std::time::Instant::now();
    hub.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "stopping took {:?}", start.elapsed());
}

async fn an_interrupt_stops_it_too(mut hub: Hub) {
    hub.signal("INT");
    assert_eq!(hub.exited().await.code(), Some(0));
}

async fn nothing_accepted_is_lost_at_shutdown(hub: Hub) {
    hub.register("t", "1h").await;
    let address = hub.address();
    let count = Rc::new(Cell::new(0));
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let count = Rc::clone(&count);
            actix_web::rt::spawn(async move {
                let mut accepted = Vec::new();
                let Ok(mut connection) = Connection::open(address).await else { return accepted };
                let body = format!(r#"{{"type":"t","payload":{n}}}"#);
                let bytes =
                    request("POST", "/api/events/send", &[("Content-Type", "application/json")], Some(body.as_bytes()));
                loop {
                    match connection.exchange(&bytes).await {
                        Ok(answer) if answer.status == 202 => {
                            accepted.push(sent(&answer.json()).id);
                            count.set(count.get() + 1);
                        }
                        Ok(answer) => {
                            answer.problem(503);
                            return accepted;
                        }
                        Err(_) => return accepted,
                    }
                    if accepted.len() > 100_000 {
                        panic!("the hub goes on accepting");
                    }
                }
            })
        })
        .collect();
    eventually(PATIENCE, "a good many to be accepted", || async { (count.get() >= 50).then_some(()) }).await;
    let setup = hub.stop().await;
    let mut accepted = HashSet::new();
    for sender in senders {
        accepted.extend(within(PATIENCE, "a sender to notice", sender).await.expect("it ran"));
    }
    assert!(accepted.len() >= 50, "{}", accepted.len());
    let hub = setup.start().await;
    let stored: HashSet<_> = hub.walk("100days/current").await.into_iter().collect();
    let lost = accepted.difference(&stored).count();
    assert_eq!(lost, 0, "of {} accepted", accepted.len());
}

async fn a_request_in_flight_is_answered(hub: Hub) {
    hub.register("t", "1h").await;
    let body = json!({"type": "t", "payload": "slowly"}).to_string();
    let bytes = request("POST", "/api/events/send", &[("Content-Type", "application/json")], Some(body.as_bytes()));
    let (first, rest) = bytes.split_at(bytes.len() - 5);
    let in_flight = async |requests: usize| {
        let line = format!("events_http_in_flight {requests}");
        let told = || async { hub.get("/metrics").await.text().lines().any(|told| told == line).then_some(()) };
        eventually(PATIENCE, &line, told).await;
    };
    in_flight(0).await;
    let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
    connection.write(first).await.expect("the hub reads");
    // The head must have been taken before the signal.
    in_flight(1).await;
    hub.terminate();
    tokio::time::sleep(Duration::from_millis(200)).await;
    connection.write(rest).await.expect("the hub still reads");
    let answer = within(PATIENCE, "the answer", connection.read(false)).await.expect("an answer");
    let setup = hub.stop_after_signal().await;
    // 202 or an honest 503; and what it said is true.
    assert!(matches!(answer.status, 202 | 503), "{}: {}", answer.status, answer.text());
    let hub = setup.start().await;
    if answer.status == 202 {
        hub.event(&sent(&answer.json()).id).await;
    }
}

async fn an_idle_connection_does_not_hold_the_shutdown(hub: Hub) {
    let mut idle = Connection::open(hub.address()).await.expect("the hub accepts connections");
    idle.exchange(&request("GET", "/healthz", &[], None)).await.expect("an answer").expect(200);
    let start = std::time::Instant::now();
    hub.stop().await;
    assert!(start.elapsed() < Duration::from_secs(5), "stopping took {:?}", start.elapsed());
}
