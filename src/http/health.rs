//! `/healthz` and `/readyz` for whoever supervises the process.

use super::{AppState, Problem, answer};
use crate::error::{ApiError, Code};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpResponse, web};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A store that needs longer than this is not one to send requests to.
const PATIENCE: Duration = Duration::from_secs(2);

/// The process is alive.
pub async fn alive() -> HttpResponse {
    ok()
}

/// Requests will be served: the hub is not stopping, the store answers and can be written, the
/// registered types are known, and every part of the hub makes progress. Anybody may ask: the answer names the part that
/// is not ready, and neither machines nor causes.
pub async fn ready(state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    Ok(check(&state).await.map(|()| ok())?)
}

/// Whether they will, and if not, which part is to blame.
pub async fn check(state: &AppState) -> Result<(), ApiError> {
    if state.stopping.load(Ordering::Acquire) {
        return Err(ApiError::new(Code::ShuttingDown, "hub: it is stopping"));
    }
    let detail = match tokio::time::timeout(PATIENCE, state.store.ping()).await {
        Ok(Ok(_)) if state.types.is_loaded() => match state.progress.stuck(Instant::now()) {
            None => return Ok(()),
            Some(part) => return Err(ApiError::new(Code::NoProgress, part)),
        },
        Ok(Ok(_)) => "registry: the types have not been read from the store yet".to_owned(),
        Ok(Err(error)) => {
            log::debug!("not ready: part=store error=\"{error}\"");
            "store: it does not answer, or cannot be written".to_owned()
        }
        Err(_) => format!("store: no answer within {} seconds", PATIENCE.as_secs()),
    };
    Err(ApiError::new(Code::StoreUnavailable, detail))
}

fn ok() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    answer::json(response, b"{\"status\":\"ok\"}".to_vec())
}
