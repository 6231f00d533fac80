//! At the door of every resource: who knocks, whether he may come in, and whether he comes too often.
//!
//! A token comes as `Authorization: Bearer TOKEN`; from a browser's WebSocket, which cannot set headers, as the
//! subprotocols `bearer, TOKEN`; from a page that has signed in as a cookie. Never in a URL, which ends up in logs.

use super::doors::{Doors, LIVE, Needs};
use super::{AppState, Problem, accept, admission, live, origin, sign_in};
use crate::access::{Caller, Standing, unseal};
use crate::error::{ApiError, Code};
use actix_web::body::BoxBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, VARY};
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, ResponseError, web};
use futures_util::future::{Either, LocalBoxFuture};
use std::future::{Ready, ready};
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The subprotocol that says that the next one is a token.
pub const BEARER: &str = "bearer";
/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl<S> Transform<S, ServiceRequest> for Doors
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type InitError = ();
    type Transform = Entrance<S>;
    type Future = Ready<Result<Entrance<S>, ()>>;

    fn new_transform(&self, resource: S) -> Self::Future {
        ready(Ok(Entrance { doors: self.clone(), resource: Rc::new(resource) }))
    }
}

/// A resource behind its doors.
pub struct Entrance<S> {
    doors: Doors,
    resource: Rc<S>,
}

impl<S> Service<ServiceRequest> for Entrance<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    // The right one when something is to be said on the way out.
    type Future = Either<S::Future, LocalBoxFuture<'static, Result<ServiceResponse<BoxBody>, Error>>>;

    actix_web::dev::forward_ready!(resource);

    fn call(&self, req: ServiceRequest) -> Self::Future {
        let mut rate = None;
        match admit(&self.doors, req.request(), &mut rate) {
            Ok(caller) if caller.token().is_none() => {
                req.extensions_mut().insert(caller);
                Either::Left(self.resource.call(req))
            }
            admitted => {
                let resource = Rc::clone(&self.resource);
                Either::Right(Box::pin(async move {
                    let mut response = serve(req, admitted, &*resource).await?;
                    if let Some(rate) = rate {
                        rate.write(response.headers_mut());
                    }
                    Ok(response)
                }))
            }
        }
    }
}

/// Serves a request with a token, or refuses it.
async fn serve<S>(
    mut req: ServiceRequest,
    admitted: Result<Caller, ApiError>,
    resource: &S,
) -> Result<ServiceResponse<BoxBody>, Error>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    match admitted {
        Ok(caller) => {
            req.extensions_mut().insert(caller);
            let mut response = resource.call(req).await?;
            // Who signs in with another token gets nothing that his browser has kept from before.
            response.headers_mut().append(VARY, HeaderValue::from_static("Authorization, Cookie"));
            Ok(response)
        }
        Err(error) => {
            admission::pass_over(&mut req).await;
            Ok(req.into_response(Problem(error).error_response()))
        }
    }
}

fn admit(doors: &Doors, req: &HttpRequest, rate: &mut Option<RateHeaders>) -> Result<Caller, ApiError> {
    let get = req.method() == Method::GET;
    let session = doors.is_entry() && get && (live::wants_websocket(req) || accept::wants_events(req));
    let needs = doors.needs(if session { LIVE } else { req.method().as_str() });
    let needs = needs.ok_or_else(|| ApiError::new(Code::Forbidden, "nobody may do this"))?;
    let state = req.app_data::<web::Data<AppState>>();
    let state = state.ok_or_else(|| ApiError::new(Code::Internal, "the resource has no state"))?;
    if needs == Needs::Nothing || state.access.is_open() {
        return Ok(Caller::anyone());
    }
    let caller = identify(req, state)?;
    if let Some(limiter) = caller.token().and_then(|token| token.limiter.as_ref()) {
        let standing = limiter.take(Instant::now());
        *rate = Some(RateHeaders { standing, burst: limiter.rate.burst.get(), window: limiter.rate.window() });
        if let Some(wait) = standing.wait {
            let detail = format!("the token may be used {} times a second", limiter.rate.per_second);
            let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
            return Err(ApiError { retry_after: Some(seconds), ..ApiError::new(Code::TooManyRequests, detail) });
        }
    }
    match needs {
        Needs::One(scopes) if !scopes.iter().any(|scope| caller.may(*scope)) => {
            let names: Vec<_> = scopes.iter().map(|scope| scope.as_str()).collect();
            Err(ApiError::new(Code::Forbidden, format!("this needs the scope {}", names.join(" or "))))
        }
        _ => Ok(caller),
    }
}

/// Who sent the request.
///
/// # Errors
/// 401 without a token that is known, 403 for a page that uses another origin's cookie.
pub fn identify(req: &HttpRequest, state: &AppState) -> Result<Caller, ApiError> {
    let unknown = |detail: &str| ApiError::new(Code::Unauthorized, detail);
    if let Some(token) = bearer(req)? {
        return state.access.find(token).ok_or_else(|| unknown("the token is not known"));
    }
    let mut cookies = sign_in::cookies(req.headers()).peekable();
    if cookies.peek().is_some() {
        origin::check_own(req, &state.http)?;
        let now = unix_seconds();
        let caller = cookies.find_map(|cookie| unseal(cookie, &state.access, now));
        return caller.ok_or_else(|| unknown("the session has ended; sign in again"));
    }
    Err(unknown("send Authorization: Bearer TOKEN"))
}

/// The token of a header.
fn bearer(req: &HttpRequest) -> Result<Option<&str>, ApiError> {
    let malformed = || ApiError::new(Code::Unauthorized, "Authorization must be there once, as Bearer TOKEN");
    let mut values = req.headers().get_all(AUTHORIZATION);
    if let Some(value) = values.next() {
        let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
        let token = token.trim();
        if values.next().is_some() || !scheme.eq_ignore_ascii_case(BEARER) || token.is_empty() {
            return Err(malformed());
        }
        return Ok(Some(token));
    }
    if !live::wants_websocket(req) {
        return Ok(None);
    }
    let offered = req.headers().get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    if offered.next() != Some(BEARER) {
        return Ok(None);
    }
    let token = offered.next().filter(|token| !token.is_empty());
    token.map(Some).ok_or_else(|| ApiError::new(Code::Unauthorized, "the subprotocols must be bearer, TOKEN"))
}

/// What the cookies' times are measured by.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

struct RateHeaders {
    standing: Standing,
    burst: u32,
    window: u64,
}

impl RateHeaders {
    fn write(&self, headers: &mut HeaderMap) {
        let reset = self.standing.full.as_millis().div_ceil(1000);
        let policy = format!("\"token\";q={};w={}", self.burst, self.window);
        let limit = format!("\"token\";r={};t={reset}", self.standing.left);
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Whoever came in by the door.
impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = req.extensions().get::<Self>().cloned();
        // Only a handler without a door comes here.
        ready(caller.ok_or_else(|| ApiError::new(Code::Unauthorized, "nobody was asked for a token").into()))
    }
}

#[cfg(test)]
#[path = "authorise_tests.rs"]
mod tests;
