//! What happened: `/api/v1/audit`, a list with filters, and `/api/v1/audit/trail`, every sealed event with the checkpoints, for whoever
//! verifies. System administrators and auditors see all; a namespace's administrators the log of their namespace.

use axum::{Json, extract::State, http::Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{access::Action, clock::Timestamp};
use utoipa::ToSchema;

use super::access::{ApiCaller, SystemAdmin};
use crate::{
    accounts::{
        NamespaceId,
        names::NamespaceName,
        trail::{Events, Listed, WantedEvents},
    },
    audit::{
        EventName, Outcome,
        chain::PublicKey,
        verify::{Head, Line},
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, Paging},
    },
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    after: Option<String>,
    limit: Option<u32>,
    /// Who acted.
    who: Option<String>,
    /// What it was done to.
    target: Option<String>,
    /// Names of events, separated by commas; one that ends in `.` stands for all that begin with it.
    what: Option<String>,
    namespace: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    outcome: Option<Outcome>,
}

/// A list of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Events)]
pub(super) struct EventsOut {
    items: Vec<EventOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
struct EventOut {
    id: i64,
    /// Its number in the chain; null until it is sealed.
    seq: Option<i64>,
    #[serde(flatten)]
    body: Value,
}

impl From<Listed> for EventOut {
    fn from(Listed { id, seq, namespace, mut body }: Listed) -> Self {
        match body.as_object_mut() {
            // The number tells lives of a name apart; people read names.
            Some(members) => {
                let number = members.insert("namespace".to_owned(), namespace.into());
                members.insert("namespace_id".to_owned(), number.unwrap_or_default());
            }
            None => body = serde_json::json!({ "damaged": body }),
        }
        Self { id, seq, body }
    }
}

pub(super) async fn list(
    State(app): State<App>,
    caller: ApiCaller,
    Asked(filter): Asked<Filter>,
) -> Result<Json<EventsOut>, ApiError> {
    let namespaces = reach(&app, &caller, filter.namespace.as_deref()).await?;
    let paging = Paging::new(filter.after, filter.limit);
    let (limit, after) = (paging.limit()?, paging.after_number()?);
    let wanted = WantedEvents {
        who: filter.who,
        target: filter.target,
        what: filter.what.as_deref().map_or(Ok(Vec::new()), names)?,
        namespaces,
        since: filter.since,
        until: filter.until,
        outcome: filter.outcome,
    };
    let Events { events, next } = app.accounts.events(&wanted, after, limit as usize).await?;
    let items = events.into_iter().map(EventOut::from).collect();
    Ok(Json(EventsOut { items, next: next.map(|id| id.to_string()) }))
}

/// The namespaces whose events the caller may see and asks for; None is everything.
async fn reach(app: &App, caller: &ApiCaller, namespace: Option<&str>) -> Result<Option<Vec<NamespaceId>>, ApiError> {
    let name = namespace.map(|name| name.parse::<NamespaceName>().map_err(|_| ApiError::NotFound)).transpose()?;
    if caller.oversees(&Method::GET) {
        return match name {
            Some(name) => Ok(Some(app.accounts.namespaces_ever_called(name.as_str()).await?)),
            None => Ok(None),
        };
    }
    let name = name.ok_or(ApiError::SystemOnly)?;
    if !caller.may(app, &name, Action::Read).await? {
        return Err(ApiError::NotFound);
    }
    // That of today: what was done to an earlier namespace of the name is not its owner's.
    let namespace = app.accounts.namespace(&name).await?.ok_or(ApiError::NotFound)?;
    Ok(Some(vec![namespace.id]))
}

fn names(text: &str) -> Result<Vec<EventName>, ApiError> {
    let mut found = Vec::new();
    for name in text.split(',') {
        let before = found.len();
        found.extend(
            EventName::ALL
                .iter()
                .filter(|event| event.word() == name || (name.ends_with('.') && event.word().starts_with(name))),
        );
        if found.len() == before {
            let known: Vec<_> = EventName::ALL.iter().map(|event| event.word()).collect();
            return Err(ApiError::Invalid(format!("no event is called {name:?}: {}", known.join(", "))));
        }
    }
    Ok(found)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Behind {
    #[serde(default)]
    after: i64,
}

/// A part of the sealed trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trail)]
pub(super) struct TrailOut {
    /// What its checkpoints are verified with.
    keys: Vec<PublicKey>,
    /// The end of the chain as this server saw it last, from a file outside the database.
    known: Option<Head>,
    unsealed: UnsealedOut,
    items: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Unsealed)]
struct UnsealedOut {
    events: i64,
    since: Option<Timestamp>,
}

pub(super) async fn trail(
    State(app): State<App>,
    _: SystemAdmin,
    Asked(Behind { after }): Asked<Behind>,
) -> Result<Json<TrailOut>, ApiError> {
    // Before the rows: what is sealed meanwhile is in the rows, and must not be missed there.
    let known = app.sealing.known();
    let unsealed = app.accounts.unsealed().await?;
    let part = app.accounts.trail(after).await?;
    Ok(Json(TrailOut {
        keys: app.sealing.keys().to_vec(),
        known,
        unsealed: UnsealedOut { events: unsealed.events, since: unsealed.since },
        items: part.lines,
        next: part.next,
    }))
}
