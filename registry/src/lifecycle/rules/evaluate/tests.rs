//! Rules are a set: properties over any rules and any tags, and a second reading of the documents that shares nothing with the first.

mod oracle;

use std::time::Duration;

use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    digest::{Algorithm, Digest},
};

use super::*;
use crate::{
    lifecycle::rules::{About, Document},
    metadata::manifests::ManifestId,
};

const DAY: i64 = 24 * 60 * 60;
const NOW: Timestamp = Timestamp::from_seconds(1_795_266_721);
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

fn days_ago(days: i64) -> Timestamp {
    Timestamp::from_seconds(NOW.seconds() - days * DAY)
}

fn tag(name: &str, pushed_days_ago: i64) -> TagFacts {
    TagFacts {
        tag: name.parse().unwrap(),
        version: 1,
        digest: Digest::of(Algorithm::Sha256, name.as_bytes()),
        pushed_at: days_ago(pushed_days_ago),
        pulled_at: None,
        manifest_pushed_at: days_ago(pushed_days_ago),
        expires_after: None,
    }
}

fn loose(let_go_days_ago: i64) -> LooseFacts {
    LooseFacts {
        manifest: ManifestId(1),
        digest: Digest::of(Algorithm::Sha256, b"loose"),
        expires_at: days_ago(let_go_days_ago) + GRACE,
        pushed_at: days_ago(let_go_days_ago),
        pulled_at: None,
        expires_after: None,
    }
}

fn rules(rules: &Value) -> Rules {
    let document: Document = serde_json::from_value(json!({ "rules": rules })).unwrap();
    Rules::read(&About::Namespace("acme".parse().unwrap()), document).unwrap()
}

fn fates(set: &Rules, tags: &[TagFacts], now: Timestamp) -> Vec<String> {
    let effective = Effective::of([set], &"acme/web".parse().unwrap());
    let fates = evaluate(&effective, tags, now).into_iter();
    fates.map(|verdict| format!("{} {}", verdict.fate.word(), verdict.fate)).collect()
}

/// The tags that go.
fn expired(set: &Value, tags: &[TagFacts]) -> Vec<String> {
    let set = rules(set);
    let fates = fates(&set, tags, NOW);
    let gone = tags.iter().zip(fates).filter(|(_, fate)| fate.starts_with("expires"));
    gone.map(|(tag, _)| tag.tag.to_string()).collect()
}

#[test]
fn tags_of_pull_requests_go_after_a_week() {
    let set = json!([{"expire": {"tags": "pr-*", "not_pushed_for": "7d"}}]);
    let tags = [tag("latest", 400), tag("pr-1", 8), tag("pr-2", 7), tag("pr-3", 6)];
    assert_eq!(expired(&set, &tags), ["pr-1", "pr-2"], "at seven days, not after them");
    let said = fates(&rules(&set), &tags, NOW);
    assert_eq!(said[0], "untouched no rule lets it go");
    assert_eq!(said[1], "expires pushed at 2026-11-13T13:12:01Z");
    assert_eq!(said[3], "later pushed at 2026-11-15T13:12:01Z; goes at 2026-11-22T13:12:01Z");
}

#[test]
fn a_pull_counts_and_so_does_a_push_after_it() {
    let set = json!([{"expire": {"tags": "*", "not_pulled_for": "7d"}}]);
    let pulled = |name, pushed, pulled| TagFacts { pulled_at: Some(days_ago(pulled)), ..tag(name, pushed) };
    let tags = [tag("never", 8), tag("new", 6), pulled("used", 90, 6), pulled("idle", 90, 8), pulled("renewed", 6, 90)];
    assert_eq!(expired(&set, &tags), ["never", "idle"]);
    let both = json!([{"expire": {"tags": "*", "not_pushed_for": "30d", "not_pulled_for": "7d"}}]);
    assert_eq!(expired(&both, &tags), ["idle"]);
}

#[test]
fn the_newest_are_kept_and_ties_with_them() {
    let set = json!([{"expire": {"tags": "b*", "not_pushed_for": "0s"}}, {"keep": {"tags": "b*", "newest": 2}}]);
    let tags = [tag("b1", 5), tag("b2", 4), tag("b3", 4), tag("b4", 3), tag("a", 0)];
    assert_eq!(expired(&set, &tags), ["b1"]);
    assert_eq!(expired(&set, &tags[..2]), Vec::<String>::new());
}

#[test]
fn versions_are_kept_by_their_height_and_not_by_their_day() {
    let of = |keep: Value| json!([{"expire": {"tags": "*", "not_pushed_for": "0s"}}, {"keep": keep}]);
    let names = ["1.9.0", "v1.10.0", "1.10.0", "1.2.0", "2.0.0-rc.1", "2.0", "latest"];
    let tags: Vec<TagFacts> = names.iter().enumerate().map(|(days, name)| tag(name, days as i64)).collect();
    assert_eq!(expired(&of(json!({"semver": "*", "newest": 2})), &tags), ["1.2.0", "2.0.0-rc.1", "2.0", "latest"]);
    assert_eq!(expired(&of(json!({"semver": ">=1.9"})), &tags), ["1.2.0", "2.0.0-rc.1", "2.0", "latest"]);
    let with = json!({"semver": "*", "newest": 1, "prereleases": true});
    assert_eq!(expired(&of(with), &tags), ["1.9.0", "v1.10.0", "1.10.0", "1.2.0", "2.0", "latest"]);
    assert_eq!(expired(&of(json!({"semver": "*", "tags": "v*"})), &tags).len(), 6);
}

#[test]
fn an_annotation_counts_where_a_rule_heeds_it() {
    let annotated = |name, days, text: &str| TagFacts { expires_after: Some(text.to_owned()), ..tag(name, days) };
    let tags =
        [annotated("gone", 8, "7d"), annotated("fresh", 6, "7d"), annotated("odd", 8, "a week"), tag("none", 99)];
    assert_eq!(expired(&json!([]), &tags), Vec::<String>::new());
    let set = json!([{"expire_annotated": {}}]);
    assert_eq!(expired(&set, &tags), ["gone"]);
    let kept = json!([{"expire_annotated": {}}, {"keep": {"tags": "g*"}}]);
    assert_eq!(expired(&kept, &tags), Vec::<String>::new());
    let set = rules(&set);
    let verdicts = evaluate(&Effective::of([&set], &"acme/web".parse().unwrap()), &tags, NOW);
    let ignored: Vec<_> = verdicts.iter().map(|verdict| verdict.ignored.as_deref()).collect();
    assert_eq!(ignored, [None, None, Some("a week"), None]);
    // A tag that came later than the image: the image says how long it lives.
    let promoted = TagFacts { pushed_at: days_ago(0), ..annotated("promoted", 8, "7d") };
    assert_eq!(expired(&json!([{"expire_annotated": {}}]), &[promoted]), ["promoted"]);
}

#[test]
fn untagged_manifests_go_after_their_grace_and_no_sooner() {
    let goes = |set: Value, manifest: &LooseFacts| {
        let set = rules(&set);
        let verdict = Effective::of([&set], &"acme/web".parse().unwrap()).decide_untagged(manifest, GRACE, NOW);
        verdict.fate.expires().is_some()
    };
    let after = |after: &str| json!([{"expire_untagged": {"after": after}}]);
    assert!(goes(after("7d"), &loose(8)) && !goes(after("7d"), &loose(6)));
    assert!(goes(after("0s"), &loose(1)) && !goes(after("0s"), &loose(0)), "the registry's grace comes first");
    assert!(!goes(json!([{"expire": {"tags": "*", "not_pushed_for": "0s"}}]), &loose(99)));
    let unused = json!([{"expire_untagged": {"after": "7d", "not_pulled_for": "30d"}}]);
    assert!(!goes(unused.clone(), &loose(8)) && goes(unused.clone(), &loose(31)));
    assert!(!goes(unused, &LooseFacts { pulled_at: Some(days_ago(2)), ..loose(31) }));
    let annotated = LooseFacts { expires_after: Some("2d".to_owned()), ..loose(3) };
    assert!(goes(json!([{"expire_annotated": {}}]), &annotated));
    let early = LooseFacts { expires_after: Some("1m".to_owned()), ..loose(0) };
    assert!(!goes(json!([{"expire_annotated": {}}]), &early));
}

#[test]
fn a_repositorys_own_rules_add_to_those_of_its_namespace() {
    let namespace = rules(&json!([{"keep": {"tags": "v*"}}, {"expire": {"tags": "pr-*", "not_pushed_for": "7d"}}]));
    let name = "acme/web".parse().unwrap();
    let document = json!({"rules": [{"expire": {"tags": "*", "not_pushed_for": "1d"}}, {"keep": {"tags": "pr-7"}}]});
    let own = Rules::stored(&About::Repository("acme/web".parse().unwrap()), &document.to_string()).unwrap();
    let tags = [tag("v1", 99), tag("pr-6", 99), tag("pr-7", 99), tag("x", 2)];
    let effective = Effective::of([&namespace, &own], &name);
    let gone: Vec<_> =
        evaluate(&effective, &tags, NOW).iter().map(|verdict| verdict.fate.expires().is_some()).collect();
    assert_eq!(gone, [false, true, false, true]);
    let elsewhere = "acme/api".parse().unwrap();
    let effective = Effective::of([&namespace, &own], &elsewhere);
    let gone: Vec<_> =
        evaluate(&effective, &tags, NOW).iter().map(|verdict| verdict.fate.expires().is_some()).collect();
    assert_eq!(gone, [false, true, true, false]);
}

prop_compose! {
    fn any_age()(text in select(vec!["0s", "1d", "3d", "7d", "30d"])) -> String { text.to_owned() }
}

fn any_patterns() -> impl Strategy<Value = Value> {
    let pattern = select(vec!["*", "pr-*", "v*", "latest", "?.*", "*1*", "pr-?"]);
    proptest::collection::vec(pattern, 1..3).prop_map(|patterns| json!(patterns))
}

fn any_expire() -> impl Strategy<Value = Value> {
    (any_patterns(), any_age(), any_age(), 0..3_u8).prop_map(|(tags, pushed, pulled, which)| match which {
        0 => json!({"expire": {"tags": tags, "not_pushed_for": pushed}}),
        1 => json!({"expire": {"tags": tags, "not_pulled_for": pulled}}),
        _ => json!({"expire": {"tags": tags, "not_pushed_for": pushed, "not_pulled_for": pulled}}),
    })
}

fn any_keep() -> impl Strategy<Value = Value> {
    let range = select(oracle::RANGES.to_vec());
    (any_patterns(), range, proptest::option::of(1..4_u8), any::<bool>(), 0..3_u8).prop_map(
        |(tags, range, newest, prereleases, which)| {
            let mut keep = match which {
                0 => json!({"tags": tags}),
                1 => json!({"semver": range, "prereleases": prereleases}),
                _ => json!({"tags": tags, "semver": range}),
            };
            if let Some(newest) = newest {
                keep["newest"] = json!(newest);
            }
            json!({ "keep": keep })
        },
    )
}

fn any_rules() -> impl Strategy<Value = Vec<Value>> {
    let rule = prop_oneof![3 => any_expire(), 3 => any_keep(), 1 => Just(json!({"expire_annotated": {}}))];
    let named = |(index, mut rule): (usize, Value)| {
        rule["name"] = json!(format!("rule {index}"));
        rule
    };
    proptest::collection::vec(rule, 0..6).prop_map(move |rules| rules.into_iter().enumerate().map(named).collect())
}

prop_compose! {
    fn any_tag(name: &'static str)(
        pushed in 0..12_i64, pulled in proptest::option::of(0..12_i64), manifest in 0..12_i64,
        annotation in proptest::option::of(select(vec!["1d", "7d", "soon"])),
    ) -> TagFacts {
        TagFacts {
            pulled_at: pulled.map(days_ago),
            manifest_pushed_at: days_ago(manifest),
            expires_after: annotation.map(str::to_owned),
            ..tag(name, pushed)
        }
    }
}

fn any_tags() -> impl Strategy<Value = Vec<TagFacts>> {
    let all: Vec<_> = oracle::TAGS.iter().map(|(name, _)| any_tag(name)).collect();
    (all, any::<u16>()).prop_map(|(tags, chosen)| {
        tags.into_iter().enumerate().filter(|(index, _)| chosen & (1 << index) != 0).map(|(_, tag)| tag).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// A second reading, straight from the document, in the plainest words: what every rule says of every tag.
    #[test]
    fn the_oracle_agrees(set in any_rules(), tags in any_tags()) {
        let expected: Vec<String> = oracle::expired(&set, &tags, NOW);
        prop_assert_eq!(expired(&json!(set), &tags), expected);
    }

    #[test]
    fn to_be_kept_comes_before_everything(set in any_rules(), tags in any_tags(), kept in any_patterns()) {
        let mut with = set;
        with.push(json!({"name": "kept", "keep": {"tags": kept}}));
        let gone = expired(&json!(with), &tags);
        let alone = rules(&json!([{"keep": {"tags": kept}}]));
        for (tag, fate) in tags.iter().zip(fates(&alone, &tags, NOW)) {
            prop_assert!(!(fate.starts_with("kept") && gone.contains(&tag.tag.to_string())), "{}", tag.tag);
        }
    }

    #[test]
    fn the_order_of_rules_and_of_tags_means_nothing(
        (set, shuffled) in any_rules().prop_flat_map(|set| (Just(set.clone()), Just(set).prop_shuffle())),
        (tags, mixed) in any_tags().prop_flat_map(|tags| (Just(tags.clone()), Just(tags).prop_shuffle())),
    ) {
        let (first, second) = (rules(&json!(set)), rules(&json!(shuffled)));
        let verdict = |set: &Rules, tags: &[TagFacts]| {
            let effective = Effective::of([set], &"acme/web".parse().unwrap());
            let said = evaluate(&effective, tags, NOW).into_iter().zip(tags);
            let mut said: Vec<String> = said
                .map(|(v, tag)| format!("{} {:?} {} {:?}", tag.tag, v.fate.rule().map(|r| r.name.clone()), v.fate, v.ignored))
                .collect();
            said.sort();
            said
        };
        prop_assert_eq!(verdict(&first, &tags), verdict(&second, &mixed), "the same fate by the same rule for the same reason");
    }

    #[test]
    fn one_more_keep_never_lets_more_go(set in any_rules(), keep in any_keep(), tags in any_tags()) {
        let before = expired(&json!(set), &tags);
        let mut with = set;
        with.push(keep);
        for tag in expired(&json!(with), &tags) {
            prop_assert!(before.contains(&tag), "{tag}");
        }
    }

    #[test]
    fn what_was_left_stays_left(set in any_rules(), tags in any_tags()) {
        let gone = expired(&json!(set), &tags);
        let left: Vec<TagFacts> = tags.into_iter().filter(|tag| !gone.contains(&tag.tag.to_string())).collect();
        prop_assert_eq!(expired(&json!(set), &left), Vec::<String>::new());
    }

    /// A page at a time, as runs do it, and all at once are the same.
    #[test]
    fn ranks_do_not_depend_on_pages(set in any_rules(), tags in any_tags(), page in 1..5_usize) {
        let set = rules(&json!(set));
        let effective = Effective::of([&set], &"acme/web".parse().unwrap());
        let mut ranks = effective.ranks();
        for page in tags.chunks(page) {
            page.iter().for_each(|tag| effective.rank(&mut ranks, tag));
        }
        let in_pages: Vec<_> = tags.iter().map(|tag| effective.decide(&ranks, tag, NOW)).collect();
        prop_assert_eq!(in_pages, evaluate(&effective, &tags, NOW));
    }

    /// Nothing that time does brings a tag back: what goes at one moment goes at every later one, if nothing else happens.
    #[test]
    fn time_only_lets_go(set in any_rules(), tags in any_tags(), days in 0..40_u64) {
        let later = NOW + Duration::from_secs(days * 86_400);
        let set = rules(&json!(set));
        for (before, after) in fates(&set, &tags, NOW).iter().zip(fates(&set, &tags, later)) {
            prop_assert!(!before.starts_with("expires") || after.starts_with("expires"), "{before} {after}");
        }
    }
}
