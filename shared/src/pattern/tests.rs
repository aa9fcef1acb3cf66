use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> RepositoryPattern {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn what_matches_and_what_does_not() {
    let table: &[(&str, &[&str], &[&str])] = &[
        ("acme", &["acme"], &["acme/web", "acm", "acmee", "x/acme"]),
        ("acme/web", &["acme/web"], &["acme", "acme/web/x", "acme/webs"]),
        ("acme/*", &["acme/web", "acme/a.b-c"], &["acme", "acme/web/api", "xacme/web"]),
        ("acme/**", &["acme/web", "acme/web/api"], &["acme", "acme2/web", "acme-x"]),
        ("**", &["acme", "acme/web", "a/b/c/d"], &[]),
        ("*", &["acme"], &["acme/web"]),
        ("**/web", &["web", "acme/web", "a/b/web"], &["acme/webs", "acme/xweb", "web/x"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b", "a/b/b"], &["a", "b", "ab", "a/bb", "a/x/bb", "a/xb"]),
        ("a/**/**", &["a/b", "a/b/c"], &["a"]),
        ("**/**/x/**", &["x/y", "a/x/y", "a/b/x/y/z", "x/x/x"], &["x", "a/x", "xx/y"]),
        ("acme/web-?", &["acme/web-1"], &["acme/web-", "acme/web-12"]),
        ("?/?", &["a/b"], &["a", "a/", "///", "a/b/c"]),
        ("acme/{api,web}", &["acme/api", "acme/web"], &["acme/ap", "acme/apiweb", "acme"]),
        ("{acme,base}/**", &["acme/x", "base/x/y"], &["acme", "other/x"]),
        ("web{,-debug}", &["web", "web-debug"], &["web-", "webdebug"]),
        ("{a*,?b}-x", &["a-x", "aaa-x", "cb-x"], &["b-x", "ca-x", "a/a-x"]),
        ("{a,b}{c,d}", &["ac", "ad", "bc", "bd"], &["a", "ab", "cd", "acd"]),
        ("*a*b*", &["ab", "xaxbx"], &["ba", "a/b"]),
        ("1.0", &["1.0"], &["1x0"]),
    ];
    for (text, matching, others) in table {
        for name in *matching {
            assert!(pattern(text).matches(name), "{text} should match {name}");
        }
        for name in *others {
            assert!(!pattern(text).matches(name), "{text} should not match {name}");
        }
    }
}

#[test]
fn a_name_with_empty_segments_matches_nothing() {
    for name in ["", "/", "/acme", "acme/", "acme//web", "acme//"] {
        for text in ["**", "acme/**", "*", "acme/*"] {
            assert!(!pattern(text).matches(name), "{text} {name:?}");
        }
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_its_reason() {
    let table = [
        ("", PatternError::EmptySegment),
        ("/", PatternError::EmptySegment),
        ("acme/", PatternError::EmptySegment),
        ("/acme", PatternError::EmptySegment),
        ("acme//web", PatternError::EmptySegment),
        ("acme**", PatternError::DeepWithinSegment),
        ("acme/***", PatternError::DeepWithinSegment),
        ("a/x**/b", PatternError::DeepWithinSegment),
        ("{**,a}", PatternError::DeepWithinSegment),
        ("Acme/**", PatternError::Character('A')),
        ("^acme$", PatternError::Character('^')),
        ("acme/.+", PatternError::Character('+')),
        ("acme/(a|b)", PatternError::Character('(')),
        ("acme/[ab]", PatternError::Character('[')),
        ("acme\\", PatternError::Character('\\')),
        ("!acme", PatternError::Character('!')),
        ("é", PatternError::Character('é')),
        ("a b", PatternError::Character(' ')),
        ("a\0", PatternError::Character('\0')),
        ("{a,b", PatternError::Braces),
        ("a}", PatternError::Braces),
        ("{a,{b,c}}", PatternError::Braces),
        ("{a/b,c}", PatternError::Braces),
        ("{}", PatternError::Placeholder),
        ("{a}", PatternError::Placeholder),
        ("ci/{user}", PatternError::Placeholder),
        ("ci/{username }", PatternError::Placeholder),
        ("{a,é}", PatternError::Character('é')),
    ];
    for (text, reason) in table {
        assert_eq!(text.parse::<RepositoryPattern>().unwrap_err(), reason, "{text:?}");
    }
}

#[test]
fn limits_hold_at_their_edges() {
    let longest = "a".repeat(MAX_PATTERN_BYTES);
    assert!(pattern(&longest).matches(&longest));
    assert_eq!(format!("{longest}a").parse::<RepositoryPattern>().unwrap_err(), PatternError::TooLong);
    let most = vec!["a"; MAX_ALTERNATIVES].join(",");
    assert!(pattern(&format!("{{{most}}}")).matches("a"));
    let error = format!("{{{most},a}}").parse::<RepositoryPattern>().unwrap_err();
    assert_eq!(error, PatternError::TooManyAlternatives);
}

#[test]
fn adversarial_patterns_cost_no_more_than_the_product_of_the_lengths() {
    let name = format!("{}c", "a/".repeat(127));
    let patterns = [
        "*a".repeat(127),
        "**/".repeat(84) + "b",
        "**/*a*/".repeat(36) + "b",
        "{a*,*a}".repeat(36),
        "{,a}".repeat(60) + "b",
        "*{*,?,a}".repeat(31),
    ];
    let started = Instant::now();
    for text in &patterns {
        for _ in 0..100 {
            assert!(!pattern(text).matches(&name), "{text}");
            assert!(!pattern(text).matches(&format!("{}b/c", "a".repeat(250))), "{text}");
        }
    }
    // Backtracking would not end within the age of the universe; an unoptimised build on a busy machine takes a second.
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn the_literal_prefix_is_what_all_matches_begin_with() {
    let table = [
        ("acme/web", "acme/web", Some("acme")),
        ("acme", "acme", Some("acme")),
        ("acme/**", "acme/", Some("acme")),
        ("acme/we*", "acme/we", Some("acme")),
        ("ac*/x", "ac", None),
        ("acme*", "acme", None),
        ("**", "", None),
        ("{a,b}/c", "", None),
        ("ci/{username}/**", "ci/", Some("ci")),
        ("{username}/**", "", None),
        ("a?", "a", None),
    ];
    for (text, prefix, namespace) in table {
        assert_eq!(pattern(text).literal_prefix(), prefix, "{text}");
        assert_eq!(pattern(text).namespace(), namespace, "{text}");
    }
}

#[test]
fn a_wildcard_first_segment_is_filled_in_by_a_namespace() {
    let table: &[(&str, &[&str])] = &[
        ("**", &["acme", "acme/**"]),
        ("*", &["acme"]),
        ("*/web", &["acme/web"]),
        ("{acme,base}/**", &["acme/**"]),
        ("b*/x", &[]),
        ("**/web", &["acme/**/web"]),
        ("**/acme", &["acme/**/acme", "acme"]),
        ("acme/x", &["acme/x"]),
    ];
    for (text, expected) in table {
        let texts: Vec<String> = pattern(text).within_namespace("acme").iter().map(ToString::to_string).collect();
        assert_eq!(&texts, expected, "{text}");
    }
}

#[test]
fn username_stands_for_the_callers_own_name_and_for_nothing_more() {
    let personal = pattern("ci/{username}/**");
    assert!(personal.is_personal());
    assert!(!personal.matches("ci/alice/x") && !personal.matches("ci/{username}/x"));
    let of_alice = personal.for_caller("alice").unwrap();
    assert_eq!(of_alice.as_str(), "ci/alice/**");
    assert!(of_alice.matches("ci/alice/x") && !of_alice.matches("ci/bob/x"));
    assert_eq!(pattern("ci/{username}-*").for_caller("robot.acme.ci").unwrap().as_str(), "ci/robot.acme.ci-*");
    for handle in
        ["", "*", "**", "a/b", "..", "a/../b", "Alice", "alice@example.com", "{username}", "a,b", "ünal", "a\0"]
    {
        assert_eq!(personal.for_caller(handle), None, "{handle:?}");
    }
    assert_eq!(personal.for_caller(&"a".repeat(250)), None);
    assert_eq!(pattern("acme/**").for_caller("not a component").unwrap(), pattern("acme/**"));
}

/// The definition, exponential and obviously right.
fn matches_by_definition(pattern: &str, name: &str) -> bool {
    let patterns: Vec<&str> = pattern.split('/').collect();
    let names: Vec<&str> = name.split('/').collect();
    segments_match(&patterns, &names)
}

fn segments_match(patterns: &[&str], names: &[&str]) -> bool {
    match patterns {
        [] => names.is_empty(),
        ["**"] => !names.is_empty(),
        ["**", rest @ ..] => (0..=names.len()).any(|skipped| segments_match(rest, &names[skipped..])),
        [one, rest @ ..] => names.split_first().is_some_and(|(name, names)| {
            texts(one).iter().any(|text| text_matches(text.as_bytes(), name.as_bytes())) && segments_match(rest, names)
        }),
    }
}

/// The segment with every choice made in every way.
fn texts(segment: &str) -> Vec<String> {
    let Some((before, rest)) = segment.split_once('{') else { return vec![segment.to_owned()] };
    let (inside, behind) = rest.split_once('}').unwrap();
    let behind = texts(behind);
    inside.split(',').flat_map(|text| behind.iter().map(move |end| format!("{before}{text}{end}"))).collect()
}

fn text_matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| text_matches(rest, &text[taken..])),
        ([b'?', rest @ ..], [_, text @ ..]) => text_matches(rest, text),
        ([one, rest @ ..], [other, text @ ..]) => one == other && text_matches(rest, text),
        _ => false,
    }
}

const PATTERN: &str =
    r"(\*\*|([ab?]|\*[ab]|\{[ab?]{0,2},[ab]{0,2}(,\*)?\}){1,3})(/(\*\*|([ab?]|\*|\{[ab]?,[ab]{1,2}\}){1,2}[ab])){0,3}";
const NAME: &str = "[ab]{1,3}(/[ab]{1,3}){0,4}";

proptest! {
    #[test]
    fn matching_agrees_with_its_definition(text in PATTERN, name in NAME) {
        let compiled: Result<RepositoryPattern, _> = text.parse();
        prop_assume!(compiled.is_ok());
        prop_assert_eq!(compiled.unwrap().matches(&name), matches_by_definition(&text, &name), "{} {}", text, name);
    }

    #[test]
    fn a_name_matches_itself_and_its_prefix_is_honest(text in PATTERN, name in NAME) {
        prop_assert!(pattern(&name).matches(&name));
        if let Ok(compiled) = text.parse::<RepositoryPattern>()
            && compiled.matches(&name)
        {
            prop_assert!(name.starts_with(compiled.literal_prefix()));
            prop_assert!(compiled.namespace().is_none_or(|namespace| name.split('/').next() == Some(namespace)));
        }
    }

    #[test]
    fn a_pattern_within_a_namespace_matches_what_it_matched_there(text in PATTERN, name in NAME) {
        if let Ok(compiled) = text.parse::<RepositoryPattern>() {
            let namespace = name.split('/').next().unwrap();
            let inside = compiled.within_namespace(namespace).iter().any(|one| one.matches(&name));
            prop_assert_eq!(inside, compiled.matches(&name));
        }
    }

    #[test]
    fn printing_and_parsing_are_inverse(text in PATTERN) {
        if let Ok(compiled) = text.parse::<RepositoryPattern>() {
            prop_assert_eq!(compiled.to_string(), text);
            let json = serde_json::to_string(&compiled).unwrap();
            prop_assert_eq!(serde_json::from_str::<RepositoryPattern>(&json).unwrap(), compiled);
        }
    }

    #[test]
    fn nothing_panics(text in ".{0,40}", name in ".{0,40}") {
        if let Ok(compiled) = text.parse::<RepositoryPattern>() {
            compiled.matches(&name);
            compiled.for_caller(&name);
        }
    }
}
