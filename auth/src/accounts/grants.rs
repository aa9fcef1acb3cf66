//! Grants and guardrails, stored. What they add up to is decided in [`crate::permissions`].

mod replace;

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Dialect, Operation, Transaction},
    on,
    pattern::RepositoryPattern,
    revocation::Revoked,
};

use super::{
    Accounts, Error, Failure, GrantId, NamespaceId, PrincipalId, Refusal, TeamId, namespaces, principals,
    revocations::{revoke, revoke_members},
    stored::{stored_words, undecodable},
};
use crate::{
    audit::{Actor, Event, EventName, record},
    permissions::{Actions, Subject, TagPatterns},
};
pub(super) use replace::Replace;

stored_words! {
    /// Whether a rule gives or forbids.
    Effect {
        /// A grant.
        Allow = "allow",
        /// A guardrail.
        Deny = "deny",
    }
}

/// A rule that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// Where it is written; None for the system's own, whose first segment is a wildcard.
    ///
    /// The namespace whose administrator the writer was found to be, not its name: that may be somebody else's by now.
    pub namespace: Option<NamespaceId>,
    /// Whom it is for; a guardrail is for everyone.
    pub subject: Subject,
    /// The repositories it is about.
    pub pattern: RepositoryPattern,
    /// What it gives or forbids.
    pub actions: Actions,
    /// The tags that push and delete may touch.
    pub tags: Option<TagPatterns>,
    /// Whether it gives or forbids.
    pub effect: Effect,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// `SELECT` of a [`Row`] with its condition.
macro_rules! select_rule {
    ($condition:literal) => {
        concat!(
            "SELECT g.id, g.namespace_id, n.name AS namespace_name, g.subject, g.subject_id, COALESCE(p.handle, t.name) AS subject_name, ",
            "g.pattern, g.actions, g.tags, g.effect, g.expires_at, w.handle AS given_by, g.created_at ",
            "FROM grants g JOIN namespace n ON n.id = g.namespace_id ",
            "LEFT JOIN principal p ON g.subject = 'principal' AND p.id = g.subject_id ",
            "LEFT JOIN team t ON g.subject = 'team' AND t.id = g.subject_id ",
            "LEFT JOIN principal w ON w.id = g.given_by WHERE ",
            $condition
        )
    };
}

/// Which rules a list is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those written there, [`NamespaceId::SYSTEM`] for the system's own; None for all.
    pub namespace: Option<NamespaceId>,
    /// Those for exactly this subject; None for all.
    pub subject: Option<Subject>,
}

impl Wanted {
    /// Those written in a namespace.
    #[must_use]
    pub fn within(namespace: NamespaceId) -> Self {
        Self { namespace: Some(namespace), subject: None }
    }
}

/// A stored rule, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub id: GrantId,
    /// Where it was written.
    pub namespace: NamespaceId,
    /// The name of that namespace; empty for the system's own.
    pub namespace_name: String,
    /// Whom it is for.
    pub subject: Subject,
    /// The name of that account or team.
    pub subject_name: Option<String>,
    /// The repositories it is about.
    pub pattern: RepositoryPattern,
    /// What it gives or forbids.
    pub actions: Actions,
    /// The tags that push and delete may touch.
    pub tags: Option<TagPatterns>,
    /// Whether it gives or forbids.
    pub effect: Effect,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Who wrote it, by name; None for the data directory's socket.
    pub given_by: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
}

impl Accounts {
    /// Writes a grant or a guardrail. Whether the writer may is asked before, of [`crate::permissions`].
    ///
    /// # Errors
    /// [`Refusal::NamespaceUnknown`], [`Refusal::PrincipalUnknown`], [`Refusal::TeamUnknown`].
    pub async fn add_rule(&self, actor: &Actor, rule: NewRule) -> Result<GrantId, Error> {
        self.change(Add { actor: actor.clone(), rule }).await
    }

    /// Removes a grant or a guardrail.
    ///
    /// # Errors
    /// [`Refusal::GrantUnknown`] also for another namespace's.
    pub async fn remove_rule(&self, actor: &Actor, namespace: NamespaceId, id: GrantId) -> Result<(), Error> {
        self.change(Remove { actor: actor.clone(), namespace: Some(namespace), id }).await
    }

    /// Removes a grant or a guardrail, wherever it was written.
    ///
    /// # Errors
    /// [`Refusal::GrantUnknown`]
    pub async fn remove_any_rule(&self, actor: &Actor, id: GrantId) -> Result<(), Error> {
        self.change(Remove { actor: actor.clone(), namespace: None, id }).await
    }

    /// Writes a rule in the place of another: what was given before and is not now is taken away.
    ///
    /// # Errors
    /// [`Refusal::GrantUnknown`] also for another namespace's; what [`Accounts::add_rule`] refuses.
    pub async fn replace_rule(&self, actor: &Actor, id: GrantId, rule: NewRule) -> Result<(), Error> {
        self.change(replace::Replace { actor: actor.clone(), id, rule }).await
    }

    /// A rule, if it was written there.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn rule(&self, namespace: Option<NamespaceId>, id: GrantId) -> Result<Option<Rule>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<Row> = on!(reader, c => sqlx::query_as(select_rule!("g.id = $1 AND ($2 IS NULL OR g.namespace_id = $2)"))
            .bind(id.0).bind(namespace.map(|id| id.0)).fetch_optional(c).await)?;
        row.map(|row| row.into_rule().map_err(Error::from)).transpose()
    }

    /// What a subject is called: an account's handle, a team's `namespace/name`.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn subject_name(&self, subject: Subject) -> Result<Option<String>, Error> {
        let (query, id) = match subject {
            Subject::Principal(id) => ("SELECT handle FROM principal WHERE id = $1", id),
            Subject::Team(id) => (
                "SELECT n.name || '/' || t.name FROM team t JOIN namespace n ON n.id = t.namespace_id WHERE t.id = $1",
                id,
            ),
            Subject::Authenticated | Subject::Everyone => return Ok(None),
        };
        let mut reader = self.database.reader().await?;
        let row: Option<(String,)> = on!(reader, c => sqlx::query_as(query).bind(id).fetch_optional(c).await)?;
        Ok(row.map(|(name,)| name))
    }

    /// The rules that are wanted, oldest first.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn rules(&self, wanted: Wanted, after: Option<GrantId>, limit: u32) -> Result<Vec<Rule>, Error> {
        let (subject, subject_id) = wanted.subject.map(write_subject).unzip();
        let mut reader = self.database.reader().await?;
        let rows: Vec<Row> = on!(reader, c => sqlx::query_as(
            select_rule!("g.id > $1 AND ($2 IS NULL OR g.namespace_id = $2) \
             AND ($3 IS NULL OR (g.subject = $3 AND COALESCE(g.subject_id, 0) = COALESCE($4, 0))) ORDER BY g.id LIMIT $5"))
            .bind(after.map_or(0, |id| id.0))
            .bind(wanted.namespace.map(|id| id.0))
            .bind(subject)
            .bind(subject_id.flatten())
            .bind(i64::from(limit.min(super::MAX_PAGE)))
            .fetch_all(c)
            .await)?;
        rows.into_iter().map(|row| row.into_rule().map_err(Error::from)).collect()
    }
}

/// The rule, if it was written there, with its row locked until the operation ends. One of another namespace is not touched.
pub(super) async fn lock(
    tx: &mut Transaction<'_>,
    namespace: Option<NamespaceId>,
    id: GrantId,
) -> Result<Rule, Failure> {
    let namespace = namespace.map(|id| id.0);
    if tx.dialect() == Dialect::Postgres {
        on!(tx, c => sqlx::query("SELECT id FROM grants WHERE id = $1 AND ($2 IS NULL OR namespace_id = $2) FOR UPDATE")
            .bind(id.0).bind(namespace).execute(c).await.map(drop))?;
    }
    let row: Option<Row> = on!(tx, c => sqlx::query_as(select_rule!("g.id = $1 AND ($2 IS NULL OR g.namespace_id = $2)"))
        .bind(id.0).bind(namespace).fetch_optional(c).await)?;
    Ok(row.ok_or(Failure::Refused(Refusal::GrantUnknown))?.into_rule()?)
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    namespace_id: i64,
    namespace_name: String,
    subject: String,
    subject_id: Option<i64>,
    subject_name: Option<String>,
    pattern: String,
    actions: String,
    tags: Option<String>,
    effect: String,
    expires_at: Option<i64>,
    given_by: Option<String>,
    created_at: i64,
}

impl Row {
    fn into_rule(self) -> Result<Rule, sqlx::Error> {
        Ok(Rule {
            id: GrantId(self.id),
            namespace: NamespaceId(self.namespace_id),
            namespace_name: self.namespace_name,
            subject: read_subject(&self.subject, self.subject_id)?,
            subject_name: self.subject_name,
            pattern: self.pattern.parse().map_err(undecodable)?,
            actions: self.actions.parse().map_err(undecodable)?,
            tags: self.tags.as_deref().map(|tags| tags.parse().map_err(undecodable)).transpose()?,
            effect: self.effect.parse()?,
            expires_at: self.expires_at.map(Timestamp::from_micros),
            given_by: self.given_by,
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}

pub(super) struct Add {
    pub(super) actor: Actor,
    pub(super) rule: NewRule,
}

impl Operation for Add {
    type Output = GrantId;
    type Refusal = Refusal;
    const NAME: &'static str = "add_rule";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<GrantId, Failure> {
        let rule = &self.rule;
        let namespace = rule.lock_what_it_names(tx).await?;
        let (subject, subject_id) = write_subject(rule.subject);
        let now = tx.now();
        let (id,): (i64,) = on!(tx, c => sqlx::query_as(
            "INSERT INTO grants (namespace_id, subject, subject_id, pattern, literal_prefix, actions, tags, effect, expires_at, given_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id")
            .bind(namespace.0)
            .bind(subject)
            .bind(subject_id)
            .bind(rule.pattern.as_str())
            .bind(rule.pattern.literal_prefix())
            .bind(rule.actions.to_string())
            .bind(rule.tags.as_ref().map(ToString::to_string))
            .bind(rule.effect.word())
            .bind(rule.expires_at.map(Timestamp::micros))
            .bind(self.actor.principal.map(|id| id.0))
            .bind(now.micros())
            .fetch_one(c)
            .await)?;
        record(
            tx,
            &self.actor,
            &Event::done(EventName::GrantAdded, id.to_string()).within(namespace).with(rule.details()),
        )
        .await?;
        if rule.effect == Effect::Deny {
            revoke(tx, &those_in(&rule.pattern)).await?;
        }
        Ok(GrantId(id))
    }
}

impl NewRule {
    /// The namespace that it is written in, locked, and its subject, which is there.
    async fn lock_what_it_names(&self, tx: &mut Transaction<'_>) -> Result<NamespaceId, Failure> {
        if let Some(namespace) = self.namespace {
            namespaces::lock_id(tx, namespace).await?;
        }
        match self.subject {
            Subject::Principal(id) => drop(principals::lock(tx, PrincipalId(id)).await?),
            Subject::Team(id) => team_exists(tx, TeamId(id)).await?,
            Subject::Authenticated | Subject::Everyone => {}
        }
        Ok(self.namespace.unwrap_or(NamespaceId::SYSTEM))
    }

    fn details(&self) -> serde_json::Value {
        let (subject, subject_id) = write_subject(self.subject);
        json!({
            "effect": self.effect,
            "subject": subject,
            "subject_id": subject_id,
            "pattern": self.pattern.as_str(),
            "actions": self.actions,
            "tags": self.tags,
            "expires_at": self.expires_at.map(Timestamp::rfc3339),
        })
    }
}

pub(super) struct Remove {
    pub(super) actor: Actor,
    /// Where it must have been written; None for anywhere.
    pub(super) namespace: Option<NamespaceId>,
    pub(super) id: GrantId,
}

impl Operation for Remove {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "remove_rule";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let row: Option<(i64, String, Option<i64>, String, String, String)> = on!(tx, c => sqlx::query_as(
            "DELETE FROM grants WHERE id = $1 AND ($2 IS NULL OR namespace_id = $2) RETURNING namespace_id, subject, subject_id, pattern, actions, effect")
            .bind(self.id.0).bind(self.namespace.map(|id| id.0)).fetch_optional(c).await)?;
        let (namespace, subject, subject_id, pattern, actions, effect) =
            row.ok_or(Failure::Refused(Refusal::GrantUnknown))?;
        let details = json!({ "effect": effect, "subject": subject, "subject_id": subject_id, "pattern": pattern, "actions": actions });
        record(
            tx,
            &self.actor,
            &Event::done(EventName::GrantRemoved, self.id.to_string()).within(NamespaceId(namespace)).with(details),
        )
        .await?;
        // A guardrail that goes widens.
        if effect.parse::<Effect>().map_err(sqlx::Error::from)? == Effect::Deny {
            return Ok(());
        }
        take_away(tx, read_subject(&subject, subject_id)?, &pattern.parse().map_err(undecodable)?).await?;
        Ok(())
    }
}

/// Refuses the tokens that may say what a grant gave.
async fn take_away(tx: &mut Transaction<'_>, subject: Subject, pattern: &RepositoryPattern) -> Result<(), sqlx::Error> {
    match subject {
        Subject::Principal(id) => revoke(tx, &Revoked::Principal(id)).await,
        Subject::Team(id) => revoke_members(tx, TeamId(id)).await,
        Subject::Authenticated | Subject::Everyone => revoke(tx, &those_in(pattern)).await,
    }
}

/// Whose tokens a rule for everyone can have been in: those for one namespace, or all.
fn those_in(pattern: &RepositoryPattern) -> Revoked {
    pattern.namespace().map_or(Revoked::Everyone, |namespace| Revoked::Namespace(namespace.to_owned()))
}

async fn team_exists(tx: &mut Transaction<'_>, id: TeamId) -> Result<(), Failure> {
    let row: Option<(i64,)> =
        on!(tx, c => sqlx::query_as("SELECT id FROM team WHERE id = $1").bind(id.0).fetch_optional(c).await)?;
    row.map(drop).ok_or(Failure::Refused(Refusal::TeamUnknown))
}

pub(super) fn write_subject(subject: Subject) -> (&'static str, Option<i64>) {
    match subject {
        Subject::Principal(id) => ("principal", Some(id)),
        Subject::Team(id) => ("team", Some(id)),
        Subject::Authenticated => ("authenticated", None),
        Subject::Everyone => ("everyone", None),
    }
}

/// What the stored words mean.
pub(super) fn read_subject(word: &str, id: Option<i64>) -> Result<Subject, sqlx::Error> {
    match (word, id) {
        ("principal", Some(id)) => Ok(Subject::Principal(id)),
        ("team", Some(id)) => Ok(Subject::Team(id)),
        ("authenticated", None) => Ok(Subject::Authenticated),
        ("everyone", None) => Ok(Subject::Everyone),
        _ => Err(super::stored::UnknownWord { set: "Subject", word: word.to_owned() }.into()),
    }
}
