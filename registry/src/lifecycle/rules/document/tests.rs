use serde_json::{Value, json};

use super::*;

fn namespace() -> About {
    About::Namespace("acme".parse().unwrap())
}

fn repository() -> About {
    About::Repository("acme/web".parse().unwrap())
}

fn read_for(about: &About, rules: &Value) -> Result<Rules, InvalidRules> {
    Rules::read(about, serde_json::from_value(json!({ "rules": rules })).unwrap())
}

fn read(rules: &Value) -> Result<Rules, InvalidRules> {
    read_for(&namespace(), rules)
}

fn names(rules: &Value) -> Vec<String> {
    read(rules).unwrap().rules().iter().map(|rule| rule.name.to_string()).collect()
}

#[test]
fn a_rule_without_a_name_is_called_what_it_says() {
    let rules = json!([
        {"expire": {"tags": "pr-*", "not_pushed_for": "7d"}},
        {"expire": {"tags": ["a*", "b*"], "not_pushed_for": "1w", "not_pulled_for": "36h"}, "repositories": "acme/ci/**"},
        {"expire": {"tags": "x", "not_pulled_for": "0s"}},
        {"keep": {"tags": "latest"}},
        {"keep": {"tags": "v*", "newest": 10}},
        {"keep": {"semver": ">=1.2,<3", "newest": 5}},
        {"keep": {"semver": "*", "prereleases": true, "tags": ["v*"]}},
        {"expire_untagged": {"after": "14d"}},
        {"expire_untagged": {"after": "14d", "not_pulled_for": "30d"}},
        {"expire_annotated": {}},
        {"name": "releases", "keep": {"tags": "r*"}},
    ]);
    let expected = [
        "expire pr-* not pushed for 7d",
        "expire a*, b* not pushed for 7d and not pulled for 1d12h in acm…",
        "expire x not pulled for 0s",
        "keep latest",
        "keep the newest 10 of v*",
        "keep the newest 5 of versions >=1.2, <3",
        "keep versions * with prereleases among v*",
        "expire untagged after 14d",
        "expire untagged after 14d and not pulled for 30d",
        "expire what its annotation says",
        "releases",
    ];
    assert_eq!(names(&rules), expected);
}

#[test]
fn no_rule_is_called_more_than_a_name_may_be() {
    let many =
        |last: &str| (0..63).map(|number| format!("branch-{number}-*")).chain([last.to_owned()]).collect::<Vec<_>>();
    let rule = |last: &str| json!({"keep": {"tags": many(last)}});
    let cut = "keep branch-0-*, branch-1-*, branch-2-*, branch-3-*, branch-4-*…";
    let given = json!({"name": cut, "keep": {"tags": "v*"}});
    let called = names(&json!([rule("a"), given, rule("b"), {"keep": {"tags": "w*"}}]));
    assert_eq!(called, [format!("{cut} (2)"), cut.to_owned(), format!("{cut} (3)"), "keep w*".to_owned()]);
    assert_eq!(cut.chars().count(), MAX_RULE_NAME);
    let twice = read(&json!([rule("a"), rule("a")])).unwrap_err().to_string();
    assert_eq!(twice, format!("rules[1]: the rule {cut:?} stands here twice; give one of them another name"));
}

#[test]
fn what_is_wrong_names_its_place() {
    let keep = json!({"keep": {"tags": "x"}});
    let cases = [
        (json!({"expire": {"tags": "pr/*", "not_pushed_for": "7d"}}), "rules[1].expire.tags: character 3, "),
        (json!({"expire": {"tags": ["a", "é"], "not_pushed_for": "7d"}}), "rules[1].expire.tags[1]: character 1, "),
        (json!({"keep": {"tags": []}}), "rules[1].keep.tags: name at least one pattern"),
        (json!({"keep": {"tags": vec!["a"; 65]}}), "rules[1].keep.tags: at most 64 may stand here"),
        (json!({"expire": {"tags": "a", "not_pushed_for": "7 days"}}), "rules[1].expire.not_pushed_for: character 2 "),
        (
            json!({"expire": {"tags": "a", "not_pulled_for": "4000d"}}),
            "rules[1].expire.not_pulled_for: an age is ten years",
        ),
        (json!({"expire": {"tags": "a"}}), "rules[1].expire: say not_pushed_for or not_pulled_for"),
        (json!({"expire": {"not_pushed_for": "7d"}}), "rules[1]: missing field `tags`"),
        (json!({"expire": {"tags": "a", "pushed": "7d"}}), "rules[1]: unknown field `pushed`"),
        (json!({"keep": {"semver": "1.x"}}), "rules[1].keep.semver: character 1 "),
        (json!({"keep": {"tags": "v*", "prereleases": true}}), "rules[1].keep.prereleases: prereleases are said"),
        (json!({"keep": {}}), "rules[1].keep: name tags or a semver range"),
        (json!({"keep": {"tags": "a", "newest": 0}}), "rules[1].keep.newest: must be from 1 to 1000"),
        (json!({"keep": {"tags": "a", "newest": 1001}}), "rules[1].keep.newest: must be from 1 to 1000"),
        (json!({"keep": {"tags": "a", "newest": -1}}), "rules[1]: invalid value"),
        (json!({"keep": {"tags": 7}}), "rules[1]: expected a pattern or a list of patterns"),
        (json!({}), "rules[1]: a rule does one thing"),
        (json!({"name": "n"}), "rules[1]: a rule does one thing"),
        (json!({"keep": {"tags": "a"}, "expire_annotated": {}}), "rules[1]: a rule does one thing"),
        (json!({"expire_annotated": {"after": "7d"}}), "rules[1]: unknown field `after`"),
        (json!({"expire_untagged": {}}), "rules[1]: missing field `after`"),
        (json!({"delete": {"tags": "a"}}), "rules[1]: unknown field `delete`"),
        (json!("keep"), "rules[1]: a rule is an object"),
        (
            json!({"keep": {"tags": "a"}, "repositories": "other/*"}),
            "rules[1].repositories: character 1: a pattern here begins with acme/",
        ),
        (
            json!({"keep": {"tags": "a"}, "repositories": ["acme/x", "acme//"]}),
            "rules[1].repositories[1]: character 6: ",
        ),
        (json!({"name": "", "keep": {"tags": "a"}}), "rules[1].name: a name has 1 to 64"),
        (json!({"name": "n".repeat(65), "keep": {"tags": "a"}}), "rules[1].name: a name has 1 to 64"),
        (json!({"name": "a\nb", "keep": {"tags": "a"}}), "rules[1].name: a name has 1 to 64"),
        (keep.clone(), "rules[1]: the rule \"keep x\" stands here twice"),
        (json!({"name": "keep x", "keep": {"tags": "y"}}), "rules[1]: the rule \"keep x\" stands here twice"),
    ];
    for (rule, expected) in cases {
        let error = read(&json!([keep, rule])).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{rule}: {error:?}");
    }
    let many: Vec<Value> = (0..65).map(|n| json!({"keep": {"tags": n.to_string()}})).collect();
    assert_eq!(read(&json!(many)).unwrap_err().to_string(), "rules: at most 64 may stand here");
    assert_eq!(read(&json!(many[..64])).unwrap().rules().len(), 64);
    assert!(serde_json::from_value::<Document>(json!({"rules": [], "order": 1})).is_err());
}

#[test]
fn a_repositorys_own_rules_are_about_it_alone() {
    let rules = read_for(&repository(), &json!([{"expire": {"tags": "a", "not_pushed_for": "1d"}}])).unwrap();
    let applies = |name: &str| rules.rules()[0].applies_to(&name.parse().unwrap());
    assert_eq!((applies("acme/web"), applies("acme/api"), applies("acme")), (true, false, false));
    let limited = json!([{"keep": {"tags": "a"}, "repositories": "acme/web"}]);
    assert!(
        read_for(&repository(), &limited)
            .unwrap_err()
            .to_string()
            .starts_with("rules[0].repositories: these rules are")
    );
}

#[test]
fn a_namespaces_rules_are_about_its_repositories_and_no_others() {
    let rules = json!([{"keep": {"tags": "a"}}, {"keep": {"tags": "b"}, "repositories": ["acme/ci/**", "acme"]}]);
    let rules = read(&rules).unwrap();
    let applies =
        |name: &str| rules.rules().iter().map(|rule| rule.applies_to(&name.parse().unwrap())).collect::<Vec<_>>();
    assert_eq!(applies("acme"), [true, true]);
    assert_eq!(applies("acme/web"), [true, false]);
    assert_eq!(applies("acme/ci/a/b"), [true, true]);
    assert_eq!(applies("acme-too/web"), [false, false]);
}

#[test]
fn a_rule_about_everything_is_noticed() {
    let about_everything = |rule: Value| read(&json!([rule])).unwrap().about_everything(&namespace()).is_some();
    let expire = |tags: Value, repositories: Value| {
        let mut rule = json!({"expire": {"tags": tags, "not_pushed_for": "90d"}});
        if !repositories.is_null() {
            rule["repositories"] = repositories;
        }
        about_everything(rule)
    };
    for tags in [json!("*"), json!(["v1", "**"]), json!("?*"), json!("*?")] {
        assert!(expire(tags.clone(), Value::Null), "{tags}");
        assert!(expire(tags.clone(), json!("acme/**")), "{tags}");
        assert!(expire(tags.clone(), json!(["acme/web", "acme/*"])), "{tags}");
        assert!(!expire(tags.clone(), json!("acme/web")), "{tags}");
        assert!(!expire(tags, json!("acme/ci-*")));
    }
    for tags in [json!("pr-*"), json!("?"), json!(["a*", "b*"])] {
        assert!(!expire(tags.clone(), Value::Null), "{tags}");
    }
    assert!(!about_everything(json!({"keep": {"tags": "*"}})));
    let own = json!([{"expire": {"tags": "*", "not_pulled_for": "1d"}}]);
    assert!(read_for(&repository(), &own).unwrap().about_everything(&repository()).is_some());
}

#[test]
fn what_is_stored_is_read_as_it_was_written() {
    let document = json!({"rules": [{"keep": {"tags": ["v*"], "newest": 3}}, {"expire_annotated": {}}]});
    let rules = Rules::stored(&namespace(), &document.to_string()).unwrap();
    assert_eq!(serde_json::to_value(rules.document()).unwrap(), document);
    assert_eq!(Rules::stored(&namespace(), "{}").unwrap(), Rules::none());
    for text in ["", "null", "[]", "{\"rules\": 1}", "{\"rules\": [{}]}", "{\"rules\": [], \"later\": true}"] {
        Rules::stored(&namespace(), text).unwrap_err();
    }
}
