//! What there is: accounts, namespaces, teams, rules and keys, in one statement and so in one snapshot.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use shared::{
    clock::Timestamp,
    database::{Dialect, Reader, Transaction},
    on,
    pattern::RepositoryPattern,
};

use crate::{
    accounts::{
        grants::Effect,
        principals::{AccountState, PrincipalKind},
        stored::undecodable,
    },
    permissions::{Actions, ApiLevel, SystemRole, TagPatterns, Visibility},
};

/// What there is. Rules and keys that have come to their end are left out: they give nothing any more.
#[derive(Debug, Clone, Default)]
pub struct Current {
    pub(super) accounts: BTreeMap<i64, Account>,
    /// Numbers of accounts by folded name.
    pub(super) named: BTreeMap<String, i64>,
    pub(super) namespaces: BTreeMap<i64, NamespaceRow>,
    pub(super) teams: BTreeMap<i64, TeamRow>,
    pub(super) members: Vec<MemberRow>,
    pub(super) mappings: Vec<MappingRow>,
    pub(super) rules: Vec<RuleRow>,
    pub(super) keys: Vec<KeyRow>,
    pub(super) providers: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Account {
    pub(super) id: i64,
    pub(super) kind: PrincipalKind,
    pub(super) handle: String,
    pub(super) folded: String,
    pub(super) display_name: String,
    pub(super) namespace: i64,
    pub(super) system_role: Option<SystemRole>,
    pub(super) state: AccountState,
    pub(super) expires_at: Option<i64>,
    pub(super) provider: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct NamespaceRow {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) visibility: Visibility,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct TeamRow {
    pub(super) id: i64,
    pub(super) namespace: i64,
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct MemberRow {
    pub(super) team: i64,
    pub(super) principal: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct MappingRow {
    pub(super) team: i64,
    pub(super) provider: String,
    pub(super) group: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct RuleRow {
    pub(super) id: i64,
    pub(super) namespace: i64,
    pub(super) subject: String,
    pub(super) subject_id: Option<i64>,
    pub(super) pattern: RepositoryPattern,
    pub(super) actions: Actions,
    pub(super) tags: Option<TagPatterns>,
    pub(super) effect: Effect,
    pub(super) expires_at: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct KeyRow {
    pub(super) id: i64,
    pub(super) principal: i64,
    pub(super) name: String,
    pub(super) verifier: String,
    pub(super) scope: Option<String>,
    pub(super) networks: Option<String>,
    pub(super) api: ApiLevel,
    pub(super) idle_us: Option<i64>,
    pub(super) created_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) used_at: Option<i64>,
}

#[derive(Deserialize)]
struct Provider {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct Snapshot {
    accounts: Vec<Account>,
    namespaces: Vec<NamespaceRow>,
    teams: Vec<TeamRow>,
    members: Vec<MemberRow>,
    mappings: Vec<MappingRow>,
    rules: Vec<RuleRow>,
    keys: Vec<KeyRow>,
    providers: Vec<Provider>,
}

/// Reads it outside of an operation.
pub(super) async fn read(reader: &mut Reader, now: Timestamp) -> Result<Current, sqlx::Error> {
    let query = statement(reader.dialect());
    let (json,): (String,) = on!(reader, c => sqlx::query_as(query).fetch_one(c).await)?;
    understood(&json, now)
}

/// Reads it within one.
pub(super) async fn read_in(tx: &mut Transaction<'_>) -> Result<Current, sqlx::Error> {
    let (query, now) = (statement(tx.dialect()), tx.now());
    let (json,): (String,) = on!(tx, c => sqlx::query_as(query).fetch_one(c).await)?;
    understood(&json, now)
}

/// The statement in one dialect: how it makes an object, how it begins and ends a list, and how it ends itself.
macro_rules! snapshot {
    ($object:literal, $list:literal, $end_of_list:literal, $end:literal) => {
        concat!(
            "SELECT ", $object, "('accounts', (SELECT ", $list, $object, "('id', p.id, 'kind', p.kind, 'handle', p.handle, \
             'folded', p.folded, 'display_name', p.display_name, 'namespace', p.namespace_id, 'system_role', p.system_role, \
             'state', p.state, 'expires_at', p.expires_at, 'provider', (SELECT o.name FROM identity i \
             JOIN provider o ON o.id = i.provider_id WHERE i.principal_id = p.id ORDER BY o.id LIMIT 1))", $end_of_list,
            " FROM principal p WHERE p.state <> 'deleted'), 'namespaces', (SELECT ", $list, $object, "('id', n.id, 'name', n.name, \
             'visibility', n.visibility)", $end_of_list, " FROM namespace n WHERE n.deleted_at IS NULL AND n.id <> 0), \
             'teams', (SELECT ", $list, $object, "('id', t.id, 'namespace', t.namespace_id, 'name', t.name)", $end_of_list,
            " FROM team t), 'members', (SELECT ", $list, $object, "('team', m.team_id, 'principal', m.principal_id)", $end_of_list,
            " FROM team_member m WHERE m.source = 'hand'), 'mappings', (SELECT ", $list, $object, "('team', g.team_id, \
             'provider', o.name, 'group', g.group_key)", $end_of_list, " FROM team_mapping g JOIN provider o ON o.id = g.provider_id), \
             'rules', (SELECT ", $list, $object, "('id', r.id, 'namespace', r.namespace_id, 'subject', r.subject, \
             'subject_id', r.subject_id, 'pattern', r.pattern, 'actions', r.actions, 'tags', r.tags, 'effect', r.effect, \
             'expires_at', r.expires_at)", $end_of_list, " FROM grants r), 'keys', (SELECT ", $list, $object, "('id', k.id, \
             'principal', k.principal_id, 'name', k.name, 'verifier', k.verifier, 'scope', k.scope, 'networks', k.networks, \
             'api', k.api, 'idle_us', k.idle_us, 'created_at', k.created_at, 'expires_at', k.expires_at, 'used_at', k.used_at)",
            $end_of_list, " FROM credential k WHERE k.kind = 'robot_key' AND k.revoked_at IS NULL), \
             'providers', (SELECT ", $list, $object, "('id', o.id, 'name', o.name)", $end_of_list, " FROM provider o))", $end
        )
    };
}

const SQLITE: &str = snapshot!("json_object", "json_group_array(", ")", "");
const POSTGRES: &str = snapshot!("json_build_object", "COALESCE(json_agg(", "), '[]')", "::text");

fn statement(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    }
}

impl Current {
    pub(super) fn account(&self, folded: &str) -> Option<&Account> {
        self.named.get(folded).and_then(|id| self.accounts.get(id))
    }

    pub(super) fn namespace(&self, name: &str) -> Option<&NamespaceRow> {
        self.namespaces.values().find(|row| row.name == name)
    }

    pub(super) fn team(&self, namespace: i64, name: &str) -> Option<&TeamRow> {
        self.teams_of(namespace).find(|row| row.name == name)
    }

    /// A namespace's teams by name.
    pub(super) fn teams_of(&self, namespace: i64) -> impl Iterator<Item = &TeamRow> {
        let mut teams: Vec<_> = self.teams.values().filter(|team| team.namespace == namespace).collect();
        teams.sort_by(|one, other| one.name.cmp(&other.name));
        teams.into_iter()
    }

    /// A namespace's robots by name.
    pub(super) fn robots_of(&self, namespace: i64) -> impl Iterator<Item = &Account> {
        let robots = self.named.values().filter_map(|id| self.accounts.get(id));
        robots.filter(move |account| account.kind == PrincipalKind::Robot && account.namespace == namespace)
    }

    /// People by folded name.
    pub(super) fn users(&self) -> impl Iterator<Item = &Account> {
        let accounts = self.named.values().filter_map(|id| self.accounts.get(id));
        accounts.filter(|account| account.kind == PrincipalKind::User)
    }

    /// Who is in a team by hand, by folded name.
    pub(super) fn members_of(&self, team: i64) -> Vec<&Account> {
        let rows = self.members.iter().filter(|row| row.team == team);
        let mut members: Vec<_> = rows.filter_map(|row| self.accounts.get(&row.principal)).collect();
        members.sort_by(|one, other| one.folded.cmp(&other.folded));
        members
    }

    /// The groups that feed a team.
    pub(super) fn mappings_of(&self, team: i64) -> Vec<&MappingRow> {
        let mut rows: Vec<_> = self.mappings.iter().filter(|row| row.team == team).collect();
        rows.sort_by(|one, other| (&one.provider, &one.group).cmp(&(&other.provider, &other.group)));
        rows
    }

    /// A robot's keys, the oldest first.
    pub(super) fn keys_of(&self, robot: i64) -> Vec<&KeyRow> {
        let mut rows: Vec<_> = self.keys.iter().filter(|row| row.principal == robot).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// The rules written in a namespace, the oldest first.
    pub(super) fn rules_of(&self, namespace: i64, effect: Effect) -> Vec<&RuleRow> {
        let mut rows: Vec<_> =
            self.rules.iter().filter(|row| row.namespace == namespace && row.effect == effect).collect();
        rows.sort_by_key(|row| row.id);
        rows
    }
}

impl KeyRow {
    pub(super) fn idle(&self) -> Option<Duration> {
        self.idle_us.map(|us| Duration::from_micros(us.unsigned_abs()))
    }

    /// As people say it: whole days, begun ones too.
    pub(super) fn idle_days(&self) -> Option<u32> {
        self.idle().map(|idle| u32::try_from(idle.as_secs().div_ceil(24 * 60 * 60)).unwrap_or(u32::MAX))
    }

    fn is_live(&self, now: Timestamp) -> bool {
        let used = Timestamp::from_micros(self.used_at.unwrap_or(self.created_at));
        let ends = [self.expires_at.map(Timestamp::from_micros), self.idle().map(|idle| used + idle)];
        ends.into_iter().flatten().all(|end| now < end)
    }
}

fn understood(json: &str, now: Timestamp) -> Result<Current, sqlx::Error> {
    let snapshot: Snapshot = serde_json::from_str(json).map_err(undecodable)?;
    let lives = |end: Option<i64>| end.is_none_or(|end| now.micros() < end);
    let named = snapshot.accounts.iter().map(|account| (account.folded.clone(), account.id)).collect();
    Ok(Current {
        accounts: snapshot.accounts.into_iter().map(|account| (account.id, account)).collect(),
        named,
        namespaces: snapshot.namespaces.into_iter().map(|row| (row.id, row)).collect(),
        teams: snapshot.teams.into_iter().map(|row| (row.id, row)).collect(),
        members: snapshot.members,
        mappings: snapshot.mappings,
        rules: snapshot.rules.into_iter().filter(|rule| lives(rule.expires_at)).collect(),
        keys: snapshot.keys.into_iter().filter(|key| key.is_live(now)).collect(),
        providers: snapshot.providers.into_iter().map(|provider| (provider.name, provider.id)).collect(),
    })
}
