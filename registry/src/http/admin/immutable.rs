//! Tags that stay where they are, by namespace.

use axum::{Json, extract::State};

use super::{Desk, access::NamespaceAdmin, error::ApiError, input};
use crate::lifecycle::immutable::{Immutable, Wanted};

/// `GET /api/v1/registry/namespaces/{namespace}/immutable`: the rules.
pub(super) async fn show(admin: NamespaceAdmin, State(desk): State<Desk>) -> Result<Json<Immutable>, ApiError> {
    Ok(Json(desk.lifecycle().immutable(&admin.namespace).await?))
}

/// `PUT /api/v1/registry/namespaces/{namespace}/immutable`: replaces them all, and answers what they are now.
pub(super) async fn set(
    NamespaceAdmin { caller, namespace }: NamespaceAdmin,
    State(desk): State<Desk>,
    input::Body(wanted): input::Body<Wanted>,
) -> Result<Json<Immutable>, ApiError> {
    let rules = wanted.understand(&namespace)?;
    desk.lifecycle().set_immutable(namespace, rules.clone(), caller.actor).await?;
    Ok(Json(rules))
}
