//! Principals that hold something in a namespace, by grants of their own, of their teams, or by a role over the whole system.

use serde::Deserialize;
use shared::{database::Dialect, on};

use super::{
    Accounts, Error, MAX_PAGE, NamespaceId,
    names::folded,
    principals::{Page, PrincipalKind},
    stored::undecodable,
};
use crate::permissions::{Caller, CallerKind, SystemRole};

/// One of them, with the teams that it is in.
#[derive(Clone, Debug)]
pub struct HolderFound {
    /// What is weighed.
    pub caller: Caller,
    /// Person or machine.
    pub kind: PrincipalKind,
}

impl Accounts {
    /// Those whose credentials count and that some live rule may give something in the namespace, by folded name. Whether it does is for
    /// [`held`](crate::permissions::held) to say.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn holders(&self, namespace: NamespaceId, page: &Page) -> Result<Vec<HolderFound>, Error> {
        let after = page.after.as_deref().map(folded).unwrap_or_default();
        let now = self.clock.now().micros();
        let mut reader = self.database.reader().await?;
        let query = match reader.dialect() {
            Dialect::Sqlite => SQLITE,
            Dialect::Postgres => POSTGRES,
        };
        let (json,): (String,) = on!(reader, c => sqlx::query_as(query)
            .bind(namespace.0).bind(now).bind(&after).bind(i64::from(page.limit.min(MAX_PAGE))).fetch_one(c).await)?;
        drop(reader);
        let rows: Vec<Row> = serde_json::from_str(&json).map_err(undecodable)?;
        Ok(rows.into_iter().map(Row::found).collect())
    }
}

/// $1 namespace, $2 now, $3 the last folded name of the page before, $4 how many; and the rest of the statement, about a `page`.
macro_rules! page_of_holders {
    ($rest:literal) => {
        concat!(
            "WITH rule AS (SELECT subject, subject_id FROM grants WHERE namespace_id IN (0, $1) AND effect = 'allow' \
                           AND subject IN ('principal', 'team') AND (expires_at IS NULL OR expires_at > $2)), \
             holder AS (SELECT subject_id AS id FROM rule WHERE subject = 'principal' \
                        UNION SELECT m.principal_id FROM rule r JOIN team_member m ON m.team_id = r.subject_id WHERE r.subject = 'team' \
                        UNION SELECT id FROM principal WHERE system_role = 'administrator'), \
             page AS (SELECT p.id, p.kind, p.handle, p.folded, p.system_role FROM principal p WHERE p.id IN (SELECT id FROM holder) \
                      AND p.state = 'active' AND (p.expires_at IS NULL OR p.expires_at > $2) AND p.folded > $3 \
                      ORDER BY p.folded LIMIT $4) ",
            $rest
        )
    };
}

const SQLITE: &str = page_of_holders!(
    "SELECT json_group_array(json_object('id', id, 'kind', kind, 'handle', handle, 'system_role', system_role, \
     'teams', (SELECT json_group_array(DISTINCT m.team_id) FROM team_member m WHERE m.principal_id = page.id)) ORDER BY folded) FROM page"
);

const POSTGRES: &str = page_of_holders!(
    "SELECT COALESCE(json_agg(json_build_object('id', id, 'kind', kind, 'handle', handle, 'system_role', system_role, \
     'teams', (SELECT COALESCE(json_agg(DISTINCT m.team_id), '[]') FROM team_member m WHERE m.principal_id = page.id)) \
     ORDER BY folded), '[]')::text FROM page"
);

#[derive(Deserialize)]
struct Row {
    id: i64,
    kind: PrincipalKind,
    handle: String,
    system_role: Option<SystemRole>,
    teams: Vec<i64>,
}

impl Row {
    fn found(self) -> HolderFound {
        let kind = match self.kind {
            PrincipalKind::User => CallerKind::User,
            PrincipalKind::Robot => CallerKind::Robot,
        };
        let caller =
            Caller { system_role: self.system_role, ..Caller::principal(kind, self.id, self.handle, self.teams) };
        HolderFound { caller, kind: self.kind }
    }
}
