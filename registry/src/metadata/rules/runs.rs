//! Runs of a namespace's rules: who has one under way, where it stands, and what it has done.
//!
//! A run holds a lease on the namespace's row. Every operation of a run locks that row first, and goes on only if the lease is still its own: a process that
//! was away too long finds that another has taken over, and changes nothing. This row comes before everything else in the order of locks.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared::{
    clock::Timestamp,
    database::{DatabaseError, Durability, Failure, Operation, Reader, Transaction},
    on,
};
use sqlx::Error;
use utoipa::ToSchema;

use crate::{
    failpoints::{Point, reach},
    metadata::{
        NamespaceId, locking, parse_json,
        rules::previews::{Preview, PreviewId},
    },
};

/// For how long a run that says nothing counts as alive.
pub const LEASE: Duration = Duration::from_secs(60);

/// Who is written down where the schedule asked for a run.
const SCHEDULE: &str = "schedule";

/// Where a run stands and what it has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = RunProgress)]
pub struct Progress {
    /// The last repository that it came to the end of; empty before the first.
    pub behind: String,
    /// Where it is within the one that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// How many repositories it came to the end of.
    pub repositories: u64,
    /// How many tags it looked at.
    pub looked: u64,
    /// How many tags it took away.
    pub expired: u64,
    /// How many tags it would have taken away, had they not moved meanwhile.
    pub moved: u64,
    /// How many untagged manifests it deleted.
    pub manifests: u64,
    /// Why it did nothing, or left a repository alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A place within a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = RunPlace)]
pub struct At {
    /// Which repository.
    pub repository: String,
    /// Behind which tag it goes on.
    pub tag: String,
}

/// How a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RunState)]
pub enum State {
    /// It is under way, or was, and the next one goes on where it stopped.
    Running,
    /// It came to its end.
    Done,
    /// It did not do all of it; `failure` says why.
    Failed,
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let all = [Self::Running, Self::Done, Self::Failed];
        let known = all.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| Error::Decode(format!("no state of a run: {text}").into()))
    }
}

/// The last run of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastRun {
    /// How many there were, with this one.
    pub number: i64,
    /// How it is doing.
    pub state: State,
    /// Who asked for it; `schedule` where nobody did.
    pub actor: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Where it stands and what it has done.
    #[serde(flatten)]
    pub progress: Progress,
}

/// The last run of a namespace; None if there was none.
///
/// # Errors
/// What the database says.
pub async fn last(reader: &mut Reader, namespace: NamespaceId) -> Result<Option<LastRun>, DatabaseError> {
    let sql = "SELECT run, state, actor, started_at, ended_at, progress FROM lifecycle WHERE namespace_id = $1 AND state IS NOT NULL";
    type Row = (i64, String, Option<String>, Timestamp, Option<Timestamp>, String);
    let found: Option<Row> = on!(reader, c => sqlx::query_as(sql).bind(namespace).fetch_optional(c).await)?;
    let run = |(number, state, actor, started_at, ended_at, progress): Row| {
        let (state, progress) = (State::parse(&state)?, parse_json(&progress)?);
        Ok(LastRun { number, state, actor: actor.unwrap_or_default(), started_at, ended_at, progress })
    };
    found.map(run).transpose()
}

/// Namespaces whose run is due: rules were set and the last run began, `every` ago, or a run was left lying.
///
/// # Errors
/// What the database says.
pub async fn due(reader: &mut Reader, now: Timestamp, every: Duration) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT n.name FROM lifecycle l JOIN namespace n ON n.id = l.namespace_id
               WHERE l.version > 0 AND ((l.state = 'running' AND l.leased_until < $1)
                   OR ((l.state IS NULL OR l.state <> 'running') AND l.started_at <= $2 AND l.set_at <= $2))
               ORDER BY l.started_at LIMIT 1000";
    let found: Vec<(String,)> = on!(reader, c => sqlx::query_as(sql).bind(now).bind(now - every).fetch_all(c).await)?;
    Ok(found.into_iter().map(|(name,)| name).collect())
}

/// A lease on a namespace's run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose rules are run.
    pub namespace: NamespaceId,
    /// The number of the run.
    pub run: i64,
    /// Who holds it: a random text for each taking.
    pub holder: String,
}

/// Begins a run, or goes on with one that was left lying.
#[derive(Debug)]
pub struct BeginRun {
    /// Of which namespace.
    pub namespace: NamespaceId,
    /// Who asks, and for what.
    pub asked: Asked,
    /// Who will hold it.
    pub holder: String,
}

/// Who asks for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Its time has come. One that was left lying is gone on with, whatever it was.
    BySchedule,
    /// A person does. One that was left lying is gone on with if it is the same.
    By {
        /// Who.
        actor: String,
        /// What the run is confined to.
        preview: Option<Preview>,
    },
}

impl Asked {
    fn actor(&self) -> &str {
        match self {
            Self::BySchedule => SCHEDULE,
            Self::By { actor, .. } => actor,
        }
    }

    const fn preview(&self) -> Option<&Preview> {
        match self {
            Self::By { preview: Some(preview), .. } => Some(preview),
            _ => None,
        }
    }
}

/// A run that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The lease.
    pub held: Held,
    /// Where it goes on; the beginning, unless it was left lying.
    pub progress: Progress,
    /// What it is confined to.
    pub preview: Option<PreviewId>,
}

/// Why no run was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotBegun {
    /// No rules were ever set.
    NoRules,
    /// One is under way.
    Running {
        /// Who asked for it.
        actor: String,
        /// When.
        since: Timestamp,
    },
    /// The rules are no longer those that the preview was made by.
    RulesChanged,
}

impl Operation for BeginRun {
    type Output = Begun;
    type Refusal = NotBegun;
    const NAME: &'static str = "begin_lifecycle_run";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Begun, Failure<NotBegun>> {
        let row = find(tx, self.namespace).await?.ok_or(Failure::Refused(NotBegun::NoRules))?;
        let running = row.state.as_deref() == Some(State::Running.as_str());
        if running && row.leased_until >= tx.now() {
            let (actor, since) = (row.actor.unwrap_or_default(), row.started_at);
            return Err(Failure::Refused(NotBegun::Running { actor, since }));
        }
        if self.asked.preview().is_some_and(|preview| preview.version != row.version) {
            return Err(Failure::Refused(NotBegun::RulesChanged));
        }
        let preview = self.asked.preview().map(|preview| preview.id);
        // What a run is confined to, it stays confined to, whoever goes on with it.
        let goes_on = running && (self.asked == Asked::BySchedule || preview == row.preview);
        let begun = if goes_on { self.take_over(tx, row).await? } else { self.start(tx, row.run + 1, preview).await? };
        reach(Point::RunTaken)?;
        Ok(begun)
    }
}

impl BeginRun {
    async fn start(
        &self,
        tx: &mut Transaction<'_>,
        run: i64,
        preview: Option<PreviewId>,
    ) -> Result<Begun, Failure<NotBegun>> {
        let sql = "UPDATE lifecycle SET run = $2, state = 'running', actor = $3, preview_id = $4, holder = $5, leased_until = $6,
                       started_at = $7, ended_at = NULL, progress = '{}' WHERE namespace_id = $1";
        let now = tx.now();
        on!(tx, c => {
            let query = sqlx::query(sql).bind(self.namespace).bind(run).bind(self.asked.actor()).bind(preview);
            query.bind(&self.holder).bind(now + LEASE).bind(now).execute(c).await.map(drop)
        })?;
        Ok(Begun { held: self.held(run), progress: Progress::default(), preview })
    }

    async fn take_over(&self, tx: &mut Transaction<'_>, row: Row) -> Result<Begun, Failure<NotBegun>> {
        let sql = "UPDATE lifecycle SET holder = $2, leased_until = $3 WHERE namespace_id = $1";
        let until = tx.now() + LEASE;
        on!(tx, c => {
            sqlx::query(sql).bind(self.namespace).bind(&self.holder).bind(until).execute(c).await.map(drop)
        })?;
        Ok(Begun { held: self.held(row.run), progress: parse_json(&row.progress)?, preview: row.preview })
    }

    fn held(&self, run: i64) -> Held {
        Held { namespace: self.namespace, run, holder: self.holder.clone() }
    }
}

/// The namespace's row, locked.
struct Row {
    version: i64,
    run: i64,
    state: Option<String>,
    actor: Option<String>,
    preview: Option<PreviewId>,
    holder: Option<String>,
    leased_until: Timestamp,
    started_at: Timestamp,
    progress: String,
}

type Columns =
    (i64, i64, Option<String>, Option<String>, Option<PreviewId>, Option<String>, Timestamp, Timestamp, String);

async fn find(tx: &mut Transaction<'_>, namespace: NamespaceId) -> Result<Option<Row>, Error> {
    let sql = locking!(
        tx,
        "SELECT version, run, state, actor, preview_id, holder, leased_until, started_at, progress FROM lifecycle
         WHERE namespace_id = $1",
        "FOR UPDATE"
    );
    let found: Option<Columns> = on!(tx, c => sqlx::query_as(sql).bind(namespace).fetch_optional(c).await)?;
    let row = |(version, run, state, actor, preview, holder, leased_until, started_at, progress)| Row {
        version,
        run,
        state,
        actor,
        preview,
        holder,
        leased_until,
        started_at,
        progress,
    };
    Ok(found.map(row))
}

/// Why a run does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// Another process has taken over, or a person has begun another run.
    TakenOver,
    /// Rules were set since they were read.
    RulesChanged,
}

/// Locks the run, in the operation that is about to change something for it.
///
/// # Errors
/// The run is no longer the holder's, the rules are no longer those of `version`, or the database failed.
pub async fn hold(tx: &mut Transaction<'_>, held: &Held, version: i64) -> Result<(), Failure<Interrupted>> {
    let row = find(tx, held.namespace).await?;
    let own = row.filter(|row| row.run == held.run && row.holder.as_deref() == Some(&held.holder));
    match own {
        Some(row) if row.state.as_deref() != Some(State::Running.as_str()) => {
            Err(Failure::Refused(Interrupted::TakenOver))
        }
        Some(row) if row.version != version => Err(Failure::Refused(Interrupted::RulesChanged)),
        Some(_) => Ok(()),
        None => Err(Failure::Refused(Interrupted::TakenOver)),
    }
}

/// Writes where a run that [`hold`] has locked stands, and renews its lease.
///
/// # Errors
/// What the database says.
pub async fn advance(tx: &mut Transaction<'_>, held: &Held, progress: &Progress) -> Result<(), Error> {
    let sql = "UPDATE lifecycle SET progress = $2, leased_until = $3 WHERE namespace_id = $1";
    let (progress, until) = (encoded(progress)?, tx.now() + LEASE);
    on!(tx, c => sqlx::query(sql).bind(held.namespace).bind(progress).bind(until).execute(c).await.map(drop))
}

fn encoded(progress: &Progress) -> Result<String, Error> {
    serde_json::to_string(progress).map_err(|error| Error::Encode(Box::new(error)))
}

/// Notes how far a run has come where it found nothing to do, or that it is at its end.
#[derive(Debug)]
pub struct NoteRun {
    /// Which.
    pub held: Held,
    /// By which rules.
    pub version: i64,
    /// Where it stands.
    pub progress: Progress,
    /// How it ended, if it did.
    pub ended: Option<State>,
}

impl Operation for NoteRun {
    type Output = ();
    type Refusal = Interrupted;
    const NAME: &'static str = "note_lifecycle_run";

    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Interrupted>> {
        hold(tx, &self.held, self.version).await?;
        advance(tx, &self.held, &self.progress).await?;
        let Some(state) = self.ended else { return Ok(()) };
        let sql =
            "UPDATE lifecycle SET state = $2, ended_at = $3, holder = NULL, leased_until = 0 WHERE namespace_id = $1";
        let (namespace, now) = (self.held.namespace, tx.now());
        on!(tx, c => sqlx::query(sql).bind(namespace).bind(state.as_str()).bind(now).execute(c).await.map(drop))?;
        Ok(reach(Point::RunEnded)?)
    }
}
