//! Backups of the data directory, beside the running server.

use axum::extract::State;
use tokio::sync::mpsc;
use tracing::{error, info};

use super::{
    Desk,
    access::LocalAdmin,
    input,
    lines::{self, Lines},
};
use crate::gc::backup::{Backups, Event, Order};

/// `POST /api/v1/registry/backup`: makes a backup in a directory of this machine, and tells it as it goes, one JSON object a line. The last line is `done`,
/// or `failed`. Whoever hangs up ends it; an earlier backup in the same directory is as it was.
pub(super) async fn make(
    LocalAdmin(caller): LocalAdmin,
    State(desk): State<Desk>,
    input::Body(order): input::Body<Order>,
) -> Lines<Event> {
    info!(actor = caller.actor, target = %order.target.display(), blobs = order.blobs, "making a backup");
    let (events, told) = lines::channel();
    tokio::spawn(run(desk.backups().clone(), order, events));
    lines::answer(told)
}

async fn run(backups: Backups, order: Order, events: mpsc::Sender<Event>) {
    match backups.make(order, &events).await {
        Ok(()) => info!("made a backup"),
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "no backup was made");
            // Whoever hung up does not hear it.
            let _ = events.send(Event::Failed { detail: error.to_string() }).await;
        }
    }
}
