//! Writing events, inside the operation that makes the change.

use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    database::{Dialect, Transaction},
    on,
};

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

/// An event that happened before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) at: Timestamp,
    pub(crate) actor: Actor,
    pub(crate) event: Event,
}

/// Writes many events in one statement: sqlx costs per statement.
pub(crate) async fn record_all(tx: &mut Transaction<'_>, events: &[Written]) -> Result<(), sqlx::Error> {
    let rows = Value::from_iter(events.iter().map(Written::row)).to_string();
    let insert = match tx.dialect() {
        Dialect::Sqlite => {
            "INSERT INTO audit (at, event, actor_id, credential_id, namespace_id, outcome, body) \
             SELECT value->>'at', value->>'event', value->>'actor', value->>'credential', value->>'namespace', value->>'outcome', value->>'body' \
             FROM json_each($1) ORDER BY key"
        }
        Dialect::Postgres => {
            "INSERT INTO audit (at, event, actor_id, credential_id, namespace_id, outcome, body) \
             SELECT at, event, actor, credential, namespace, outcome, body FROM json_to_recordset($1::json) \
             AS given (at BIGINT, event TEXT, actor BIGINT, credential BIGINT, namespace BIGINT, outcome TEXT, body TEXT)"
        }
    };
    on!(tx, c => sqlx::query(insert).bind(&rows).execute(c).await.map(drop))
}

impl Written {
    fn row(&self) -> Value {
        json!({
            "at": self.at.micros(),
            "event": self.event.name,
            "actor": self.actor.principal,
            "credential": self.actor.credential,
            "namespace": self.event.namespace,
            "outcome": self.event.outcome,
            "body": self.event.body(&self.actor, self.at),
        })
    }
}
