//! Who may do what, told as stories of one company, and as properties that hold for every set of rules.

mod delegation;
mod properties;
mod refusals;
mod stories;

use std::collections::BTreeSet;

use shared::{
    clock::Timestamp,
    scope::{Scope, Scopes},
};

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Rules as one writes them down.
#[derive(Clone, Debug, Default)]
struct Book {
    grants: Vec<Grant>,
    guardrails: Vec<Guardrail>,
    namespaces: Vec<Namespace>,
    catalog: Catalog,
}

impl Book {
    fn namespace(mut self, id: i64, name: &str, visibility: Visibility) -> Self {
        self.namespaces.push(Namespace { id, name: name.into(), visibility });
        self
    }

    /// Grants get their ids in the order they are written: 1, 2, 3.
    fn grant(mut self, namespace: i64, subject: Subject, pattern: &str, actions: &str) -> Self {
        self.grants.push(Grant {
            id: i64::try_from(self.grants.len()).unwrap() + 1,
            namespace,
            subject,
            pattern: pattern.parse().unwrap(),
            actions: actions.parse().unwrap(),
            tags: None,
            expires_at: None,
        });
        self
    }

    fn tags(mut self, tags: &str) -> Self {
        self.grants.last_mut().unwrap().tags = Some(tags.parse().unwrap());
        self
    }

    fn until(mut self, end: Timestamp) -> Self {
        self.grants.last_mut().unwrap().expires_at = Some(end);
        self
    }

    fn guardrail(mut self, id: i64, pattern: &str, actions: &str) -> Self {
        let (pattern, actions) = (pattern.parse().unwrap(), actions.parse().unwrap());
        self.guardrails.push(Guardrail { id, pattern, actions, expires_at: None });
        self
    }

    fn rules(&self) -> Rules {
        Rules {
            grants: self.grants.clone().into(),
            guardrails: self.guardrails.clone().into(),
            namespaces: std::sync::Arc::new(self.namespaces.iter().cloned().collect()),
            catalog: self.catalog,
        }
    }
}

const ACME: i64 = 7;
const DEV: i64 = 30;

/// acme is private, base is internal, open is public.
fn company() -> Book {
    Book::default().namespace(ACME, "acme", Visibility::Private).namespace(8, "base", Visibility::Internal).namespace(
        9,
        "open",
        Visibility::Public,
    )
}

fn alice() -> Caller {
    Caller::principal(CallerKind::User, 1, "alice", [DEV])
}

fn robot() -> Caller {
    Caller::principal(CallerKind::Robot, 2, "robot.acme.ci", [])
}

fn administrator() -> Caller {
    let mut caller = Caller::principal(CallerKind::User, 3, "root", []);
    caller.system_role = Some(SystemRole::Administrator);
    caller.api = ApiLevel::Write;
    caller
}

fn scopes(text: &str) -> Vec<Scope> {
    Scopes::parse_list([text].into_iter()).unwrap().into_vec()
}

/// What is granted, as one line: `repository:acme/web:pull push[pr-*]`.
fn granted(caller: &Caller, book: &Book, request: &str) -> String {
    let access = decide(NOW, caller, &book.rules(), &scopes(request)).access;
    let line = |access: &shared::access::Access| {
        let mut words: Vec<String> = access.actions.iter().map(ToString::to_string).collect();
        for limit in &access.limited {
            let tags: Vec<&str> = limit.tags.iter().map(shared::tag::TagPattern::as_str).collect();
            let readable = if limit.readable { "readable" } else { "" };
            words.extend(limit.actions.iter().map(|action| format!("{action}[{}{readable}]", tags.join(","))));
        }
        format!("{}:{}", access.resource, words.join(" "))
    };
    access.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn seen_namespaces(ids: &[i64]) -> View {
    View::Administered(ids.iter().copied().collect::<BTreeSet<_>>())
}
