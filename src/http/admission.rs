//! In front of every resource: how much is let in, and what leaves.
//!
//! Each request in flight holds a body and waits for the store, so their number is bounded here for the whole process,
//! and so are the bytes of their bodies; what comes beyond is told to come back (503) at once. What comes before the
//! registry has been read waits for that a moment, and is told the same when it comes to nothing. Probes of health are
//! always let in. What a page of another origin may not do, and names by which this hub is not known, end here as well. On
//! the way out, errors that actix answered by itself become problem documents.

use super::links::{API, is_host};
use super::problem::{self, PROBLEM_JSON, Problem};
use super::socket::PeerSocket;
use super::{AppState, cors, host, page};
use crate::error::{ApiError, Code};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse, ResponseError, web};
use futures_util::StreamExt;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A body that is let go by when its request is refused, in bytes, and how long it may take.
const SMALL: usize = 64 << 10;
const AT_ONCE: Duration = Duration::from_millis(250);
/// Other things that a page may ask for.
const SESSION: &str = "/api/session";
/// How long a client that has been answered may go on sending what nobody reads.
const LINGER: Duration = Duration::from_secs(1);
/// Longest wait of a request for the first look at the registry.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// A request in flight; given back when it is answered or given up. A live session is answered once its
/// upgrade is, and has a bound of its own.
struct Place {
    requests: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    /// Bytes of its body that have arrived.
    held: usize,
}

impl Place {
    fn take(state: &AppState) -> Result<Self, ApiError> {
        let (requests, bytes) = (Arc::clone(&state.in_flight), Arc::clone(&state.in_flight_bytes));
        let before = requests.fetch_add(1, Ordering::AcqRel);
        let place = Self { requests, bytes, held: 0 };
        if before >= state.http.max_in_flight {
            return Err(ApiError::new(Code::Overloaded, format!("{before} requests are in flight")));
        }
        Ok(place)
    }

    fn hold(&mut self, more: usize, limit: usize) -> Result<(), ApiError> {
        let before = self.bytes.fetch_add(more, Ordering::AcqRel);
        self.held += more;
        if before.saturating_add(more) > limit {
            return Err(ApiError::new(Code::Overloaded, format!("{before} bytes of bodies are in flight")));
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.requests.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(self.held, Ordering::AcqRel);
    }
}

/// What is known of the request at hand, among its extensions.
#[derive(Clone, Default)]
struct Held(Rc<Holding>);

#[derive(Default)]
struct Holding {
    place: Cell<Option<Place>>,
    /// Its body has been read to the end.
    read: Cell<bool>,
}

/// Gives back a request's place before it is answered: for one that only waits, and is bounded otherwise.
pub fn leave(req: &HttpRequest) {
    if let Some(held) = req.extensions().get::<Held>() {
        drop(held.0.place.take());
    }
}

/// Counts bytes of a request's body that have arrived, until it is answered.
///
/// # Errors
/// 503 when these are more than may be in flight.
pub fn hold(req: &HttpRequest, bytes: usize, limit: usize) -> Result<(), ApiError> {
    let extensions = req.extensions();
    let Some(held) = extensions.get::<Held>() else { return Ok(()) };
    let Some(mut place) = held.0.place.take() else { return Ok(()) };
    let done = place.hold(bytes, limit);
    held.0.place.set(Some(place));
    done
}

/// A request's body has been read to the end.
pub fn read(req: &HttpRequest) {
    if let Some(held) = req.extensions().get::<Held>() {
        held.0.read.set(true);
    }
}

/// Lets a request in, or answers it.
pub async fn admit(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let held = Held::default();
    let mut req = req;
    match enter(&req).await {
        Ok(Admission::Resource(place)) => held.0.place.set(place),
        Ok(Admission::Answered(response)) => return Ok(leaving(req.into_response(response))),
        Err(error) => {
            pass_over(&mut req).await;
            return Ok(leaving(req.into_response(Problem(error).error_response())));
        }
    }
    req.extensions_mut().insert(held.clone());
    let answer = next.call(req).await;
    drop(held.0.place.take());
    match answer {
        Ok(response) => {
            let mut response = leaving(response.map_into_boxed_body());
            if !held.0.read.get() {
                dismiss(&mut response);
            }
            Ok(response)
        }
        Err(error) => Err(Problem(problem::of_status(error.as_response_error().status_code())).into()),
    }
}

/// Lets the body of a request that is refused go by, if it is small and there at once, so that its connection can go on:
/// one that must be opened anew costs a busy hub more than the refusal.
pub async fn pass_over(req: &mut ServiceRequest) {
    let length = req.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if !length.is_some_and(|length| (1..=SMALL).contains(&length)) {
        return;
    }
    let mut payload = req.take_payload();
    let _ = tokio::time::timeout(AT_ONCE, async { while let Some(Ok(_)) = payload.next().await {} }).await;
}

/// What comes of a request before its resource.
enum Admission {
    /// It goes on, with a place if it needs one.
    Resource(Option<Place>),
    /// It is answered already.
    Answered(HttpResponse),
}

async fn enter(req: &ServiceRequest) -> Result<Admission, ApiError> {
    let mut hosts = req.headers().get_all(HOST);
    let named = hosts.next();
    if hosts.next().is_some() || named.is_some_and(|h| !h.to_str().is_ok_and(is_host)) {
        return Err(ApiError::parameter("Host", "must be there once, as a name or an address with an optional port"));
    }
    let Some(state) = req.app_data::<web::Data<AppState>>() else { return Ok(Admission::Resource(None)) };
    host::check(req.request(), state)?;
    if let Some(response) = cors::preflight(req.request(), &state.http) {
        return Ok(Admission::Answered(response));
    }
    cors::check(req.request(), &state.http)?;
    if !req.path().starts_with(API) {
        let counted = req.path().starts_with(SESSION);
        return Ok(Admission::Resource(counted.then(|| Place::take(state)).transpose()?));
    }
    let place = Place::take(state)?;
    // Until then an unknown type means nothing: a feed would be empty and an event unknown, both untrue.
    // Boxed: only the first requests of a process wait.
    if !state.types.is_loaded() && !Box::pin(state.types.until_loaded(FIRST_LOOK)).await {
        return Err(ApiError::new(
            Code::StoreUnavailable,
            "the registered types have not been read from the store yet",
        ));
    }
    Ok(Admission::Resource(Some(place)))
}

/// An answer on its way out: what browsers may do with it, too.
fn leaving(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let (req, response) = response.into_parts();
    let mut response = dressed(response);
    if let Some(state) = req.app_data::<web::Data<AppState>>() {
        cors::dress(&req, &state.http, response.headers_mut());
    }
    ServiceResponse::new(req, response)
}

/// Ends the connection of a client whose body was not read to the end: one of a length is left to actix, which closes
/// it in a second; of one in chunks it would read the rest, however slowly that comes.
fn dismiss(response: &mut ServiceResponse<BoxBody>) {
    let chunked = response.request().headers().contains_key(TRANSFER_ENCODING);
    let Some(socket) = response.request().conn_data::<PeerSocket>().filter(|_| chunked).cloned() else { return };
    response.response_mut().head_mut().set_connection_type(actix_http::ConnectionType::Close);
    actix_web::rt::spawn(async move {
        tokio::time::sleep(LINGER).await;
        socket.cut();
    });
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
    page::secure(response.headers_mut());
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
