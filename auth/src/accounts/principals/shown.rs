//! Accounts as they are shown, with what they were at that moment.

use shared::{database::Transaction, on};

use super::{Page, Principal, PrincipalKind, PrincipalRow, lock};
use crate::accounts::{
    Accounts, CredentialId, Error, Failure, MAX_PAGE, NamespaceId, PrincipalId, names::folded, versions::Version,
};

/// An account, and what it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account.
    pub principal: Principal,
    /// It, and its password.
    pub version: Version,
}

/// The number of the password that counts for a row of `principal`.
macro_rules! password {
    () => {
        "(SELECT MAX(c.id) FROM credential c WHERE c.principal_id = principal.id AND c.kind = 'password' AND c.revoked_at IS NULL) AS password"
    };
}

/// `SELECT` of a [`Row`] with the rest of the statement.
macro_rules! select_account {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, handle, display_name, namespace_id, system_role, state, expires_at, created_at, ",
            password!(),
            " FROM principal ",
            $rest
        )
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    principal: PrincipalRow,
    password: Option<i64>,
}

impl Row {
    fn into_account(self) -> Result<Account, sqlx::Error> {
        Ok(Account::new(self.principal.into_principal()?, self.password))
    }
}

impl Account {
    fn new(principal: Principal, password: Option<i64>) -> Self {
        Self { version: principal.version(password.map(CredentialId)), principal }
    }
}

impl Accounts {
    /// The living account with that number.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn account(&self, id: PrincipalId) -> Result<Option<Account>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<Row> = on!(reader, c => sqlx::query_as(select_account!("WHERE id = $1 AND state <> 'deleted'"))
            .bind(id.0).fetch_optional(c).await)?;
        row.map(|row| row.into_account().map_err(Error::from)).transpose()
    }

    /// Living accounts of one kind in a namespace ([`NamespaceId::SYSTEM`] for users), by folded name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn accounts(
        &self,
        kind: PrincipalKind,
        namespace: NamespaceId,
        page: &Page,
    ) -> Result<Vec<Account>, Error> {
        let after = page.after.as_deref().map(folded).unwrap_or_default();
        let mut reader = self.database.reader().await?;
        let rows: Vec<Row> = on!(reader, c => sqlx::query_as(select_account!(
            "WHERE kind = $1 AND namespace_id = $2 AND folded > $3 AND state <> 'deleted' ORDER BY folded LIMIT $4"))
            .bind(kind.word()).bind(namespace.0).bind(&after).bind(i64::from(page.limit.min(MAX_PAGE))).fetch_all(c).await)?;
        rows.into_iter().map(|row| row.into_account().map_err(Error::from)).collect()
    }
}

/// The living account, with its row locked until the operation ends: whoever changes its password locks it, too.
pub(in crate::accounts) async fn lock_account(tx: &mut Transaction<'_>, id: PrincipalId) -> Result<Account, Failure> {
    let principal = lock(tx, id).await?;
    // By itself: a statement that waits for the row reads what it aggregates as it was before the wait.
    let (password,): (Option<i64>,) = on!(tx, c => sqlx::query_as(concat!("SELECT ", password!(), " FROM principal WHERE id = $1"))
        .bind(id.0).fetch_one(c).await)?;
    Ok(Account::new(principal, password))
}
