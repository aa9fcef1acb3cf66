//! The audit as it is read: a list with filters for people, and the sealed trail, row by row with its checkpoints, for whoever verifies.

use serde_json::Value;
use shared::{
    clock::Timestamp,
    database::{Dialect, Reader},
    on,
};

use super::{Accounts, Error, NamespaceId, names::folded};
use crate::audit::{
    EventName, Outcome,
    chain::Link,
    seal::{Remove, Seal, Sealed, Sealer, StoredCheckpoint},
    verify::{Head, Line, Row},
};

/// Most rows that one page looks at. One that finds less than it may is short, and says where to go on.
const LOOKED_AT: i64 = 5_000;
/// Most bodies that are read at once: one may have some kilobytes.
const BODIES: i64 = 200;
/// Most rows of one part of the trail.
const PART: i64 = 1_000;
/// Events are written within seconds of what they tell; a page that has come so far before `since` is the last.
const WRITTEN_LATE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct WantedEvents {
    /// Who acted, by name.
    pub who: Option<String>,
    /// What it was done to, by name.
    pub target: Option<String>,
    /// What happened.
    pub what: Vec<EventName>,
    /// Where: in one of these.
    pub namespaces: Option<Vec<NamespaceId>>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

/// An event as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its row.
    pub id: i64,
    /// Its number in the chain; None if it is not sealed yet.
    pub seq: Option<i64>,
    /// The namespace's name.
    pub namespace: Option<String>,
    /// What was written.
    pub body: Value,
}

/// Some of a list.
#[derive(Clone, Debug)]
pub struct Events {
    /// The newest first.
    pub events: Vec<Listed>,
    /// Where to go on.
    pub next: Option<i64>,
}

/// Some of the trail: whole batches, each with its checkpoint.
#[derive(Debug)]
pub struct Part {
    /// In the order of their numbers, a checkpoint behind its last row.
    pub lines: Vec<Line>,
    /// Where to go on; None at the end.
    pub next: Option<i64>,
}

/// What is not sealed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsealed {
    /// How many events.
    pub events: i64,
    /// When the oldest of them happened.
    pub since: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct ListedRow {
    id: i64,
    seq: Option<i64>,
    namespace: Option<String>,
    body: String,
}

#[derive(sqlx::FromRow)]
struct TrailRow {
    seq: i64,
    hash: Option<Vec<u8>>,
    body: String,
    at: i64,
    event: String,
    actor_id: Option<i64>,
    credential_id: Option<i64>,
    namespace_id: Option<i64>,
    outcome: String,
}

impl Accounts {
    /// Events, the newest first, behind `after`.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn events(&self, wanted: &WantedEvents, after: Option<i64>, limit: usize) -> Result<Events, Error> {
        let mut reader = self.database.reader().await?;
        let after = after.unwrap_or(i64::MAX);
        let floor: Option<(i64, i64)> = on!(reader, c => sqlx::query_as(
            "SELECT id, at FROM audit WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2")
            .bind(after).bind(LOOKED_AT - 1).fetch_optional(c).await)?;
        let (lowest, mut before, mut events) = (floor.map_or(0, |(id, _)| id), after, Vec::new());
        loop {
            let rows = matching(&mut reader, wanted, lowest, before).await?;
            let full = rows.len() as i64 == BODIES;
            before = rows.last().map_or(before, |row| row.id);
            for row in rows {
                // What somebody has damaged is listed as it stands.
                let body: Value = serde_json::from_str(&row.body).unwrap_or(Value::String(row.body));
                if !is_by(wanted, &body) {
                    continue;
                }
                if events.len() == limit {
                    return Ok(Events { next: events.last().map(|event: &Listed| event.id), events });
                }
                events.push(Listed { id: row.id, seq: row.seq, namespace: row.namespace, body });
            }
            if !full {
                break;
            }
        }
        let older =
            |(_, at): &(i64, i64)| wanted.since.is_none_or(|since| since - WRITTEN_LATE <= Timestamp::from_micros(*at));
        Ok(Events { events, next: floor.filter(older).map(|(id, _)| id) })
    }

    /// Every namespace that has or had this name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn namespaces_ever_called(&self, name: &str) -> Result<Vec<NamespaceId>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<(i64,)> = on!(reader, c => sqlx::query_as("SELECT id FROM namespace WHERE name = $1 AND id <> 0")
            .bind(name).fetch_all(c).await)?;
        Ok(rows.into_iter().map(|(id,)| NamespaceId(id)).collect())
    }

    /// The sealed trail behind the row `after`.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn trail(&self, after: i64) -> Result<Part, Error> {
        // Two queries see two states: between them a batch may be sealed, or removed. What is still odd at the second look is so.
        match self.part(after).await? {
            (part, true) => Ok(part),
            (_, false) => Ok(self.part(after).await?.0),
        }
    }

    /// A part of the trail, and whether it has as many rows as its checkpoints say.
    async fn part(&self, after: i64) -> Result<(Part, bool), Error> {
        let mut reader = self.database.reader().await?;
        let checkpoints: Vec<StoredCheckpoint> = on!(reader, c => sqlx::query_as(
            "SELECT seq, hash, signature, at, first_seq, kept, removed_first, removed_at, removed_signature \
             FROM audit_checkpoint WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(after).bind(PART).fetch_all(c).await)?;
        let (mut taken, mut expected) = (Vec::new(), 0);
        for checkpoint in checkpoints {
            if expected + checkpoint.rows() > PART && !taken.is_empty() {
                break;
            }
            expected += checkpoint.rows();
            taken.push(checkpoint);
        }
        // Behind the last checkpoint there should be nothing. What is there is shown.
        let end = taken.last().map(|checkpoint| checkpoint.seq);
        let rows = sealed_rows(&mut reader, after, end.unwrap_or(i64::MAX)).await?;
        let last = rows.last().map(|row| row.seq);
        let even = i64::try_from(rows.len()) == Ok(expected);
        Ok((Part { lines: woven(rows, taken), next: end.or(last) }, even))
    }

    /// What is not sealed yet.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn unsealed(&self) -> Result<Unsealed, Error> {
        let mut reader = self.database.reader().await?;
        let (events, since): (i64, Option<i64>) = on!(reader, c => sqlx::query_as("SELECT count(*), min(at) FROM audit WHERE seq IS NULL").fetch_one(c).await)?;
        Ok(Unsealed { events, since: since.map(Timestamp::from_micros) })
    }

    /// Seals a batch, where there is something to seal. `known` is the end of the chain that this process has seen.
    pub(crate) async fn seal(&self, sealer: &Sealer, known: Option<Head>) -> Result<Option<Sealed>, Error> {
        let mut reader = self.database.reader().await?;
        let waiting: Option<(i64,)> = on!(reader, c => sqlx::query_as("SELECT id FROM audit WHERE seq IS NULL LIMIT 1")
            .fetch_optional(c).await)?;
        drop(reader);
        match waiting {
            Some(_) => Ok(Some(self.database.write(Seal { sealer: sealer.clone(), known }).await?)),
            None => Ok(None),
        }
    }

    /// Removes batches whose time is over, some at a time; true if there may be more.
    pub(crate) async fn remove_events(&self, remove: Remove) -> Result<(u64, bool), Error> {
        Ok(self.database.write(remove).await?)
    }
}

async fn matching(
    reader: &mut Reader,
    wanted: &WantedEvents,
    floor: i64,
    after: i64,
) -> Result<Vec<ListedRow>, sqlx::Error> {
    let words = wanted.what.iter().map(|event| event.word());
    let what = json_list(words).filter(|_| !wanted.what.is_empty());
    let namespaces = wanted.namespaces.as_ref().and_then(|ids| json_list(ids.iter().map(|id| id.0)));
    let text = match reader.dialect() {
        Dialect::Sqlite => MATCHING_SQLITE,
        Dialect::Postgres => MATCHING_POSTGRES,
    };
    on!(reader, c => sqlx::query_as(text)
        .bind(floor).bind(after)
        .bind(wanted.since.map_or(i64::MIN, Timestamp::micros)).bind(wanted.until.map_or(i64::MAX, Timestamp::micros))
        .bind(wanted.outcome.map(Outcome::word)).bind(what).bind(namespaces).bind(BODIES)
        .fetch_all(c).await)
}

const MATCHING_SQLITE: &str = "SELECT audit.id, audit.seq, namespace.name AS namespace, audit.body FROM audit \
    LEFT JOIN namespace ON namespace.id = audit.namespace_id AND namespace.id <> 0 \
    WHERE audit.id >= $1 AND audit.id < $2 AND audit.at >= $3 AND audit.at < $4 AND ($5 IS NULL OR audit.outcome = $5) \
    AND ($6 IS NULL OR audit.event IN (SELECT value FROM json_each($6))) \
    AND ($7 IS NULL OR audit.namespace_id IN (SELECT value FROM json_each($7))) ORDER BY audit.id DESC LIMIT $8";
const MATCHING_POSTGRES: &str = "SELECT audit.id, audit.seq, namespace.name AS namespace, audit.body FROM audit \
    LEFT JOIN namespace ON namespace.id = audit.namespace_id AND namespace.id <> 0 \
    WHERE audit.id >= $1 AND audit.id < $2 AND audit.at >= $3 AND audit.at < $4 AND ($5::text IS NULL OR audit.outcome = $5) \
    AND ($6::text IS NULL OR audit.event IN (SELECT json_array_elements_text($6::json))) \
    AND ($7::text IS NULL OR audit.namespace_id::text IN (SELECT json_array_elements_text($7::json))) ORDER BY audit.id DESC LIMIT $8";

fn json_list<T: serde::Serialize>(values: impl Iterator<Item = T>) -> Option<String> {
    serde_json::to_string(&values.collect::<Vec<_>>()).ok()
}

/// What stands in the body alone, and in no column.
fn is_by(wanted: &WantedEvents, body: &Value) -> bool {
    let says = |wanted: &Option<String>, said: &Value| {
        wanted.as_ref().is_none_or(|wanted| said.as_str().is_some_and(|said| folded(said) == folded(wanted)))
    };
    says(&wanted.who, &body["actor"]["name"]) && says(&wanted.target, &body["target"])
}

async fn sealed_rows(reader: &mut Reader, after: i64, end: i64) -> Result<Vec<Row>, sqlx::Error> {
    let rows: Vec<TrailRow> = on!(reader, c => sqlx::query_as(
        "SELECT seq, hash, body, at, event, actor_id, credential_id, namespace_id, outcome FROM audit \
         WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3")
        .bind(after).bind(end).bind(2 * PART).fetch_all(c).await)?;
    Ok(rows.into_iter().map(TrailRow::into_row).collect())
}

impl TrailRow {
    fn into_row(self) -> Row {
        let differs = self.differs().map(str::to_owned);
        let hash = self.hash.as_deref().and_then(Link::stored).unwrap_or(Link::START);
        Row { seq: self.seq, hash, body: self.body, differs }
    }

    /// The first column that does not say what the body says.
    fn differs(&self) -> Option<&'static str> {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let at = body["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()).map(Timestamp::micros);
        let columns = [
            ("at", at == Some(self.at)),
            ("event", body["event"].as_str() == Some(&self.event)),
            ("actor_id", body["actor"]["id"].as_i64() == self.actor_id),
            ("credential_id", body["actor"]["credential"].as_i64() == self.credential_id),
            ("namespace_id", body["namespace"].as_i64() == self.namespace_id),
            ("outcome", body["outcome"].as_str() == Some(&self.outcome)),
        ];
        columns.into_iter().find(|(_, same)| !same).map(|(column, _)| column)
    }
}

fn woven(rows: Vec<Row>, checkpoints: Vec<StoredCheckpoint>) -> Vec<Line> {
    let mut lines = Vec::with_capacity(rows.len() + checkpoints.len());
    let mut rows = rows.into_iter().peekable();
    for checkpoint in checkpoints {
        while let Some(row) = rows.next_if(|row| row.seq <= checkpoint.seq) {
            lines.push(Line::Row(row));
        }
        lines.push(Line::Checkpoint(checkpoint.into()));
    }
    lines.extend(rows.map(Line::Row));
    lines
}
