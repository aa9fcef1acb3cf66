use std::time::Duration;

use shared::access::Action;

use super::*;

#[test]
fn nothing_is_allowed_that_nothing_allows() {
    for caller in [Caller::anonymous(), alice(), robot()] {
        assert_eq!(granted(&caller, &company(), "repository:acme/web:*"), "");
        assert_eq!(granted(&caller, &company(), "repository:nowhere/web:*"), "");
    }
}

#[test]
fn grants_of_oneself_of_ones_team_of_everyone_add_up() {
    let book = company()
        .grant(ACME, Subject::Principal(1), "acme/web", "pull,push")
        .grant(ACME, Subject::Team(DEV), "acme/**", "pull,delete")
        .grant(ACME, Subject::Authenticated, "acme/docs", "pull")
        .grant(ACME, Subject::Everyone, "acme/hello", "pull");
    assert_eq!(granted(&alice(), &book, "repository:acme/web:*"), "repository:acme/web:delete pull push");
    assert_eq!(granted(&alice(), &book, "repository:acme/api:pull,push,delete"), "repository:acme/api:delete pull");
    assert_eq!(
        granted(&robot(), &book, "repository:acme/web:pull repository:acme/docs:pull,push"),
        "repository:acme/docs:pull"
    );
    assert_eq!(granted(&Caller::anonymous(), &book, "repository:acme/docs:pull"), "");
    assert_eq!(granted(&Caller::anonymous(), &book, "repository:acme/hello:pull,push"), "repository:acme/hello:pull");
    assert_eq!(granted(&alice(), &book, "repository:acme:pull"), "", "acme/** is what lies in acme");
}

#[test]
fn only_what_was_asked_for_is_granted_and_a_star_asks_for_three_things() {
    let book = company().grant(ACME, Subject::Team(DEV), "acme/**", "admin");
    assert_eq!(granted(&alice(), &book, "repository:acme/web:push"), "", "an admin grant names its namespace exactly");
    let book = company().grant(ACME, Subject::Team(DEV), "acme", "admin");
    assert_eq!(granted(&alice(), &book, "repository:acme/web:push"), "repository:acme/web:push");
    assert_eq!(granted(&alice(), &book, "repository:acme:*"), "repository:acme:delete pull push");
    assert_eq!(granted(&alice(), &book, "repository:acme/web:admin,read,scan"), "");
    assert_eq!(granted(&alice(), &book, "repository:acme/web:"), "");
}

#[test]
fn a_robot_limited_to_pr_tags_pulls_everything_and_pushes_only_those() {
    let book = company().grant(ACME, Subject::Principal(2), "acme/**", "pull,push").tags("pr-*");
    assert_eq!(granted(&robot(), &book, "repository:acme/web:pull,push"), "repository:acme/web:pull push[pr-*]");
    assert_eq!(granted(&robot(), &book, "repository:acme/web:pull,push,delete"), "repository:acme/web:pull push[pr-*]");
}

#[test]
fn limits_add_up_and_a_grant_without_one_lifts_them() {
    let limited = company()
        .grant(ACME, Subject::Principal(2), "acme/**", "pull,push")
        .tags("pr-*")
        .grant(ACME, Subject::Authenticated, "acme/web", "pull,push,delete")
        .tags("rc-*,pr-*");
    assert_eq!(
        granted(&robot(), &limited, "repository:acme/web:*"),
        "repository:acme/web:pull delete[pr-*,rc-*] push[pr-*,rc-*]"
    );
    let lifted = limited.grant(ACME, Subject::Principal(2), "acme/web", "pull,push");
    assert_eq!(granted(&robot(), &lifted, "repository:acme/web:*"), "repository:acme/web:pull push delete[pr-*,rc-*]");
}

#[test]
fn visibility_opens_pull_and_nothing_else() {
    let table = [
        ("acme/x", [false, false, false]),
        ("base/x", [false, true, false]),
        ("open/x", [true, true, true]),
        ("open", [true, true, true]),
        ("opener/x", [false, false, false]),
    ];
    for (name, expected) in table {
        for (caller, expected) in [Caller::anonymous(), alice(), robot()].iter().zip(expected) {
            let line = if expected { format!("repository:{name}:pull") } else { String::new() };
            assert_eq!(granted(caller, &company(), &format!("repository:{name}:*")), line, "{name} {:?}", caller.kind);
        }
    }
}

#[test]
fn a_grant_ends_at_its_time_not_a_moment_later() {
    let book = company().grant(ACME, Subject::Principal(1), "acme/**", "pull").until(NOW);
    assert_eq!(granted(&alice(), &book, "repository:acme/x:pull"), "");
    let just_before = NOW - Duration::from_micros(1);
    assert_eq!(decide(just_before, &alice(), &book.rules(), &scopes("repository:acme/x:pull")).access.len(), 1);
}

#[test]
fn a_recreated_namespace_has_none_of_the_old_grants() {
    let book = Book::default()
        .namespace(70, "acme", Visibility::Private)
        .grant(ACME, Subject::Principal(1), "acme/**", "pull,push")
        .grant(ACME, Subject::Principal(1), "acme", "admin");
    assert_eq!(granted(&alice(), &book, "repository:acme/web:*"), "");
    assert!(!administers(NOW, &Caller { api: ApiLevel::Write, ..alice() }, &book.rules(), "acme"));
}

#[test]
fn a_grant_gives_nothing_outside_the_namespace_it_was_written_in() {
    let book = company().grant(ACME, Subject::Principal(1), "base/**", "push").grant(
        ACME,
        Subject::Principal(1),
        "**",
        "push",
    );
    assert_eq!(granted(&alice(), &book, "repository:base/x:push"), "");
    assert_eq!(granted(&alice(), &book, "repository:acme/x:push"), "repository:acme/x:push");
}

#[test]
fn nobody_but_a_system_administrator_reaches_a_namespace_that_is_not_known() {
    let book = company().grant(SYSTEM_NAMESPACE, Subject::Everyone, "**", "pull,push");
    assert_eq!(granted(&alice(), &book, "repository:acme/x:pull,push"), "repository:acme/x:pull push");
    assert_eq!(granted(&alice(), &book, "repository:nowhere/x:pull,push"), "");
    assert_eq!(granted(&administrator(), &book, "repository:nowhere/x:pull,push"), "repository:nowhere/x:pull push");
}

#[test]
fn guardrails_bind_everyone_and_are_subtracted_last() {
    let book = company()
        .grant(ACME, Subject::Principal(1), "acme/**", "admin")
        .grant(ACME, Subject::Principal(1), "acme", "admin")
        .guardrail(90, "acme/release/**", "push,delete")
        .guardrail(91, "open/secret", "pull");
    assert_eq!(granted(&alice(), &book, "repository:acme/release/web:*"), "repository:acme/release/web:pull");
    assert_eq!(granted(&administrator(), &book, "repository:acme/release/web:*"), "repository:acme/release/web:pull");
    assert_eq!(
        granted(&Caller::anonymous(), &book, "repository:open/secret:pull repository:open/x:pull"),
        "repository:open/x:pull"
    );
    let mut ended = book;
    ended.guardrails[0].expires_at = Some(NOW);
    assert_eq!(granted(&alice(), &ended, "repository:acme/release/web:push"), "repository:acme/release/web:push");
}

#[test]
fn a_credential_confined_to_less_gets_less_whoever_owns_it() {
    let mut caller = administrator();
    caller.credential_scope = Some("acme/**:pull,push base:admin".parse().unwrap());
    let book = company();
    assert_eq!(granted(&caller, &book, "repository:acme/x:* repository:base/x:*"), "repository:acme/x:pull push");
    assert_eq!(granted(&caller, &book, "registry:catalog:*"), "registry:catalog:*[readable]");
    assert!(administers(NOW, &caller, &book.rules(), "base") && !administers(NOW, &caller, &book.rules(), "acme"));
    assert!(!rules_the_system(&caller) && rules_the_system(&administrator()));
}

#[test]
fn username_stands_for_the_caller() {
    let book = company().grant(ACME, Subject::Authenticated, "acme/home/{username}/**", "maintainer");
    assert_eq!(granted(&alice(), &book, "repository:acme/home/alice/x:push"), "repository:acme/home/alice/x:push");
    assert_eq!(granted(&alice(), &book, "repository:acme/home/bob/x:push"), "");
    let odd = Caller::principal(CallerKind::User, 1, "**", []);
    assert_eq!(granted(&odd, &book, "repository:acme/home/bob/x:push"), "");
}

#[test]
fn the_catalog_is_filtered_for_most_and_whole_for_administrators_and_auditors() {
    let mut book = company();
    let auditor = Caller { system_role: Some(SystemRole::Auditor), ..alice() };
    for caller in [Caller::anonymous(), alice(), robot()] {
        assert_eq!(granted(&caller, &book, "registry:catalog:*"), "registry:catalog:*[readable]");
        assert_eq!(granted(&caller, &book, "registry:catalog:pull registry:other:*"), "");
    }
    book.catalog = Catalog::Admins;
    assert_eq!(granted(&alice(), &book, "registry:catalog:*"), "");
    for caller in [administrator(), auditor.clone()] {
        assert_eq!(granted(&caller, &book, "registry:catalog:*"), "registry:catalog:*");
    }
    assert_eq!(granted(&auditor, &book, "repository:acme/x:*"), "", "an auditor sees names and rules, not content");
}

#[test]
fn namespaces_are_administered_with_an_api_level_only() {
    let book = company().grant(ACME, Subject::Principal(1), "acme", "admin");
    let at = |api| Caller { api, ..alice() };
    let request = "namespace:acme:read,admin namespace:base:read,admin";
    assert_eq!(granted(&at(ApiLevel::None), &book, request), "");
    assert_eq!(granted(&at(ApiLevel::Read), &book, request), "namespace:acme:read");
    assert_eq!(granted(&at(ApiLevel::Write), &book, request), "namespace:acme:admin read");
    let auditor = Caller { system_role: Some(SystemRole::Auditor), ..at(ApiLevel::Write) };
    assert_eq!(granted(&auditor, &book, request), "namespace:acme:admin read; namespace:base:read");
    assert_eq!(granted(&administrator(), &book, "namespace:new:*"), "namespace:new:admin read");
    assert_eq!(granted(&administrator(), &book, "namespace:acme/web:admin"), "");
}

#[test]
fn the_registry_as_a_whole_is_administered_by_role_and_api_level() {
    let book = company().grant(ACME, Subject::Principal(1), "acme", "admin");
    let request = "registry:system:read,admin";
    assert_eq!(granted(&administrator(), &book, request), "registry:system:admin read");
    assert_eq!(granted(&administrator(), &book, "registry:system:*"), "registry:system:admin read");
    let at = |api| Caller { api, ..administrator() };
    assert_eq!(granted(&at(ApiLevel::Read), &book, request), "registry:system:read");
    assert_eq!(granted(&at(ApiLevel::None), &book, request), "", "what docker login leaves in a file");
    let auditor = Caller { system_role: Some(SystemRole::Auditor), ..administrator() };
    assert_eq!(granted(&auditor, &book, request), "registry:system:read");
    let confined = Caller { credential_scope: Some("acme/**:admin".parse().unwrap()), ..administrator() };
    assert_eq!(granted(&confined, &book, request), "");
    assert_eq!(granted(&Caller { api: ApiLevel::Write, ..alice() }, &book, request), "", "one namespace is not all");

    let explained = |caller: &Caller| explain(NOW, caller, &book.rules(), &scopes(request), &View::Own).remove(0);
    let by = explained(&administrator()).why.iter().map(|why| why.by.clone()).collect::<Vec<_>>();
    assert_eq!(by, vec![RuleSeen::SystemRole(SystemRole::Administrator); 2]);
    assert_eq!(explained(&at(ApiLevel::None)).why_not[0].reason, Reason::ApiLevel);
    assert_eq!(explained(&confined).why_not[0].reason, Reason::CredentialScope);
    assert_eq!(explained(&auditor).why_not[0].reason, Reason::NoGrant(None));
}

#[test]
fn unknown_kinds_and_impossible_names_are_no_error_and_get_nothing() {
    let book = company().grant(SYSTEM_NAMESPACE, Subject::Everyone, "**", "pull");
    for request in [
        "plugin:acme/x:pull",
        "repository:host:5000/acme/x:pull",
        "repository:ACME/x:pull",
        "repository:acme/../x:pull",
    ] {
        assert_eq!(granted(&administrator(), &book, request), "", "{request}");
    }
    assert_eq!(granted(&administrator(), &book, "repository(plugin):acme/x:pull"), "repository:acme/x:pull");
}

#[test]
fn the_scope_of_the_answer_names_limited_actions_too() {
    let book = company().grant(ACME, Subject::Principal(2), "acme/**", "pull,push").tags("pr-*");
    let decision = decide(NOW, &robot(), &book.rules(), &scopes("repository:acme/web:pull,push registry:catalog:*"));
    assert_eq!(decision.scopes().to_string(), "repository:acme/web:pull,push registry:catalog:*");
}

fn proposed(recipient: Recipient, pattern: &str, actions: &str, tags: Option<&str>) -> ProposedGrant {
    let tags = tags.map(|tags| tags.parse().unwrap());
    ProposedGrant { recipient, pattern: pattern.parse().unwrap(), actions: actions.parse().unwrap(), tags }
}

#[test]
fn who_administers_a_namespace_gives_what_lies_in_it_and_no_more() {
    use Recipient::{Everyone, Robot, Team, User};
    let rules = company().grant(ACME, Subject::Principal(1), "acme", "admin").rules();
    let alice = Caller { api: ApiLevel::Write, ..alice() };
    let allowed = [
        proposed(User, "acme", "pull", None),
        proposed(Robot, "acme/**", "pull,push", Some("pr-*")),
        proposed(Everyone, "acme/{docs,hello}", "pull", None),
        proposed(Team, "acme", "admin", None),
        proposed(Recipient::Authenticated, "acme/home/{username}/**", "maintainer", None),
    ];
    for grant in allowed {
        assert_eq!(may_write(NOW, &alice, &rules, &grant), Ok(()), "{grant:?}");
    }
    let not_yours = |name: &str| NotGiven::NotYours(name.into());
    let refused = [
        (proposed(User, "base/x", "pull", None), not_yours("base")),
        (proposed(User, "nowhere/x", "pull", None), not_yours("nowhere")),
        (proposed(User, "acmeish/x", "pull", None), not_yours("acmeish")),
        (proposed(User, "acme*/x", "pull", None), NotGiven::BeyondOneNamespace),
        (proposed(User, "**", "pull", None), NotGiven::BeyondOneNamespace),
        (proposed(User, "{acme,base}/x", "pull", None), NotGiven::BeyondOneNamespace),
        (proposed(User, "{username}/**", "pull", None), NotGiven::BeyondOneNamespace),
        (proposed(User, "acme/x", "push", None), NotGiven::WithoutPull),
        (proposed(User, "acme/x", "delete", None), NotGiven::WithoutPull),
        (proposed(User, "acme/x", "pull", Some("pr-*")), NotGiven::NothingToLimit),
        (proposed(User, "acme/**", "admin", None), NotGiven::AdministrationOfAPart),
        (proposed(User, "*", "admin", None), NotGiven::AdministrationOfAPart),
        (proposed(User, "acme", "admin", Some("pr-*")), NotGiven::LimitedAdministration),
        (proposed(Robot, "acme", "admin", None), NotGiven::AdministrationForAnybody),
        (proposed(Everyone, "acme", "admin", None), NotGiven::AdministrationForAnybody),
        (proposed(Recipient::Authenticated, "acme", "admin", None), NotGiven::AdministrationForAnybody),
    ];
    for (grant, reason) in refused {
        assert_eq!(may_write(NOW, &alice, &rules, &grant), Err(reason), "{grant:?}");
    }
    let root = administrator();
    assert_eq!(may_write(NOW, &root, &rules, &proposed(User, "**", "pull", None)), Ok(()));
    assert_eq!(may_write(NOW, &root, &rules, &proposed(User, "{username}/**", "maintainer", None)), Ok(()));
}

#[test]
fn a_credential_that_may_not_administer_writes_no_grant() {
    let rules = company().grant(ACME, Subject::Principal(1), "acme", "admin").rules();
    let grant = proposed(Recipient::User, "acme/x", "pull", None);
    let with =
        |api, scope: Option<&str>| Caller { api, credential_scope: scope.map(|s| s.parse().unwrap()), ..alice() };
    for caller in [
        with(ApiLevel::None, None),
        with(ApiLevel::Read, None),
        with(ApiLevel::Write, Some("acme/**:admin")),
        with(ApiLevel::Write, Some("acme:pull,push,delete")),
    ] {
        assert_eq!(may_write(NOW, &caller, &rules, &grant), Err(NotGiven::NotYours("acme".into())), "{caller:?}");
    }
    assert_eq!(may_write(NOW, &with(ApiLevel::Write, Some("acme:admin")), &rules, &grant), Ok(()));
}

#[test]
fn guardrails_are_the_system_administrators() {
    let rail = |pattern: &str, actions: &str| ProposedGuardrail {
        pattern: pattern.parse().unwrap(),
        actions: actions.parse().unwrap(),
    };
    assert_eq!(may_write_guardrail(&administrator(), &rail("acme/**", "push")), Ok(()));
    assert_eq!(may_write_guardrail(&alice(), &rail("acme/**", "push")), Err(NotGiven::NotYourGuardrail));
    let confined = Caller { credential_scope: Some("acme/**:admin".parse().unwrap()), ..administrator() };
    assert_eq!(may_write_guardrail(&confined, &rail("acme/**", "push")), Err(NotGiven::NotYourGuardrail));
    assert_eq!(may_write_guardrail(&administrator(), &rail("a/{username}", "push")), Err(NotGiven::PersonalGuardrail));
    assert_eq!(may_write_guardrail(&administrator(), &rail("acme", "admin")), Err(NotGiven::GuardrailOnAdministration));
}

#[test]
fn explain_names_the_grant_behind_each_action_and_the_nearest_miss() {
    let book = company()
        .grant(ACME, Subject::Team(DEV), "acme/**", "contributor")
        .grant(ACME, Subject::Team(99), "acme/**", "maintainer")
        .guardrail(90, "acme/frozen", "push");
    let explained =
        |request: &str| explain(NOW, &alice(), &book.rules(), &scopes(request), &View::Everything).remove(0);

    let web = explained("repository:acme/web:*");
    let whys: Vec<_> = web.why.iter().map(|why| (why.action.as_str(), grant_id(&why.by))).collect();
    assert_eq!(whys, [("pull", Some(1)), ("push", Some(1))]);
    let [WhyNot { action: Action::Delete, reason: Reason::NoGrant(Some(miss)) }] = &web.why_not[..] else {
        panic!("{:?}", web.why_not)
    };
    assert_eq!((grant_id(&miss.rule), miss.lacking), (Some(1), Lacking::Action));

    let frozen = explained("repository:acme/frozen:push");
    assert_eq!(frozen.why_not[0].reason, Reason::Guardrail(Some(90)));
    assert_eq!(explained("repository:nowhere/x:pull").why_not[0].reason, Reason::NamespaceUnknown);
    assert_eq!(explained("repository:acme/web:scan").why_not[0].reason, Reason::Meaningless);
    assert_eq!(explained("repository:open/x:pull").why[0].by, RuleSeen::Visibility(Visibility::Public));
}

#[test]
fn the_nearest_miss_is_the_one_that_lacks_least() {
    let expired = company()
        .grant(ACME, Subject::Team(99), "acme/**", "pull")
        .grant(ACME, Subject::Principal(1), "acme/x", "pull")
        .until(NOW);
    let others = company().grant(ACME, Subject::Principal(1), "acme/y", "pull").grant(
        ACME,
        Subject::Team(99),
        "acme/**",
        "pull",
    );
    let elsewhere = company().grant(ACME, Subject::Principal(1), "acme/y", "pull");
    for (book, id, lacking) in
        [(expired, 2, Lacking::Time), (others, 2, Lacking::Membership), (elsewhere, 1, Lacking::Pattern)]
    {
        let explained = explain(NOW, &alice(), &book.rules(), &scopes("repository:acme/x:pull"), &View::Everything);
        let Reason::NoGrant(Some(miss)) = &explained[0].why_not[0].reason else { panic!("{explained:?}") };
        assert_eq!((grant_id(&miss.rule), miss.lacking), (Some(id), lacking));
    }
}

#[test]
fn a_stranger_cannot_tell_a_hidden_namespace_from_none() {
    let book = company().grant(ACME, Subject::Team(99), "acme/**", "pull").guardrail(90, "acme/**", "push");
    let about = |name: &str| {
        explain(
            NOW,
            &robot(),
            &book.rules(),
            &scopes(&format!("repository:{name}:pull,push namespace:{name}:admin")),
            &View::Own,
        )
        .iter()
        .flat_map(|one| one.why_not.clone())
        .map(|line| (line.action, line.reason))
        .collect::<Vec<_>>()
    };
    assert_eq!(about("acme"), about("nowhere"));
}

#[test]
fn an_administrator_of_one_namespace_sees_rules_of_that_one_only() {
    let book = company()
        .grant(SYSTEM_NAMESPACE, Subject::Principal(1), "**", "pull")
        .tags("pr-*")
        .grant(ACME, Subject::Principal(1), "acme/x", "pull")
        .guardrail(90, "acme/x", "push")
        .grant(ACME, Subject::Principal(1), "acme/x", "pull,push");
    let explained =
        explain(NOW, &alice(), &book.rules(), &scopes("repository:acme/x:pull,push"), &seen_namespaces(&[ACME]));
    let seen: Vec<_> = explained[0].why.iter().map(|why| why.by.clone()).collect();
    assert_eq!(seen[0], RuleSeen::Elsewhere);
    assert_eq!(grant_id(&seen[1]), Some(2));
    assert_eq!(explained[0].why_not[0].reason, Reason::Guardrail(None));
    let other = explain(NOW, &alice(), &book.rules(), &scopes("repository:acme/x:delete"), &seen_namespaces(&[8]));
    assert_eq!(other[0].why_not[0].reason, Reason::NoGrant(None));
}

fn grant_id(rule: &RuleSeen) -> Option<i64> {
    match rule {
        RuleSeen::Grant(grant) => Some(grant.id),
        _ => None,
    }
}

#[test]
fn readable_patterns_never_reach_beyond_the_living_namespaces() {
    let book = company()
        .grant(SYSTEM_NAMESPACE, Subject::Principal(1), "*/docs", "pull")
        .grant(ACME, Subject::Principal(1), "acme/web", "pull,push")
        .grant(55, Subject::Principal(1), "gone/**", "pull");
    let readable = readable(NOW, &alice(), &book.rules());
    let allow: Vec<&str> = readable.allow.iter().map(shared::pattern::RepositoryPattern::as_str).collect();
    assert_eq!(allow, ["acme/docs", "acme/web", "base", "base/**", "base/docs", "open", "open/**", "open/docs"]);
    assert!(readable.within.is_none() && readable.deny.is_empty());
}

/// "Never to a robot": a team is no way around it, and neither is a row that says everyone.
#[test]
fn an_admin_grant_makes_no_robot_an_administrator_not_even_through_its_team() {
    let book = company()
        .grant(ACME, Subject::Team(DEV), "acme", "admin")
        .grant(ACME, Subject::Principal(2), "acme", "admin")
        .grant(ACME, Subject::Everyone, "acme", "admin")
        .grant(ACME, Subject::Authenticated, "acme", "admin");
    let robot = Caller::principal(CallerKind::Robot, 2, "robot.acme.ci", [DEV]);
    let robot = Caller { api: ApiLevel::Write, ..robot };
    let stranger = Caller { api: ApiLevel::Write, ..Caller::principal(CallerKind::User, 5, "eve", []) };
    for caller in [robot, stranger, Caller::anonymous()] {
        assert_eq!(granted(&caller, &book, "repository:acme/web:* namespace:acme:*"), "", "{caller:?}");
        assert!(!administers(NOW, &caller, &book.rules(), "acme"));
        assert!(!readable(NOW, &caller, &book.rules()).permits("acme/web"));
        let explained = explain(NOW, &caller, &book.rules(), &scopes("namespace:acme:admin"), &View::Everything);
        assert!(explained[0].why.is_empty(), "{explained:?}");
    }
    let member = Caller { api: ApiLevel::Write, ..alice() };
    assert_eq!(granted(&member, &book, "namespace:acme:*"), "namespace:acme:admin read");
}

#[test]
fn an_admin_grant_means_all_content_whatever_stands_beside_admin() {
    let mut book = company().grant(ACME, Subject::Principal(1), "acme", "pull,admin");
    for actions in [Actions::PULL | Actions::ADMIN, Actions::ADMIN] {
        book.grants[0].actions = actions;
        assert_eq!(granted(&alice(), &book, "repository:acme/web:*"), "repository:acme/web:delete pull push");
        assert!(readable(NOW, &alice(), &book.rules()).permits("acme/web"));
        let explained = explain(NOW, &alice(), &book.rules(), &scopes("repository:acme/web:*"), &View::Own);
        assert_eq!((explained[0].why.len(), explained[0].why_not.len()), (3, 0), "{explained:?}");
    }
}

#[test]
fn a_namespace_that_the_reader_does_not_administer_answers_like_an_unknown_one() {
    let book = company()
        .grant(ACME, Subject::Principal(1), "acme/**", "pull,push")
        .grant(ACME, Subject::Principal(1), "acme", "admin")
        .guardrail(90, "acme/**", "push");
    let bob = Caller { api: ApiLevel::Write, ..alice() };
    let about = |name: &str| {
        let request = format!("repository:{name}/x:pull,push namespace:{name}:admin");
        let explained = explain(NOW, &bob, &book.rules(), &scopes(&request), &seen_namespaces(&[8]));
        explained.into_iter().map(|one| (one.decision, one.why, one.why_not)).collect::<Vec<_>>()
    };
    assert_eq!(about("acme"), about("nowhere"));
}

#[test]
fn an_auditors_role_is_no_reason_to_administer() {
    let book = company().grant(ACME, Subject::Principal(1), "acme", "admin");
    let auditor = Caller { system_role: Some(SystemRole::Auditor), api: ApiLevel::Write, ..alice() };
    let explained =
        explain(NOW, &auditor, &book.rules(), &scopes("namespace:acme:read,admin"), &View::Everything).remove(0);
    let whys: Vec<_> = explained.why.iter().map(|why| (why.action.as_str(), why.by.clone())).collect();
    assert_eq!(whys.len(), 3, "{whys:?}");
    assert_eq!((whys[0].0, grant_id(&whys[0].1)), ("admin", Some(1)));
    assert_eq!(whys[1], ("read", RuleSeen::SystemRole(SystemRole::Auditor)));
}

#[test]
fn a_role_explains_the_whole_catalog_and_not_a_filtered_one() {
    let whys = |caller: &Caller| {
        let explained = explain(NOW, caller, &company().rules(), &scopes("registry:catalog:*"), &View::Everything);
        assert!(explained[0].why_not.is_empty(), "{explained:?}");
        explained[0].why.iter().map(|why| why.by.clone()).collect::<Vec<_>>()
    };
    assert_eq!(whys(&administrator()), [RuleSeen::SystemRole(SystemRole::Administrator)]);
    let confined = Caller { credential_scope: Some("acme/**:pull".parse().unwrap()), ..administrator() };
    assert_eq!(whys(&confined), whys(&alice()));
}

/// Whether the registry filters the catalog or keeps it for those with a role, neither shows who has one.
#[test]
fn an_administrator_of_a_namespace_reads_nobodys_system_role() {
    let auditor = Caller { system_role: Some(SystemRole::Auditor), ..alice() };
    for catalog in [Catalog::Filtered, Catalog::Admins] {
        let book = Book { catalog, ..company() };
        let explained = |caller: &Caller, request: &str| {
            explain(NOW, caller, &book.rules(), &scopes(request), &seen_namespaces(&[ACME]))
        };
        let asked =
            "repository:acme/x:pull,push,delete namespace:acme:read,admin registry:catalog:* registry:system:read";
        for caller in [&administrator(), &auditor] {
            let seen = explained(caller, asked);
            let mut rules = seen.iter().flat_map(|one| &one.why).map(|why| &why.by);
            assert!(rules.all(|rule| *rule == RuleSeen::Elsewhere), "{seen:?}");
            assert_eq!(
                explained(caller, "registry:catalog:*"),
                explained(&alice(), "registry:catalog:*"),
                "{catalog:?}"
            );
        }
        assert_eq!(explained(&administrator(), "repository:acme/x:pull")[0].why.len(), 1);
    }
}
