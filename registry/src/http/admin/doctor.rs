//! The doctor: what its last runs came to, and a run.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use shared::clock::Timestamp;
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
use crate::gc::doctor::{Begin, Depth, Doctor, Event, Last, Mode, Order, Rate};

/// `GET /api/v1/registry/doctor`: what the last runs came to, and whether one is under way.
pub(super) async fn last(_: SystemAdmin, State(desk): State<Desk>) -> Json<LastRuns> {
    let told = |depth| desk.doctor().last(depth).map(Ended::from);
    Json(LastRuns { at_work: desk.doctor().is_at_work(), sizes: told(Depth::Sizes), deep: told(Depth::Deep) })
}

/// The last runs of the doctor, by how closely they looked at bytes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DoctorRuns)]
pub(super) struct LastRuns {
    /// Whether one is under way.
    at_work: bool,
    sizes: Option<Ended>,
    deep: Option<Ended>,
}

/// A run that came to its end.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DoctorRun)]
struct Ended {
    finished_at: Timestamp,
    /// Rows and files.
    looked: u64,
    findings: u64,
    repaired: u64,
}

impl From<Last> for Ended {
    fn from(Last { finished, totals }: Last) -> Self {
        let (looked, findings, repaired) = (totals.looked, totals.findings, totals.repaired);
        Self { finished_at: finished, looked, findings, repaired }
    }
}

/// What is asked for; nothing said is what `doctor` does without an option.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = DoctorOrder)]
pub(super) struct Asked {
    /// Hash bytes.
    deep: bool,
    /// Put right what can be.
    repair: bool,
    /// Begin at the beginning.
    restart: bool,
    /// How much of the machine to take.
    rate: Option<String>,
}

impl Asked {
    fn order(self, actor: String) -> Result<Order, ApiError> {
        let rate = self.rate.map(|text| text.parse()).transpose();
        Ok(Order {
            depth: if self.deep { Depth::Deep } else { Depth::Sizes },
            mode: if self.repair { Mode::Repair } else { Mode::Report },
            begin: if self.restart { Begin::Anew } else { Begin::WhereEnded },
            rate: rate.map_err(|error| ApiError::Invalid(format!("rate: {error}")))?.unwrap_or(Rate::DEFAULT),
            actor,
        })
    }
}

/// `POST /api/v1/registry/doctor`: looks for faults, and tells them as they are found, one JSON object a line. The last line is `done`, or `failed`.
/// Whoever hangs up ends the run; the next one goes on where it was.
pub(super) async fn examine(
    SystemAdmin(caller): SystemAdmin,
    State(desk): State<Desk>,
    input::Body(asked): input::Body<Asked>,
) -> Result<Lines<Event>, ApiError> {
    let order = asked.order(caller.actor)?;
    if desk.doctor().is_at_work() {
        return Err(ApiError::Conflict("a doctor is at work already".to_owned()));
    }
    info!(?order, "the doctor begins");
    let (events, told) = lines::channel();
    tokio::spawn(run(desk.doctor().clone(), order, events));
    Ok(lines::answer(told))
}

async fn run(doctor: Doctor, order: Order, events: mpsc::Sender<Event>) {
    match doctor.examine(order, events.clone(), &CancellationToken::new()).await {
        Ok(totals) => info!(?totals, "the doctor is done"),
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "the doctor broke off");
            // Whoever hung up does not hear it.
            let _ = events.send(Event::Failed { detail: error.to_string() }).await;
        }
    }
}
