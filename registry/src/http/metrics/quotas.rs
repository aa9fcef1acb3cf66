//! Namespaces with a quota. There are a hundred of them at most, the fullest: a namespace without one has no series, and a registry with more says how many.

use shared::exposition::{Exposition, Kind::Gauge, Label};

use crate::{gc::Bounded, lifecycle::quotas::Standing};

/// What of a namespace it is, and how much, where it is bounded.
type Part = (&'static str, Option<u64>);

pub(super) fn text(bounded: &Bounded) -> String {
    let mut told = Exposition::default();
    told.one("portreeve_quota_namespaces", Gauge, "Namespaces that have a quota.", bounded.count as f64);
    told.family(
        "portreeve_quota_limit",
        Gauge,
        "What a namespace may have; of the fullest hundred namespaces that have a quota.",
        samples(bounded, |it| {
            [("bytes", it.quota.bytes), ("tags", it.quota.tags), ("repositories", it.quota.repositories)]
        }),
    );
    told.family(
        "portreeve_quota_used",
        Gauge,
        "What it has of that.",
        samples(bounded, |it| {
            [
                ("bytes", it.quota.bytes.map(|_| it.used)),
                ("tags", it.quota.tags.map(|_| it.tags.counted)),
                ("repositories", it.quota.repositories.map(|_| it.repositories.counted)),
            ]
        }),
    );
    told.family(
        "portreeve_quota_reserved",
        Gauge,
        "What running uploads have reserved of that.",
        samples(bounded, |it| [("bytes", it.quota.bytes.map(|_| it.reserved))]),
    );
    told.into_text()
}

fn samples<const N: usize>(
    bounded: &Bounded,
    of: impl Fn(&Standing) -> [Part; N],
) -> impl Iterator<Item = ([Label<'_>; 2], f64)> {
    bounded.fullest.iter().flat_map(move |standing| {
        let bounded = of(standing).into_iter().filter_map(|(of, value)| Some((of, value?)));
        bounded.map(|(of, value)| ([("namespace", standing.namespace.as_str()), ("of", of)], value as f64))
    })
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
