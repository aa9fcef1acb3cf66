use proptest::{collection::vec, prelude::*, sample::select};
use shared::{
    access::{Access, Action, Permit, Resource, allows},
    pattern::RepositoryPattern,
};

use super::*;

const NAMES: [&str; 9] =
    ["acme", "acme/web", "acme/api/v1", "base/web", "base", "open/x", "nowhere/x", "acme/alice/x", "acme/bob"];
pub(super) const PATTERNS: [&str; 9] =
    ["acme", "acme/**", "acme/*", "acme/{web,bob}", "**", "*/web", "base/**", "acme/{username}/**", "open/?"];
pub(super) const ACTION_SETS: [&str; 8] =
    ["pull", "pull,push", "pull,delete", "maintainer", "push", "delete", "admin", "pull,admin"];

fn a_subject() -> impl Strategy<Value = Subject> {
    select(vec![
        Subject::Principal(1),
        Subject::Principal(2),
        Subject::Team(DEV),
        Subject::Team(31),
        Subject::Authenticated,
        Subject::Everyone,
    ])
}

fn a_grant() -> impl Strategy<Value = Grant> {
    let namespace = select(vec![SYSTEM_NAMESPACE, ACME, 8, 77]);
    let tags = select(vec![None, Some("pr-*"), Some("rc-*,v?")]);
    let end = select(vec![None, Some(NOW), Some(NOW + std::time::Duration::from_secs(1))]);
    (1..1000_i64, namespace, a_subject(), select(PATTERNS.to_vec()), select(ACTION_SETS.to_vec()), tags, end).prop_map(
        |(id, namespace, subject, pattern, actions, tags, expires_at)| Grant {
            id,
            namespace,
            subject,
            pattern: pattern.parse().unwrap(),
            actions: actions.parse().unwrap(),
            tags: tags.map(|tags| tags.parse().unwrap()),
            expires_at,
        },
    )
}

fn a_guardrail() -> impl Strategy<Value = Guardrail> {
    let actions = select(vec!["pull", "push", "delete", "pull,push,delete"]);
    (1..1000_i64, select(PATTERNS.to_vec()), actions, any::<bool>()).prop_map(|(id, pattern, actions, live)| {
        Guardrail {
            id,
            pattern: pattern.parse().unwrap(),
            actions: actions.parse().unwrap(),
            expires_at: (!live).then_some(NOW),
        }
    })
}

pub(super) fn a_caller() -> impl Strategy<Value = Caller> {
    let in_the_team = Caller::principal(CallerKind::Robot, 2, "robot.acme.ci", [DEV]);
    let who = select(vec![Caller::anonymous(), alice(), robot(), in_the_team]);
    let role = select(vec![None, None, None, Some(SystemRole::Administrator), Some(SystemRole::Auditor)]);
    let scope = select(vec![None, None, Some("acme/**:pull,push"), Some("**:pull acme:admin"), Some("open/x:delete")]);
    let api = select(vec![ApiLevel::None, ApiLevel::Read, ApiLevel::Write]);
    (who, role, scope, api).prop_map(|(who, system_role, scope, api)| Caller {
        system_role,
        credential_scope: scope.map(|scope| scope.parse().unwrap()),
        api,
        ..who
    })
}

pub(super) fn a_book() -> impl Strategy<Value = Book> {
    (vec(a_grant(), 0..8), vec(a_guardrail(), 0..3), any::<bool>()).prop_map(|(grants, guardrails, filtered)| Book {
        grants,
        guardrails,
        catalog: if filtered { Catalog::Filtered } else { Catalog::Admins },
        ..company()
    })
}

fn a_request() -> impl Strategy<Value = Vec<Scope>> {
    let resource = prop_oneof![
        8 => select(NAMES.to_vec()).prop_map(|name| format!("repository:{name}")),
        1 => Just("registry:catalog".to_owned()),
        1 => select(vec!["namespace:acme", "namespace:base", "namespace:acme/web"]).prop_map(str::to_owned),
    ];
    let actions = select(vec!["pull", "pull,push", "*", "delete", "push,scan", "read,admin", "pull,push,delete,*"]);
    vec((resource, actions).prop_map(|(resource, actions)| format!("{resource}:{actions}")), 1..5)
        .prop_map(|texts| scopes(&texts.join(" ")))
}

pub(super) fn decided(caller: &Caller, book: &Book, request: &[Scope]) -> Vec<Access> {
    decide(NOW, caller, &book.rules(), request).access
}

/// Whether the access lets a tag be touched so.
pub(super) fn permits(access: &[Access], resource: &Resource, action: &Action, tag: &str) -> bool {
    match allows(access, resource, action) {
        Permit::Yes => true,
        Permit::OnlyTags(tags) => tags.iter().any(|pattern| pattern.matches(&tag.parse().unwrap())),
        Permit::No => false,
    }
}

/// Whether one of the holders that the caller is among holds it.
fn is_held(caller: &Caller, rules: &Rules, namespace: &Namespace, name: &str, action: &Action, tag: &str) -> bool {
    let mut holders = vec![Holder::Everyone];
    if caller.kind != CallerKind::Anonymous {
        holders.extend([Holder::Authenticated, Holder::Principal(caller)]);
    }
    if caller.kind == CallerKind::User {
        holders.push(Holder::Users);
    }
    let (action, tag) = (Actions::of(action), tag.parse().unwrap());
    holders.into_iter().flat_map(|holder| held(NOW, holder, rules, namespace)).any(|held| {
        let covers =
            |pattern: &RepositoryPattern| pattern.for_caller(&caller.handle).is_some_and(|one| one.matches(name));
        let free = action == Actions::PULL || held.tags.is_none_or(|tags| tags.matches(&tag));
        held.actions.contains(action) && free && held.repositories.iter().any(covers)
    })
}

pub(super) fn everything() -> Vec<Scope> {
    scopes(&NAMES.map(|name| format!("repository:{name}:*")).join(" "))
}

const TAGS: [&str; 4] = ["latest", "pr-1", "rc-1", "v1"];

pub(super) fn each_permission(mut visit: impl FnMut(&Resource, Action, &str)) {
    for scope in everything() {
        for action in [Action::Pull, Action::Push, Action::Delete] {
            for tag in TAGS {
                visit(&scope.resource, action.clone(), tag);
            }
        }
    }
}

/// The rules in the words of the design, one name, action and tag at a time; `decide` shares none of it.
fn by_definition(caller: &Caller, book: &Book, name: &str, action: &Action, tag: &str) -> bool {
    let single = Actions::of(action);
    let bound =
        |rail: &Guardrail| rail.expires_at.is_none() && rail.actions.contains(single) && rail.pattern.matches(name);
    let confined = caller.credential_scope.as_ref().is_some_and(|scope| !scope.allows(name).contains(single));
    if book.guardrails.iter().any(bound) || confined {
        return false;
    }
    let Some(first) = name.split('/').next() else { return false };
    let Some(home) = book.namespaces.iter().find(|known| known.name == first) else {
        return caller.system_role == Some(SystemRole::Administrator);
    };
    let shown = match home.visibility {
        Visibility::Private => false,
        Visibility::Internal => caller.kind == CallerKind::User,
        Visibility::Public => true,
    };
    let gives = |grant: &Grant| {
        let lives = grant.expires_at.is_none_or(|end| end > NOW);
        let mine = caller.subjects.contains(&grant.subject) && [SYSTEM_NAMESPACE, home.id].contains(&grant.namespace);
        let pattern = grant.pattern.as_str().replace("{username}", &caller.handle);
        let covers = !caller.handle.is_empty() || !grant.pattern.is_personal();
        let covers = covers && pattern.parse::<shared::pattern::RepositoryPattern>().is_ok_and(|one| one.matches(name));
        let touches =
            *action == Action::Pull || grant.tags.as_ref().is_none_or(|tags| tags.matches(&tag.parse().unwrap()));
        if !grant.actions.contains(Actions::ADMIN) {
            return lives && mine && covers && grant.actions.contains(single) && touches;
        }
        let given =
            caller.kind == CallerKind::User && matches!(grant.subject, Subject::Principal(_) | Subject::Team(_));
        lives && mine && given && grant.pattern.as_str() == first && touches
    };
    caller.system_role == Some(SystemRole::Administrator)
        || (shown && *action == Action::Pull)
        || book.grants.iter().any(gives)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decide_agrees_with_the_definition(caller in a_caller(), book in a_book()) {
        let access = decided(&caller, &book, &everything());
        let mut wrong = Vec::new();
        each_permission(|resource, action, tag| {
            let expected = by_definition(&caller, &book, resource.name.as_str(), &action, tag);
            if permits(&access, resource, &action, tag) != expected {
                wrong.push(format!("{resource} {action} {tag}: expected {expected}"));
            }
        });
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
    }

    /// T28: a token never has more than was asked for, nor more than the rules give, nor more than the credential's scope.
    #[test]
    fn t28_granted_lies_within_requested_and_permitted_and_the_credentials_scope(
        caller in a_caller(), book in a_book(), request in a_request()
    ) {
        let unbounded = Caller { credential_scope: None, ..caller.clone() };
        let permitted = decided(&unbounded, &book, &everything());
        for access in decided(&caller, &book, &request) {
            let asked = request.iter().find(|scope| scope.resource == access.resource).expect("asked for");
            for action in access.actions.iter().chain(access.limited.iter().flat_map(|limit| &limit.actions)) {
                prop_assert!(asked.actions.contains(action) || asked.actions.contains(&Action::Any));
                if access.resource.kind == shared::access::ResourceKind::Repository {
                    prop_assert!(*action != Action::Any, "a literal star is never signed for a repository");
                    let scope = caller.credential_scope.as_ref();
                    let within = scope.is_none_or(|scope| {
                        scope.allows(access.resource.name.as_str()).contains(Actions::of(action))
                    });
                    prop_assert!(within);
                    for tag in TAGS {
                        let one = std::slice::from_ref(&access);
                        let got = permits(one, &access.resource, action, tag);
                        prop_assert!(!got || permits(&permitted, &access.resource, action, tag));
                    }
                }
            }
        }
    }

    #[test]
    fn the_order_of_the_rules_means_nothing(caller in a_caller(), book in a_book(), request in a_request(), turn in 0..8_usize) {
        let mut other = book.clone();
        other.grants.reverse();
        let turn = turn.min(other.grants.len());
        other.grants.rotate_left(turn);
        other.guardrails.reverse();
        prop_assert_eq!(decided(&caller, &book, &request), decided(&caller, &other, &request));
    }

    #[test]
    fn another_grant_never_takes_anything_away(caller in a_caller(), book in a_book(), more in a_grant()) {
        let before = decided(&caller, &book, &everything());
        let mut richer = book;
        richer.grants.push(more);
        let after = decided(&caller, &richer, &everything());
        let mut lost = Vec::new();
        each_permission(|resource, action, tag| {
            if permits(&before, resource, &action, tag) && !permits(&after, resource, &action, tag) {
                lost.push(format!("{resource} {action} {tag}"));
            }
        });
        prop_assert!(lost.is_empty(), "{:?}", lost);
    }

    #[test]
    fn guardrails_bind_and_take_nothing_else(caller in a_caller(), book in a_book(), rail in a_guardrail()) {
        let before = decided(&caller, &book, &everything());
        let mut stricter = book;
        stricter.guardrails.push(rail.clone());
        let after = decided(&caller, &stricter, &everything());
        let mut wrong = Vec::new();
        each_permission(|resource, action, tag| {
            let bound = rail.is_live(NOW) && rail.actions.contains(Actions::of(&action)) && rail.pattern.matches(resource.name.as_str());
            let expected = permits(&before, resource, &action, tag) && !bound;
            if permits(&after, resource, &action, tag) != expected {
                wrong.push(format!("{resource} {action} {tag}"));
            }
        });
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
    }

    #[test]
    fn readable_says_of_every_name_what_decide_says_of_pull(caller in a_caller(), book in a_book()) {
        let readable = readable(NOW, &caller, &book.rules());
        for name in NAMES {
            let access = decided(&caller, &book, &scopes(&format!("repository:{name}:pull")));
            // The administrator's `**` covers unknown namespaces as well, as decide does.
            prop_assert_eq!(readable.permits(name), !access.is_empty(), "{}", name);
        }
    }

    /// "Who can push here?" leaves nobody out and adds nobody: with guardrails taken off, the holders that a caller is among hold what decide grants.
    #[test]
    fn holders_hold_what_decide_grants(caller in a_caller(), book in a_book()) {
        // Who showed nothing is no principal, and has no role.
        let system_role = caller.system_role.filter(|_| caller.kind != CallerKind::Anonymous);
        let caller = Caller { credential_scope: None, system_role, ..caller };
        let rules = book.rules();
        let access = decided(&caller, &book, &everything());
        let mut wrong = Vec::new();
        each_permission(|resource, action, tag| {
            let name = resource.name.as_str();
            // Only a system administrator reaches what lies in no namespace.
            let Some(namespace) = rules.namespaces.named(super::super::grant::first_segment(name)) else { return };
            let held = is_held(&caller, &rules, namespace, name, &action, tag);
            let barred = barred(NOW, &rules, namespace).iter().any(|barred| {
                barred.by.actions.contains(Actions::of(&action)) && barred.repositories.iter().any(|one| one.matches(name))
            });
            if permits(&access, resource, &action, tag) != (held && !barred) {
                wrong.push(format!("{resource} {action} {tag}: held {held}, barred {barred}"));
            }
        });
        prop_assert!(wrong.is_empty(), "{:?}", wrong);
    }

    #[test]
    fn explain_agrees_with_decide(caller in a_caller(), book in a_book(), request in a_request(), own in any::<bool>()) {
        let view = if own { View::Own } else { View::Everything };
        for (explained, scope) in explain(NOW, &caller, &book.rules(), &request, &view).iter().zip(&request) {
            let granted = decided(&caller, &book, std::slice::from_ref(scope));
            prop_assert_eq!(&explained.decision.access, &granted);
            for action in scope.actions.iter().filter(|action| **action != Action::Any) {
                let is_granted = granted.iter().any(|access| {
                    access.actions.contains(action) || access.limited.iter().any(|limit| limit.actions.contains(action))
                });
                prop_assert_eq!(explained.why.iter().any(|why| why.action == *action), is_granted, "{}", action);
                prop_assert_eq!(explained.why_not.iter().any(|why| why.action == *action), !is_granted, "{}", action);
            }
        }
    }

    #[test]
    fn t26_whoever_may_write_a_grant_holds_what_it_gives(
        caller in a_caller(), book in a_book(), pattern in select(PATTERNS.to_vec()), actions in select(ACTION_SETS.to_vec())
    ) {
        let proposed = ProposedGrant {
            recipient: Recipient::User,
            pattern: pattern.parse().unwrap(),
            actions: actions.parse().unwrap(),
            tags: None,
        };
        let mut unbound = Book { guardrails: Vec::new(), ..book.clone() };
        // Such a row cannot be written: `may_write` refuses administration with a tag pattern.
        unbound.grants.iter_mut().filter(|grant| grant.actions.contains(Actions::ADMIN)).for_each(|grant| grant.tags = None);
        if may_write(NOW, &caller, &book.rules(), &proposed).is_ok() {
            // The credential's scope bounds administration by the namespace's name, content by its own entries.
            let owner = Caller { credential_scope: None, ..caller };
            let held = decided(&owner, &unbound, &everything());
            for name in NAMES.into_iter().filter(|name| proposed.pattern.matches(name)) {
                let resource = &scopes(&format!("repository:{name}:pull"))[0].resource;
                for action in proposed.actions.and(Actions::CONTENT).iter() {
                    prop_assert_eq!(allows(&held, resource, &action), Permit::Yes, "{} {}", name, action);
                }
            }
        }
    }
}
