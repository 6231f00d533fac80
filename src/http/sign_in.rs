//! `/api/session`: a page signs in with a token and gets a cookie instead, which its scripts cannot read.

use super::links::is_https;
use super::{AppState, Problem, answer, authorise, body, json, origin};
use crate::access::{Caller, Scope, seal};
use crate::error::{ApiError, Code};
use actix_web::http::header::{CACHE_CONTROL, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// The cookie's name.
pub const NAME: &str = "event-source-session";
/// How long, in seconds, somebody stays signed in.
const HOURS_12: u64 = 12 * 3600;

/// `POST {"token": TOKEN}`: signs in; what the token is for, and the cookie.
pub async fn post(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    check_page(&req, &state)?;
    let body = body::read(&req, payload, &state.http).await?;
    let text = body::text(&body)?;
    let mut members = json::members(text, &["token"]).map_err(|e| json::malformed(&e))?;
    json::check_depth(text, state.http.max_depth)?;
    let [token] = members.values;
    let token = token.map(json::string);
    match token {
        None => members.wrong("/token", "is required"),
        Some(None) => members.wrong("/token", "must be a string"),
        Some(Some(_)) => {}
    }
    members.finish()?;
    let token = token.flatten().unwrap_or_default();
    if state.access.is_open() {
        return Ok(shown(&Caller::anyone()));
    }
    let unknown = || ApiError::new(Code::Unauthorized, "the token is not known");
    let caller = state.access.find(&token).ok_or_else(unknown)?;
    let cookie = seal(&token, authorise::unix_seconds() + HOURS_12);
    let cookie = cookie.ok_or_else(|| ApiError::new(Code::Internal, "the cookie could not be made"))?;
    let mut response = shown(&caller);
    set_cookie(&cookie, HOURS_12, &req, &state, &mut response);
    Ok(response)
}

/// A page of another origin does not sign a browser in or out.
fn check_page(req: &HttpRequest, state: &AppState) -> Result<(), ApiError> {
    if origin::is_from_page(req) { origin::check_own(req, &state.http) } else { Ok(()) }
}

/// `GET`: what the token or cookie that comes with it is for.
pub async fn get(caller: Caller) -> HttpResponse {
    shown(&caller)
}

/// `DELETE`: signs out.
pub async fn delete(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    check_page(&req, &state)?;
    body::discard(&req, payload, &state.http).await;
    let mut response = HttpResponse::NoContent().finish();
    set_cookie("", 0, &req, &state, &mut response);
    Ok(response)
}

/// `{"name", "scopes", "types", "client"}`; `null` for what is not limited, and for the name of somebody who was not
/// asked for it.
fn shown(caller: &Caller) -> HttpResponse {
    let token = caller.token();
    let scopes: Vec<_> = Scope::ALL.into_iter().filter(|scope| caller.may(*scope)).map(Scope::as_str).collect();
    let body = json!({
        "name": token.map(|token| token.name.as_str()),
        "scopes": scopes,
        "types": token.and_then(|token| token.types.as_ref()).map(|types| types.patterns()),
        "client": caller.client().map(|client| client.as_str()),
    });
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    answer::json(response, body.to_string().into_bytes())
}

fn set_cookie(value: &str, seconds: u64, req: &HttpRequest, state: &AppState, response: &mut HttpResponse) {
    // Over plain HTTP a browser would not send it back.
    let secure = if is_https(req, &state.http) { "; Secure" } else { "" };
    let cookie = format!("{NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Cookies of the name that are looked at.
const COOKIES: usize = 4;

/// The values of the cookie, the first few of them: one that another path or domain was given stands beside it.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(|(name, value)| *name == NAME && !value.is_empty()).map(|(_, value)| value).take(COOKIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = |headers: &HeaderMap| cookies(headers).map(str::to_owned).collect::<Vec<_>>();
        let mut headers = HeaderMap::new();
        assert!(found(&headers).is_empty());
        headers.append(COOKIE, HeaderValue::from_static("a=b; event-source-session=; x"));
        assert!(found(&headers).is_empty());
        headers.append(COOKIE, HeaderValue::from_static("event-source-session2=no;event-source-session=yes"));
        assert_eq!(found(&headers), ["yes"]);
        for _ in 0..10 {
            headers.append(COOKIE, HeaderValue::from_static("event-source-session=more"));
        }
        assert_eq!(found(&headers), ["yes", "more", "more", "more"]);
    }
}
