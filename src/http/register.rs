//! `/api/events/register`: the types, their lifetimes and their streams.

use super::json::{self, write_str};
use super::links::{API, Base, Link, write_encoded, write_links};
use super::{AppState, Problem, answer, body};
use crate::access::Caller;
use crate::error::{ApiError, FieldError};
use crate::event::{EventType, Malformed, StreamName, Ttl};
use crate::registry::{Learn, Register, Registered, TypeEntry, Unregister};
use crate::streams::{Secrets, StreamSettings, StreamSpec, parse_streams};
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use std::sync::Arc;

/// `PUT /register`: registers a type, or replaces its registration.
pub async fn put(
    req: HttpRequest,
    caller: Caller,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let body = body::read(&req, payload, &state.http).await?;
    let register = read(body::text(&body)?, state.http.max_depth, &state.streams)?;
    caller.check_type(&register.name)?;
    let done = state.registry.register.send(register).await??;
    let Registered { created, entry, .. } = &done;
    log::info!("type registered: type={} created={created} streams={}", entry.name, entry.streams.len());
    let base = Base::of(&req, &state.http);
    let mut out = Vec::with_capacity(512);
    write_type(&done.entry, &done.new_secrets, &base, &mut out);
    let mut response = if done.created { HttpResponse::Created() } else { HttpResponse::Ok() };
    if done.created
        && let Ok(location) = HeaderValue::from_str(&url(&base, &done.entry.name))
    {
        response.insert_header((LOCATION, location));
    }
    Ok(answer::read(response, out))
}

/// `GET /register`: all registered types, by name.
pub async fn list(req: HttpRequest, caller: Caller, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let mut types = state.types.matching(&caller.all_types());
    types.retain(|entry| entry.registered);
    types.sort_by(|a, b| a.name.cmp(&b.name));
    let base = Base::of(&req, &state.http);
    let mut out = Vec::with_capacity(64 + types.len() * 512);
    out.extend_from_slice(b"{\"types\":[");
    for (n, entry) in types.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_type(entry, &[], &base, &mut out);
    }
    out.extend_from_slice(b"],\"links\":");
    write_links(&[Link::new("self", base.url(&format!("{API}/register")))], &mut out);
    out.push(b'}');
    Ok(answer::read(HttpResponse::Ok(), out))
}

/// `GET /register/{type}`.
pub async fn get(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String,)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let name = name(&path.0)?;
    caller.check_type(&name)?;
    let entry = match registered(&state, &name) {
        Some(entry) => Some(entry),
        // Another node may have registered it a moment ago.
        None => match state.store.get_type(&name).await?.filter(|record| record.registered) {
            Some(record) => {
                state.registry.learn.send(Learn(vec![record])).await?;
                registered(&state, &name)
            }
            None => None,
        },
    };
    let entry = entry.ok_or_else(|| ApiError::not_found(format!("{name} is not registered")))?;
    let mut out = Vec::with_capacity(512);
    write_type(&entry, &[], &Base::of(&req, &state.http), &mut out);
    Ok(answer::read(HttpResponse::Ok(), out))
}

/// `DELETE /register/{type}`.
pub async fn delete(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String,)>,
    payload: web::Payload,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    body::discard(&req, payload, &state.http).await;
    let name = name(&path.0)?;
    caller.check_type(&name)?;
    state.registry.unregister.send(Unregister(name.clone())).await??;
    log::info!("type deleted: type={name}");
    Ok(HttpResponse::NoContent().finish())
}

fn registered(state: &AppState, name: &EventType) -> Option<Arc<TypeEntry>> {
    state.types.get(name.as_str()).filter(|entry| entry.registered)
}

/// What cannot be a type's name is the name of no type.
fn name(text: &str) -> Result<EventType, ApiError> {
    text.parse().map_err(|e| ApiError::not_found(format!("no such type: {e}")))
}

fn url(base: &Base<'_>, name: &EventType) -> String {
    let mut path = format!("{API}/register/");
    write_encoded(name.as_str(), &mut path);
    base.url(&path)
}

/// Reads the body of a registration; what is wrong is all said at once.
fn read(text: &str, max_depth: usize, settings: &StreamSettings) -> Result<Register, ApiError> {
    let mut members = json::members(text, &["type", "ttl", "streams"]).map_err(|e| json::malformed(&e))?;
    json::check_depth(text, max_depth)?;
    if members.errors.iter().any(|e| e.pointer.is_empty()) {
        return Err(ApiError::invalid(members.errors));
    }
    let [name, ttl, streams] = members.values;
    let name: Option<EventType> = parsed(name, "/type", &mut members.errors);
    let ttl: Option<Ttl> = parsed(ttl, "/ttl", &mut members.errors);
    let streams = match streams.map_or(Ok(Vec::new()), |raw| specs(raw, settings)) {
        Ok(specs) => specs,
        Err(errors) => {
            members.errors.extend(errors);
            Vec::new()
        }
    };
    match (name, ttl) {
        (Some(name), Some(ttl)) if members.errors.is_empty() => Ok(Register { name, ttl, streams }),
        _ => Err(ApiError::invalid(members.errors)),
    }
}

fn parsed<T: std::str::FromStr<Err = Malformed>>(
    raw: Option<&str>,
    pointer: &str,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    let result = match raw.map(json::string) {
        None => Err("is required".to_owned()),
        Some(None) => Err("must be a string".to_owned()),
        Some(Some(text)) => text.parse().map_err(|e: Malformed| e.to_string()),
    };
    result.map_err(|detail| errors.push(FieldError::new(pointer, detail))).ok()
}

fn specs(raw: &str, settings: &StreamSettings) -> Result<Vec<StreamSpec>, Vec<FieldError>> {
    let wrong = |detail: String| vec![FieldError::new("/streams", detail)];
    if !json::is_array(raw) {
        return Err(wrong("must be an array of streams".into()));
    }
    // Numbers out of range, lone surrogates and nesting beyond the reader's own bound end up here.
    let value: Value = serde_json::from_str(raw).map_err(|e| wrong(e.to_string()))?;
    parse_streams(&value, settings)
}

/// Appends a type as it is registered. Secrets of the streams in `shown` are there to be read.
fn write_type(entry: &TypeEntry, shown: &[StreamName], base: &Base<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":");
    write_str(entry.name.as_str(), out);
    out.extend_from_slice(b",\"ttl\":");
    write_str(entry.ttl.as_str(), out);
    out.extend_from_slice(b",\"streams\":[");
    for (n, stream) in entry.streams.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        let secrets = if shown.contains(&stream.spec.name) { Secrets::Shown } else { Secrets::Masked };
        // A tree of JSON values can always be written.
        let _ = serde_json::to_writer(&mut *out, &stream.spec.to_json(secrets));
    }
    out.extend_from_slice(b"],\"links\":");
    let mut feed = format!("{API}/feed/hour/current?types=");
    write_encoded(entry.name.as_str(), &mut feed);
    write_links(&[Link::new("self", url(base, &entry.name)), Link::new("feed", base.url(&feed))], out);
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::http::testing::json_text;
    use crate::streams::testing;
    use proptest::prelude::*;

    fn pointers(text: &str) -> Vec<String> {
        let error = read(text, 128, &testing::settings()).unwrap_err();
        assert_eq!(error.code, Code::Invalid, "{text}");
        error.errors.into_iter().map(|e| e.pointer).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        assert_eq!(pointers("{}"), ["/type", "/ttl"]);
        assert_eq!(pointers(r#"{"type":"a b","ttl":5,"streams":{},"tll":1}"#), ["/tll", "/type", "/ttl", "/streams"]);
        assert_eq!(pointers(r#"{"type":"a","ttl":"forever"}"#), ["/ttl"]);
        assert_eq!(pointers(r#"{"type":"a","ttl":"1s","streams":null}"#), ["/streams"]);
        assert_eq!(pointers(r#"{"type":"a","ttl":"1s","streams":[1e999]}"#), ["/streams"]);
        assert_eq!(pointers("[]"), [""]);
    }

    #[test]
    fn a_type_and_a_lifetime_are_enough() {
        let register = read(r#"{"ttl":"2 weeks","type":"a:b"}"#, 128, &testing::settings()).unwrap();
        assert_eq!((register.name.as_str(), register.ttl.as_str()), ("a:b", "2 weeks"));
        assert!(register.streams.is_empty());
    }

    #[test]
    fn deep_and_broken_bodies_have_codes_of_their_own() {
        let deep = format!("{{\"streams\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
        let code = |text: &str| read(text, 128, &testing::settings()).unwrap_err().code;
        assert_eq!(code(&deep), Code::TooDeep);
        assert_eq!(code("{\"type\""), Code::MalformedJson);
    }

    proptest! {
        #[test]
        fn no_registration_panics_and_what_is_wrong_has_a_place(
            streams in json_text(),
            ty in "[a:. ]{0,4}",
            ttl in "(permanent|ephemeral|[0-9]{1,4} ?(s|min|h|days|ms|x))",
        ) {
            let text = format!("{{\"type\":\"{ty}\",\"ttl\":\"{ttl}\",\"streams\":{streams}}}");
            match read(&text, 128, &testing::settings()) {
                Ok(register) => {
                    prop_assert_eq!((register.name.as_str(), register.ttl.as_str()), (ty.as_str(), ttl.as_str()));
                    prop_assert!(streams.starts_with('[') && register.streams.is_empty(), "{}", streams);
                }
                Err(error) => {
                    prop_assert_eq!(error.code, Code::Invalid);
                    prop_assert!(!error.errors.is_empty());
                    for wrong in &error.errors {
                        let known = ["/type", "/ttl", "/streams"].iter().any(|place| wrong.pointer.starts_with(place));
                        prop_assert!(known && !wrong.detail.is_empty(), "{:?}", wrong);
                    }
                }
            }
        }

        #[test]
        fn no_body_panics(text in prop_oneof![json_text(), "\\PC{0,60}"]) {
            prop_assert!(read(&text, 128, &testing::settings()).is_err());
        }
    }
}
