//! T47, over the whole suite: every server of every story runs at its loudest (`RUST_LOG=trace`), and when it ends its log is searched for
//! each secret that the story knows, and for everything that has the shape of one: what docker was given nobody here has seen.

use std::path::Path;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;

/// Shorter texts stand in logs for other reasons.
const SHORTEST: usize = 8;
/// Members of answers and of what commands print that are secrets. Tokens have a shape.
const MEMBERS: [&str; 2] = ["secret", "password"];
/// What a secret of ours has behind `prt_` and its kind, at least: what it is found by is no secret, and shorter.
const OURS: usize = 40;
/// What a hash of a password begins with, and how long one is at least.
const HASHES: [(&str, usize); 4] = [("$argon2", 60), ("$2y$", 60), ("$2b$", 60), ("$2a$", 60)];

/// The secrets in what a command printed or a route answered.
pub(super) fn secrets_in(answer: &Value) -> Vec<String> {
    match answer {
        Value::Array(items) => items.iter().flat_map(secrets_in).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(text) if MEMBERS.contains(&name.as_str()) => vec![text.to_owned()],
                _ => secrets_in(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The master key of a data directory, as somebody may print it.
pub(super) fn master_key(data: &Path) -> Vec<String> {
    let key = std::fs::read(data.join("keys/master")).unwrap_or_default();
    vec![STANDARD.encode(&key), hex::encode(&key), format!("{key:?}")]
}

/// The first line of a log with a secret in it, and what it is.
pub(super) fn leak<'l>(log: &'l str, known: &[String]) -> Option<(String, &'l str)> {
    let mut forms = known.iter().filter(|secret| secret.len() >= SHORTEST).flat_map(|secret| forms(secret));
    let line_with = |what: String| log.lines().find(|line| line.contains(&what)).map(|line| (what, line));
    // The log as a whole first: most have nothing, and may be long.
    forms
        .find(|form| log.contains(form))
        .and_then(line_with)
        .or_else(|| log.lines().find_map(|line| shape(line).map(|what| (what.to_owned(), line))))
}

/// A secret as a log may have it: as it is, as its bytes, as hexadecimal.
fn forms(secret: &str) -> [String; 3] {
    let bytes = format!("{:?}", secret.as_bytes());
    [secret.to_owned(), bytes.trim_matches(['[', ']']).to_owned(), hex::encode(secret)]
}

/// What has the shape of a secret.
fn shape(line: &str) -> Option<&str> {
    ours(line).or_else(|| token(line)).or_else(|| hash(line)).or_else(|| basic(line)).or_else(|| {
        let key = line.find("PRIVATE KEY-----")?;
        line.get(key..)
    })
}

/// What stands from each place where `start` does, as far as it has these characters.
fn runs<'l>(line: &'l str, start: &'l str, of: impl Fn(char) -> bool + Copy + 'l) -> impl Iterator<Item = &'l str> {
    line.match_indices(start).map(move |(at, _)| {
        let run = &line[at..];
        let length = run[start.len()..].find(|c| !of(c)).map_or(run.len(), |length| start.len() + length);
        &run[..length]
    })
}

fn ours(line: &str) -> Option<&str> {
    let mut found = runs(line, "prt_", |c| c.is_ascii_alphanumeric() || c == '_');
    found.find(|run| run.len() >= "prt_pat_".len() + OURS)
}

/// A signed JWT: header and signature are enough to tell, and the signature is what nobody else can make.
fn token(line: &str) -> Option<&str> {
    let mut found = runs(line, "eyJ", |c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    found.find(|run| {
        let mut parts = run.split('.');
        let header = parts.next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
        let is_header =
            header.is_some_and(|header| serde_json::from_slice::<Value>(&header).is_ok_and(|it| it["alg"].is_string()));
        is_header && parts.nth(1).is_some_and(|signature| signature.len() >= 40)
    })
}

fn hash(line: &str) -> Option<&str> {
    let find = |(start, length): (&'static str, usize)| {
        let mut found = runs(line, start, |c| c.is_ascii_alphanumeric() || "$./+=,-".contains(c));
        found.find(|run| run.len() >= length)
    };
    HASHES.into_iter().find_map(find)
}

/// Basic credentials: a name, a colon and what proves it.
fn basic(line: &str) -> Option<&str> {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let mut found = ["Basic ", "basic "].into_iter().flat_map(|start| runs(line, start, is_base64));
    let is_one = |run: &&str| {
        let decoded = STANDARD.decode(&run["Basic ".len()..]).unwrap_or_default();
        decoded.len() >= SHORTEST && decoded.contains(&b':') && std::str::from_utf8(&decoded).is_ok()
    };
    found.find(is_one)
}

#[test]
fn t47_what_is_secret_is_found_in_a_log_in_whatever_form() {
    let known = ["correct horse".to_owned(), "short".to_owned()];
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT"}"#);
    let (token, bare) = (format!("{header}.e30.{}", "s".repeat(86)), format!("{header}.e30"));
    let ours = format!("prt_rbt_{}", "k".repeat(51));
    let hash = format!("$argon2id$v=19$m=19456,t=2,p=1${}${}", "c".repeat(22), "h".repeat(43));
    let basic = format!("Basic {}", STANDARD.encode("alice:anything"));
    let pem = "-----BEGIN PRIVATE KEY-----";
    let bytes = format!("{:?}", b"a correct horse");
    for (line, is_secret) in [
        ("DEBUG login failed user=alice", false),
        ("password=correct horse", true),
        (bytes.as_str(), true),
        ("636f727265637420686f727365", true),
        ("short", false),
        (&format!("authorization: Bearer {token}"), true),
        (&format!("a token without its signature: {bare}"), false),
        ("eyJ0aGlzIjoic29tZXRoaW5nIn0.e30.ssssssssssssssssssssssssssssssssssssssssssssss", false),
        (&format!("row: {ours:?}"), true),
        ("lookup prt_rbt_kkkkkkkkkkkk", false),
        (&format!("INSERT … {hash}"), true),
        ("hashing with $argon2id", false),
        (&format!("verifier $2y$10${}", "b".repeat(53)), true),
        (&basic, true),
        ("www-authenticate: Basic realm=\"portreeve\"", false),
        (pem, true),
    ] {
        let log = format!("before\n{line}\nafter");
        assert_eq!(leak(&log, &known).map(|(_, found)| found), is_secret.then_some(line), "{line}");
    }
    let answer = serde_json::json!({"items": [{"name": "ci", "secret": "one"}], "password": "two", "tokens": 3});
    assert_eq!(secrets_in(&answer), ["one", "two"]);
}
