//! T26: whatever an administrator of a namespace writes, anew or in the place of what is there, nobody gains what they could not give.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::Index};
use shared::pattern::RepositoryPattern;

use super::{
    properties::{ACTION_SETS, PATTERNS, a_book, a_caller, decided, each_permission, everything, permits},
    *,
};

/// A grant that somebody tries to write, over one of those that are there or beside them.
#[derive(Clone, Debug)]
struct Attempt {
    whom: (Subject, Recipient),
    pattern: &'static str,
    actions: &'static str,
    tags: Option<&'static str>,
    over: Option<Index>,
}

fn an_attempt() -> impl Strategy<Value = Attempt> {
    let whom = prop::sample::select(vec![
        (Subject::Principal(1), Recipient::User),
        (Subject::Principal(2), Recipient::Robot),
        (Subject::Principal(4), Recipient::User),
        (Subject::Team(DEV), Recipient::Team),
        (Subject::Team(31), Recipient::Team),
        (Subject::Authenticated, Recipient::Authenticated),
        (Subject::Everyone, Recipient::Everyone),
    ]);
    let patterns =
        PATTERNS.into_iter().chain(["base", "open", "open/**", "{acme,base}/**", "acm?/**", "{username}/**"]);
    let pattern = prop::sample::select(patterns.collect::<Vec<_>>());
    let tags = prop::sample::select(vec![None, None, Some("pr-*")]);
    let over = prop::option::of(any::<Index>());
    (whom, pattern, prop::sample::select(ACTION_SETS.to_vec()), tags, over)
        .prop_map(|(whom, pattern, actions, tags, over)| Attempt { whom, pattern, actions, tags, over })
}

/// Everybody who could gain something; each may use what is theirs to the full.
fn everybody() -> Vec<Caller> {
    let carol = Caller::principal(CallerKind::User, 4, "carol", [31]);
    let in_the_team = Caller::principal(CallerKind::Robot, 5, "robot.acme.bot", [DEV]);
    let all = [Caller::anonymous(), alice(), robot(), carol, in_the_team];
    all.into_iter().map(|caller| Caller { api: ApiLevel::Write, ..caller }).collect()
}

const NAMESPACES: [&str; 3] = ["acme", "base", "open"];

/// What a caller may do, one name, action and tag at a time; a namespace's administration is `admin` of its name.
fn powers(caller: &Caller, book: &Book) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    let access = decided(caller, book, &everything());
    each_permission(|resource, action, tag| {
        if permits(&access, resource, &action, tag) {
            found.insert((resource.name.as_str().to_owned(), action.to_string(), tag.to_owned()));
        }
    });
    for namespace in NAMESPACES.into_iter().filter(|name| administers(NOW, caller, &book.rules(), name)) {
        found.insert((namespace.to_owned(), "admin".to_owned(), String::new()));
    }
    found
}

/// Writes it as the admin API does: where permissions refuse it, nothing is written.
fn attempt(writer: &Caller, book: &mut Book, attempt: &Attempt) -> bool {
    let (pattern, actions) = (attempt.pattern.parse::<RepositoryPattern>().unwrap(), attempt.actions.parse().unwrap());
    let tags = attempt.tags.map(|tags| tags.parse().unwrap());
    let proposed = ProposedGrant { recipient: attempt.whom.1, pattern: pattern.clone(), actions, tags: tags.clone() };
    if may_write(NOW, writer, &book.rules(), &proposed).is_err() {
        return false;
    }
    let home =
        pattern.namespace().map(|name| book.namespaces.iter().find(|known| known.name == name).map(|known| known.id));
    let Some(namespace) = home.unwrap_or(Some(SYSTEM_NAMESPACE)) else { return false };
    let grant = Grant { id: 0, namespace, subject: attempt.whom.0, pattern, actions, tags, expires_at: None };
    // What is replaced was written in the same namespace: of another's it is said that it is not there.
    let mut same: Vec<_> = book.grants.iter_mut().filter(|old| old.namespace == namespace).collect();
    match &attempt.over {
        Some(_) if same.is_empty() => return false,
        Some(index) => {
            let at = index.index(same.len());
            *same.swap_remove(at) = grant;
        }
        None => book.grants.push(grant),
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn t26_nobody_gains_what_the_writer_could_not_give(
        writer in a_caller(),
        book in a_book(),
        theirs in prop::option::weighted(0.8, prop::sample::select(NAMESPACES.to_vec())),
        attempts in vec(an_attempt(), 1..12),
    ) {
        prop_assume!(!rules_the_system(&writer));
        let mut before = book;
        if let (Some(name), Some(Subject::Principal(id))) = (theirs, own(&writer)) {
            let namespace = before.namespaces.iter().find(|known| known.name == name).unwrap().id;
            before = before.grant(namespace, Subject::Principal(id), name, "admin");
        }
        let administered: BTreeSet<&str> =
            NAMESPACES.into_iter().filter(|name| administers(NOW, &writer, &before.rules(), name)).collect();
        // With all that is theirs: the credential confines what they do, not what they are.
        let given = powers(&Caller { credential_scope: None, api: ApiLevel::Write, ..writer.clone() }, &before);
        let mut after = before.clone();
        for one in &attempts {
            let written = attempt(&writer, &mut after, one);
            prop_assert!(!written || !administered.is_empty(), "who administers nothing has written {one:?}");
        }
        let mut gained = Vec::new();
        for caller in everybody().iter().chain([&writer]) {
            let had = powers(caller, &before);
            for power in powers(caller, &after).difference(&had) {
                let (name, action, _) = power;
                let inside = administered.contains(super::super::grant::first_segment(name));
                let person = action != "admin" || caller.kind == CallerKind::User;
                if !inside || !person || !given.contains(power) {
                    gained.push(format!("{} gained {power:?}", caller.handle));
                }
            }
        }
        prop_assert!(gained.is_empty(), "{gained:?} by {attempts:?}, who administers {administered:?}");
    }
}

/// The caller, as a subject of grants.
fn own(caller: &Caller) -> Option<Subject> {
    caller.subjects.iter().copied().find(|subject| matches!(subject, Subject::Principal(_)))
}
