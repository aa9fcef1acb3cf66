//! Patterns that can match no name, whatever their wildcards stand for.
//!
//! A component of a name is letters and digits with separators between: one `.`, one or two `_`, or any number of `-`. Characters that
//! stand beside each other in the pattern stand so in every name that it matches, so their separators can be judged.

use super::Unreachable;

/// Looks at the literal characters of each segment.
pub(super) fn check(pattern: &str) -> Result<(), Unreachable> {
    let mut start = 0;
    for segment in pattern.split('/') {
        let fault = fault(segment.as_bytes());
        if let Some(index) = fault {
            return Err(Unreachable { position: start + index + 1 });
        }
        start += segment.len() + 1;
    }
    Ok(())
}

/// The first separator of a segment that cannot stand where it does.
fn fault(segment: &[u8]) -> Option<usize> {
    let mut index = 0;
    while index < segment.len() {
        if segment[index] == b'{' {
            // What stands within braces may be left out by another choice.
            index +=
                segment[index..].iter().position(|&byte| byte == b'}').map_or(segment.len() - index, |end| end + 1);
            continue;
        }
        let run = segment[index..].iter().take_while(|byte| b"._-".contains(byte)).count();
        if run == 0 {
            index += 1;
            continue;
        }
        let at_an_end = index == 0 || index + run == segment.len();
        if at_an_end || !is_separator(&segment[index..index + run]) {
            return Some(index);
        }
        index += run;
    }
    None
}

fn is_separator(run: &[u8]) -> bool {
    matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RepositoryPattern;
    use crate::repository::RepositoryName;

    fn position(pattern: &str) -> Option<usize> {
        pattern.parse::<RepositoryPattern>().unwrap().check_reach().err().map(|fault| fault.position)
    }

    #[test]
    fn what_can_match_nothing_is_refused_with_its_place() {
        for (pattern, expected) in [
            ("acme/../x", 6),
            ("acme/./x", 6),
            ("acme/.x", 6),
            ("acme/x-", 7),
            ("-acme/**", 1),
            ("acme/a._b", 7),
            ("acme/a___b*", 7),
            ("acme/*..x", 7),
            ("acme/a-/b", 7),
            ("acme/{a,b}-", 11),
        ] {
            assert_eq!(position(pattern), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn what_can_match_something_is_not() {
        for pattern in [
            "acme/**",
            "acme/a.b",
            "a__b/c--d",
            "acme/*-x",
            "acme/x-*",
            "acme/?.?",
            "acme/{.,a}b",
            "acme/{username}",
            "**",
        ] {
            assert_eq!(position(pattern), None, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_that_matches_a_name_is_never_refused(name in "[a-z0-9]{1,3}([._-][a-z0-9]{1,3}){0,3}(/[a-z0-9]{1,3}(__|--|[._-])[a-z]{1,2}){0,2}", at in 0_usize..20) {
            prop_assume!(name.parse::<RepositoryName>().is_ok());
            let mut pattern = name.clone();
            let at = at % pattern.len();
            if pattern.as_bytes()[at] != b'/' {
                pattern.replace_range(at..=at, "?");
            }
            let pattern: RepositoryPattern = pattern.parse().unwrap();
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.check_reach(), Ok(()));
        }
    }
}
