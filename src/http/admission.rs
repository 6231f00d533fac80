//! In front of every resource: how much is let in, and what leaves.
//!
//! Each request in flight holds a body and waits for the store, so their number is bounded here for the
//! whole process; what comes beyond is told to come back (503) at once. What comes before the registry has been
//! read waits for that a moment, and is told the same when it comes to nothing. Probes of health are always let in. On the way out, errors that actix
//! answered by itself become problem documents.

use super::AppState;
use super::links::{API, is_host};
use super::problem::{self, PROBLEM_JSON, Problem};
use crate::error::{ApiError, Code};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest wait of a request for the first look at the registry.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// A request in flight; given back when it is answered or given up. A live session is answered once its
/// upgrade is, and has a bound of its own.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(state: &AppState) -> Result<Self, ApiError> {
        let place = Self(Arc::clone(&state.in_flight));
        let before = state.in_flight.fetch_add(1, Ordering::AcqRel);
        if before >= state.http.max_in_flight {
            return Err(ApiError::new(Code::Overloaded, format!("{before} requests are in flight")));
        }
        Ok(place)
    }
}

/// The place of the request at hand, among its extensions.
#[derive(Clone)]
struct Held(Rc<Cell<Option<Place>>>);

/// Gives back a request's place before it is answered: for one that only waits, and is bounded otherwise.
pub fn leave(req: &HttpRequest) {
    if let Some(held) = req.extensions().get::<Held>() {
        drop(held.0.take());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The middleware around all resources.
pub async fn admit(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let held = match enter(&req).await {
        Ok(place) => Held(Rc::new(Cell::new(place))),
        Err(error) => return Ok(req.into_response(dressed(Problem(error).error_response()))),
    };
    req.extensions_mut().insert(held.clone());
    let answer = next.call(req).await;
    drop(held.0.take());
    match answer {
        Ok(response) => {
            let (req, response) = response.map_into_boxed_body().into_parts();
            Ok(ServiceResponse::new(req, dressed(response)))
        }
        Err(error) => Err(Problem(problem::of_status(error.as_response_error().status_code())).into()),
    }
}

async fn enter(req: &ServiceRequest) -> Result<Option<Place>, ApiError> {
    let mut hosts = req.headers().get_all(HOST);
    let host = hosts.next();
    if hosts.next().is_some() || host.is_some_and(|h| !h.to_str().is_ok_and(is_host)) {
        return Err(ApiError::parameter("Host", "must be there once, as a name or an address with an optional port"));
    }
    if !req.path().starts_with(API) {
        return Ok(None);
    }
    let Some(state) = req.app_data::<web::Data<AppState>>() else { return Ok(None) };
    let place = Place::take(state)?;
    // Until then an unknown type means nothing: a feed would be empty and an event unknown, both untrue.
    // Boxed: only the first requests of a process wait.
    if !state.types.is_loaded() && !Box::pin(state.types.until_loaded(FIRST_LOOK)).await {
        return Err(ApiError::new(
            Code::StoreUnavailable,
            "the registered types have not been read from the store yet",
        ));
    }
    Ok(Some(place))
}

/// An answer as it leaves: errors are problem documents, and nobody guesses at its media type.
fn dressed(response: HttpResponse) -> HttpResponse {
    let status = response.status();
    let mut response = response;
    if (status.is_client_error() || status.is_server_error()) && !is_problem(&response) {
        if status.is_server_error() {
            log::error!("unexpected answer: status={}", status.as_u16());
        }
        let allow = response.headers().get(ALLOW).cloned();
        response = Problem(problem::of_status(status)).error_response();
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_problem(response: &HttpResponse) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM_JSON.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::Hub;
    use actix_web::test::TestRequest;

    #[actix_web::test]
    async fn beyond_the_bound_requests_are_told_to_come_back() {
        let hub = Hub::start().await;
        hub.state.in_flight.store(hub.state.http.max_in_flight, Ordering::Release);
        let (status, problem) = hub.json(TestRequest::get().uri("/api/events/register")).await;
        assert_eq!((status, problem["type"].as_str()), (503, Some("/problems/overloaded")));
        assert_eq!(hub.json(TestRequest::get().uri("/healthz")).await.0, 200);
        hub.state.in_flight.fetch_sub(1, Ordering::AcqRel);
        assert_eq!(hub.json(TestRequest::get().uri("/api/events/register")).await.0, 200);
        assert_eq!(hub.state.in_flight.load(Ordering::Acquire), hub.state.http.max_in_flight - 1);
    }

    #[test]
    fn errors_of_others_become_problem_documents() {
        for status in [400, 404, 411, 413, 431, 500, 503] {
            let other = HttpResponse::build(actix_web::http::StatusCode::from_u16(status).unwrap()).body("oops");
            let ours = dressed(other);
            assert!(is_problem(&ours), "{status}");
            assert!(ours.status().as_u16() / 100 == status / 100);
        }
        assert!(!is_problem(&dressed(HttpResponse::Ok().body("x"))));
    }
}
