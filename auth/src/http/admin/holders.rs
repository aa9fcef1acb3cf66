//! Who may pull, push or delete in a namespace, and by which rule: `/api/v1/namespaces/{namespace}/access`.

use std::collections::HashMap;

use axum::{Json, extract::State, http::Method};
use serde::Serialize;
use shared::{clock::Timestamp, pattern::RepositoryPattern};
use utoipa::ToSchema;

use super::{access::NamespaceAdmin, output::subject};
use crate::{
    accounts::{
        principals::{Page, PrincipalKind},
        rules::Reach,
    },
    http::{
        App,
        error::ApiError,
        input::{Asked, Paging},
    },
    permissions::{Barred, Grant, Held, Holder, Namespace, Origin, Rules, Subject, barred, held},
};

/// A part of the list. `next` counts holders: each has as many entries as rules give them something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessList)]
pub(super) struct AccessOut {
    items: Vec<HeldOut>,
    /// What guardrails forbid, whoever holds it.
    forbidden: Vec<BarredOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Held)]
struct HeldOut {
    /// An account's name, or `everyone`, `authenticated`, `users`.
    holder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<PrincipalKind>,
    actions: Vec<String>,
    repositories: Vec<RepositoryPattern>,
    /// What push and delete are limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    /// `grant`, `visibility`, `system_role`; `elsewhere` where the caller may not see which rule it is.
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<i64>,
    /// Whom the grant is for: the account itself, or a team.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Barred)]
struct BarredOut {
    actions: Vec<String>,
    repositories: Vec<RepositoryPattern>,
    /// Guardrails are the system's; who oversees it sees which.
    #[serde(skip_serializing_if = "Option::is_none")]
    guardrail: Option<i64>,
}

pub(super) async fn list(
    State(app): State<App>,
    admin: NamespaceAdmin,
    Asked(paging): Asked<Paging>,
) -> Result<Json<AccessOut>, ApiError> {
    let limit = paging.limit()?;
    let reach = Reach::repositories([admin.name.as_str()]).with_others();
    let rules = admin.caller.situation(&app, &reach).await?.rules;
    let namespace = rules.namespaces.named(admin.name.as_str()).ok_or(ApiError::NotFound)?;
    let page = Page { after: paging.after, limit };
    let found = app.accounts.holders(admin.namespace.id, &page).await?;
    let mut list = List {
        app: &app,
        rules: &rules,
        namespace,
        sees_all: admin.caller.oversees(&Method::GET),
        names: HashMap::new(),
    };
    let mut items = Vec::new();
    if page.after.is_none() {
        for (name, holder) in
            [("everyone", Holder::Everyone), ("users", Holder::Users), ("authenticated", Holder::Authenticated)]
        {
            list.add(&mut items, name, None, holder).await?;
        }
    }
    for one in &found {
        list.add(&mut items, &one.caller.handle, Some(one.kind), Holder::Principal(&one.caller)).await?;
    }
    let forbidden = barred(app.clock.now(), &rules, namespace).iter().map(|one| list.barred(one)).collect();
    let next = found.last().filter(|_| found.len() >= limit as usize).map(|last| last.caller.handle.clone());
    Ok(Json(AccessOut { items, forbidden, next }))
}

struct List<'a> {
    app: &'a App,
    rules: &'a Rules,
    namespace: &'a Namespace,
    /// Whether rules beyond the namespace are shown.
    sees_all: bool,
    /// What subjects of grants are called, as far as it was asked.
    names: HashMap<Subject, Option<String>>,
}

impl List<'_> {
    async fn add(
        &mut self,
        items: &mut Vec<HeldOut>,
        name: &str,
        kind: Option<PrincipalKind>,
        holder: Holder<'_>,
    ) -> Result<(), ApiError> {
        let (rules, namespace) = (self.rules, self.namespace);
        for held in held(self.app.clock.now(), holder, rules, namespace) {
            items.push(self.held(name, kind, held).await?);
        }
        Ok(())
    }

    async fn held(&mut self, name: &str, kind: Option<PrincipalKind>, held: Held<'_>) -> Result<HeldOut, ApiError> {
        let mut out = HeldOut {
            holder: name.to_owned(),
            kind,
            actions: words(held.actions),
            repositories: held.repositories,
            tags: held.tags.map(|tags| tags.as_slice().iter().map(ToString::to_string).collect()),
            by: "elsewhere",
            grant: None,
            subject: None,
            expires_at: None,
        };
        match held.origin {
            Origin::Visibility(_) => out.by = "visibility",
            Origin::SystemRole(_) if self.sees_all => out.by = "system_role",
            Origin::Grant(grant) if self.sees_all || grant.namespace == self.namespace.id => {
                out.by = "grant";
                out.grant = Some(grant.id);
                out.subject = Some(self.subject(grant).await?);
                out.expires_at = grant.expires_at.map(Timestamp::rfc3339);
            }
            // Who oversees the system, and what is given beyond one namespace, is not for those of one namespace to list.
            Origin::SystemRole(_) | Origin::Grant(_) => {}
        }
        Ok(out)
    }

    async fn subject(&mut self, grant: &Grant) -> Result<String, ApiError> {
        if !self.names.contains_key(&grant.subject) {
            self.names.insert(grant.subject, self.app.accounts.subject_name(grant.subject).await?);
        }
        Ok(subject(grant.subject, self.names.get(&grant.subject).and_then(Option::as_deref)))
    }

    fn barred(&self, barred: &Barred<'_>) -> BarredOut {
        BarredOut {
            actions: words(barred.by.actions),
            repositories: barred.repositories.clone(),
            guardrail: self.sees_all.then_some(barred.by.id),
        }
    }
}

fn words(actions: crate::permissions::Actions) -> Vec<String> {
    actions.iter().map(|action| action.as_str().to_owned()).collect()
}
