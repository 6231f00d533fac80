//! `GET /api/events/store`: what the events are kept in, its memory, and what an operator should change about it.

use super::{AppState, Problem, answer};
use crate::error::{ApiError, Code};
use actix_web::{HttpResponse, web};

/// The handler.
pub async fn get(state: web::Data<AppState>) -> Result<HttpResponse, Problem> {
    let facts = state.store.facts().await?;
    let body = serde_json::to_vec(&facts).map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    Ok(answer::read(HttpResponse::Ok(), body))
}
