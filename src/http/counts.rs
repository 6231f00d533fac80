//! `GET /api/events/counts`: events this node has stored of each type since it started, of which two looks make a rate.

use super::{AppState, answer};
use crate::access::Caller;
use crate::event::rfc3339;
use crate::measure::SENDS;
use actix_web::{HttpResponse, web};
use serde_json::{Map, json};

/// The handler.
pub async fn get(caller: Caller, state: web::Data<AppState>) -> HttpResponse {
    let counts = SENDS.accepted_by_type();
    let named = counts.into_iter().filter_map(|(ty, count)| Some((state.types.by_number(ty)?, count)));
    let seen = named.filter(|(entry, _)| caller.sees(&entry.name));
    let accepted: Map<_, _> = seen.map(|(entry, count)| (entry.name.to_string(), count.into())).collect();
    let at = rfc3339(chrono::Utc::now().timestamp_millis());
    answer::read(HttpResponse::Ok(), json!({"at": at, "accepted": accepted}).to_string().into_bytes())
}
