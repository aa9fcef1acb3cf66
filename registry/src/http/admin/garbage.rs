//! Garbage: what waits for the collector.

use axum::{Json, extract::State};

use super::{Desk, access::SystemAdmin, error::ApiError};
use crate::gc::Waiting;

/// `GET /api/v1/registry/garbage`: how much waits for the collector, and since when.
pub(super) async fn waiting(_: SystemAdmin, State(desk): State<Desk>) -> Result<Json<Waiting>, ApiError> {
    Ok(Json(desk.collector().waiting().await?))
}
