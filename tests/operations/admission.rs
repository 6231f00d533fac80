//! More than the hub can take: slow clients by the hundred, bodies by the megabyte, and twice the load.

use crate::support::api::sent;
use crate::support::http::{Connection, Response, request};
use crate::support::hub::{Hub, Setup};
use crate::support::wait::{PATIENCE, eventually, within};
use crate::support::ws::Session;
use futures_util::future::join_all;
use serde_json::json;
use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const MIB: usize = 1 << 20;

/// How many connections are established with a port of the hub.
fn connections(hub: &Hub) -> usize {
    let port = format!(":{:04X}", hub.address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux says it");
    let established = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("01")
    };
    table.lines().filter(established).count()
}

/// Writes a byte again and again, answered or not, until the connection ends; what was answered.
async fn trickle(mut connection: Connection, bytes: &'static [u8]) -> Option<Response> {
    let mut answered = None;
    loop {
        match tokio::time::timeout(Duration::from_millis(200), connection.read(false)).await {
            Ok(Ok(answer)) => answered = Some(answer),
            Ok(Err(_)) => return answered,
            Err(_) if connection.write(bytes).await.is_err() => return answered,
            Err(_) => {}
        }
    }
}

#[actix_web::test]
async fn clients_that_trickle_are_let_go_and_hold_up_nobody() {
    let setup = Setup::embedded().set("http.client_timeout", "1s").set("http.body_timeout", "1s");
    let hub = setup.set("http.max_in_flight", 400).start().await;
    hub.register("t", "1h").await;
    let send = "POST /api/events/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let length = format!("{send}Content-Length: 1000\r\n\r\n");
    let chunked = format!("{send}Transfer-Encoding: chunked\r\n\r\n");
    let unread = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let kinds: [(&str, &'static [u8]); 4] =
        [(send, b"x"), (&length, b" "), (&chunked, b"1\r\n \r\n"), (&unread, b"1\r\n \r\n")];
    let mut slow = Vec::new();
    for (head, byte) in kinds {
        for _ in 0..100 {
            let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
            connection.write(head.as_bytes()).await.expect("the hub reads");
            slow.push(trickle(connection, byte));
        }
    }
    let started = Instant::now();
    let busy = async {
        // Others are served meanwhile.
        let mut served = 0;
        while started.elapsed() < Duration::from_secs(2) {
            let asked = Instant::now();
            hub.send("t", json!(served)).await;
            assert!(asked.elapsed() < Duration::from_secs(5), "a send took {:?}", asked.elapsed());
            served += 1;
        }
        served
    };
    let (answers, served) =
        within(PATIENCE, "the slow ones to be let go", async { futures_util::join!(join_all(slow), busy) }).await;
    assert!(served > 5, "{served}");
    let (heads, rest) = answers.split_at(100);
    // Too slow a head ends before there is a request, with a bare 408.
    assert!(heads.iter().flatten().all(|answer| answer.status == 408));
    let (bodies, unread) = rest.split_at(200);
    for answer in bodies {
        let answer = answer.as_ref().expect("a slow body is answered");
        assert_eq!(answer.problem(408)["type"], "/problems/request-timeout");
    }
    assert!(unread.iter().flatten().all(|answer| answer.status == 200));
    eventually(PATIENCE, "the connections to be gone", || async { (connections(&hub) < 10).then_some(()) }).await;
}

#[actix_web::test]
async fn later_requests_of_a_connection_are_waited_for_no_longer_than_its_first() {
    let setup = Setup::embedded().set("http.client_timeout", "1s").set("http.keep_alive", "2s");
    let hub = setup.start().await;
    let whole = request("GET", "/healthz", &[], None);
    let part = &whole[..whole.len() - 2];
    // With the first one, after it, and drip by drip; and one that sends nothing more.
    let together = [&whole[..], part].concat();
    let mut waiting = Vec::new();
    for (first, then, drip) in [
        (&together[..], &b""[..], &b""[..]),
        (&whole, part, b""),
        (&whole, part, b"x"),
        (&whole, b"", b"\r\n"),
        (&whole, b"", b""),
    ] {
        let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
        connection.write(first).await.expect("the hub reads");
        within(PATIENCE, "an answer", connection.read(false)).await.expect("an answer").expect(200);
        connection.write(then).await.expect("the hub reads");
        waiting.push(async move {
            loop {
                match tokio::time::timeout(Duration::from_millis(200), connection.read(false)).await {
                    Ok(answer) => return answer.expect_err("no request, no answer"),
                    Err(_) if connection.write(drip).await.is_err() => return io::ErrorKind::BrokenPipe.into(),
                    Err(_) => {}
                }
            }
        });
    }
    // A session, whose turn it always is, and somebody who waits stay.
    let mut session = Session::open(&hub, "").await;
    let patient = hub.call("GET", "/api/events/feed/hour/current", &[("Prefer", "wait=4")], None);
    let (patient, _) = futures_util::join!(patient, within(PATIENCE, "the late ones to be let go", join_all(waiting)));
    patient.expect(200);
    hub.register("t", "1h").await;
    let sent = hub.send("t", json!(1)).await;
    assert_eq!(session.event().await["id"], sent.id.as_str());
}

#[actix_web::test]
async fn answers_that_nobody_reads_are_bounded_and_given_back() {
    let hub = Setup::embedded().set("http.max_in_flight_bytes", "32MiB").start().await;
    hub.register("t", "1h").await;
    for _ in 0..17 {
        hub.send("t", json!("x".repeat(MIB - 100))).await;
    }
    let page = |limit: usize| request("GET", &format!("/api/events/feed/day/current?limit={limit}"), &[], None);
    hub.get("/api/events/feed/day/current?limit=5").await.expect(200);
    let before = hub.memory();
    // Pages of 16 MiB, each another one.
    let mut held = Vec::new();
    for n in 0..60 {
        let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
        connection.write(&page(100 + n)).await.expect("the hub reads");
        held.push(connection);
    }
    let refused = || async {
        let answer = hub.get("/api/events/feed/day/current?limit=200").await;
        (answer.status == 503).then_some(answer)
    };
    let refused = eventually(PATIENCE, "a page to be one too many", refused).await;
    assert_eq!(refused.problem(503)["type"], "/problems/overloaded");
    // What is small, or is sent, is not concerned.
    hub.get("/api/events/register").await.expect(200);
    hub.send("t", json!("small")).await;
    let grown = hub.memory().saturating_sub(before);
    // At most 8 are read at a time, each twice as large for a moment.
    assert!(grown < 500 * MIB, "60 pages of 16 MiB took {grown} bytes");
    drop(held);
    let given_back = || async { (hub.get("/api/events/feed/day/current?limit=201").await.status == 200).then_some(()) };
    eventually(PATIENCE, "the bytes to be given back", given_back).await;
}

#[actix_web::test]
async fn bytes_of_bodies_are_bounded_and_given_back() {
    let setup = Setup::embedded().set("http.max_in_flight_bytes", "8MiB");
    let hub = setup.start().await;
    hub.register("t", "1h").await;
    let before = hub.memory();
    let body = json!({"type": "t", "payload": "x".repeat(MIB - 100)}).to_string();
    let bytes = request("POST", "/api/events/send", &[JSON], Some(body.as_bytes()));
    let (most, rest) = bytes.split_at(bytes.len() - 10);
    let unfinished = async || {
        let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
        // One that is refused is read no further.
        let _ = within(PATIENCE, "the hub to read", connection.write(most)).await;
        connection
    };
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(unfinished().await);
    }
    // Others hear it at once; what has no body is not concerned.
    hub.get("/api/events/register").await.expect(200);
    let end = Instant::now() + PATIENCE;
    let refused = loop {
        let answer = hub.post("/api/events/send", &body).await;
        if answer.status == 503 {
            break answer;
        }
        assert!(Instant::now() < end, "waited in vain for a body to be one too many: {}", answer.status);
        // What they have written may still be on its way; those that were refused while more came in have left room.
        held.push(unfinished().await);
    };
    assert_eq!(refused.problem(503)["type"], "/problems/overloaded");
    let grown = hub.memory().saturating_sub(before);
    assert!(grown < 64 * MIB, "40 MiB of bodies took {grown} bytes");
    // Those that were let in are served when the rest comes.
    let answers = join_all(held.iter_mut().map(async |connection| {
        let early = tokio::time::timeout(Duration::from_millis(500), connection.read(false)).await;
        let answer = match early {
            Ok(answer) => answer,
            Err(_) => {
                connection.write(rest).await.ok();
                within(PATIENCE, "an answer", connection.read(false)).await
            }
        };
        answer.ok().map(|answer| answer.status)
    }));
    let answers = answers.await;
    let count = |status| answers.iter().filter(|answer| **answer == Some(status)).count();
    assert!((1..=8).contains(&count(202)) && count(503) >= 16, "{answers:?}");
    drop(held);
    hub.post("/api/events/send", &body).await.expect(202);
}

#[actix_web::test]
async fn heads_are_bounded() {
    let hub = Setup::embedded().start().await;
    let ask = async |headers: Vec<(String, String)>| -> io::Result<Response> {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut connection = Connection::open(hub.address()).await?;
        let bytes = request("GET", "/healthz", &headers, None);
        within(PATIENCE, "an answer", connection.exchange(&bytes)).await
    };
    let many = |n: usize| (0..n).map(|i| (format!("x-{i}"), "1".to_owned())).collect::<Vec<_>>();
    assert_eq!(ask(many(90)).await.expect("an answer").status, 200);
    // It may close while we are still writing.
    for headers in [many(97), vec![("x".to_owned(), "1".repeat(200_000))]] {
        let answer = ask(headers).await.map(|answer| answer.status);
        assert!(!matches!(answer, Ok(200..400)), "{answer:?}");
    }
    hub.get("/healthz").await.expect(200);
}

#[actix_web::test]
async fn at_twice_the_load_it_can_take_the_hub_sheds_the_rest_at_once() {
    const PLACES: usize = 32;
    let setup = Setup::embedded().set("http.max_in_flight", PLACES);
    let hub = setup.start().await;
    hub.register("t", "1h").await;
    let body = json!({"type": "t", "payload": "x".repeat(200)}).to_string();
    let bytes = request("POST", "/api/events/send", &[JSON], Some(body.as_bytes()));
    // What it can take: as many clients as places, each sending again when it is answered.
    let (accepted, shed) = load(&hub, PLACES, Duration::from_secs(3), &bytes).await;
    let able = accepted.len();
    assert!(shed.len() < able / 10, "{} of {able} shed below the limit", shed.len());
    let memory = hub.memory();
    // Twice as many.
    let during = async {
        let (mut slowest, mut peak, end) = (Duration::ZERO, 0, Instant::now() + Duration::from_secs(6));
        while Instant::now() < end {
            let asked = Instant::now();
            hub.get("/healthz").await.expect(200);
            slowest = slowest.max(asked.elapsed());
            peak = peak.max(hub.memory());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (slowest, peak)
    };
    let ((accepted, mut shed), (slowest, peak)) =
        futures_util::join!(load(&hub, 2 * PLACES, Duration::from_secs(6), &bytes), during);
    assert!(slowest < Duration::from_secs(5), "/healthz took {slowest:?}");
    assert!(!shed.is_empty(), "nothing was shed");
    shed.sort_unstable();
    let (median, most) = (shed[shed.len() / 2], shed[shed.len() * 95 / 100]);
    assert!(median < Duration::from_millis(500) && most < Duration::from_secs(1), "a 503 took {median:?}, {most:?}");
    // It works on all the while: in twice the time at least half of what it took alone.
    assert!(accepted.len() * 2 > able, "{} accepted under load, {able} without", accepted.len());
    let grown = peak.saturating_sub(memory);
    assert!(grown < 64 * MIB, "it grew by {grown} bytes");
    eprintln!(
        "accepted {} in 6 s ({able} in 3 s alone), shed {}, a 503 took {median:?}, grew by {grown}",
        accepted.len(),
        shed.len()
    );
    // What it promised it has.
    let stored: HashSet<_> = hub.walk("100days/current?limit=10000").await.into_iter().collect();
    assert!(accepted.iter().all(|id| stored.contains(id)));
}

/// So many clients for a time: ids that were accepted, and how long each 503 took. Nothing else may come.
async fn load(hub: &Hub, clients: usize, time: Duration, bytes: &[u8]) -> (Vec<String>, Vec<Duration>) {
    let end = Instant::now() + time;
    let one = async || {
        let (mut accepted, mut shed) = (Vec::new(), Vec::new());
        let mut connection = Connection::open(hub.address()).await.expect("the hub accepts connections");
        while Instant::now() < end {
            let asked = Instant::now();
            let answer = within(PATIENCE, "an answer", connection.exchange(bytes)).await.expect("an answer");
            if answer.status == 202 {
                accepted.push(sent(&answer.json()).id);
            } else {
                assert_eq!(answer.problem(503)["type"], "/problems/overloaded");
                shed.push(asked.elapsed());
                // As a client does that is not out to harm.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        (accepted, shed)
    };
    let all = join_all((0..clients).map(|_| one())).await;
    let (mut accepted, mut shed) = (Vec::new(), Vec::new());
    for (some, others) in all {
        accepted.extend(some);
        shed.extend(others);
    }
    (accepted, shed)
}
