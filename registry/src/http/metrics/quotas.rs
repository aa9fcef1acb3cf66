//! Namespaces with a quota. There are a hundred of them at most, the fullest: a namespace without one has no series, and a registry with more says how many.

use std::fmt::Write as _;

use crate::{gc::Bounded, lifecycle::quotas::Standing};

/// A sample's `of` label and its value, where the namespace has one.
type Sample = (&'static str, Option<u64>);

pub(super) fn text(bounded: &Bounded) -> String {
    let mut text = String::new();
    family(&mut text, "namespaces", "Namespaces that have a quota.");
    // Writing to a string does not fail.
    let _ = writeln!(text, "portreeve_quota_namespaces {}", bounded.count);
    family(&mut text, "limit", "What a namespace may have; of the fullest hundred namespaces that have a quota.");
    samples(&mut text, "limit", bounded, |it| {
        [("bytes", it.quota.bytes), ("tags", it.quota.tags), ("repositories", it.quota.repositories)]
    });
    family(&mut text, "used", "What it has of that.");
    samples(&mut text, "used", bounded, |it| {
        [
            ("bytes", it.quota.bytes.map(|_| it.used)),
            ("tags", it.quota.tags.map(|_| it.tags.counted)),
            ("repositories", it.quota.repositories.map(|_| it.repositories.counted)),
        ]
    });
    family(&mut text, "reserved", "What running uploads have reserved of that.");
    samples(&mut text, "reserved", bounded, |it| {
        [("bytes", it.quota.bytes.map(|_| it.reserved)), ("tags", None), ("repositories", None)]
    });
    text
}

fn family(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP portreeve_quota_{name} {help}\n# TYPE portreeve_quota_{name} gauge");
}

/// Names of namespaces are lower-case letters, digits, `.`, `_` and `-`: nothing in them needs an escape.
fn samples(text: &mut String, name: &str, bounded: &Bounded, of: impl Fn(&Standing) -> [Sample; 3]) {
    for standing in &bounded.fullest {
        for (of, value) in of(standing) {
            if let Some(value) = value {
                let namespace = &standing.namespace;
                let _ = writeln!(text, "portreeve_quota_{name}{{namespace=\"{namespace}\",of=\"{of}\"}} {value}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::quotas::{Count, Quota};

    #[test]
    fn a_namespace_tells_what_it_has_of_what_is_bounded() {
        let count = |counted| Count { counted, more: false };
        let quota = Quota { bytes: Some(100), tags: None, repositories: Some(5) };
        let acme = Standing {
            namespace: "acme".to_owned(),
            quota,
            used: 40,
            reserved: 7,
            tags: count(3),
            repositories: count(2),
        };
        let expected = "\
# HELP portreeve_quota_namespaces Namespaces that have a quota.
# TYPE portreeve_quota_namespaces gauge
portreeve_quota_namespaces 250
# HELP portreeve_quota_limit What a namespace may have; of the fullest hundred namespaces that have a quota.
# TYPE portreeve_quota_limit gauge
portreeve_quota_limit{namespace=\"acme\",of=\"bytes\"} 100
portreeve_quota_limit{namespace=\"acme\",of=\"repositories\"} 5
# HELP portreeve_quota_used What it has of that.
# TYPE portreeve_quota_used gauge
portreeve_quota_used{namespace=\"acme\",of=\"bytes\"} 40
portreeve_quota_used{namespace=\"acme\",of=\"repositories\"} 2
# HELP portreeve_quota_reserved What running uploads have reserved of that.
# TYPE portreeve_quota_reserved gauge
portreeve_quota_reserved{namespace=\"acme\",of=\"bytes\"} 7
";
        assert_eq!(text(&Bounded { count: 250, fullest: vec![acme] }), expected);
    }
}
