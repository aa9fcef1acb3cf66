//! Whether what somebody wrote is about everything, which has to be confirmed.
//!
//! Whether patterns together leave a name out is hard to say of patterns, and easy to say of names. So made-up names are tried: of each letter and digit
//! one that is made of nothing else, in families of some lengths and depths. Whoever takes a whole family takes what nobody has thought of, however the
//! patterns are written: `*`, `{*,x}`, or `a*` to `z*` and `0*` to `9*` in a list or in as many rules.

use shared::{
    pattern::RepositoryPattern,
    tag::{Tag, TagPattern},
};

const CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// The shortest name of a family: those after it are longer by up to six characters, so that `????` takes none whole. Behind many `?` come long ones.
const LENGTHS: [usize; 2] = [3, 57];

/// How many segments lie behind the namespace: `acme/*` takes everything where nobody nests.
const DEPTHS: usize = 3;

/// Tags of some repositories.
#[derive(Clone, Copy, Debug)]
pub(super) struct Selection<'a> {
    /// Repositories that match one of these; without any, all of them.
    pub(super) repositories: &'a [RepositoryPattern],
    /// Tags that match one of these.
    pub(super) tags: &'a [TagPattern],
}

impl Selection<'_> {
    fn takes(&self, tag: &Tag) -> bool {
        self.tags.iter().any(|pattern| pattern.matches(tag))
    }

    fn reaches(&self, repository: &str) -> bool {
        self.repositories.is_empty() || self.repositories.iter().any(|pattern| pattern.matches(repository))
    }
}

/// Whether selections together are about every tag of every repository of a namespace.
pub(super) fn are_everything(namespace: &str, selections: &[Selection<'_>]) -> bool {
    // Most sets end here: they name their tags.
    if !take_every_tag(selections) {
        return false;
    }
    let everywhere = |length| {
        (1..=DEPTHS).any(|depth| {
            let segments = |segment: String| vec![segment; depth].join("/");
            family(length).all(|segment| {
                let repository = format!("{namespace}/{}", segments(segment));
                let reaching: Vec<_> = selections.iter().copied().filter(|one| one.reaches(&repository)).collect();
                take_every_tag(&reaching)
            })
        })
    };
    LENGTHS.into_iter().any(everywhere)
}

fn take_every_tag(selections: &[Selection<'_>]) -> bool {
    let taken = |name: String| name.parse().is_ok_and(|tag| selections.iter().any(|one| one.takes(&tag)));
    LENGTHS.into_iter().any(|length| family(length).all(taken))
}

/// `aaa`, `bbbb`, `ccccc` and so on: names that are components of repositories and tags alike.
fn family(length: usize) -> impl Iterator<Item = String> {
    (0..).zip(CHARACTERS.chars()).map(move |(number, one)| one.to_string().repeat(length + number % 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns<T: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<T> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn everything(repositories: &[&str], tags: &[&str]) -> bool {
        let (repositories, tags) = (patterns(repositories), patterns(tags));
        are_everything("acme", &[Selection { repositories: &repositories, tags: &tags }])
    }

    fn each(behind: &str) -> Vec<String> {
        CHARACTERS.chars().map(|one| format!("{one}{behind}")).collect()
    }

    #[test]
    fn whatever_leaves_nothing_to_its_letters_is_everything() {
        for tags in ["*", "**", "?*", "*?", "???*", &format!("{}*", "?".repeat(57))] {
            assert!(everything(&[], &[tags]), "{tags}");
        }
        for repositories in ["acme/**", "acme/*", "acme/?*", "acme/*/**", "acme/**/*", "acme/{*,x}", "acme/{x,*}{*,y}"]
        {
            assert!(everything(&[repositories], &["*"]), "{repositories}");
        }
    }

    #[test]
    fn many_that_leave_nothing_out_together_are_everything() {
        let every = each("*");
        let every: Vec<&str> = every.iter().map(String::as_str).collect();
        assert!(everything(&[], &every));
        assert!(!everything(&[], &every[1..]), "what begins with a is spared");
        let tags: Vec<TagPattern> = patterns(&every);
        let rules: Vec<_> =
            tags.iter().map(|tag| Selection { repositories: &[], tags: std::slice::from_ref(tag) }).collect();
        assert!(are_everything("acme", &rules), "one rule each");
        let braces = format!("acme/{{{}}}", each("*")[..26].join(","));
        let digits = format!("acme/{{{}}}", each("*")[26..].join(","));
        assert!(everything(&[&braces, &digits], &["*"]) && !everything(&[&braces], &["*"]));
        let lengths: Vec<String> = (1..=64).map(|length| "?".repeat(length)).collect();
        assert!(everything(&[], &lengths.iter().map(String::as_str).collect::<Vec<_>>()));
    }

    #[test]
    fn what_names_something_is_not() {
        for tags in ["pr-*", "*-rc", "v?.*", "?", "????", "*a*"] {
            assert!(!everything(&[], &[tags]), "{tags}");
        }
        for repositories in
            ["acme", "acme/web", "acme/*-ci", "acme/ci/**", "acme/{web,api}", "acme/{web,api}-*", "acme/??"]
        {
            assert!(!everything(&[repositories], &["*"]), "{repositories}");
        }
        assert!(!are_everything("acme", &[]));
        let (all, some) = (patterns(&["*"]), patterns(&["pr-*"]));
        let web = patterns(&["acme/web"]);
        let two = [Selection { repositories: &web, tags: &all }, Selection { repositories: &[], tags: &some }];
        assert!(!are_everything("acme", &two), "every tag of one, some tags of all");
    }
}
