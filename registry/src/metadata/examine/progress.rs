//! How far the doctor has come: a run that was ended goes on there.

use std::convert::Infallible;

use shared::{
    clock::Timestamp,
    database::{DatabaseError, Durability, Failure, Operation, Reader, Transaction},
    on,
};

use super::Position;

/// A run that is under way, was ended, or came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When it began.
    pub begun: Timestamp,
    /// At which check it is,
    pub step: String,
    /// and where in it.
    pub position: Position,
    /// Rows and files that it has looked at.
    pub looked: u64,
    /// What was wrong.
    pub findings: u64,
    /// What of that was put right.
    pub repaired: u64,
    /// When this was written down,
    pub saved: Timestamp,
    /// and when it came to its end.
    pub finished: Option<Timestamp>,
}

type Columns = (String, Timestamp, String, i64, i64, String, i64, i64, i64, Timestamp, Option<Timestamp>);

/// Every kind of run there was, with how far the last one has come.
///
/// # Errors
/// The database failed.
pub async fn all(reader: &mut Reader) -> Result<Vec<(String, Progress)>, DatabaseError> {
    let select = "SELECT kind, begun_at, step, first, second, name, looked, findings, repaired, saved_at, finished_at \
                  FROM examination ORDER BY kind";
    let rows: Vec<Columns> = on!(reader, c => sqlx::query_as(select).fetch_all(c).await)?;
    let progress = |(kind, begun, step, first, second, name, looked, findings, repaired, saved, finished): Columns| {
        let [looked, findings, repaired] = [looked, findings, repaired].map(i64::unsigned_abs);
        let position = Position { first, second, name };
        (kind, Progress { begun, step, position, looked, findings, repaired, saved, finished })
    };
    Ok(rows.into_iter().map(progress).collect())
}

/// Remembers how far a run has come.
#[derive(Clone, Debug)]
pub struct SaveProgress {
    /// What was asked for.
    pub kind: String,
    /// How far it has come.
    pub progress: Progress,
}

impl Operation for SaveProgress {
    type Output = ();
    type Refusal = Infallible;
    const NAME: &'static str = "save_examination";

    fn durability(&self) -> Durability {
        // What the power takes back is looked at once more.
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Infallible>> {
        let upsert = "INSERT INTO examination (kind, begun_at, step, first, second, name, looked, findings, repaired, saved_at, finished_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (kind) DO UPDATE SET \
                      begun_at = excluded.begun_at, step = excluded.step, first = excluded.first, second = excluded.second, \
                      name = excluded.name, looked = excluded.looked, findings = excluded.findings, \
                      repaired = excluded.repaired, saved_at = excluded.saved_at, finished_at = excluded.finished_at";
        let Progress { begun, step, position, looked, findings, repaired, saved, finished } = &self.progress;
        let [looked, findings, repaired] = [looked, findings, repaired].map(|count| super::super::stored_bytes(*count));
        on!(tx, c => {
            let query = sqlx::query(upsert).bind(&self.kind).bind(begun).bind(step);
            let query = query.bind(position.first).bind(position.second).bind(&position.name);
            let query = query.bind(looked).bind(findings).bind(repaired).bind(saved).bind(finished);
            query.execute(c).await.map(drop)
        })?;
        Ok(())
    }
}
