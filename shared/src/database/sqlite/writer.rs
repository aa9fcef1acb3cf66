//! The writer: one connection, one thread, one transaction for all operations that wait.
//!
//! What waits is taken first, then the transaction begins, because how durable it must be is set before BEGIN. What arrives until COMMIT joins it, if
//! it asks for no more than that. While it commits, the next operations gather; so the busier the writer, the more operations share a trip to the disk.

use std::{io, mem, sync::Arc, thread};

use sqlx::{ConnectOptions, Connection as _};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::in_place::{InPlaceConnection, Options};
use crate::{
    clock::Clock,
    database::{
        Connection, DatabaseError, Durability, MAX_REPEATS, Operation, Transaction, WriteError,
        job::{Ended, Job, Sent},
        operation::{catching_panic, is_unique_violation},
    },
};

/// How many operations share a transaction. Beyond this the disk is no longer what an operation waits for.
const MAX_BATCH: usize = 64;

/// How many operations wait before callers wait to hand theirs over.
const QUEUE: usize = 1024;

/// The face of the writer towards its callers.
pub(in crate::database) struct Writer {
    queue: mpsc::Sender<Message>,
}

enum Message {
    Run(Box<dyn Job>),
    /// Run what was handed over before, close the connection, answer.
    Close(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the thread of the writer; it ends when the database is closed or its last handle dropped.
    ///
    /// A thread and not a task: statements and syncs hold it until they are done.
    pub(super) fn start(connection: InPlaceConnection, options: Options, clock: Clock) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let desk = Desk { link: Link::Idle(connection), options, clock, synchronous: Some(Durability::Full) };
        let inbox = Inbox { waiting, held: None, closing: Vec::new() };
        let runtime = Handle::current();
        thread::Builder::new().name("write-door".to_owned()).spawn(move || runtime.block_on(desk.serve(inbox)))?;
        Ok(Self { queue })
    }

    pub(in crate::database) async fn write<O: Operation>(
        &self,
        operation: O,
    ) -> Result<O::Output, WriteError<O::Refusal>> {
        let (sent, answer) = Sent::new(operation);
        self.queue.send(Message::Run(sent)).await.map_err(|_| DatabaseError::Closed)?;
        answer.await.map_err(|_| DatabaseError::Closed)?
    }

    pub(super) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.queue.send(Message::Close(closed)).await.is_ok() {
            // An error means that the writer had already gone, which is as good.
            let _ = done.await;
        }
    }
}

/// What was handed over and has not begun.
struct Inbox {
    waiting: mpsc::Receiver<Message>,
    /// Came during a transaction that is less durable than it must be.
    held: Option<Box<dyn Job>>,
    closing: Vec<oneshot::Sender<()>>,
}

impl Inbox {
    /// Waits until there is something to do, and takes what there is. Nothing when nobody can hand anything over any more.
    async fn batch(&mut self) -> Vec<Box<dyn Job>> {
        let mut jobs: Vec<_> = self.held.take().into_iter().collect();
        let mut messages = Vec::with_capacity(MAX_BATCH);
        while jobs.is_empty() {
            if self.waiting.recv_many(&mut messages, MAX_BATCH).await == 0 {
                break;
            }
            jobs.extend(messages.drain(..).filter_map(|message| self.sort(message)));
        }
        jobs
    }

    /// What has arrived in the meantime for a transaction of this durability.
    fn late(&mut self, durability: Durability) -> Option<Box<dyn Job>> {
        while self.held.is_none() {
            let message = self.waiting.try_recv().ok()?;
            match self.sort(message) {
                Some(job) if job.durability() > durability => self.held = Some(job),
                Some(job) => return Some(job),
                None => {}
            }
        }
        None
    }

    fn sort(&mut self, message: Message) -> Option<Box<dyn Job>> {
        match message {
            Message::Run(job) => return Some(job),
            Message::Close(closed) => {
                self.waiting.close();
                self.closing.push(closed);
            }
        }
        None
    }
}

/// The connection and what is known about its state.
enum Link {
    /// Open, outside a transaction.
    Idle(InPlaceConnection),
    /// Broken or never opened; the next transaction opens it.
    Down,
}

struct Desk {
    link: Link,
    options: Options,
    clock: Clock,
    /// What the connection's `synchronous` is set to; `None` if that is not certain.
    synchronous: Option<Durability>,
}

/// The transaction is gone though nobody ended it; every operation in it needs one of its own.
struct Collapsed(sqlx::Error);

/// A job of a batch, with the error that it failed with if it did.
type Judged = (Box<dyn Job>, Option<DatabaseError>);

impl Desk {
    async fn serve(mut self, mut inbox: Inbox) {
        loop {
            let jobs = inbox.batch().await;
            if jobs.is_empty() {
                break;
            }
            self.run(jobs, &mut inbox).await;
        }
        if let Link::Idle(connection) = mem::replace(&mut self.link, Link::Down)
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the write connection did not close");
        }
        for closed in inbox.closing {
            let _ = closed.send(());
        }
    }

    /// Runs the jobs, and what arrives until they are done, in one transaction, or each in its own if that one collapses, and answers them.
    async fn run(&mut self, jobs: Vec<Box<dyn Job>>, inbox: &mut Inbox) {
        let mut judged: Vec<Judged> = jobs.into_iter().map(|job| (job, None)).collect();
        match self.together(&mut judged, Some(inbox)).await {
            Ok(()) => settle(judged),
            Err(Collapsed(error)) => {
                tracing::warn!(%error, operations = judged.len(), "a transaction did not commit; its operations are run one by one");
                for (job, _) in judged {
                    self.alone(job).await;
                }
            }
        }
    }

    /// A transaction of its own for one job, after the one it shared came to nothing.
    async fn alone(&mut self, job: Box<dyn Job>) {
        let mut judged = vec![(job, None)];
        let outcome = self.together(&mut judged, None).await;
        match (outcome, judged.pop()) {
            (Ok(()), judged) => settle(judged),
            (Err(Collapsed(error)), Some((job, _))) => {
                tracing::error!(operation = job.name(), %error, "an operation could not be committed");
                job.fail(DatabaseError::Query(error));
            }
            (Err(_), None) => {}
        }
    }

    /// Runs the jobs in one transaction, to which those from the inbox are added.
    async fn together(&mut self, jobs: &mut Vec<Judged>, inbox: Option<&mut Inbox>) -> Result<(), Collapsed> {
        let durability = jobs.iter().map(|(job, _)| job.durability()).max().unwrap_or(Durability::Full);
        let mark = if jobs.len() == 1 { Mark::Start } else { Mark::Savepoint };
        let mut connection = match self.begin(durability, mark).await {
            Ok(connection) => connection,
            Err(error) => {
                let error = Arc::new(error);
                tracing::error!(%error, "no transaction could be begun");
                for (_, verdict) in jobs {
                    *verdict = Some(DatabaseError::NoTransaction(Arc::clone(&error)));
                }
                return Ok(());
            }
        };
        let mut batch = Batch { connection: &mut connection, clock: &self.clock, mark };
        let mut late = inbox.map(|inbox| move || inbox.late(durability));
        let outcome = batch.run(jobs, || late.as_mut().and_then(|late| late())).await;
        if outcome.is_err() {
            // Fails where SQLite has ended the transaction itself, and then there is nothing left to end.
            let _ = connection.command("ROLLBACK");
        }
        self.link = Link::Idle(connection);
        outcome
    }

    /// Begins a transaction, on a new connection if the present one cannot.
    async fn begin(&mut self, durability: Durability, mark: Mark) -> Result<InPlaceConnection, sqlx::Error> {
        if let Link::Idle(mut connection) = mem::replace(&mut self.link, Link::Down) {
            match self.begin_on(&mut connection, durability, mark) {
                Ok(()) => return Ok(connection),
                Err(error) if is_busy(&error) => {
                    self.link = Link::Idle(connection);
                    return Err(error);
                }
                Err(error) => tracing::warn!(%error, "the write connection is broken; opening another"),
            }
        }
        let mut connection = self.options.connect().await?;
        self.synchronous = Some(Durability::Full);
        self.begin_on(&mut connection, durability, mark)?;
        Ok(connection)
    }

    /// `synchronous` first: inside a transaction the pragma has no effect.
    fn begin_on(
        &mut self,
        connection: &mut InPlaceConnection,
        durability: Durability,
        mark: Mark,
    ) -> Result<(), sqlx::Error> {
        // Taken out: if BEGIN fails nobody knows whether the pragma came through, and the next one sets it anew.
        let set = self.synchronous.take() == Some(durability);
        if !set {
            connection.command(match durability {
                Durability::Relaxed => "PRAGMA synchronous = NORMAL",
                Durability::Full => "PRAGMA synchronous = FULL",
            })?;
        }
        connection.command("BEGIN IMMEDIATE")?;
        if mark == Mark::Savepoint {
            connection.command("SAVEPOINT job")?;
        }
        self.synchronous = Some(durability);
        Ok(())
    }
}

/// Answers the jobs of a transaction that is over.
fn settle(judged: impl IntoIterator<Item = Judged>) {
    for (job, error) in judged {
        match error {
            None => job.answer(),
            Some(error) => job.fail(error),
        }
    }
}

/// Where a job's changes begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// At the start of the transaction, which is this job's alone: to undo them is to begin it anew.
    Start,
    /// At the savepoint, which stands after nothing but kept changes.
    Savepoint,
    /// Behind the changes that the first job left; there is no savepoint yet.
    BehindFirst,
    /// Behind the changes that the last job left; the savepoint is to be set anew.
    Behind,
}

/// Jobs in one transaction. A savepoint costs as much as a small statement, so a job that is alone does without, and one is used again after a refusal.
struct Batch<'b> {
    connection: &'b mut InPlaceConnection,
    clock: &'b Clock,
    mark: Mark,
}

impl Batch<'_> {
    /// Runs the jobs and those that came late, and commits. Who is in the transaction stands in `jobs` whatever happens.
    async fn run(
        &mut self,
        jobs: &mut Vec<Judged>,
        mut late: impl FnMut() -> Option<Box<dyn Job>>,
    ) -> Result<(), Collapsed> {
        let mut next = 0;
        loop {
            while let Some((job, error)) = jobs.get_mut(next) {
                *error = self.judge(job).await?;
                next += 1;
            }
            match if next < MAX_BATCH { late() } else { None } {
                Some(job) => jobs.push((job, None)),
                None => break,
            }
        }
        self.connection.command("COMMIT").map_err(Collapsed)
    }

    /// Runs one job until it has an answer or an error, and leaves of it only what is to be kept.
    async fn judge(&mut self, job: &mut Box<dyn Job>) -> Result<Option<DatabaseError>, Collapsed> {
        self.mark()?;
        for _ in 0..=MAX_REPEATS {
            let mut tx = Transaction::new(Connection::Sqlite(self.connection), self.clock.now());
            let ended = catching_panic(job.run(&mut tx)).await;
            if let Some(Ended::Kept) = ended {
                self.mark = if self.mark == Mark::Start { Mark::BehindFirst } else { Mark::Behind };
                return Ok(None);
            }
            if let Err(undone) = self.undo() {
                // Nothing was left to undo because SQLite had taken back everything when the operation failed; that is the cause to report.
                return Err(if let Some(Ended::Failed(error)) = ended { Collapsed(error) } else { Collapsed(undone) });
            }
            match ended {
                Some(Ended::Kept | Ended::Refused) => return Ok(None),
                Some(Ended::Again) => {}
                Some(Ended::Failed(error)) if is_unique_violation(&error) && job.exists() => return Ok(None),
                Some(Ended::Failed(error)) => {
                    tracing::error!(operation = job.name(), %error, "an operation failed");
                    return Ok(Some(DatabaseError::Query(error)));
                }
                None => return Ok(Some(DatabaseError::Panicked { operation: job.name() })),
            }
        }
        Ok(Some(DatabaseError::Contended { operation: job.name(), attempts: MAX_REPEATS + 1 }))
    }

    /// Sets the savepoint where there are changes of other jobs to keep apart. Fails if a job before let SQLite take back the whole transaction and did
    /// not say so: a savepoint would then begin a transaction of its own and let the lost job pass as kept.
    fn mark(&mut self) -> Result<(), Collapsed> {
        match self.mark {
            Mark::Start | Mark::Savepoint => return Ok(()),
            Mark::BehindFirst if self.connection.in_transaction() => {}
            Mark::BehindFirst => {
                return Err(Collapsed(sqlx::Error::Protocol("the transaction has ended by itself".into())));
            }
            Mark::Behind => self.connection.command("RELEASE job").map_err(Collapsed)?,
        }
        self.connection.command("SAVEPOINT job").map_err(Collapsed)?;
        self.mark = Mark::Savepoint;
        Ok(())
    }

    /// Takes back everything since the mark. Fails if SQLite has taken back the whole transaction.
    fn undo(&mut self) -> Result<(), sqlx::Error> {
        match self.mark {
            Mark::Start => {
                self.connection.command("ROLLBACK")?;
                self.connection.command("BEGIN IMMEDIATE")
            }
            Mark::Savepoint | Mark::BehindFirst | Mark::Behind => self.connection.command("ROLLBACK TO job"),
        }
    }
}

/// Whether somebody else holds the lock, which a new connection would not change.
fn is_busy(error: &sqlx::Error) -> bool {
    /// The primary result code; the extended ones have more above it.
    const SQLITE_BUSY: i64 = 5;
    error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<i64>().ok())
        .is_some_and(|code| code & 0xff == SQLITE_BUSY)
}
