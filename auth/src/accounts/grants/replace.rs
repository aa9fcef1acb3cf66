//! A rule in the place of another.

use serde_json::json;
use shared::{
    clock::Timestamp,
    database::{Operation, Transaction},
    on,
};

use super::{Effect, NewRule, Rule, lock, revoke, take_away, those_in, write_subject};
use crate::{
    accounts::{Failure, GrantId, Refusal},
    audit::{Actor, Event, EventName, record},
};

/// Writes a rule where another stood. Its namespace and whether it allows or forbids stay.
pub(in crate::accounts) struct Replace {
    pub(in crate::accounts) actor: Actor,
    pub(in crate::accounts) id: GrantId,
    pub(in crate::accounts) rule: NewRule,
}

impl Operation for Replace {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "replace_rule";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        let namespace = self.rule.lock_what_it_names(tx).await?;
        let before = NewRule::from(&lock(tx, Some(namespace), self.id).await?);
        let after = NewRule { namespace: Some(namespace), ..self.rule.clone() };
        if before.effect != after.effect {
            return Err(Failure::Refused(Refusal::GrantUnknown));
        }
        if before == after {
            return Ok(());
        }
        self.write(tx).await?;
        let details = json!({ "before": before.details(), "after": after.details() });
        let event = Event::done(EventName::GrantChanged, self.id.to_string()).within(namespace).with(details);
        record(tx, &self.actor, &event).await?;
        match before.effect {
            Effect::Allow if !after.contains(&before) => take_away(tx, before.subject, &before.pattern).await?,
            Effect::Deny if !before.contains(&after) => revoke(tx, &those_in(&after.pattern)).await?,
            Effect::Allow | Effect::Deny => {}
        }
        Ok(())
    }
}

impl Replace {
    async fn write(&self, tx: &mut Transaction<'_>) -> Result<(), sqlx::Error> {
        let rule = &self.rule;
        let (subject, subject_id) = write_subject(rule.subject);
        on!(tx, c => sqlx::query(
            "UPDATE grants SET subject = $1, subject_id = $2, pattern = $3, literal_prefix = $4, actions = $5, tags = $6, expires_at = $7, \
             given_by = $8 WHERE id = $9")
            .bind(subject)
            .bind(subject_id)
            .bind(rule.pattern.as_str())
            .bind(rule.pattern.literal_prefix())
            .bind(rule.actions.to_string())
            .bind(rule.tags.as_ref().map(ToString::to_string))
            .bind(rule.expires_at.map(Timestamp::micros))
            .bind(self.actor.principal.map(|id| id.0))
            .bind(self.id.0)
            .execute(c)
            .await
            .map(drop))
    }
}

impl From<&Rule> for NewRule {
    fn from(rule: &Rule) -> Self {
        Self {
            namespace: Some(rule.namespace),
            subject: rule.subject,
            pattern: rule.pattern.clone(),
            actions: rule.actions,
            tags: rule.tags.clone(),
            effect: rule.effect,
            expires_at: rule.expires_at,
        }
    }
}

impl NewRule {
    /// True if nothing that the other gives, or forbids, is missing here: who only widens interrupts nobody. Subjects, repositories and single
    /// tag patterns are not weighed against each other; where they differ something counts as missing.
    pub(in crate::accounts) fn contains(&self, other: &Self) -> bool {
        let tags = match (&self.tags, &other.tags) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(these), Some(those)) => those.as_slice().iter().all(|tag| these.as_slice().contains(tag)),
        };
        let lasts = self.expires_at.is_none_or(|end| other.expires_at.is_some_and(|other| other <= end));
        let of_the_same = self.subject == other.subject && self.pattern == other.pattern;
        of_the_same && tags && lasts && self.actions.contains(other.actions)
    }
}
