//! `GET /api/events/clients/{client}`: how far a client is behind, and where it goes on.

use super::feed_page::View;
use super::json::write_str;
use super::links::{API, Base, Link, write_encoded, write_links};
use super::{AppState, Problem, answer, params};
use crate::access::Caller;
use crate::error::ApiError;
use crate::event::{Slice, TypeFilter};
use actix_web::{HttpRequest, HttpResponse, web};

/// `{"client", "pending", "oldest_age_ms", "types", "links"}`: events without the client's mark, all together and by
/// type (those that have any), and the feed of the hour that holds the oldest.
pub async fn get(
    req: HttpRequest,
    caller: Caller,
    path: web::Path<(String,)>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let client = params::client(&path.0)?;
    caller.check_client(Some(&client))?;
    let [filter] = params::query(req.query_string(), &["types"])?;
    let filter: Option<TypeFilter> =
        filter.map(|text| text.parse().map_err(|e| ApiError::parameter("types", e))).transpose()?;
    let filter = caller.limit(filter);
    let mut entries = state.types.matching(filter.as_ref().unwrap_or(&TypeFilter::any()));
    entries.retain(|entry| !entry.ttl.is_ephemeral());
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let types: Vec<_> = entries.iter().map(|entry| entry.type_ref()).collect();
    let pending = state.store.pending(&types, &client).await?;

    let base = Base::of(&req, &state.http);
    let mut own = format!("{API}/clients/");
    write_encoded(client.as_str(), &mut own);
    if let Some(filter) = &filter {
        own.push_str("?types=");
        write_encoded(&filter.to_string(), &mut own);
    }
    let mut links = vec![Link::new("self", base.url(&own))];
    if let Some(oldest) = pending.oldest {
        let slice: Slice = "hour".parse().map_err(|e| ApiError::parameter("slice", e))?;
        if let Some(bounds) = slice.at(oldest.ms()) {
            let view = View {
                slice,
                bounds,
                current: false,
                client: Some(client.clone()),
                types: filter,
                limit: None,
                after: None,
                show: None,
            };
            links.push(Link::new("next-unprocessed", view.url(Some(bounds.start), None, &base)));
        }
    }

    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"client\":");
    write_str(client.as_str(), &mut out);
    let age = pending.oldest.map(|id| pending.now.saturating_sub(id.ms()).max(0).to_string());
    let total: u64 = pending.counts.iter().sum();
    out.extend_from_slice(
        format!(",\"pending\":{total},\"oldest_age_ms\":{},\"types\":{{", age.as_deref().unwrap_or("null")).as_bytes(),
    );
    let some = entries.iter().zip(&pending.counts).filter(|(_, count)| **count > 0);
    for (n, (entry, count)) in some.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_str(entry.name.as_str(), &mut out);
        out.extend_from_slice(format!(":{count}").as_bytes());
    }
    out.extend_from_slice(b"},\"links\":");
    write_links(&links, &mut out);
    out.push(b'}');
    Ok(answer::read(HttpResponse::Ok(), out))
}
