//! What happened and changed nothing: tokens that were made, logins that failed. Such events gather in memory and are written each
//! second, so that a token request costs no write; a crash forgets a second of them. Events of changes commit with their change.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Operation, Transaction},
    telemetry::RequestId,
};

use super::{Accounts, CredentialId, Error, Failure, PrincipalId, Refusal};
use crate::audit::{Actor, Event, EventName, Outcome, Written, record, record_all};

/// Most tokens, and most different failed logins, that wait to be written. What comes beyond is counted, and the count is written.
pub(super) const MAX_WAITING: usize = 20_000;
/// Events written by one operation, so that other writers are not kept waiting.
const BATCH: usize = 500;

/// A token that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// When.
    pub at: Timestamp,
    /// For whom; None for anonymous.
    pub principal: Option<PrincipalId>,
    /// Their name; empty for anonymous.
    pub handle: String,
    /// What proved it.
    pub credential: Option<CredentialId>,
    /// Where from.
    pub address: Option<IpAddr>,
    /// For which registry.
    pub service: String,
    /// The token's `jti`.
    pub id: String,
    /// What was asked for.
    pub requested: String,
    /// What of it was granted.
    pub granted: String,
    /// True if that is everything.
    pub whole: bool,
    /// The request that asked.
    pub request: Option<RequestId>,
}

/// A login that failed. Equal ones within a second are one event, which names the request of the first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FailedLogin {
    /// The name that was shown, folded; None where a secret was shown alone.
    pub name: Option<String>,
    /// What is written in its place if no account is called that: people type passwords where names belong.
    pub pseudonym: String,
    /// Where from.
    pub address: Option<IpAddr>,
    /// Why it failed.
    pub reason: &'static str,
}

/// Events that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    issued: Vec<IssuedToken>,
    failed: HashMap<FailedLogin, Failures>,
    left_out: u64,
}

/// Equal failed logins.
#[derive(Debug, Clone)]
struct Failures {
    /// When the first failed.
    at: Timestamp,
    /// The first one's request.
    request: Option<RequestId>,
    times: u64,
}

impl Events {
    fn with<T>(&self, change: impl FnOnce(&mut Waiting) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Waiting {
    fn token(&mut self, token: IssuedToken) {
        if self.issued.len() < MAX_WAITING {
            self.issued.push(token);
        } else {
            self.left_out += 1;
        }
    }

    fn failure(&mut self, failed: FailedLogin, more: Failures) {
        if let Some(known) = self.failed.get_mut(&failed) {
            known.times += more.times;
        } else if self.failed.len() < MAX_WAITING {
            self.failed.insert(failed, more);
        } else {
            self.left_out += more.times;
        }
    }
}

impl Accounts {
    /// Notes that a token was made.
    pub fn note_token(&self, token: IssuedToken) {
        self.events.with(|waiting| waiting.token(token));
    }

    /// Notes that a login failed now, by the request that is being answered.
    pub fn note_failed_login(&self, failed: FailedLogin) {
        let first = Failures { at: self.clock.now(), request: RequestId::current(), times: 1 };
        self.events.with(|waiting| waiting.failure(failed, first));
    }

    /// Writes an event of what changed nothing here, at once: a directory that was tried, changes that were not made.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn note(&self, actor: &Actor, event: Event) -> Result<(), Error> {
        Ok(self.database.write(Note { actor: actor.clone(), event }).await?)
    }

    /// Writes the events noted so far.
    ///
    /// # Errors
    /// The database did not answer; the events are noted again.
    pub async fn flush_events(&self) -> Result<(), Error> {
        let Waiting { mut issued, failed, left_out } = self.events.with(std::mem::take);
        let written = self.write_events(&mut issued, failed, left_out).await;
        if written.is_err() {
            self.events.with(|waiting| issued.into_iter().for_each(|token| waiting.token(token)));
        }
        written
    }

    /// How many tokens and failed logins wait.
    #[cfg(test)]
    pub(super) fn waiting_events(&self) -> (usize, usize) {
        self.events.with(|waiting| (waiting.issued.len(), waiting.failed.len()))
    }

    /// How many were left out and are not written yet.
    #[cfg(test)]
    pub(super) fn left_out_events(&self) -> u64 {
        self.events.with(|waiting| waiting.left_out)
    }

    /// Takes out of `issued` what it has written; what else it could not write it notes again.
    async fn write_events(
        &self,
        issued: &mut Vec<IssuedToken>,
        failed: HashMap<FailedLogin, Failures>,
        left_out: u64,
    ) -> Result<(), Error> {
        if let Err(error) = self.write_failed(&failed, left_out).await {
            self.events.with(|waiting| {
                waiting.left_out += left_out;
                failed.into_iter().for_each(|(failed, failures)| waiting.failure(failed, failures));
            });
            return Err(error);
        }
        while !issued.is_empty() {
            let batch = issued.len().min(BATCH);
            self.database.write(WriteEvents(issued[..batch].iter().map(IssuedToken::written).collect())).await?;
            issued.drain(..batch);
        }
        Ok(())
    }

    async fn write_failed(&self, failed: &HashMap<FailedLogin, Failures>, left_out: u64) -> Result<(), Error> {
        let mut events = Vec::with_capacity(failed.len() + 1);
        for (failed, failures) in failed {
            let known = match &failed.name {
                Some(name) => self.principal_called(name).await?.map(|principal| principal.handle),
                None => None,
            };
            events.push(failed.written(known, failures));
        }
        if left_out > 0 {
            let event = Event::done(EventName::EventsLeftOut, "audit").with(json!({ "events": left_out }));
            events.push(Written { at: self.clock.now(), actor: Actor::system(), event });
        }
        events.sort_by_key(|written| written.at);
        // Together or not at all: what is noted again after a failure was not written before it.
        if !events.is_empty() {
            self.database.write(WriteEvents(events)).await?;
        }
        Ok(())
    }
}

impl IssuedToken {
    fn written(&self) -> Written {
        let (name, outcome) = if self.whole {
            (EventName::TokenIssued, Outcome::Done)
        } else {
            (EventName::TokenReduced, Outcome::Refused)
        };
        let handle = if self.principal.is_some() { self.handle.clone() } else { "anonymous".to_owned() };
        let details = json!({ "token": self.id, "requested": self.requested, "granted": self.granted });
        let event = Event { outcome, ..Event::done(name, self.service.clone()).with(details) };
        let actor = Actor {
            principal: self.principal,
            name: handle,
            credential: self.credential,
            address: self.address,
            request: self.request.clone(),
        };
        Written { at: self.at, actor, event }
    }
}

impl FailedLogin {
    fn written(&self, known: Option<String>, failures: &Failures) -> Written {
        let target = match (known, &self.name) {
            (Some(handle), _) => handle,
            (None, Some(_)) => format!("unknown:{}", self.pseudonym),
            (None, None) => "unnamed".to_owned(),
        };
        let details = json!({ "reason": self.reason, "times": failures.times });
        let event = Event { outcome: Outcome::Refused, ..Event::done(EventName::LoginFailed, target).with(details) };
        let actor = Actor { address: self.address, request: failures.request.clone(), ..Actor::nobody() };
        Written { at: failures.at, actor, event }
    }
}

struct WriteEvents(Vec<Written>);

impl Operation for WriteEvents {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "write_events";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        Ok(record_all(tx, &self.0).await?)
    }
}

struct Note {
    actor: Actor,
    event: Event,
}

impl Operation for Note {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "note_event";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        Ok(record(tx, &self.actor, &self.event).await?)
    }
}
