//! What happened, who did it, and to what. An event commits together with its change, or neither does.
//!
//! What changes nothing, a token made or a login failed, is written off the request path ([`crate::accounts::events`]).
//! Events are written without a number; a sealer numbers, chains and signs them afterwards ([`chain`], `seal`), and whoever has the
//! public key can tell whether anything was changed since ([`verify`]).

pub mod chain;
mod record;
pub(crate) mod seal;
pub mod verify;
pub mod witness;

use std::net::IpAddr;

use serde_json::{Value, json};
use shared::{clock::Timestamp, telemetry::RequestId};

use crate::accounts::{CredentialId, NamespaceId, PrincipalId, stored::stored_words};
pub(crate) use record::{Written, record, record_all};

/// Largest `details` of an event, in bytes as JSON. What is larger is left out and said to be left out.
pub const MAX_DETAIL_BYTES: usize = 8 * 1024;

/// Who caused a change.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account, where one acted.
    pub principal: Option<PrincipalId>,
    /// Its name at the time; `local` for the data directory's socket, `system` for the server itself.
    pub name: String,
    /// The credential it acted with.
    pub credential: Option<CredentialId>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
    /// The request by which they did it, as in the log; None for what no request caused. Operations run in tasks of their own: an actor
    /// is made where the request is answered, and handed to them.
    pub request: Option<RequestId>,
}

impl Actor {
    /// Root or the server's own user, on the data directory's socket.
    #[must_use]
    pub fn local() -> Self {
        Self::named("local")
    }

    /// The server itself: its first start, a provider's file that changed.
    #[must_use]
    pub fn system() -> Self {
        Self::named("system")
    }

    /// Somebody who did not prove who they are.
    #[must_use]
    pub fn nobody() -> Self {
        Self::named("nobody")
    }

    fn named(name: &str) -> Self {
        Self { principal: None, name: name.to_owned(), credential: None, address: None, request: RequestId::current() }
    }
}

stored_words! {
    /// What can happen.
    EventName {
        /// An account came to be.
        UserCreated = "user.create",
        /// An account was suspended, resumed or deleted, or its provider no longer has it.
        StateChanged = "principal.state",
        /// A password was set or replaced.
        PasswordSet = "password.set",
        /// A system role was given or taken.
        SystemRoleSet = "system_role.set",
        /// A robot came to be.
        RobotCreated = "robot.create",
        /// The name that people call an account, the purpose of a robot, or its end was changed.
        PrincipalChanged = "principal.change",
        /// A credential came to be.
        CredentialCreated = "credential.create",
        /// What bounds a credential was changed.
        CredentialChanged = "credential.change",
        /// A credential ends earlier than it did, because another takes its place.
        CredentialShortened = "credential.shorten",
        /// A credential ends within a week, and was not replaced yet.
        CredentialEnding = "credential.ending",
        /// A credential was revoked.
        CredentialRevoked = "credential.revoke",
        /// A namespace came to be.
        NamespaceCreated = "namespace.create",
        /// A namespace was opened or closed.
        VisibilitySet = "namespace.visibility",
        /// A namespace was deleted, with its grants, teams and robots.
        NamespaceDeleted = "namespace.delete",
        /// A grant or a guardrail was written.
        GrantAdded = "grant.add",
        /// A grant or a guardrail was replaced by another.
        GrantChanged = "grant.change",
        /// A grant or a guardrail was removed.
        GrantRemoved = "grant.remove",
        /// A team came to be.
        TeamCreated = "team.create",
        /// A team was deleted.
        TeamDeleted = "team.delete",
        /// Somebody joined a team.
        MemberAdded = "team.member.add",
        /// Somebody left a team.
        MemberRemoved = "team.member.remove",
        /// A directory's group feeds a team.
        GroupMapped = "team.mapping.add",
        /// A directory's group feeds a team no more.
        GroupUnmapped = "team.mapping.remove",
        /// A directory's changes were not made: they would have taken too many away at once.
        SyncStopped = "provider.sync_stopped",
        /// A directory was added beside those of the settings.
        ProviderAdded = "provider.add",
        /// A directory was removed that had been added.
        ProviderRemoved = "provider.remove",
        /// A directory was tried, perhaps with somebody's name and password.
        ProviderTested = "provider.test",
        /// A setup was applied; each of its changes has an event of its own before this one.
        SetupApplied = "setup.apply",
        /// A registry was made known.
        ServiceAdded = "service.add",
        /// A token was made that grants all that was asked for.
        TokenIssued = "token.issue",
        /// A token was made that grants less than was asked for.
        TokenReduced = "token.deny",
        /// Somebody did not prove who they are.
        LoginFailed = "login.fail",
        /// More tokens were made, or more logins failed, than could be written.
        EventsLeftOut = "audit.left_out",
        /// Events whose time was over were removed.
        EventsRemoved = "audit.removed",
        /// The trail ends before what this server knows to have sealed: it was cut off, or an older database was put in place.
        EndLost = "audit.end_lost",
        /// Another key signs tokens.
        KeyRotated = "signing_key.rotate",
        /// What a key has signed counts no more.
        KeyRevoked = "signing_key.revoke",
    }
}

stored_words! {
    /// How it ended.
    Outcome {
        /// The change was made.
        Done = "done",
        /// It was refused.
        Refused = "refused",
    }
}

/// One event, before it is written.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub name: EventName,
    /// What it happened to, by name or number.
    pub target: String,
    /// Where, so that a namespace's administrators can read their own log.
    pub namespace: Option<NamespaceId>,
    /// How it ended.
    pub outcome: Outcome,
    /// What else is worth knowing. Never a secret.
    pub details: Value,
}

impl Event {
    /// Something that was done to the system as a whole, or to a user.
    #[must_use]
    pub fn done(name: EventName, target: impl Into<String>) -> Self {
        Self { name, target: target.into(), namespace: None, outcome: Outcome::Done, details: Value::Null }
    }

    /// Where it happened.
    #[must_use]
    pub fn within(mut self, namespace: NamespaceId) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// What else is worth knowing.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// The text that is stored and later hashed; it is never parsed and printed again.
    fn body(&self, actor: &Actor, at: Timestamp) -> String {
        let size = self.details.to_string().len();
        let details = if size > MAX_DETAIL_BYTES { json!({ "left_out_bytes": size }) } else { self.details.clone() };
        json!({
            "at": at.rfc3339(),
            "event": self.name,
            "actor": { "id": actor.principal, "name": actor.name, "credential": actor.credential },
            "target": self.target,
            "namespace": self.namespace,
            "outcome": self.outcome,
            "address": actor.address,
            "request": actor.request.as_ref().map(RequestId::as_str),
            "details": details,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t49_a_body_is_json_that_escapes_what_people_typed() {
        let event = Event::done(EventName::UserCreated, "a\r\n\u{1b}[31mb");
        let body = event.body(&Actor::local(), Timestamp::from_micros(0));
        assert!(!body.contains(['\r', '\n', '\u{1b}']), "{body}");
        let parsed: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parsed["target"], "a\r\n\u{1b}[31mb");
        assert_eq!(parsed["event"], "user.create");
    }

    #[test]
    fn t49_details_are_bounded() {
        let fits = json!("x".repeat(MAX_DETAIL_BYTES - 2));
        let body = Event::done(EventName::GrantAdded, "g")
            .with(fits.clone())
            .body(&Actor::system(), Timestamp::from_micros(0));
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["details"], fits);

        let more = json!("x".repeat(MAX_DETAIL_BYTES - 1));
        let body = Event::done(EventName::GrantAdded, "g").with(more).body(&Actor::system(), Timestamp::from_micros(0));
        let parsed: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parsed["details"], json!({ "left_out_bytes": MAX_DETAIL_BYTES + 1 }));
    }
}
