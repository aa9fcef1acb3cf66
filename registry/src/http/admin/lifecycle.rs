//! Lifecycle rules: set, shown, previewed and run; and every tag that matches a pattern.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value;
use shared::repository::RepositoryName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use utoipa::ToSchema;

use super::{
    Desk,
    access::{NamespaceAdmin, RepositoryAdmin, RepositoryReader},
    error::ApiError,
    input,
    lines::{self, Lines},
};
use crate::lifecycle::rules::{
    About, Document, Error, InvalidRules,
    by_pattern::{self, Mode, Repositories, TagsDeleted, TagsToDelete, repository_pattern, tag_pattern},
    document::{MAX_PATTERNS, Wrong},
    preview::{self, Preview, Previewed},
    run::{self, Listener},
    set::{Confirmed, Overview, Shown},
};

/// `GET /api/v1/registry/namespaces/{namespace}/lifecycle`: the rules, and how the run under way is doing, or the last one.
pub(super) async fn overview(admin: NamespaceAdmin, State(desk): State<Desk>) -> Result<Json<Overview>, ApiError> {
    Ok(Json(desk.expiry().overview(&admin.namespace).await?))
}

/// A set of rules to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RulesWanted)]
pub(super) struct Sent {
    rules: Vec<Value>,
    /// Whether a rule about everything is meant.
    #[serde(default)]
    confirm: bool,
}

impl Sent {
    fn confirmed(&self) -> Confirmed {
        if self.confirm { Confirmed::Yes } else { Confirmed::No }
    }
}

/// `PUT /api/v1/registry/namespaces/{namespace}/lifecycle`: other rules in the place of those before; none takes them away.
pub(super) async fn set(
    admin: NamespaceAdmin,
    State(desk): State<Desk>,
    input::Body(sent): input::Body<Sent>,
) -> Result<Json<Shown>, ApiError> {
    put(&desk, &About::Namespace(admin.namespace), sent, &admin.caller.actor).await
}

/// `GET /api/v1/registry/lifecycle?repository=`: one repository's own rules.
pub(super) async fn own(reader: RepositoryReader, State(desk): State<Desk>) -> Result<Json<Shown>, ApiError> {
    Ok(Json(desk.expiry().own_rules(&reader.repository).await?))
}

/// `PUT /api/v1/registry/lifecycle?repository=`: other rules for one repository, beside those of its namespace.
pub(super) async fn set_own(
    admin: RepositoryAdmin,
    State(desk): State<Desk>,
    input::Body(sent): input::Body<Sent>,
) -> Result<Json<Shown>, ApiError> {
    put(&desk, &About::Repository(admin.repository), sent, &admin.caller.actor).await
}

async fn put(desk: &Desk, about: &About, sent: Sent, actor: &str) -> Result<Json<Shown>, ApiError> {
    let confirmed = sent.confirmed();
    let shown = desk.expiry().set(about, Document { rules: sent.rules }, confirmed, actor).await?;
    info!(%about, actor, "lifecycle rules were set");
    Ok(Json(shown))
}

/// Which rules are to be previewed; nothing said is those that are set.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ToPreview {
    /// Others in the place of the namespace's own.
    rules: Option<Vec<Value>>,
}

/// `POST /api/v1/registry/namespaces/{namespace}/lifecycle/preview`: what rules say of every tag, one JSON object a line. The last line is `done`, with the
/// token by which a run can be confined to what was shown, or `failed`.
pub(super) async fn preview(
    admin: NamespaceAdmin,
    State(desk): State<Desk>,
    input::Body(asked): input::Body<ToPreview>,
) -> Result<Lines<preview::Told>, ApiError> {
    let previewed = match asked.rules {
        None => Previewed::Stored,
        Some(rules) => Previewed::Candidate(Document { rules }),
    };
    let preview = desk.expiry().preview(&admin.namespace, previewed).await?;
    let (events, told) = lines::channel();
    tokio::spawn(tell(preview, events));
    Ok(lines::answer(told))
}

async fn tell(preview: Preview, events: mpsc::Sender<preview::Told>) {
    match preview.tell(&events, &CancellationToken::new()).await {
        // Whoever hung up does not want to know.
        Ok(()) | Err(Error::Stopped) => {}
        Err(error @ Error::ExpiredPreview) => {
            let _ = events.send(preview::Told::Failed { detail: error.to_string() }).await;
        }
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "a preview of lifecycle rules broke off");
            let _ = events.send(preview::Told::Failed { detail: error.to_string() }).await;
        }
    }
}

/// What a run is confined to.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ToRun {
    /// A preview's token.
    preview: Option<String>,
}

/// `POST /api/v1/registry/namespaces/{namespace}/lifecycle/run`: runs the rules now, and tells it as it goes, one JSON object a line. The last line is `done`
/// or `failed`. Whoever hangs up does not stop it.
pub(super) async fn run(
    admin: NamespaceAdmin,
    State(desk): State<Desk>,
    input::Body(asked): input::Body<ToRun>,
) -> Result<Lines<run::Told>, ApiError> {
    let run = desk.expiry().begin(&admin.namespace, &admin.caller.actor, asked.preview.as_deref()).await?;
    let (events, told) = lines::channel();
    let run = run.told_to(Listener::new(events));
    tokio::spawn(async move {
        if let Err(error) = run.go(&CancellationToken::new()).await {
            error!(error = &error as &dyn std::error::Error, "a run of lifecycle rules broke off");
        }
    });
    Ok(lines::answer(told))
}

/// Tags to delete by a pattern.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TagsToDelete)]
pub(super) struct ToDelete {
    pattern: String,
    repositories: Option<Named>,
    #[serde(default)]
    dry_run: bool,
    /// Whether every tag of everything is meant.
    #[serde(default)]
    confirm: bool,
}

/// One text is a pattern, a list has names.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a pattern or a list of names")]
#[schema(as = RepositoriesNamed)]
enum Named {
    Pattern(String),
    Names(Vec<String>),
}

/// `POST /api/v1/registry/namespaces/{namespace}/tags:delete`: every tag that matches, in all repositories or in some.
pub(super) async fn delete_tags(
    admin: NamespaceAdmin,
    State(desk): State<Desk>,
    input::Body(asked): input::Body<ToDelete>,
) -> Result<Json<TagsDeleted>, ApiError> {
    let invalid = |place: &str, wrong: Wrong| ApiError::Invalid(InvalidRules::of(place, wrong).to_string());
    let pattern = tag_pattern(&asked.pattern).map_err(|wrong| invalid("pattern", wrong.into()))?;
    let repositories = match asked.repositories {
        None => Repositories::All,
        Some(Named::Pattern(text)) => {
            let pattern = repository_pattern(admin.namespace.as_str(), &text);
            Repositories::Matching(pattern.map_err(|wrong| invalid("repositories", wrong.into()))?)
        }
        Some(Named::Names(names)) => Repositories::Named(named(&admin.namespace, &names)?),
    };
    if by_pattern::is_about_everything(&admin.namespace, &pattern, &repositories) && !asked.confirm {
        let sentence = "this is every tag of every repository; say \"confirm\": true if that is meant";
        return Err(ApiError::Invalid(sentence.to_owned()));
    }
    let mode = if asked.dry_run { Mode::Report } else { Mode::Delete };
    let (namespace, actor, expiry) = (admin.namespace, admin.caller.actor, desk.expiry().clone());
    let order = TagsToDelete { namespace, pattern, repositories, mode, actor };
    // Whoever hangs up does not want to be told;
    if mode == Mode::Report {
        return Ok(Json(expiry.delete_tags(&order).await?));
    }
    // but has said what is to go.
    let deleting = tokio::spawn(async move { expiry.delete_tags(&order).await });
    match deleting.await {
        Ok(deleted) => Ok(Json(deleted?)),
        Err(_) => Err(ApiError::Conflict("it broke off; what was deleted stays deleted".to_owned())),
    }
}

fn named(namespace: &RepositoryName, names: &[String]) -> Result<Vec<RepositoryName>, ApiError> {
    if names.is_empty() || names.len() > MAX_PATTERNS {
        return Err(ApiError::Invalid(format!("repositories: name from 1 to {MAX_PATTERNS}, or one pattern")));
    }
    let read = |(index, text): (usize, &String)| {
        let name: RepositoryName =
            text.parse().map_err(|error| ApiError::Invalid(format!("repositories[{index}]: {error}")))?;
        let inside = name.namespace() == namespace.as_str();
        inside.then_some(name).ok_or_else(|| ApiError::Invalid(format!("repositories[{index}]: is not in {namespace}")))
    };
    names.iter().enumerate().map(read).collect()
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(_) | Error::Unconfirmed { .. } | Error::ForeignPreview(_) => {
                Self::Invalid(error.to_string())
            }
            Error::NoRepository(_) => Self::NotFound,
            Error::Unreadable { .. }
            | Error::NoRules(_)
            | Error::Running { .. }
            | Error::ExpiredPreview
            | Error::RulesChanged
            | Error::Stopped => Self::Conflict(error.to_string()),
            Error::Unavailable(error) => error.into(),
        }
    }
}
