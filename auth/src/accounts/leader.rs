//! Of several processes over one database one does what only one may do: it holds a row of `leader` for a while, and renews it while it
//! goes on. Who died is followed when the row has run out, who stopped at once.

use std::{sync::Arc, time::Duration};

use shared::{
    database::{Dialect, Operation, Transaction},
    on, random,
};

use super::{Accounts, Error, Failure, Refusal};

/// What a process that leads holds.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// What is done by one alone.
    pub(crate) name: &'static str,
    /// Different for each process.
    pub(crate) holder: Arc<str>,
    /// How long it holds without being renewed.
    pub(crate) lasts: Duration,
}

impl Lease {
    /// Takes or renews it; false if another process has it.
    pub(crate) async fn take(&self, tx: &mut Transaction<'_>) -> Result<bool, sqlx::Error> {
        let now = tx.now();
        let taken: Option<(String,)> = on!(tx, c => sqlx::query_as(
            "INSERT INTO leader (name, holder, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE leader.holder = excluded.holder OR leader.expires_at < $4 RETURNING holder")
            .bind(self.name).bind(&*self.holder).bind((now + self.lasts).micros()).bind(now.micros())
            .fetch_optional(c).await)?;
        Ok(taken.is_some())
    }
}

impl Accounts {
    /// A lease in the name of this process.
    pub(crate) fn lease(&self, name: &'static str, lasts: Duration) -> Lease {
        // An embedded database has one process. After a crash the next one need not wait for the lease of the last.
        let holder = match self.dialect() {
            Dialect::Sqlite => "this process".into(),
            Dialect::Postgres => format!("{:016x}", u64::from_ne_bytes(random::bytes())).into(),
        };
        Lease { name, holder, lasts }
    }

    /// Takes or renews a lease; false if another process has it.
    pub(crate) async fn lead(&self, lease: &Lease) -> Result<bool, Error> {
        Ok(self.database.write(Lead(lease.clone())).await?)
    }

    /// Gives a lease back, so that nobody waits for its end.
    pub(crate) async fn stop_leading(&self, lease: &Lease) -> Result<(), Error> {
        Ok(self.database.write(StopLeading(lease.clone())).await?)
    }
}

struct Lead(Lease);

impl Operation for Lead {
    type Output = bool;
    type Refusal = Refusal;
    const NAME: &'static str = "lead";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<bool, Failure> {
        Ok(self.0.take(tx).await?)
    }
}

struct StopLeading(Lease);

impl Operation for StopLeading {
    type Output = ();
    type Refusal = Refusal;
    const NAME: &'static str = "stop_leading";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure> {
        on!(tx, c => sqlx::query("DELETE FROM leader WHERE name = $1 AND holder = $2")
            .bind(self.0.name).bind(&*self.0.holder).execute(c).await.map(drop))?;
        Ok(())
    }
}
