//! What people are told who may not: the rule that fell short, and nothing that they could not learn anyway.

use proptest::prelude::*;
use shared::{access::Action, shortfall::Shortfall};

use super::*;

/// What the caller is told about the request, one sentence for each cause.
fn told(caller: &Caller, book: &Book, request: &str) -> Vec<String> {
    let short = shortfalls(NOW, caller, &book.rules(), &scopes(request));
    short.iter().map(|Shortfall { sentence, .. }| sentence.to_string()).collect()
}

fn ci() -> Book {
    company().grant(ACME, Subject::Principal(2), "acme/**", "pull,push").tags("pr-*")
}

#[test]
fn the_sentences_of_the_handbook() {
    let book = ci()
        .grant(ACME, Subject::Team(DEV), "acme/web", "pull")
        .grant(ACME, Subject::Principal(1), "acme/lib/**", "pull,push")
        .grant(ACME, Subject::Principal(1), "acme/old", "pull,push")
        .until(NOW)
        .guardrail(90, "acme/lib/frozen", "push,delete");
    let table = [
        (robot(), "acme/web:pull,push", "robot.acme.ci may push only tags matching pr-* in acme/**"),
        (
            robot(),
            "acme/web:delete",
            "robot.acme.ci may pull and push acme/web but not delete; nearest: role maintainer",
        ),
        (alice(), "acme/web:pull,push", "alice may pull acme/web but not push; nearest: role contributor"),
        (alice(), "acme/web:*", "alice may pull acme/web but not push or delete; nearest: role maintainer"),
        (alice(), "acme/old:push", "alice may not push acme/old: the grant on acme/old ended at 2027-01-15T08:00:00Z"),
        (alice(), "acme/api:push", "alice may push only acme/lib/** in acme, not acme/api"),
        (alice(), "acme/api:delete", "alice may not delete acme/api; nearest: role maintainer"),
        (alice(), "acme/lib/frozen:push", "a guardrail forbids everybody to push acme/lib/frozen"),
        (administrator(), "acme/lib/frozen:delete", "a guardrail forbids everybody to delete acme/lib/frozen"),
        (alice(), "base/os:pull,push", "alice may pull base/os but not push; nearest: role contributor"),
    ];
    for (caller, request, sentence) in table {
        assert_eq!(told(&caller, &book, &format!("repository:{request}")), [sentence], "{request}");
    }
    assert_eq!(told(&alice(), &book, "repository:acme/lib/x:pull,push"), [""; 0], "what is granted needs no words");
    assert_eq!(told(&Caller::anonymous(), &book, "repository:acme/web:pull"), [""; 0]);
    assert_eq!(told(&alice(), &book, "registry:catalog:* namespace:acme:admin repository:acme/web:scan"), [""; 0]);
}

#[test]
fn what_hides_itself_and_what_is_not_there_are_one_sentence() {
    // base/* and other/* exist: the one shows itself to users and not to robots, the other to nobody. nowhere does not.
    let book = company()
        .namespace(10, "other", Visibility::Private)
        .grant(10, Subject::Principal(1), "other/**", "pull")
        .until(NOW);
    let of = |caller: &Caller, name: &str| told(caller, &book, &format!("repository:{name}/web:pull,push")).join("|");
    let nowhere = of(&alice(), "nowhere");
    assert_eq!(
        nowhere,
        "alice may not pull or push nowhere/web: nothing that was granted reaches it, or there is no namespace nowhere"
    );
    for hidden in ["acme", "other"] {
        assert_eq!(of(&alice(), hidden), nowhere.replace("nowhere", hidden), "a grant that has ended is none");
    }
    for hidden in ["acme", "other", "base"] {
        assert_eq!(of(&robot(), hidden), of(&robot(), "nowhere").replace("nowhere", hidden));
    }
    let mut auditor = alice();
    auditor.system_role = Some(SystemRole::Auditor);
    assert_eq!(of(&auditor, "nowhere"), "alice may not pull or push nowhere/web: there is no namespace nowhere");
}

/// Whoever was given a narrow credential learns from it nothing about its owner.
#[test]
fn a_narrow_credential_says_the_same_whatever_its_owner_may_do() {
    let mut narrow = alice();
    narrow.credential_scope = Some("acme/web:pull".parse().unwrap());
    let (poor, rich) = (company(), company().grant(ACME, Subject::Principal(1), "acme/**", "pull,push,delete"));
    for request in ["acme/web:push", "acme/api:pull,push", "nowhere/web:pull"] {
        let request = format!("repository:{request}");
        assert_eq!(told(&narrow, &poor, &request), told(&narrow, &rich, &request));
    }
    assert_eq!(
        told(&narrow, &rich, "repository:acme/web:pull,push"),
        ["the credential shown may not push acme/web: it is confined to acme/web:pull"]
    );
    let mut root = administrator();
    root.credential_scope = narrow.credential_scope;
    assert_eq!(told(&root, &poor, "repository:nowhere/web:pull").len(), 1);
}

#[test]
fn many_patterns_are_not_all_listed() {
    let mut book = company();
    for name in ["a", "b", "c", "d", "e", "f"] {
        book = book.grant(ACME, Subject::Principal(1), &format!("acme/{name}"), "push,pull");
    }
    assert_eq!(
        told(&alice(), &book, "repository:acme/web:push"),
        ["alice may push only acme/a, acme/b, acme/c, acme/d and 2 more in acme, not acme/web"]
    );
}

proptest! {
    /// A sentence is there for exactly what the token does not allow, or allows on some tags only: it cannot contradict the token.
    #[test]
    fn there_is_a_sentence_for_exactly_what_falls_short(
        grants in proptest::collection::vec((0..4usize, 0..4usize, 0..4usize, any::<bool>(), any::<bool>()), 0..5),
        confined in proptest::option::of(0..3usize),
        repository in 0..4usize,
        robotic in any::<bool>(),
    ) {
        let patterns = ["acme/**", "acme/web", "acme/lib/*", "acme"];
        let actions = ["pull", "pull,push", "pull,push,delete", "delete,pull"];
        let subjects = [Subject::Principal(1), Subject::Team(DEV), Subject::Everyone, Subject::Principal(2)];
        let mut book = company();
        for (pattern, action, subject, limited, ended) in grants {
            book = book.grant(ACME, subjects[subject], patterns[pattern], actions[action]);
            if limited { book = book.tags("pr-*"); }
            if ended { book = book.until(NOW); }
        }
        let mut caller = if robotic { robot() } else { alice() };
        caller.credential_scope = confined.map(|index| ["acme/**:pull", "acme/web:pull,push", "base/*:pull"][index].parse().unwrap());
        let request = scopes(&format!("repository:{}:*", ["acme/web", "acme/lib/a", "base/os", "nowhere/x"][repository]));
        let access = decide(NOW, &caller, &book.rules(), &request).access;
        let short = shortfalls(NOW, &caller, &book.rules(), &request);
        for action in [Action::Pull, Action::Push, Action::Delete] {
            let whole = access.iter().any(|access| access.actions.contains(&action));
            let lines = short.iter().filter(|one| one.actions.contains(&action)).count();
            prop_assert_eq!(lines, usize::from(!whole), "{}: {:?} {:?}", action, access, short);
        }
    }
}
