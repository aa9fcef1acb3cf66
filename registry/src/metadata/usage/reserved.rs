//! Bytes reserved for uploads, so that uploads at the same time cannot together exceed a quota that each alone keeps.
//!
//! The rows of uploads are the truth: `usage.reserved` is the sum over those of the namespace. Whoever removes or lowers one gives back the same amount in
//! the same operation, so a process that is lost leaves nothing reserved once its uploads have expired. Where a namespace has no quota nothing is reserved,
//! and nothing of this is written.

use shared::{
    database::{Durability, Failure, Operation, Transaction},
    on,
};

use super::refuse;
use crate::{
    failpoints::{Point, reach},
    metadata::{
        NamespaceId, locking, parse_bytes,
        quotas::Exceeded,
        stored_bytes,
        uploads::{NotYours, UploadId},
    },
};

/// The most that an upload of unknown length reserves ahead of what has arrived, in bytes.
const STEP: u64 = 64 * 1024 * 1024;

/// It takes this part of what is free at most: close to the quota small uploads at the same time must not be refused for what one of them may never bring.
const SHARE: u64 = 16;

/// How far an upload may go before it has to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// The namespace has no quota.
    Unlimited,
    /// So many bytes are reserved for it.
    UpTo(u64),
}

impl Allowance {
    pub(in crate::metadata) fn stored(quota: Option<i64>, reserved: i64) -> Self {
        match quota {
            None => Self::Unlimited,
            Some(_) => Self::UpTo(parse_bytes(reserved)),
        }
    }

    /// Whether an upload may grow to `total` bytes.
    pub fn covers(self, total: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::UpTo(reserved) => total <= reserved,
        }
    }
}

/// What to reserve beyond what is known to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing: this is all.
    Nothing,
    /// A step: more will come, and nobody knows how much.
    AStep,
    /// Nothing yet, but there has to be room for something: more will come with another request.
    Later,
}

/// Reserves what an upload is about to receive.
#[derive(Debug)]
pub struct Reserve {
    /// Which upload.
    pub id: UploadId,
    /// Who writes it.
    pub writer: i64,
    /// How many bytes of it have to be reserved, those that it has received included.
    pub total: u64,
    /// And beyond that.
    pub ahead: Ahead,
}

/// Why nothing was reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReserved {
    /// The upload is gone, or another writer's.
    NotYours(NotYours),
    /// The namespace has no room for it.
    Exceeded(Exceeded),
}

impl From<Exceeded> for NotReserved {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

impl Operation for Reserve {
    type Output = Allowance;
    type Refusal = NotReserved;
    const NAME: &'static str = "reserve";

    fn durability(&self) -> Durability {
        // Both rows are lost together, and then the bytes of the upload are, too.
        Durability::Relaxed
    }

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<Allowance, Failure<NotReserved>> {
        let select = locking!(
            tx,
            "SELECT r.namespace_id, u.reserved FROM upload u JOIN repository r ON r.id = u.repository_id \
             WHERE u.id = $1 AND u.writer = $2",
            "FOR UPDATE OF u"
        );
        let row: Option<(NamespaceId, i64)> =
            on!(tx, c => sqlx::query_as(select).bind(self.id.get()).bind(self.writer).fetch_optional(c).await)?;
        let (namespace, reserved) = row.ok_or(Failure::Refused(NotReserved::NotYours(NotYours)))?;
        let upload = Upload { id: self.id, namespace, reserved: parse_bytes(reserved) };
        grow(tx, &upload, self.total, self.ahead).await
    }
}

/// A locked upload that reserves bytes of a namespace.
pub(in crate::metadata) struct Upload {
    pub(in crate::metadata) id: UploadId,
    pub(in crate::metadata) namespace: NamespaceId,
    pub(in crate::metadata) reserved: u64,
}

/// Reserves bytes for an upload until it has `total`.
pub(in crate::metadata) async fn grow<R: From<Exceeded>>(
    tx: &mut Transaction<'_>,
    upload: &Upload,
    total: u64,
    ahead: Ahead,
) -> Result<Allowance, Failure<R>> {
    let select = locking!(
        tx,
        "SELECT n.quota, u.used, u.reserved FROM usage u JOIN namespace n ON n.id = u.namespace_id WHERE u.namespace_id = $1",
        "FOR UPDATE OF u"
    );
    let (quota, used, reserved): (Option<i64>, i64, i64) =
        on!(tx, c => sqlx::query_as(select).bind(upload.namespace).fetch_one(c).await)?;
    let Some(quota) = quota else { return Ok(Allowance::Unlimited) };
    let free = parse_bytes(quota).saturating_sub(parse_bytes(used) + parse_bytes(reserved));
    let asked = total.saturating_sub(upload.reserved);
    let room = asked.max(u64::from(ahead == Ahead::Later));
    if room > free {
        return Err(refuse(tx, upload.namespace, asked).await);
    }
    let more = match ahead {
        Ahead::Nothing | Ahead::Later => asked,
        Ahead::AStep => asked.max(STEP.min(free / SHARE)),
    };
    set(tx, upload, upload.reserved + more).await?;
    Ok(Allowance::UpTo(upload.reserved + more))
}

/// Gives back what an upload, its row locked, has reserved beyond `keep` bytes.
///
/// # Errors
/// The database failed.
pub(in crate::metadata) async fn shrink(tx: &mut Transaction<'_>, id: UploadId, keep: u64) -> Result<(), sqlx::Error> {
    let select = "SELECT r.namespace_id, u.reserved FROM upload u JOIN repository r ON r.id = u.repository_id \
                  WHERE u.id = $1 AND u.reserved > $2";
    let row: Option<(NamespaceId, i64)> = on!(tx, c => {
        sqlx::query_as(select).bind(id.get()).bind(stored_bytes(keep)).fetch_optional(c).await
    })?;
    let Some((namespace, reserved)) = row else { return Ok(()) };
    set(tx, &Upload { id, namespace, reserved: parse_bytes(reserved) }, keep).await
}

async fn set(tx: &mut Transaction<'_>, upload: &Upload, reserved: u64) -> Result<(), sqlx::Error> {
    let update = "UPDATE upload SET reserved = $2 WHERE id = $1";
    on!(tx, c => sqlx::query(update).bind(upload.id.get()).bind(stored_bytes(reserved)).execute(c).await.map(drop))?;
    reach(Point::UploadReserves)?;
    let change = stored_bytes(reserved) - stored_bytes(upload.reserved);
    let update = "UPDATE usage SET reserved = reserved + $2 WHERE namespace_id = $1";
    on!(tx, c => sqlx::query(update).bind(upload.namespace).bind(change).execute(c).await.map(drop))?;
    Ok(reach(Point::BytesReserved)?)
}

/// Gives back what uploads of a namespace had reserved; their rows are gone.
///
/// # Errors
/// The database failed.
pub async fn release(tx: &mut Transaction<'_>, namespace: NamespaceId, reserved: i64) -> Result<(), sqlx::Error> {
    if reserved == 0 {
        return Ok(());
    }
    let update = "UPDATE usage SET reserved = reserved - $2 WHERE namespace_id = $1";
    on!(tx, c => sqlx::query(update).bind(namespace).bind(reserved).execute(c).await.map(drop))?;
    Ok(reach(Point::ReserveReleased)?)
}
