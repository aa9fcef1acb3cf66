//! Passwords that another program hashed and that an import brought: what comparing them costs, until each was stored anew.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use shared::{
    clock::Timestamp,
    database::{Operation, Transaction},
    on,
};

use crate::accounts::{Accounts, CredentialId, Error, Failure, Refusal};

/// How long the costs are believed: another replica may import, too.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// Most costs that are told apart; a list from one program has one or two.
const MAX_COSTS: i64 = 64;

/// One hash of each cost, and when they were read.
#[derive(Debug, Default)]
pub(in crate::accounts) struct Costs(Mutex<Option<(Timestamp, Arc<[String]>)>>);

impl Costs {
    fn known(&self, now: Timestamp) -> Option<Arc<[String]>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(at, _)| now < *at + BELIEVED_FOR).map(|(_, hashes)| hashes.clone())
    }

    fn know(&self, now: Timestamp, hashes: &Arc<[String]>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, hashes.clone()));
    }

    /// Looks anew at the next question.
    pub(in crate::accounts) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What precedes the salt says what a hash costs: of bcrypt's two digits, of argon2 everything before the last two fields.
const ONE_OF_EACH: &str = "SELECT MIN(verifier) FROM credential WHERE kind = 'password' AND revoked_at IS NULL \
     AND (verifier LIKE '$2%' OR verifier LIKE '$argon2%') AND verifier NOT LIKE $1 \
     GROUP BY CASE WHEN verifier LIKE '$2%' THEN substr(verifier, 5, 2) \
     ELSE rtrim(rtrim(rtrim(verifier, $2), '$'), $2) END ORDER BY 1 LIMIT $3";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Accounts {
    /// One hash of each cost that passwords here have which do not begin as `ours` do.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn foreign_hashes(&self, ours: &str) -> Result<Arc<[String]>, Error> {
        let now = self.clock.now();
        if let Some(known) = self.costs.known(now) {
            return Ok(known);
        }
        let mut reader = self.database.reader().await?;
        let rows: Vec<(String,)> = on!(reader, c => sqlx::query_as(ONE_OF_EACH)
            .bind(format!("{ours}%")).bind(BASE64).bind(MAX_COSTS).fetch_all(c).await)?;
        let hashes = rows.into_iter().map(|(hash,)| hash).collect();
        self.costs.know(now, &hashes);
        Ok(hashes)
    }

    /// Stores the same password in another form, if it is still stored as it was. Nothing that it opened ends.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn restate_password(&self, id: CredentialId, before: &str, after: &str) -> Result<(), Error> {
        self.change(Restate { id, before: before.to_owned(), after: after.to_owned() }).await
    }
}

struct Restate {
    id: CredentialId,
    before: String,
    after: String,
}

impl Operation for Restate {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "restate_password";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        on!(tx, c => sqlx::query(
            "UPDATE credential SET verifier = $1 WHERE id = $2 AND kind = 'password' AND verifier = $3 AND revoked_at IS NULL")
            .bind(&self.after).bind(self.id.0).bind(&self.before).execute(c).await.map(drop))?;
        Ok(())
    }
}
