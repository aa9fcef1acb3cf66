//! What a server wrote about what happened, read beside it as an auditor's tool does, and damage to its accounts.

use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::server::Portreeve;

/// Events of tokens and logins are written each second; the machine is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

impl Portreeve {
    /// The events of one name, oldest first.
    pub(crate) async fn audit(&self, event: &str) -> Vec<Value> {
        let mut database = self.accounts().await;
        let rows: Vec<(String,)> = sqlx::query_as("SELECT body FROM audit WHERE event = $1 ORDER BY id")
            .bind(event)
            .fetch_all(&mut database)
            .await
            .expect("the audit can be read beside the server");
        rows.iter().map(|(body,)| serde_json::from_str(body).expect("an event is JSON")).collect()
    }

    /// The one event of that name that the request caused, once it is written.
    pub(crate) async fn audited(&self, event: &str, request: &str) -> Value {
        let begun = Instant::now();
        loop {
            let events = self.audit(event).await;
            let found: Vec<&Value> = events.iter().filter(|event| event["request"] == request).collect();
            match found[..] {
                [event] => return event.clone(),
                [] => assert!(begun.elapsed() < PATIENCE, "no {event} of {request}: {events:?}"),
                _ => panic!("{event} of {request} more than once: {found:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Takes the table of accounts away, as a disk or a person with a shell may.
    pub(crate) async fn lose_accounts(&self) {
        let mut database = self.accounts().await;
        let lose = sqlx::query("ALTER TABLE principal RENAME TO lost");
        lose.execute(&mut database).await.expect("a table can be renamed beside the server");
    }

    async fn accounts(&self) -> SqliteConnection {
        let file = SqliteConnectOptions::new().filename(self.data().join("auth.db"));
        SqliteConnection::connect_with(&file).await.expect("auth.db opens beside the server")
    }
}
