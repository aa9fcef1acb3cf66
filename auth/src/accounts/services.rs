//! Services: the registries that know this server, and the credential that opens the revocation feed to them.

use std::time::Duration;

use serde_json::json;
use shared::{
    database::{Operation, Transaction},
    on,
};

use super::{Accounts, Error, Failure, Refusal, ServiceId, names::Label, principals::Page, stored::undecodable};
use crate::{
    audit::{Actor, Event, EventName, record},
    permissions::Catalog,
};

/// A registry that tokens are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryService {
    /// Its number.
    pub id: ServiceId,
    /// What it calls itself: the `service` of requests and the `aud` of tokens.
    pub name: String,
    /// What a catalog token says.
    pub catalog: Catalog,
    /// How long its tokens live, where that differs from the server's own setting.
    pub token_life: Option<Duration>,
    /// Whether it has a credential for the revocation feed.
    pub follows_the_feed: bool,
}

/// A service that is to be.
#[derive(Debug, Clone)]
pub struct NewService {
    /// What it calls itself.
    pub name: Label,
    /// What a catalog token says.
    pub catalog: Catalog,
    /// How long its tokens live.
    pub token_life: Option<Duration>,
    /// What its credential is compared with; None for a service that asks nothing.
    pub verifier: Option<String>,
}

impl Accounts {
    /// Makes a service known, or gives a known one a new credential.
    ///
    /// # Errors
    /// [`Refusal::ServiceTaken`].
    pub async fn add_service(&self, actor: &Actor, new: NewService) -> Result<RegistryService, Error> {
        self.change(Add { actor: actor.clone(), new, only_if_missing: false }).await
    }

    /// The service of that name, made if it is missing; what exists is left as it is.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn ensure_service(&self, name: Label, catalog: Catalog) -> Result<RegistryService, Error> {
        if let Some(service) = self.service(name.as_str()).await? {
            return Ok(service);
        }
        let new = NewService { name, catalog, token_life: None, verifier: None };
        self.change(Add { actor: Actor::system(), new, only_if_missing: true }).await
    }

    /// The service of that name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn service(&self, name: &str) -> Result<Option<RegistryService>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<Row> = on!(reader, c => sqlx::query_as("SELECT id, name, catalog, ttl_us, verifier FROM service WHERE name = $1")
            .bind(name).fetch_optional(c).await)?;
        row.map(|row| row.into_service().map_err(Error::from)).transpose()
    }

    /// The service whose credential has that verifier. The index finds it, so nothing is compared byte by byte in a time that tells.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn service_with_verifier(&self, verifier: &str) -> Result<Option<RegistryService>, Error> {
        let mut reader = self.database.reader().await?;
        let row: Option<Row> = on!(reader, c => sqlx::query_as("SELECT id, name, catalog, ttl_us, verifier FROM service WHERE verifier = $1")
            .bind(verifier).fetch_optional(c).await)?;
        row.map(|row| row.into_service().map_err(Error::from)).transpose()
    }

    /// All services by name.
    ///
    /// # Errors
    /// The database did not answer.
    pub async fn services(&self, page: &Page) -> Result<Vec<RegistryService>, Error> {
        let mut reader = self.database.reader().await?;
        let rows: Vec<Row> = on!(reader, c => sqlx::query_as("SELECT id, name, catalog, ttl_us, verifier FROM service WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(page.after.as_deref().unwrap_or_default()).bind(i64::from(page.limit.min(super::MAX_PAGE))).fetch_all(c).await)?;
        rows.into_iter().map(|row| row.into_service().map_err(Error::from)).collect()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    name: String,
    catalog: String,
    ttl_us: Option<i64>,
    verifier: Option<String>,
}

impl Row {
    fn into_service(self) -> Result<RegistryService, sqlx::Error> {
        Ok(RegistryService {
            id: ServiceId(self.id),
            name: self.name,
            catalog: self.catalog.parse().map_err(undecodable)?,
            token_life: self.ttl_us.map(|us| Duration::from_micros(us.unsigned_abs())),
            follows_the_feed: self.verifier.is_some(),
        })
    }
}

struct Add {
    actor: Actor,
    new: NewService,
    only_if_missing: bool,
}

impl Operation for Add {
    type Output = RegistryService;
    type Refusal = Refusal;
    const NAME: &'static str = "add_service";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<RegistryService, Failure> {
        let new = &self.new;
        let name = new.name.as_str();
        let found: Option<Row> = on!(tx, c => sqlx::query_as("SELECT id, name, catalog, ttl_us, verifier FROM service WHERE name = $1")
            .bind(name).fetch_optional(c).await)?;
        if let Some(row) = found {
            if self.only_if_missing {
                return Ok(row.into_service()?);
            }
            // A service that the settings named has no credential yet: the command gives it one.
            if row.verifier.is_some() || new.verifier.is_none() {
                return Err(Failure::Refused(Refusal::ServiceTaken(name.to_owned())));
            }
        }
        let ttl = new.token_life.map(|life| i64::try_from(life.as_micros()).unwrap_or(i64::MAX));
        let row: Row = on!(tx, c => sqlx::query_as(
            "INSERT INTO service (name, catalog, ttl_us, verifier) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET catalog = excluded.catalog, ttl_us = excluded.ttl_us, verifier = excluded.verifier \
             RETURNING id, name, catalog, ttl_us, verifier")
            .bind(name).bind(new.catalog.as_str()).bind(ttl).bind(new.verifier.as_deref()).fetch_one(c).await)?;
        record(tx, &self.actor, &Event::done(EventName::ServiceAdded, name).with(json!({ "catalog": new.catalog })))
            .await?;
        Ok(row.into_service()?)
    }
}
