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
    insert(tx, now, actor, event).await
}

async fn insert(tx: &mut Transaction<'_>, at: Timestamp, actor: &Actor, event: &Event) -> Result<(), sqlx::Error> {
    let body = event.body(actor, at);
    on!(tx, c => sqlx::query(
        "INSERT INTO audit (at, event, actor_id, credential_id, namespace_id, outcome, body) VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(at.micros())
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

/// Writes many events: one by one where a statement is a call, in one where it is a journey. (As JSON, SQLite parses each event once for each column:
/// a quarter of what tokens cost.)
pub(crate) async fn record_all(tx: &mut Transaction<'_>, events: &[Written]) -> Result<(), sqlx::Error> {
    if tx.dialect() == Dialect::Sqlite {
        for Written { at, actor, event } in events {
            insert(tx, *at, actor, event).await?;
        }
        return Ok(());
    }
    let rows = Value::from_iter(events.iter().map(Written::row)).to_string();
    on!(tx, c => sqlx::query(
        "INSERT INTO audit (at, event, actor_id, credential_id, namespace_id, outcome, body) \
         SELECT at, event, actor, credential, namespace, outcome, body FROM json_to_recordset($1::json) \
         AS given (at BIGINT, event TEXT, actor BIGINT, credential BIGINT, namespace BIGINT, outcome TEXT, body TEXT)")
        .bind(&rows).execute(c).await.map(drop))
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
