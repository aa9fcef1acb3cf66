//! An operation told step by step, and the journal of what it did.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Barrier, Notify};

use crate::{
    database::{Durability, Failure, Operation, Took, Transaction},
    on,
};

/// One thing an operation does.
#[derive(Clone)]
pub(super) enum Step {
    Insert(i64, String),
    /// A row whose parent is missing, which only COMMIT finds out.
    Orphan(i64),
    /// Adds one to a row.
    Raise(i64),
    /// A pragma, whose number is put among what was seen.
    Pragma(&'static str),
    /// Notes all ids it sees.
    Look,
    Refuse,
    Fail,
    /// A statement fails and the operation does not care.
    FailUnheard,
    /// A statement that the operation does not care about.
    Unheard(&'static str),
    Panic,
    /// Waits until it is let through.
    Pass(Arc<Notify>),
    /// Waits at the barrier, in the first run only.
    MeetOnce(Arc<Barrier>),
    /// Asks to be run again before this run.
    AgainUntilRun(u32),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Declined {
    OnPurpose,
    NameTaken,
}

pub(super) struct Story {
    name: &'static str,
    steps: Vec<Step>,
    durability: Durability,
    knows_the_taken_name: bool,
    pub(super) panics_when_committed: bool,
    panics_when_asked: bool,
    pub(super) runs: Arc<AtomicU32>,
    pub(super) journal: Journal,
    /// How long its commits took.
    pub(super) took: Arc<Mutex<Vec<Took>>>,
}

impl Story {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            steps: Vec::new(),
            durability: Durability::Full,
            knows_the_taken_name: true,
            panics_when_committed: false,
            panics_when_asked: false,
            runs: Arc::default(),
            journal: Journal::default(),
            took: Arc::default(),
        }
    }

    pub(super) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(super) fn insert(self, id: i64, name: &str) -> Self {
        self.step(Step::Insert(id, name.to_owned()))
    }

    pub(super) fn look(self) -> Self {
        self.step(Step::Look)
    }

    pub(super) fn relaxed(mut self) -> Self {
        self.durability = Durability::Relaxed;
        self
    }

    /// Panics when asked how durable it is to be.
    pub(super) fn of_no_durability(mut self) -> Self {
        self.panics_when_asked = true;
        self
    }

    pub(super) fn without_a_word_for_it(mut self) -> Self {
        self.knows_the_taken_name = false;
        self
    }

    async fn take(
        &self,
        step: &Step,
        run: u32,
        tx: &mut Transaction<'_>,
        seen: &mut Vec<i64>,
    ) -> Result<(), Failure<Declined>> {
        let now = tx.now();
        match step {
            Step::Insert(id, name) => {
                on!(tx, c => {
                    let insert = sqlx::query("INSERT INTO thing (id, name, at) VALUES ($1, $2, $3)");
                    insert.bind(id).bind(name).bind(now).execute(c).await.map(drop)
                })?;
            }
            Step::Orphan(parent) => {
                on!(tx, c => {
                    sqlx::query("INSERT INTO child (thing_id) VALUES ($1)").bind(parent).execute(c).await.map(drop)
                })?;
            }
            Step::Raise(id) => {
                on!(tx, c => {
                    sqlx::query("UPDATE thing SET raised = raised + 1 WHERE id = $1").bind(id).execute(c).await.map(drop)
                })?;
            }
            Step::Pragma(pragma) => {
                let (value,): (i64,) = on!(tx, c => sqlx::query_as(*pragma).fetch_one(c).await)?;
                seen.push(value);
            }
            Step::Look => {
                let ids: Vec<(i64,)> =
                    on!(tx, c => sqlx::query_as("SELECT id FROM thing ORDER BY id").fetch_all(c).await)?;
                seen.extend(ids.into_iter().map(|(id,)| id));
            }
            Step::Refuse => return Err(Failure::Refused(Declined::OnPurpose)),
            Step::Fail => on!(tx, c => sqlx::query("SELECT nothing FROM nowhere").execute(c).await.map(drop))?,
            Step::FailUnheard => {
                on!(tx, c => sqlx::query("SELECT nothing FROM nowhere").execute(c).await.map(drop)).unwrap_err();
            }
            Step::Unheard(statement) => {
                let _ = on!(tx, c => sqlx::query(*statement).execute(c).await.map(drop));
            }
            Step::Panic => panic!("on purpose"),
            Step::Pass(gate) => gate.notified().await,
            Step::MeetOnce(barrier) if run == 1 => {
                barrier.wait().await;
            }
            Step::AgainUntilRun(wanted) if run < *wanted => return Err(Failure::Again),
            Step::MeetOnce(_) | Step::AgainUntilRun(_) => {}
        }
        Ok(())
    }
}

impl Operation for Story {
    /// What its looks and pragmas saw.
    type Output = Vec<i64>;
    type Refusal = Declined;
    const NAME: &'static str = "story";
    const TIMED: bool = true;

    fn durability(&self) -> Durability {
        assert!(!self.panics_when_asked, "on purpose");
        self.durability
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Vec<i64>, Failure<Declined>> {
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        self.journal.note(format!("run {}", self.name));
        let mut seen = Vec::new();
        for step in &self.steps {
            self.take(step, run, tx, &mut seen).await?;
        }
        Ok(seen)
    }

    fn already_exists(&self) -> Option<Declined> {
        self.knows_the_taken_name.then_some(Declined::NameTaken)
    }

    fn committed(&self, _: &Vec<i64>) {
        self.journal.note(format!("committed {}", self.name));
        assert!(!self.panics_when_committed, "on purpose");
    }

    fn took(&self, _: &Vec<i64>, took: Took) {
        self.took.lock().unwrap().push(took);
    }
}

/// What the operations of a fixture did, in order.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    /// Reads the journal and begins a new one.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Comes back once the line stands in the journal.
    pub(super) fn expect(&self, line: &'static str) -> impl Future<Output = ()> + use<> {
        let journal = self.clone();
        let arrival = async move {
            while !journal.0.lock().unwrap().iter().any(|noted| noted == line) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        async move {
            tokio::time::timeout(Duration::from_secs(20), arrival).await.unwrap_or_else(|_| panic!("never: {line}"));
        }
    }
}
