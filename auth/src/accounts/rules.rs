//! Everything that a decision about one caller needs, read in one statement and therefore in one snapshot.
//!
//! The epoch of a token stands in the same snapshot as the grants it was made from, and so does the state of the credential: a
//! token whose `ep` is younger than a revocation was made from what that revocation left.

use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;
use shared::{clock::Timestamp, database::Dialect, on};

use super::{
    Accounts, CredentialId, Error, PrincipalId,
    credentials::CredentialKind,
    grants::{Effect, read_subject},
    principals::{AccountState, PrincipalKind},
    stored::undecodable,
};
use crate::permissions::{
    ApiLevel, Caller, CallerKind, Catalog, CredentialScope, Grant, Guardrail, Namespace, Rules, SystemRole, Visibility,
};

/// About whom rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// Somebody who showed nothing.
    Anonymous,
    /// Somebody who just proved to be this principal with this credential. Both must still count.
    Proved(PrincipalId, CredentialId),
    /// A principal that somebody else asks about: no credential bounds it.
    Principal(PrincipalId),
}

/// Which rules are asked for.
#[derive(Debug, Clone)]
pub struct Reach<'a> {
    /// The namespaces that are asked about; None for all.
    pub namespaces: Option<BTreeSet<&'a str>>,
    /// True if grants to others are wanted too, as explain names the nearest.
    pub others: bool,
    /// The service a token is for.
    pub service: Option<&'a str>,
}

impl<'a> Reach<'a> {
    /// The caller's rules for these repositories.
    pub fn repositories(names: impl IntoIterator<Item = &'a str>) -> Self {
        let first = |name: &'a str| name.split('/').next().unwrap_or(name);
        Self { namespaces: Some(names.into_iter().map(first).collect()), others: false, service: None }
    }

    /// All rules of the caller.
    #[must_use]
    pub fn everything() -> Self {
        Self { namespaces: None, others: false, service: None }
    }

    /// And whether the catalog of this service is filtered.
    #[must_use]
    pub fn at(mut self, service: &'a str) -> Self {
        self.service = Some(service);
        self
    }

    /// And the grants of others.
    #[must_use]
    pub fn with_others(mut self) -> Self {
        self.others = true;
        self
    }
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Situation {
    /// Who asks.
    pub caller: Caller,
    /// What holds.
    pub rules: Rules,
    /// The revocation counter then: `ep` of a token made from this.
    pub epoch: u64,
}

/// What is asked for with a token request; what it is answered with does not depend on anything else but the time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    about: About,
    namespaces: Option<String>,
    others: bool,
    service: Option<String>,
}

impl Question {
    fn new(about: About, reach: &Reach<'_>) -> Self {
        let list = |names: &BTreeSet<&str>| serde_json::Value::from_iter(names.iter().copied()).to_string();
        Self {
            about,
            namespaces: reach.namespaces.as_ref().map(list),
            others: reach.others,
            service: reach.service.map(str::to_owned),
        }
    }
}

/// A situation, and until when it is one whatever happens: account and credential may come to their end by themselves.
#[derive(Clone, Debug)]
pub(super) struct Known {
    situation: Situation,
    ends: Option<Timestamp>,
}

impl Known {
    /// How much is kept with it, in rules.
    pub(super) fn weight(&self) -> u32 {
        let Rules { grants, guardrails, .. } = &self.situation.rules;
        u32::try_from(1 + grants.len() + guardrails.len()).unwrap_or(u32::MAX)
    }
}

impl Accounts {
    /// Caller, rules and epoch of one snapshot. None if the account or the credential no longer counts.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn rules_for(&self, about: About, reach: &Reach<'_>) -> Result<Option<Situation>, Error> {
        let now = self.clock.now();
        let question = Question::new(about, reach);
        let read = async |question: &Question| self.read_rules(question, now).await;
        // All rules of somebody may be many, and are asked for rarely.
        let known = if reach.namespaces.is_none() {
            read(&question).await?
        } else {
            let lasts = |known: &Known| known.ends.is_none_or(|end| now < end);
            self.recent.situations.get_or_read(question, lasts, read).await?
        };
        Ok(known.map(|known| known.situation))
    }

    async fn read_rules(&self, question: &Question, now: Timestamp) -> Result<Option<Known>, Error> {
        let (principal, credential) = match question.about {
            About::Anonymous => (None, None),
            About::Proved(principal, credential) => (Some(principal.0), Some(credential.0)),
            About::Principal(principal) => (Some(principal.0), None),
        };
        let (names, service) = (question.namespaces.as_deref(), question.service.as_deref());
        let mut reader = self.database.reader().await?;
        let query = match reader.dialect() {
            Dialect::Sqlite => SQLITE,
            Dialect::Postgres => POSTGRES,
        };
        let (json,): (String,) = on!(reader, c => sqlx::query_as(query)
            .bind(principal).bind(credential).bind(names).bind(question.others).bind(service).fetch_one(c).await)?;
        drop(reader);
        let snapshot: Snapshot = serde_json::from_str(&json).map_err(undecodable)?;
        let ends = snapshot.ends();
        Ok(snapshot.situation(question.about, now)?.map(|situation| Known { situation, ends }))
    }
}

/// $1 principal, $2 credential, $3 names of namespaces as a JSON list or NULL for all, $4 with others' grants, $5 service.
const SQLITE: &str = "\
WITH my_team AS (SELECT DISTINCT team_id FROM team_member WHERE principal_id = $1), \
     asked AS (SELECT id, name, visibility FROM namespace WHERE deleted_at IS NULL AND id <> 0 \
               AND ($3 IS NULL OR name IN (SELECT value FROM json_each($3)))) \
SELECT json_object( \
 'epoch', (SELECT value FROM counter WHERE name = 'revocation'), \
 'catalog', (SELECT catalog FROM service WHERE name = $5), \
 'principal', (SELECT json_object('kind', kind, 'handle', handle, 'system_role', system_role, 'state', state, 'expires_at', expires_at) \
               FROM principal WHERE id = $1), \
 'credential', (SELECT json_object('kind', kind, 'scope', scope, 'api', api, 'expires_at', expires_at, 'revoked_at', revoked_at) \
                FROM credential WHERE id = $2 AND principal_id = $1), \
 'teams', (SELECT json_group_array(team_id) FROM my_team), \
 'namespaces', (SELECT json_group_array(json_object('id', id, 'name', name, 'visibility', visibility)) FROM asked), \
 'rules', (SELECT json_group_array(json_object('id', g.id, 'namespace', g.namespace_id, 'subject', g.subject, 'subject_id', g.subject_id, \
             'pattern', g.pattern, 'actions', g.actions, 'tags', g.tags, 'effect', g.effect, 'expires_at', g.expires_at)) \
           FROM grants g WHERE (g.namespace_id = 0 OR g.namespace_id IN (SELECT id FROM asked)) \
           AND ($4 OR g.effect = 'deny' OR g.subject = 'everyone' OR (g.subject = 'authenticated' AND $1 IS NOT NULL) \
                OR (g.subject = 'principal' AND g.subject_id = $1) OR (g.subject = 'team' AND g.subject_id IN (SELECT team_id FROM my_team)))))";

/// The same for PostgreSQL.
const POSTGRES: &str = "\
WITH my_team AS (SELECT DISTINCT team_id FROM team_member WHERE principal_id = $1::bigint), \
     asked AS (SELECT id, name, visibility FROM namespace WHERE deleted_at IS NULL AND id <> 0 \
               AND ($3::text IS NULL OR name IN (SELECT json_array_elements_text($3::text::json)))) \
SELECT json_build_object( \
 'epoch', (SELECT value FROM counter WHERE name = 'revocation'), \
 'catalog', (SELECT catalog FROM service WHERE name = $5::text), \
 'principal', (SELECT json_build_object('kind', kind, 'handle', handle, 'system_role', system_role, 'state', state, 'expires_at', expires_at) \
               FROM principal WHERE id = $1::bigint), \
 'credential', (SELECT json_build_object('kind', kind, 'scope', scope, 'api', api, 'expires_at', expires_at, 'revoked_at', revoked_at) \
                FROM credential WHERE id = $2::bigint AND principal_id = $1::bigint), \
 'teams', (SELECT COALESCE(json_agg(team_id), '[]') FROM my_team), \
 'namespaces', (SELECT COALESCE(json_agg(json_build_object('id', id, 'name', name, 'visibility', visibility)), '[]') FROM asked), \
 'rules', (SELECT COALESCE(json_agg(json_build_object('id', g.id, 'namespace', g.namespace_id, 'subject', g.subject, 'subject_id', g.subject_id, \
             'pattern', g.pattern, 'actions', g.actions, 'tags', g.tags, 'effect', g.effect, 'expires_at', g.expires_at)), '[]') \
           FROM grants g WHERE (g.namespace_id = 0 OR g.namespace_id IN (SELECT id FROM asked)) \
           AND ($4::boolean OR g.effect = 'deny' OR g.subject = 'everyone' OR (g.subject = 'authenticated' AND $1::bigint IS NOT NULL) \
                OR (g.subject = 'principal' AND g.subject_id = $1::bigint) \
                OR (g.subject = 'team' AND g.subject_id IN (SELECT team_id FROM my_team)))))::text";

#[derive(Deserialize)]
struct Snapshot {
    epoch: u64,
    catalog: Option<Catalog>,
    principal: Option<PrincipalPart>,
    credential: Option<CredentialPart>,
    teams: Vec<i64>,
    namespaces: Vec<NamespacePart>,
    rules: Vec<RulePart>,
}

#[derive(Deserialize)]
struct PrincipalPart {
    kind: PrincipalKind,
    handle: String,
    system_role: Option<SystemRole>,
    state: AccountState,
    expires_at: Option<i64>,
}

#[derive(Deserialize)]
struct CredentialPart {
    kind: CredentialKind,
    scope: Option<CredentialScope>,
    api: ApiLevel,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

#[derive(Deserialize)]
struct NamespacePart {
    id: i64,
    name: String,
    visibility: Visibility,
}

#[derive(Deserialize)]
struct RulePart {
    id: i64,
    namespace: i64,
    subject: String,
    subject_id: Option<i64>,
    pattern: String,
    actions: String,
    tags: Option<String>,
    effect: Effect,
    expires_at: Option<i64>,
}

impl Snapshot {
    /// When account or credential ends by itself.
    fn ends(&self) -> Option<Timestamp> {
        let principal = self.principal.as_ref().and_then(|part| part.expires_at);
        let credential = self.credential.as_ref().and_then(|part| part.expires_at);
        principal.into_iter().chain(credential).min().map(Timestamp::from_micros)
    }

    fn situation(self, about: About, now: Timestamp) -> Result<Option<Situation>, sqlx::Error> {
        let Some(caller) = caller(about, self.principal, self.credential, self.teams, now) else { return Ok(None) };
        let namespace = |part: NamespacePart| Namespace { id: part.id, name: part.name, visibility: part.visibility };
        let (allow, deny): (Vec<_>, Vec<_>) = self.rules.into_iter().partition(|rule| rule.effect == Effect::Allow);
        let rules = Rules {
            grants: allow.into_iter().map(RulePart::grant).collect::<Result<Arc<[_]>, _>>()?,
            guardrails: deny.into_iter().map(RulePart::guardrail).collect::<Result<Arc<[_]>, _>>()?,
            namespaces: Arc::new(self.namespaces.into_iter().map(namespace).collect()),
            catalog: self.catalog.unwrap_or_default(),
        };
        Ok(Some(Situation { caller, rules, epoch: self.epoch }))
    }
}

fn caller(
    about: About,
    principal: Option<PrincipalPart>,
    credential: Option<CredentialPart>,
    teams: Vec<i64>,
    now: Timestamp,
) -> Option<Caller> {
    let past = |end: Option<i64>| end.is_some_and(|end| Timestamp::from_micros(end) <= now);
    let (About::Proved(id, _) | About::Principal(id)) = about else { return Some(Caller::anonymous()) };
    let principal = principal?;
    let asked_about = matches!(about, About::Principal(_));
    let counts = principal.state == AccountState::Active && !past(principal.expires_at);
    if principal.state == AccountState::Deleted || !(counts || asked_about) {
        return None;
    }
    let kind = match principal.kind {
        PrincipalKind::User => CallerKind::User,
        PrincipalKind::Robot => CallerKind::Robot,
    };
    let mut caller = Caller::principal(kind, id.0, principal.handle, teams);
    caller.system_role = principal.system_role;
    if !asked_about {
        let credential = credential.filter(|part| part.revoked_at.is_none() && !past(part.expires_at))?;
        caller.credential_scope = credential.scope;
        // Whatever a row says: what `docker login` keeps, and what a person types, never administers.
        caller.api = match credential.kind {
            CredentialKind::Pat | CredentialKind::RobotKey => credential.api,
            CredentialKind::Password | CredentialKind::Identity => ApiLevel::None,
        };
    }
    Some(caller)
}

impl RulePart {
    fn grant(self) -> Result<Grant, sqlx::Error> {
        Ok(Grant {
            id: self.id,
            namespace: self.namespace,
            subject: read_subject(&self.subject, self.subject_id)?,
            pattern: self.pattern.parse().map_err(undecodable)?,
            actions: self.actions.parse().map_err(undecodable)?,
            tags: self.tags.as_deref().map(|tags| tags.parse().map_err(undecodable)).transpose()?,
            expires_at: self.expires_at.map(Timestamp::from_micros),
        })
    }

    fn guardrail(self) -> Result<Guardrail, sqlx::Error> {
        Ok(Guardrail {
            id: self.id,
            pattern: self.pattern.parse().map_err(undecodable)?,
            actions: self.actions.parse().map_err(undecodable)?,
            expires_at: self.expires_at.map(Timestamp::from_micros),
        })
    }
}
