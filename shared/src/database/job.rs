//! An operation on its way through a write door, whatever its type.
//!
//! The doors are as large as one operation's type would make them, and not as all: of a hundred operations each would bring a door of its own, some
//! megabytes of code.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
};

use tokio::sync::oneshot;

use super::{DatabaseError, Durability, Failure, Operation, Transaction, WriteError, operation::Stopwatch};

/// How a run ended, as far as the transaction is concerned.
pub(super) enum Ended {
    /// What it changed is to be kept.
    Kept,
    /// It has an answer, and what it changed is to be undone.
    Refused,
    /// What it changed is to be undone, and it is to be run anew.
    Again,
    /// What it changed is to be undone, and this is why.
    Failed(sqlx::Error),
}

pub(super) type Run<'r> = Pin<Box<dyn Future<Output = Ended> + Send + 'r>>;

pub(super) trait Job: Send {
    fn name(&self) -> &'static str;

    fn durability(&self) -> Durability;

    fn run<'r>(&'r mut self, tx: &'r mut Transaction<'_>) -> Run<'r>;

    /// Takes the refusal that a lasting violation of a unique constraint means for the answer, if the operation has one.
    fn exists(&mut self) -> bool;

    /// Answers with how the last run ended, after COMMIT.
    fn answer(self: Box<Self>);

    /// Answers with an error.
    fn fail(self: Box<Self>, error: DatabaseError);
}

type Answer<O> = Result<<O as Operation>::Output, WriteError<<O as Operation>::Refusal>>;

/// An operation, the answer of its last run, and where the answer goes.
pub(super) struct Sent<O: Operation> {
    operation: O,
    /// Asked for when it is handed over: if that panics, it is on the caller's side and not on the writer's.
    durability: Durability,
    answer: Option<Answer<O>>,
    watch: Stopwatch,
    caller: oneshot::Sender<Answer<O>>,
}

impl<O: Operation> Sent<O> {
    pub(super) fn new(operation: O) -> (Box<Self>, oneshot::Receiver<Answer<O>>) {
        let (caller, answer) = oneshot::channel();
        let durability = operation.durability();
        (Box::new(Self { operation, durability, answer: None, watch: Stopwatch::start::<O>(), caller }), answer)
    }
}

impl<O: Operation> Job for Sent<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn run<'r>(&'r mut self, tx: &'r mut Transaction<'_>) -> Run<'r> {
        Box::pin(async move {
            self.answer = None;
            self.watch = Stopwatch::start::<O>();
            let ran = self.operation.run(tx).await;
            self.watch.lap();
            let (answer, ended) = match ran {
                Ok(output) => (Ok(output), Ended::Kept),
                Err(Failure::Refused(refusal)) => (Err(WriteError::Refused(refusal)), Ended::Refused),
                Err(Failure::Again) => return Ended::Again,
                Err(Failure::Database(error)) => return Ended::Failed(error),
            };
            self.answer = Some(answer);
            ended
        })
    }

    fn exists(&mut self) -> bool {
        self.answer = self.operation.already_exists().map(|refusal| Err(WriteError::Refused(refusal)));
        self.answer.is_some()
    }

    fn answer(self: Box<Self>) {
        let Self { operation, answer, watch, caller, .. } = *self;
        let answer = answer.unwrap_or(Err(WriteError::Unavailable(DatabaseError::Closed)));
        if let Ok(output) = &answer {
            // The change is made whatever becomes of this; the panic itself was reported by the panic hook.
            let _ = catch_unwind(AssertUnwindSafe(|| watch.committed(&operation, output)));
        }
        // A caller that has gone away has no use for the answer.
        let _ = caller.send(answer);
    }

    fn fail(self: Box<Self>, error: DatabaseError) {
        let _ = self.caller.send(Err(WriteError::Unavailable(error)));
    }
}
