//! Garbage: what waits for the collector, and collecting by hand.

use axum::{Json, extract::State};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use utoipa::ToSchema;

use super::{
    Desk,
    access::SystemAdmin,
    error::ApiError,
    input,
    lines::{self, Lines},
};
use crate::gc::{
    Collector, Waiting,
    by_hand::{Deleted, Detail, Event, Mode, Order, Untagged},
};

/// `GET /api/v1/registry/garbage`: how much waits for the collector, and since when.
pub(super) async fn waiting(_: SystemAdmin, State(desk): State<Desk>) -> Result<Json<Waiting>, ApiError> {
    Ok(Json(desk.collector().waiting().await?))
}

/// What is asked for; nothing said is what `garbage-collect` does without an option.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = CollectionOrder)]
pub(super) struct Asked {
    /// Only say what would go.
    dry_run: bool,
    /// Take living manifests that nothing holds, too.
    delete_untagged: bool,
    /// Leave deleted manifests to their undelete window.
    keep_deleted: bool,
    /// Name everything that goes or stays, not only what each repository loses.
    detail: bool,
}

impl From<Asked> for Order {
    fn from(asked: Asked) -> Self {
        let Asked { dry_run, delete_untagged, keep_deleted, detail } = asked;
        Self {
            mode: if dry_run { Mode::Report } else { Mode::Collect },
            deleted: if keep_deleted { Deleted::Kept } else { Deleted::Purged },
            untagged: if delete_untagged { Untagged::Purged } else { Untagged::Kept },
            detail: if detail { Detail::Everything } else { Detail::Totals },
        }
    }
}

/// `POST /api/v1/registry/garbage-collect`: collects, and tells it as it goes, one JSON object a line. The last line is `done`, or `failed`. Whoever hangs
/// up ends the run between two steps; the next one goes on where it stopped.
pub(super) async fn collect(
    SystemAdmin(caller): SystemAdmin,
    State(desk): State<Desk>,
    input::Body(asked): input::Body<Asked>,
) -> Lines<Event> {
    let order = Order::from(asked);
    info!(actor = caller.actor, ?order, "collecting by hand");
    let (events, told) = lines::channel();
    tokio::spawn(run(desk.collector().clone(), order, events));
    lines::answer(told)
}

async fn run(collector: Collector, order: Order, events: mpsc::Sender<Event>) {
    match collector.collect_by_hand(order, events.clone(), &CancellationToken::new()).await {
        Ok(totals) => info!(?totals, "collected by hand"),
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "collecting by hand broke off");
            // Whoever hung up does not hear it.
            let _ = events.send(Event::Failed { detail: error.to_string() }).await;
        }
    }
}
