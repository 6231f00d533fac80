//! Feeds that many ask for at the same time: looks at the store are shared, answers are not.

use crate::both_stores;
use crate::support::api::ids;
use crate::support::http::{self, Connection, Response};
use crate::support::hub::Hub;
use crate::support::wait::{PATIENCE, within};
use futures_util::future::{join_all, try_join_all};
use serde_json::json;
use std::cell::Cell;

both_stores!(those_who_share_a_look_get_answers_of_their_own, a_304_misses_nothing_that_was_accepted_before_it);

async fn ask(connection: &mut Connection, request: &[u8]) -> Response {
    within(PATIENCE, "an answer", connection.exchange(request)).await.expect("an answer")
}

async fn those_who_share_a_look_get_answers_of_their_own(hub: Hub) {
    hub.register("a", "1h").await;
    hub.register("b", "1h").await;
    hub.send_many("a", 3).await;
    let event = hub.send("b", json!(1)).await;
    hub.call("PUT", &format!("/api/events/{}/ok/c", event.id), &[], None).await.expect(200);
    let feed = |query: &str| format!("/api/events/feed/100days/current{query}");
    let tag = hub.get(&feed("")).await.header("etag").expect("a tag").to_owned();
    let cut = hub.get(&feed("?limit=2")).await.header("etag").expect("a tag").to_owned();
    let mut asked = Vec::new();
    for path in [
        feed(""),
        feed("?limit=2"),
        feed("?types=a"),
        feed("?types=b"),
        feed("/client/c"),
        feed("/client/c?status=processed"),
        feed("/client/d"),
        feed("?limit=0"),
        feed("/more"),
        "/api/events/feed/hour/9999-01-01T00:00:00Z".to_owned(),
    ] {
        for method in ["GET", "HEAD"] {
            for known in ["\"x\"", "*", &tag, &cut] {
                for host in ["hub.localhost", "other.localhost"] {
                    let headers = [("Host", host), ("If-None-Match", known)];
                    asked.push(http::request(method, &path, &headers, None));
                }
            }
        }
    }
    let mut connection = Connection::open(hub.address()).await.unwrap();
    let mut alone = Vec::new();
    for request in &asked {
        alone.push(seen(ask(&mut connection, request).await));
    }
    let statuses: Vec<_> = [200, 304, 400, 404].map(|status| alone.iter().filter(|a| a.0 == status).count()).into();
    assert!(statuses.iter().all(|count| *count > 10), "{statuses:?}");
    let together = asked.iter().zip(&alone).map(async |(request, alone)| {
        let mut connection = Connection::open(hub.address()).await.unwrap();
        for _ in 0..5 {
            let answer = seen(ask(&mut connection, request).await);
            assert_eq!(&answer, alone, "{}", String::from_utf8_lossy(request));
        }
    });
    join_all(together).await;
}

/// What an answer says; not when, and to which request.
fn seen(answer: Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers: Vec<_> =
        answer.headers.into_iter().filter(|(name, _)| name != "date" && name != "x-request-id").collect();
    headers.sort();
    (answer.status, headers, answer.body)
}

async fn a_304_misses_nothing_that_was_accepted_before_it(hub: Hub) {
    hub.register("t", "1h").await;
    hub.send("t", json!(0)).await;
    let path = "/api/events/feed/100days/current?limit=1";
    let (done, answers) = (Cell::new(false), Cell::new(0));
    // Many who poll without a pause: there is always a look under way that began before the next event.
    let crowd = (0..16).map(async |_| {
        let mut connection = Connection::open(hub.address()).await?;
        let mut tag = String::from("\"\"");
        while !done.get() {
            let answer = connection.exchange(&http::request("GET", path, &[("If-None-Match", &tag)], None)).await?;
            assert!(matches!(answer.status, 200 | 304), "{}", answer.status);
            tag = answer.header("etag").expect("a tag").to_owned();
            answers.set(answers.get() + 1);
        }
        std::io::Result::Ok(())
    });
    let reader = async {
        let mut connection = Connection::open(hub.address()).await?;
        let mut tag = hub.get(path).await.header("etag").expect("a tag").to_owned();
        for n in 1..=100 {
            let sent = hub.send("t", json!(n)).await;
            let request = http::request("GET", path, &[("If-None-Match", &tag)], None);
            let answer = connection.exchange(&request).await?.expect(200);
            assert_eq!(ids(&answer.json()), [sent.id]);
            tag = answer.header("etag").expect("a tag").to_owned();
        }
        done.set(true);
        std::io::Result::Ok(())
    };
    let (crowd, reader) = within(PATIENCE, "all answers", async { tokio::join!(try_join_all(crowd), reader) }).await;
    crowd.unwrap();
    reader.unwrap();
    assert!(answers.get() > 100, "{}", answers.get());
}
