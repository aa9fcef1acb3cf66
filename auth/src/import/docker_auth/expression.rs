//! Regular expressions, as far as lists of rules use them: characters, classes, groups, alternatives, repetitions and anchors. What is
//! more is not read. Matching follows all ways at once, so its time is bounded by both lengths.

use std::{collections::BTreeSet, iter::Peekable, str::Chars, str::FromStr};

/// Most repetitions that `{m,n}` may name.
const MAX_TIMES: u32 = 255;
/// Longest example, in bytes: repetitions of repetitions grow fast, and no name is that long.
const MAX_EXAMPLE_BYTES: usize = 64 * 1024;
/// How deep groups may stand within each other.
const MAX_DEPTH: usize = 16;

/// A regular expression.
#[derive(Debug, Clone)]
pub(super) struct Expression(Node);

/// It has a form that is not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unread;

#[derive(Debug, Clone)]
enum Node {
    One(Class),
    Start,
    End,
    All(Vec<Node>),
    Either(Vec<Node>),
    Times(Box<Node>, u32, Option<u32>),
}

#[derive(Debug, Clone)]
struct Class {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Class {
    fn of(ranges: &[(char, char)]) -> Self {
        Self { ranges: ranges.to_vec(), negated: false }
    }

    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != self.negated
    }

    /// One character that it has, one that names have if it can be.
    fn example(&self) -> char {
        let named = ('a'..='z').chain('0'..='9').chain("/-._".chars()).find(|c| self.has(*c));
        let other = || (' '..='~').find(|c| self.has(*c));
        named.or_else(other).unwrap_or_else(|| self.ranges.first().map_or('a', |(first, _)| *first))
    }
}

impl Expression {
    /// What Go's `path.Match` reads, as an expression: `*` and `?` stop at a slash, `[a-z]` and `[^a-z]` choose, a backslash takes the
    /// next character as it is, and the whole text must match.
    pub(super) fn shell(pattern: &str) -> Result<Self, Unread> {
        let within_segment = || Node::One(Class { ranges: vec![('/', '/')], negated: true });
        let mut nodes = vec![Node::Start];
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            nodes.push(match c {
                '*' => Node::Times(Box::new(within_segment()), 0, None),
                '?' => within_segment(),
                '[' => Node::One(shell_class(&mut rest)?),
                '\\' => Node::One(Class::of(&[rest.next().map(|c| (c, c)).ok_or(Unread)?])),
                c => Node::One(Class::of(&[(c, c)])),
            });
        }
        nodes.push(Node::End);
        Ok(Self(Node::All(nodes)))
    }

    /// True if it matches somewhere within the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        !ends(&self.0, &text, (0..=text.len()).collect()).is_empty()
    }

    /// True if it says of every way to match where it begins and where it ends.
    pub(super) fn is_anchored(&self) -> bool {
        bound(&self.0, true) && bound(&self.0, false)
    }

    /// A text that it matches.
    pub(super) fn example(&self) -> String {
        let mut text = String::new();
        write(&self.0, &mut text);
        text
    }
}

/// Where a match can end that begins at one of these.
fn ends(node: &Node, text: &[char], from: BTreeSet<usize>) -> BTreeSet<usize> {
    match node {
        Node::One(class) => {
            from.into_iter().filter(|at| text.get(*at).is_some_and(|c| class.has(*c))).map(|at| at + 1).collect()
        }
        Node::Start => from.into_iter().filter(|at| *at == 0).collect(),
        Node::End => from.into_iter().filter(|at| *at == text.len()).collect(),
        Node::All(nodes) => nodes.iter().fold(from, |from, node| ends(node, text, from)),
        Node::Either(nodes) => nodes.iter().flat_map(|node| ends(node, text, from.clone())).collect(),
        Node::Times(node, least, most) => {
            let mut reached = repeat(node, text, from, *least);
            let mut latest = reached.clone();
            let mut left = most.map_or(text.len() + 1, |most| (most - least) as usize);
            while left > 0 && !latest.is_empty() {
                latest = ends(node, text, latest).difference(&reached).copied().collect();
                reached.extend(&latest);
                left -= 1;
            }
            reached
        }
    }
}

/// Where so many repetitions can end. Where one more changes nothing, no more does.
fn repeat(node: &Node, text: &[char], from: BTreeSet<usize>, times: u32) -> BTreeSet<usize> {
    let mut reached = from;
    for _ in 0..times {
        let next = ends(node, text, reached.clone());
        if next.is_empty() || next == reached {
            return next;
        }
        reached = next;
    }
    reached
}

fn bound(node: &Node, start: bool) -> bool {
    match node {
        Node::Start => start,
        Node::End => !start,
        Node::One(_) => false,
        Node::All(nodes) => if start { nodes.first() } else { nodes.last() }.is_some_and(|node| bound(node, start)),
        Node::Either(nodes) => nodes.iter().all(|node| bound(node, start)),
        Node::Times(node, least, _) => *least > 0 && bound(node, start),
    }
}

fn write(node: &Node, text: &mut String) {
    match node {
        _ if text.len() > MAX_EXAMPLE_BYTES => {}
        Node::One(class) => text.push(class.example()),
        Node::Start | Node::End => {}
        Node::All(nodes) => nodes.iter().for_each(|node| write(node, text)),
        Node::Either(nodes) => nodes.iter().take(1).for_each(|node| write(node, text)),
        // Once at least, so that what stands before and behind can be told apart.
        Node::Times(node, least, most) => {
            (0..(*least).max(1).min(most.unwrap_or(1).max(*least))).for_each(|_| write(node, text));
        }
    }
}

impl FromStr for Expression {
    type Err = Unread;

    fn from_str(text: &str) -> Result<Self, Unread> {
        let mut rest = text.chars().peekable();
        let node = either(&mut rest, 0)?;
        if rest.peek().is_some() { Err(Unread) } else { Ok(Self(node)) }
    }
}

type Rest<'t> = Peekable<Chars<'t>>;

fn either(rest: &mut Rest<'_>, depth: usize) -> Result<Node, Unread> {
    if depth > MAX_DEPTH {
        return Err(Unread);
    }
    let mut ways = vec![all(rest, depth)?];
    while rest.next_if_eq(&'|').is_some() {
        ways.push(all(rest, depth)?);
    }
    Ok(if ways.len() == 1 { ways.remove(0) } else { Node::Either(ways) })
}

fn all(rest: &mut Rest<'_>, depth: usize) -> Result<Node, Unread> {
    let mut nodes = Vec::new();
    while let Some(c) = rest.next_if(|c| !['|', ')'].contains(c)) {
        let node = match c {
            '^' => Node::Start,
            '$' => Node::End,
            '.' => Node::One(Class { ranges: vec![('\n', '\n')], negated: true }),
            '(' => group(rest, depth)?,
            '[' => Node::One(class(rest)?),
            '\\' => Node::One(escaped(rest)?),
            '*' | '+' | '?' | '{' => return Err(Unread),
            c => Node::One(Class::of(&[(c, c)])),
        };
        nodes.push(repeated(node, rest)?);
    }
    Ok(Node::All(nodes))
}

fn group(rest: &mut Rest<'_>, depth: usize) -> Result<Node, Unread> {
    if rest.next_if_eq(&'?').is_some() {
        rest.next_if_eq(&':').ok_or(Unread)?;
    }
    let node = either(rest, depth + 1)?;
    rest.next_if_eq(&')').ok_or(Unread)?;
    Ok(node)
}

fn repeated(node: Node, rest: &mut Rest<'_>) -> Result<Node, Unread> {
    let (least, most) = match rest.peek() {
        Some('*') => (0, None),
        Some('+') => (1, None),
        Some('?') => (0, Some(1)),
        Some('{') => {
            let inner: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
            return times(node, &inner);
        }
        _ => return Ok(node),
    };
    rest.next();
    // A lazy repetition matches the same texts.
    rest.next_if_eq(&'?');
    Ok(Node::Times(Box::new(node), least, most))
}

fn times(node: Node, inner: &str) -> Result<Node, Unread> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= MAX_TIMES).ok_or(Unread);
    let (least, most) = match inner.split_once(',') {
        None => (number(inner)?, Some(number(inner)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    if most.is_some_and(|most| most < least) { Err(Unread) } else { Ok(Node::Times(Box::new(node), least, most)) }
}

fn escaped(rest: &mut Rest<'_>) -> Result<Class, Unread> {
    let class = |ranges: &[(char, char)], negated| Ok(Class { ranges: ranges.to_vec(), negated });
    let (digit, word, space) =
        ([('0', '9')], [('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')], [('\t', '\n'), ('\x0c', '\r'), (' ', ' ')]);
    match rest.next().ok_or(Unread)? {
        'd' => class(&digit, false),
        'D' => class(&digit, true),
        'w' => class(&word, false),
        'W' => class(&word, true),
        's' => class(&space, false),
        'S' => class(&space, true),
        c if c.is_ascii_punctuation() => Ok(Class::of(&[(c, c)])),
        _ => Err(Unread),
    }
}

fn class(rest: &mut Rest<'_>) -> Result<Class, Unread> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next().ok_or(Unread)? {
            ']' if !ranges.is_empty() => return Ok(Class { ranges, negated }),
            '[' if rest.peek() == Some(&':') => return Err(Unread),
            '\\' => {
                let class = escaped(rest)?;
                if class.negated {
                    return Err(Unread);
                }
                if class.ranges.len() > 1 || class.ranges[0].0 != class.ranges[0].1 {
                    ranges.extend(class.ranges);
                    continue;
                }
                class.ranges[0].0
            }
            c => c,
        };
        let mut ahead = rest.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' && last != '\\' => {
                rest.nth(1);
                last
            }
            _ => first,
        };
        if last < first {
            return Err(Unread);
        }
        ranges.push((first, last));
    }
}

/// A class of a shell pattern: a backslash takes the next character as it is, and what has a meaning here stands for itself only so.
fn shell_class(rest: &mut Rest<'_>) -> Result<Class, Unread> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
        let first = shell_member(rest)?;
        let last = if rest.next_if_eq(&'-').is_some() { shell_member(rest)? } else { first };
        ranges.push((first, last));
    }
    Ok(Class { ranges, negated })
}

fn shell_member(rest: &mut Rest<'_>) -> Result<char, Unread> {
    match rest.next().ok_or(Unread)? {
        '\\' => rest.next().ok_or(Unread),
        '-' | ']' => Err(Unread),
        c => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expression(text: &str) -> Expression {
        text.parse().unwrap_or_else(|Unread| panic!("{text} is not read"))
    }

    #[test]
    fn what_rules_say_is_read_and_matched_within_unless_anchored() {
        for (text, yes, no) in [
            (".+", &["a", "ab"][..], &[""][..]),
            ("^acme/.*$", &["acme/", "acme/web/api"], &["xacme/web", "acme"]),
            ("trainee|dev", &["dev", "developers", "a trainee"], &["de", "ops"]),
            ("^(trainee|dev)$", &["dev", "trainee"], &["developers", ""]),
            ("^[a-z0-9._-]{2,3}$", &["ab", "a-1"], &["a", "abcd", "AB"]),
            (r"^\w+@test\.com$", &["a_1@test.com"], &["a@test-com", "@test.com"]),
            ("a?b*?c+", &["c", "xabbbcc"], &["ab"]),
            ("^(a|b){2}$", &["ab", "bb"], &["a", "aba"]),
            (r"[^/]+/[\d-]", &["a/1", "a/-"], &["/1", "a/b"]),
            ("(?:ab)+$", &["ab", "xabab"], &["aba"]),
            ("^$", &[""], &["a"]),
        ] {
            let read = expression(text);
            yes.iter().for_each(|one| assert!(read.matches(one), "{text} matches {one:?}"));
            no.iter().for_each(|one| assert!(!read.matches(one), "{text} does not match {one:?}"));
            assert!(read.matches(&read.example()), "{text} matches its example {:?}", read.example());
        }
    }

    #[test]
    fn shell_patterns_are_those_of_go() {
        for (pattern, text, expected) in [
            ("acme/*", "acme/web", true),
            ("acme/*", "acme/web/api", false),
            ("acme/*", "acme", false),
            ("acme/*", "acme/", true),
            ("*", "", true),
            ("*", "a/b", false),
            ("**", "a/b", false),
            ("test-?", "test-1", true),
            ("test-?", "test-", false),
            ("test-[0-9a]", "test-7", true),
            ("test-[^0-9]", "test-7", false),
            ("test-[^0-9]", "test-x", true),
            (r"test-[\d]", "test-d", true),
            (r"test-[\d]", "test-7", false),
            (r"test-[\]a-c]", "test-]", true),
            (r"test-[\]a-c]", "test-b", true),
            ("test-[^a]", "test-/", true),
            ("test-[z-a]", "test-m", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            ("a.b", "axb", false),
            ("", "", true),
        ] {
            assert_eq!(Expression::shell(pattern).unwrap().matches(text), expected, "{pattern} {text}");
        }
        // There these match nothing at all.
        for bad in ["[a", "[]", "[]a]", "[-a]", "[a-]", "[^]", "a[", r"[\", r"\"] {
            assert!(Expression::shell(bad).is_err(), "{bad}");
        }
        let slow = "*a".repeat(60);
        assert!(!Expression::shell(&slow).unwrap().matches(&"a".repeat(59)));
    }

    #[test]
    fn what_else_there_is_is_not_read() {
        for text in [
            "(?i)a",
            "(?P<n>a)",
            "a(",
            "a)",
            "[a",
            "*a",
            "a**",
            r"\p{L}",
            r"\bword",
            "[[:alpha:]]",
            "a{999}",
            "a{3,2}",
            r"a\",
        ] {
            assert!(text.parse::<Expression>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_expression_is_anchored_if_each_of_its_ways_is() {
        for (text, anchored) in [
            ("^a$", true),
            ("^a|b$", false),
            ("^(a|b)$", true),
            ("^a$|^b$", true),
            ("^a", false),
            ("a$", false),
            (".*", false),
        ] {
            assert_eq!(expression(text).is_anchored(), anchored, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_at_all_is_read_or_not_and_without_anchors_its_example_matches(text in r"[ab.*+?|()\[\]{}\\0-9,-]{0,16}") {
            if let Ok(read) = text.parse::<Expression>() {
                prop_assert!(read.matches(&read.example()), "{text} {}", read.example());
            }
            if let Ok(read) = Expression::shell(&text) {
                prop_assert!(text.contains('[') || read.matches(&read.example()), "{text} {}", read.example());
            }
        }
    }
}
