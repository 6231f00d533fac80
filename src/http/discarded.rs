//! `GET /api/events/discarded`: types that were sent and not registered, so that a misspelt one is found.

use super::json::write_str;
use super::{AppState, Problem, answer};
use crate::access::Caller;
use crate::event::write_rfc3339;
use actix_web::{HttpResponse, web};

/// The newest 1000, newest first.
pub async fn list(caller: Caller, state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let mut types = state.store.discarded().await?;
    types.retain(|discarded| caller.sees(&discarded.name));
    let mut out = Vec::with_capacity(32 + types.len() * 96);
    out.extend_from_slice(b"{\"discarded\":[");
    for (n, discarded) in types.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b"{\"type\":" } else { b",{\"type\":" });
        write_str(discarded.name.as_str(), &mut out);
        out.extend_from_slice(b",\"count\":");
        out.extend_from_slice(discarded.count.to_string().as_bytes());
        out.extend_from_slice(b",\"last_at\":\"");
        write_rfc3339(discarded.last_at, &mut out);
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"]}");
    Ok(answer::read(HttpResponse::Ok(), out))
}
