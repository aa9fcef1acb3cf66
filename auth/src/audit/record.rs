//! Writing events, inside the operation that makes the change.

use shared::{database::Transaction, on};

use super::{Actor, Event};

/// Writes the event; it becomes true when the operation commits.
pub(crate) async fn record(tx: &mut Transaction<'_>, actor: &Actor, event: &Event) -> Result<(), sqlx::Error> {
    let now = tx.now();
    let body = event.body(actor, now);
    on!(tx, c => sqlx::query(
        "INSERT INTO audit (at, event, actor_id, credential_id, namespace_id, outcome, body) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(now.micros())
        .bind(event.name.word())
        .bind(actor.principal.map(|id| id.0))
        .bind(actor.credential.map(|id| id.0))
        .bind(event.namespace.map(|id| id.0))
        .bind(event.outcome.word())
        .bind(&body)
        .execute(c)
        .await
        .map(drop))
}
