//! Uploads that come to nothing: their rows go, their bytes go to the trash, and what they had reserved is given back.

use std::{collections::BTreeMap, convert::Infallible};

use shared::{
    database::{Dialect, Failure, Operation, Transaction},
    on,
    repository::RepositoryName,
};

use super::{NotYours, UploadId};
use crate::{
    failpoints::{Point, reach},
    metadata::{
        NamespaceId, json_list,
        pace::{Batch, Kind},
        trash::{self, Place},
        usage,
    },
};

/// What a statement that deletes uploads answers: [`Gone`].
macro_rules! gone {
    ($delete:literal) => {
        concat!(
            $delete,
            " RETURNING storage_key, store, reserved, \
             (SELECT r.namespace_id FROM repository r WHERE r.id = upload.repository_id) AS namespace_id"
        )
    };
}

/// Whose request ends an upload.
#[derive(Clone, Debug)]
pub enum Ended {
    /// Its writer found that it can come to nothing.
    ByWriter(i64),
    /// A client cancelled it, in the repository where it belongs.
    ByClient(RepositoryName),
}

/// Ends an upload; its bytes go to the trash.
#[derive(Debug)]
pub struct EndUpload {
    /// Which.
    pub id: UploadId,
    /// Why.
    pub ended: Ended,
}

impl Operation for EndUpload {
    type Output = ();
    type Refusal = NotYours;
    const NAME: &'static str = "end_upload";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<NotYours>> {
        let id = self.id.get();
        let now = tx.now();
        let gone: Option<Gone> = match &self.ended {
            Ended::ByWriter(writer) => {
                let delete = gone!("DELETE FROM upload WHERE id = $1 AND writer = $2");
                on!(tx, c => sqlx::query_as(delete).bind(id).bind(writer).fetch_optional(c).await)?
            }
            Ended::ByClient(repository) => {
                let delete = gone!(
                    "DELETE FROM upload WHERE id = $1 AND expires_at > $2 AND repository_id = \
                     (SELECT id FROM repository WHERE name = $3 AND deleted_at IS NULL)"
                );
                let repository = repository.as_str();
                on!(tx, c => sqlx::query_as(delete).bind(id).bind(now).bind(repository).fetch_optional(c).await)?
            }
        };
        let gone = gone.ok_or(Failure::Refused(NotYours))?;
        reach(Point::UploadEnded)?;
        trash::throw_away(tx, &gone.place).await?;
        Ok(usage::release(tx, gone.namespace_id, gone.reserved).await?)
    }
}

/// Ends uploads that nobody came back for; their bytes go to the trash.
#[derive(Debug)]
pub struct ExpireUploads {
    /// Which, as they were listed: one that lives again by now is left, and so is one that somebody holds.
    pub ids: Vec<UploadId>,
}

impl Operation for ExpireUploads {
    /// How many.
    type Output = usize;
    type Refusal = Infallible;
    const NAME: &'static str = "expire_uploads";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<usize, Failure<Infallible>> {
        let delete = match tx.dialect() {
            Dialect::Sqlite => gone!(
                "DELETE FROM upload WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each($1)) AND expires_at <= $2"
            ),
            Dialect::Postgres => gone!(
                "DELETE FROM upload WHERE id = ANY (ARRAY(SELECT id FROM upload \
                     WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::bigint)) AND expires_at <= $2 \
                     ORDER BY id FOR UPDATE SKIP LOCKED))"
            ),
        };
        let (ids, now) = (json_list(self.ids.iter().map(|id| id.get())), tx.now());
        let gone: Vec<Gone> = on!(tx, c => sqlx::query_as(delete).bind(ids).bind(now).fetch_all(c).await)?;
        reach(Point::UploadsDropped)?;
        // In everybody's order, one update a namespace: every push of it meets at that row.
        let mut reserved = BTreeMap::<NamespaceId, i64>::new();
        gone.iter().for_each(|gone| *reserved.entry(gone.namespace_id).or_default() += gone.reserved);
        let places: Vec<Place> = gone.into_iter().map(|gone| gone.place).collect();
        trash::throw_all_away(tx, &places).await?;
        for (namespace, reserved) in reserved {
            usage::release(tx, namespace, reserved).await?;
        }
        Ok(places.len())
    }
}

impl Batch for ExpireUploads {
    const KIND: Kind = Kind::Uploads;

    fn size(&self, _: &usize) -> usize {
        self.ids.len()
    }
}

/// What is left of an upload whose row is gone.
#[derive(sqlx::FromRow)]
struct Gone {
    #[sqlx(flatten)]
    place: Place,
    namespace_id: NamespaceId,
    reserved: i64,
}
