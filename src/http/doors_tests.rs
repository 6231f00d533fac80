//! Every door, tried with every scope, without a token and with a wrong one.

use super::*;
use crate::access::{Token, TokenHash};
use crate::http::app;
use crate::http::testing::Hub;
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::test::{TestRequest, call_service, init_service};

/// A token whose text is its scope's name, one for all scopes, and one that is good for nothing.
fn tokens() -> Vec<Token> {
    let token = |name: &str, scopes: &[Scope]| Token {
        name: name.to_owned(),
        hash: TokenHash::of(name),
        scopes: scopes.iter().copied().collect(),
        types: None,
        client: None,
        limiter: None,
    };
    let mut tokens: Vec<_> = Scope::ALL.iter().map(|scope| token(scope.as_str(), &[*scope])).collect();
    tokens.extend([token("all", &Scope::ALL), token("none", &[])]);
    tokens
}

/// A path that the pattern matches, of things that are not there.
fn example(path: &str) -> String {
    let values = [("{type}", "a:b"), ("{name}", "s"), ("{slice}", "hour"), ("{at}", "current"), ("{client}", "7")];
    let path = path.replace("{id:[0-9]+}", "123").replace("{file}", "start.js");
    values.iter().fold(path, |path, (from, to)| path.replace(from, to))
}

fn knock(method: &str, path: &str, token: Option<&str>) -> TestRequest {
    let live = method == LIVE;
    let method = Method::from_bytes(if live { b"GET" } else { method.as_bytes() }).unwrap();
    let mut request = TestRequest::with_uri(&example(path)).method(method);
    if live {
        request = request.insert_header(("accept", "text/event-stream"));
    }
    match token {
        Some(token) => request.insert_header(("authorization", format!("Bearer {token}"))),
        None => request,
    }
}

async fn served(hub: &Hub) -> impl Service<actix_http::Request, Response = ServiceResponse<BoxBody>, Error = Error> {
    let app = app(hub.state.clone());
    init_service(app).await
}

#[actix_web::test]
async fn every_door_asks_for_its_scope_and_no_other() {
    let hub = Hub::start().await;
    hub.state.access.replace(tokens());
    let app = served(&hub).await;
    for Door { method, path, needs } in DOORS {
        let ask = async |token: Option<&str>| {
            let response = call_service(&app, knock(method, path, token).to_request()).await;
            (response.status().as_u16(), response.headers().get("www-authenticate").cloned())
        };
        let what = |token: Option<&str>| format!("{method} {path} with {token:?}");
        for token in [None, Some("wrong"), Some("")] {
            let (status, authenticate) = ask(token).await;
            if *needs == Needs::Nothing {
                assert!(!matches!(status, 401 | 403), "{}: {status}", what(token));
            } else {
                assert_eq!(status, 401, "{}", what(token));
                assert_eq!(authenticate.unwrap(), "Bearer", "{}", what(token));
            }
        }
        for scope in Scope::ALL {
            let (status, _) = ask(Some(scope.as_str())).await;
            let enough = match needs {
                Needs::Nothing | Needs::Token => true,
                Needs::One(scopes) => scopes.contains(&scope),
            };
            assert_eq!(status != 403, enough, "{}: {status}", what(Some(scope.as_str())));
            assert!(status != 401 && status != 405 && status < 500, "{}: {status}", what(Some(scope.as_str())));
        }
        let (status, _) = ask(Some("none")).await;
        assert_eq!(status == 403, matches!(needs, Needs::One(_)), "{}", what(Some("none")));
    }
}

#[actix_web::test]
async fn every_method_of_a_resource_has_a_door() {
    let hub = Hub::start().await;
    hub.state.access.replace(tokens());
    let app = served(&hub).await;
    for Door { path, .. } in DOORS {
        // Which methods there are is no secret.
        let options = call_service(&app, knock("OPTIONS", path, None).to_request()).await;
        assert_eq!(options.status().as_u16(), 204, "{path}");
        let allow = options.headers().get("allow").unwrap().to_str().unwrap().to_owned();
        for method in allow.split(", ") {
            let status = call_service(&app, knock(method, path, Some("all")).to_request()).await.status().as_u16();
            assert!(!matches!(status, 401 | 403 | 405), "{method} {path}: {status}");
        }
        let status = call_service(&app, knock("TRACE", path, None).to_request()).await.status().as_u16();
        assert_eq!(status, 405, "{path}");
    }
}

#[actix_web::test]
async fn another_spelling_of_a_path_is_the_same_door() {
    let hub = Hub::start().await;
    hub.state.access.replace(tokens());
    let app = served(&hub).await;
    for path in [
        "/api/events/register/",
        "/api/events/%72egister",
        "/api/events/register/a%3Ab",
        "/api/events/streams/a%2Fb/s",
        "/api/events/%31%32%33",
    ] {
        let response = call_service(&app, knock("GET", path, Some("send")).to_request()).await;
        // Either it is that door, or there is nothing at all.
        let status = response.status().as_u16();
        assert!(matches!(status, 403 | 404), "{path}: {status}");
        if status == 404 {
            let body = actix_web::test::read_body(response).await;
            assert!(String::from_utf8_lossy(&body).contains("there is nothing at"), "{path}");
        }
    }
}

#[test]
fn what_is_not_in_the_table_stays_shut() {
    let doors = Doors::of("/new", "GET, HEAD, OPTIONS");
    assert_eq!((doors.needs("GET"), doors.needs("HEAD")), (None, None));
    assert_eq!((doors.needs("OPTIONS"), doors.needs("PUT")), (Some(Needs::Nothing), Some(Needs::Nothing)));
    let mut rows: Vec<_> = DOORS.iter().map(|door| (door.path, door.method)).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), DOORS.len());
}
