use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn repository(name: &str) -> Resource {
    Resource::repository(&name.parse().unwrap())
}

fn patterns(texts: &[&str]) -> Vec<TagPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn access_is_written_as_the_token_specification_has_it() {
    let access = Access {
        limited: vec![Limit::to_tags([Action::Push], patterns(&["pr-*"]))],
        ..Access::new(repository("acme/web"), [Action::Pull])
    };
    let text = r#"{"type":"repository","name":"acme/web","actions":["pull"],"limited":[{"actions":["push"],"tags":["pr-*"]}]}"#;
    assert_eq!(serde_json::to_string(&access).unwrap(), text);
    assert_eq!(serde_json::from_str::<Access>(text).unwrap(), access);

    let access = Access { limited: vec![Limit::to_readable([Action::Any])], ..Access::new(Resource::catalog(), []) };
    let text = r#"{"type":"registry","name":"catalog","actions":[],"limited":[{"actions":["*"],"readable":true}]}"#;
    assert_eq!(serde_json::to_string(&access).unwrap(), text);
    assert_eq!(serde_json::from_str::<Access>(text).unwrap(), access);

    let access = Access::new(repository("a"), [Action::Push, Action::Pull, Action::Other("scan".into())]);
    let text = r#"{"type":"repository","name":"a","actions":["pull","push","scan"]}"#;
    assert_eq!(serde_json::to_string(&access).unwrap(), text);
}

#[test]
fn absent_and_null_actions_are_none_and_unknown_members_are_passed_over() {
    for entry in [
        json!({"type": "repository", "name": "a"}),
        json!({"type": "repository", "name": "a", "actions": null}),
        json!({"type": "repository", "name": "a", "actions": []}),
        json!({"type": "repository", "name": "a", "class": "plugin", "new": {"x": [1]}}),
    ] {
        assert_eq!(Access::from_json(&entry), Ok(Access::new(repository("a"), [])), "{entry}");
    }
}

#[test]
fn a_member_of_the_wrong_type_refuses_the_entry() {
    for wrong in [json!(null), json!(1), json!("repository"), json!([]), json!(true)] {
        assert_eq!(Access::from_json(&wrong), Err(AccessError::NotAnObject), "{wrong}");
    }
    let entry = json!({"type": "repository", "name": "a", "actions": ["pull"], "limited": []});
    for (member, wrongs) in [
        ("type", vec![json!(null), json!(1), json!(["repository"]), json!({})]),
        ("name", vec![json!(null), json!(1), json!(["a"]), json!({})]),
        ("actions", vec![json!("pull"), json!({}), json!(1), json!([null]), json!([1]), json!(["pull", ["push"]])]),
        ("limited", vec![json!(null), json!({}), json!("x"), json!(true)]),
    ] {
        for wrong in wrongs {
            let mut entry = entry.clone();
            entry[member] = wrong;
            assert_eq!(Access::from_json(&entry), Err(AccessError::WrongType(member)), "{entry}");
        }
    }
}

#[test]
fn an_entry_that_can_name_no_resource_says_so() {
    for (kind, name) in [
        ("", "a"),
        ("Repository", "a"),
        ("repository(plugin)", "a"),
        ("repository", ""),
        ("repository", "a b"),
        ("repository", "a:b:c"),
    ] {
        assert_eq!(
            Access::from_json(&json!({"type": kind, "name": name})),
            Err(AccessError::Unnameable),
            "{kind} {name}"
        );
    }
    assert_eq!(Access::from_json(&json!({})), Err(AccessError::Unnameable));
    // The type of every member is looked at first: a malformed token is refused, whatever its entry names.
    assert_eq!(Access::from_json(&json!({"actions": 1})), Err(AccessError::WrongType("actions")));
}

fn limited(element: &Value) -> Vec<Limit> {
    let good = json!({"actions": ["delete"], "tags": ["x"]});
    let entry = json!({"type": "repository", "name": "a", "actions": [], "limited": [good, element, good]});
    let mut limits = Access::from_json(&entry).unwrap().limited;
    let good = Limit::to_tags([Action::Delete], patterns(&["x"]));
    assert_eq!((limits.remove(0), limits.pop()), (good.clone(), Some(good)), "the elements beside it stand");
    limits
}

#[test]
fn a_limit_that_is_not_understood_whole_is_void() {
    for void in [
        json!(null),
        json!("push"),
        json!([]),
        json!({"actions": "push", "tags": ["*"]}),
        json!({"actions": [null], "tags": ["*"]}),
        json!({"actions": ["push"], "tags": null}),
        json!({"actions": ["push"], "tags": "*"}),
        json!({"actions": ["push"], "tags": {}}),
        json!({"actions": ["push"], "tags": ["pr-*", 1]}),
        json!({"actions": ["push"], "tags": ["pr-*", null]}),
        json!({"actions": ["push"], "tags": ["pr-*", "[a-z]"]}),
        json!({"actions": ["push"], "tags": [""]}),
        json!({"actions": ["push"], "tags": ["*"], "readable": null}),
        json!({"actions": ["push"], "tags": ["*"], "readable": "no"}),
        json!({"actions": ["push"], "tags": ["*"], "addresses": ["10.0.0.0/8"]}),
        json!({"actions": ["push"], "Tags": ["*"]}),
    ] {
        assert_eq!(limited(&void), [], "{void}");
    }
    assert_eq!(limited(&json!({"actions": ["push"], "tags": ["*"]})).len(), 1);
    for empty in [json!({"actions": null, "tags": ["*"]}), json!({"tags": ["*"]})] {
        assert_eq!(limited(&empty), [Limit::to_tags([], patterns(&["*"]))]);
    }
}

#[test]
fn a_member_named_twice_is_refused_where_access_is_read_alone() {
    let text = r#"{"type":"repository","name":"a","actions":["pull"],"actions":["push"]}"#;
    assert!(serde_json::from_str::<Access>(text).is_err());
}

#[test]
fn an_action_is_allowed_by_its_resource_alone() {
    let granted =
        [Access::new(repository("acme/web"), [Action::Pull]), Access::new(repository("acme/web"), [Action::Push])];
    for action in [Action::Pull, Action::Push] {
        assert_eq!(allows(&granted, &repository("acme/web"), &action), Permit::Yes);
        assert_eq!(allows(&granted, &repository("acme"), &action), Permit::No);
        assert_eq!(allows(&granted, &repository("acme/web/api"), &action), Permit::No);
        assert_eq!(allows(&granted, &Resource::namespace("acme/web").unwrap(), &action), Permit::No);
    }
    assert_eq!(allows(&granted, &repository("acme/web"), &Action::Delete), Permit::No);
    assert_eq!(allows(&granted, &repository("acme/web"), &Action::Any), Permit::No);
    assert_eq!(allows(&[], &repository("acme/web"), &Action::Pull), Permit::No);
}

#[test]
fn a_star_allows_every_action_on_its_resource() {
    let granted = [Access::new(repository("a"), [Action::Any])];
    for action in [Action::Pull, Action::Delete, Action::Any, Action::Other("scan".into())] {
        assert_eq!(allows(&granted, &repository("a"), &action), Permit::Yes);
        assert_eq!(allows(&granted, &repository("b"), &action), Permit::No);
    }
    let granted = [Access::new(
        "*".parse().map(|name| Resource { kind: ResourceKind::Repository, name }).unwrap(),
        [Action::Any],
    )];
    assert_eq!(allows(&granted, &repository("a"), &Action::Pull), Permit::No, "a star in a name is no wildcard");
}

fn with_limits(limits: Vec<Limit>) -> [Access; 1] {
    [Access { limited: limits, ..Access::new(repository("a"), [Action::Pull]) }]
}

#[test]
fn push_and_delete_can_be_limited_to_tags() {
    let limits = vec![
        Limit::to_tags([Action::Push, Action::Delete], patterns(&["pr-*"])),
        Limit::to_tags([Action::Push], patterns(&["pr-*", "dev"])),
        Limit::to_tags([Action::Any], patterns(&["tmp"])),
    ];
    let granted = with_limits(limits.clone());
    let only = |texts| Permit::OnlyTags(patterns(texts));
    assert_eq!(allows(&granted, &repository("a"), &Action::Push), only(&["pr-*", "dev", "tmp"]));
    assert_eq!(allows(&granted, &repository("a"), &Action::Delete), only(&["pr-*", "tmp"]));
    assert_eq!(allows(&granted, &repository("a"), &Action::Pull), Permit::Yes, "by its actions");
    assert_eq!(allows(&granted, &repository("a"), &Action::Any), Permit::No);
    assert_eq!(allows(&granted, &repository("b"), &Action::Push), Permit::No);

    let unlimited = [granted[0].clone(), Access::new(repository("a"), [Action::Push])];
    assert_eq!(allows(&unlimited, &repository("a"), &Action::Push), Permit::Yes, "the wider of both holds");
}

#[test]
fn a_limit_that_cannot_be_kept_grants_nothing() {
    let pull = Limit::to_tags([Action::Pull], patterns(&["*"]));
    let granted = [Access { limited: vec![pull], ..Access::new(repository("a"), []) }];
    assert_eq!(allows(&granted, &repository("a"), &Action::Pull), Permit::No);

    for limit in [
        Limit::to_tags([Action::Push], vec![]),
        Limit::to_readable([Action::Push]),
        Limit { readable: true, ..Limit::to_tags([Action::Push], patterns(&["*"])) },
        Limit::to_tags([], patterns(&["*"])),
    ] {
        assert_eq!(allows(&with_limits(vec![limit.clone()]), &repository("a"), &Action::Push), Permit::No, "{limit:?}");
    }
}

#[test]
fn the_catalog_is_listed_whole_filtered_or_not_at_all() {
    let catalog =
        |actions: &[Action], limited| [Access { limited, ..Access::new(Resource::catalog(), actions.to_vec()) }];
    let readable = vec![Limit::to_readable([Action::Any])];
    assert_eq!(catalog_view(&catalog(&[Action::Any], vec![])), CatalogView::Everything);
    assert_eq!(catalog_view(&catalog(&[Action::Any], readable.clone())), CatalogView::Everything);
    assert_eq!(catalog_view(&catalog(&[], readable)), CatalogView::OnlyReadable);
    assert_eq!(catalog_view(&[]), CatalogView::Nothing);
    assert_eq!(
        catalog_view(&catalog(&[Action::Pull], vec![Limit::to_tags([Action::Any], patterns(&["*"]))])),
        CatalogView::Nothing
    );
    assert_eq!(catalog_view(&catalog(&[], vec![Limit::to_readable([Action::Pull])])), CatalogView::Nothing);
    let both = Limit { readable: true, ..Limit::to_tags([Action::Any], patterns(&["*"])) };
    assert_eq!(catalog_view(&catalog(&[], vec![both])), CatalogView::Nothing);
    let elsewhere = [Access {
        limited: vec![Limit::to_readable([Action::Any])],
        ..Access::new(repository("catalog"), [Action::Any])
    }];
    assert_eq!(catalog_view(&elsewhere), CatalogView::Nothing);
}

#[test]
fn an_action_spelled_as_another_is_the_same() {
    assert_eq!(Action::Other("pull".into()), Action::Pull);
    assert!(BTreeSet::from([Action::Other("pull".into())]).contains(&Action::Pull));
    assert_eq!(ResourceKind::Other("repository".into()), ResourceKind::Repository);
}

pub(crate) fn resources() -> impl Strategy<Value = Resource> {
    let kind = prop_oneof!["[a-z0-9]{1,8}", Just("repository".to_owned()), Just("registry".to_owned())];
    let name = r"[A-Za-z0-9/._*,()!#=-]{1,12}(:[a-z0-9/._]{1,6})?";
    (kind, name)
        .prop_map(|(kind, name)| Resource { kind: ResourceKind::from(kind.as_str()), name: name.parse().unwrap() })
}

fn actions() -> impl Strategy<Value = BTreeSet<Action>> {
    let known = prop::sample::select(vec!["pull", "push", "delete", "*", "read", "admin"]).prop_map(Action::from);
    let other = ".{0,6}".prop_map(|text| Action::from(text.as_str()));
    prop::collection::btree_set(prop_oneof![3 => known, 1 => other], 0..4)
}

fn limits() -> impl Strategy<Value = Limit> {
    let tags = crate::tag::tests::PATTERN_GRAMMAR.prop_map(|text| text.parse().unwrap());
    (actions(), prop::collection::vec(tags, 0..3), any::<bool>()).prop_map(|(actions, tags, readable)| Limit {
        actions,
        tags,
        readable,
    })
}

pub(crate) fn accesses() -> impl Strategy<Value = Access> {
    (resources(), actions(), prop::collection::vec(limits(), 0..3)).prop_map(|(resource, actions, limited)| Access {
        resource,
        actions,
        limited,
    })
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(access in accesses()) {
        let json = serde_json::to_string(&access).unwrap();
        prop_assert_eq!(serde_json::from_str::<Access>(&json).unwrap(), access);
    }

    #[test]
    fn a_resources_name_is_its_text(text in "[!#-\\[\\]-~]{0,40}|[a-z:/.]{254,258}|.{0,20}") {
        match text.parse::<ResourceName>() {
            Ok(name) => {
                prop_assert_eq!(name.to_string(), text.as_str());
                prop_assert_eq!(name.to_string().parse(), Ok(name));
            }
            Err(ResourceNameError) => {
                let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
                prop_assert!(!plain || text.len() > MAX_RESOURCE_NAME_BYTES || text.matches(':').count() > 1);
            }
        }
    }

    #[test]
    fn actions_order_as_their_texts(left in actions(), right in actions()) {
        let texts = |actions: &BTreeSet<Action>| actions.iter().map(Action::to_string).collect::<Vec<_>>();
        prop_assert!(texts(&left).is_sorted());
        prop_assert_eq!(left.cmp(&right), texts(&left).cmp(&texts(&right)));
    }
}
