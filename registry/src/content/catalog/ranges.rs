//! What may be read, as ranges of names: each is everything that begins with one text.

use shared::{pattern::RepositoryPattern, readable::Readable};

use crate::metadata::catalog::END;

/// All names that begin with a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range(String);

impl Range {
    /// The first name that can be in it.
    pub(super) fn from(&self) -> &str {
        &self.0
    }

    /// Sorts behind every name in it.
    pub(super) fn until(&self) -> String {
        format!("{}{END}", self.0)
    }
}

/// Ranges that hold every readable name, in order and without overlap.
pub(super) fn of(readable: Option<&Readable>) -> Vec<Range> {
    let Some(readable) = readable else { return vec![Range(String::new())] };
    let allowed = beginnings(&readable.allow);
    match &readable.within {
        None => apart(allowed),
        Some(within) => {
            let within = beginnings(within);
            let both = allowed.iter().flat_map(|one| within.iter().filter_map(|other| narrower(one, other)));
            apart(both.collect())
        }
    }
}

fn beginnings(patterns: &[RepositoryPattern]) -> Vec<&str> {
    patterns.iter().map(RepositoryPattern::literal_prefix).collect()
}

/// What begins with both.
fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    if one.starts_with(other) { Some(one) } else { other.starts_with(one).then_some(other) }
}

/// Of two ranges one lies in the other or they do not meet, and the one that holds the other sorts first.
fn apart(mut beginnings: Vec<&str>) -> Vec<Range> {
    beginnings.sort_unstable();
    let mut ranges: Vec<Range> = Vec::new();
    for beginning in beginnings {
        if ranges.last().is_none_or(|last| !beginning.starts_with(last.from())) {
            ranges.push(Range(beginning.to_owned()));
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(allow: &[&str], within: Option<&[&str]>) -> Readable {
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Readable { allow: patterns(allow), deny: Vec::new(), within: within.map(patterns) }
    }

    fn ranges(allow: &[&str], within: Option<&[&str]>) -> Vec<String> {
        of(Some(&readable(allow, within))).iter().map(|range| range.from().to_owned()).collect()
    }

    #[test]
    fn patterns_become_ranges_in_order_and_without_overlap() {
        assert_eq!(ranges(&["zoo/**", "acme/web", "acme/**", "acme/team-*/x"], None), ["acme/", "zoo/"]);
        assert_eq!(ranges(&["**", "acme/**"], None), [""]);
        assert!(ranges(&[], None).is_empty());
    }

    #[test]
    fn the_credentials_own_scope_narrows_them() {
        assert_eq!(ranges(&["**"], Some(&["acme/web"])), ["acme/web"]);
        assert_eq!(ranges(&["acme/web", "zoo/**"], Some(&["acme/**"])), ["acme/web"]);
        assert!(ranges(&["acme/**"], Some(&["zoo/**"])).is_empty());
        assert!(ranges(&["**"], Some(&[])).is_empty());
    }

    #[test]
    fn a_range_ends_behind_its_last_name() {
        let range = Range("acme/".to_owned());
        assert!("acme/zzz/zzz" < range.until().as_str());
        assert!("acme0" > range.until().as_str());
    }
}
