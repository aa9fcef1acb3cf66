use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    access::{Action, Resource, tests::accesses},
    shortfall::{Sentence, tests::shortfalls},
};

fn smallest() -> Value {
    json!({"iss": "auth", "aud": "registry", "exp": 1_786_000_300})
}

fn parse(claims: &Value) -> Result<TokenClaims, ClaimsError> {
    TokenClaims::parse(claims.to_string().as_bytes())
}

fn with(member: &str, value: &Value) -> Result<TokenClaims, ClaimsError> {
    let mut claims = smallest();
    claims[member] = value.clone();
    parse(&claims)
}

#[test]
fn claims_are_written_as_the_token_specification_has_them() {
    let repository = Resource::repository(&"acme/web".parse().unwrap());
    let claims = TokenClaims {
        issuer: "auth".into(),
        subject: Some("robot.acme.ci".into()),
        audience: Audience::One("registry".into()),
        expires_at: 1_786_000_300,
        not_before: Some(1_786_000_000),
        issued_at: Some(1_786_000_001),
        id: Some("0a1b".into()),
        credential: Some(42),
        principal: Some(17),
        epoch: Some(1031),
        access: vec![Access::new(repository, [Action::Push, Action::Pull])],
        short: Vec::new(),
    };
    assert_eq!(
        claims.to_json(),
        r#"{"iss":"auth","sub":"robot.acme.ci","aud":"registry","iat":1786000001,"nbf":1786000000,"exp":1786000300,"#
            .to_owned()
            + r#""jti":"0a1b","cid":42,"pid":17,"ep":1031,"#
            + r#""access":[{"type":"repository","name":"acme/web","actions":["pull","push"]}]}"#
    );
    assert_eq!(TokenClaims::parse(claims.to_json().as_bytes()), Ok(claims));
}

#[test]
fn why_a_token_falls_short_stands_beside_what_it_allows() {
    let resource = Resource::repository(&"acme/web".parse().unwrap());
    let sentence = Sentence::new("alice may pull acme/web but not push; nearest: role contributor");
    let short = vec![Shortfall { resource, actions: [Action::Push].into(), sentence }];
    let claims = TokenClaims { short, ..parse(&smallest()).unwrap() };
    assert_eq!(
        claims.to_json(),
        r#"{"iss":"auth","aud":"registry","exp":1786000300,"access":[],"short":[{"type":"repository","name":"acme/web","#
            .to_owned()
            + r#""actions":["push"],"why":"alice may pull acme/web but not push; nearest: role contributor"}]}"#
    );
    assert_eq!(TokenClaims::parse(claims.to_json().as_bytes()), Ok(claims));
    let odd = with("short", &json!([{"actions": null}, 1]));
    assert_eq!(odd.map(|claims| claims.short), Ok(Vec::new()), "it is passed over, and refuses no token");
}

#[test]
fn what_a_token_may_leave_out_it_may_leave_out() {
    let claims = parse(&smallest()).unwrap();
    assert_eq!((&claims.subject, &claims.id, claims.not_before, claims.issued_at), (&None, &None, None, None));
    assert_eq!((claims.credential, claims.principal, claims.epoch), (None, None, None));
    assert_eq!(claims.access, []);
    assert_eq!(claims.to_json(), r#"{"iss":"auth","aud":"registry","exp":1786000300,"access":[]}"#);

    for member in ["sub", "jti", "access", "unknown"] {
        assert_eq!(with(member, &json!(null)), Ok(claims.clone()), "{member} is null");
    }
    assert_eq!(with("unknown", &json!({"exp": "x"})), Ok(claims));
}

#[test]
fn what_a_token_must_have_it_must_have() {
    for member in ["iss", "aud", "exp"] {
        let mut claims = smallest();
        claims.as_object_mut().unwrap().remove(member);
        assert_eq!(parse(&claims), Err(ClaimsError::Missing(member)));
    }
    assert_eq!(with("iss", &json!(null)), Err(ClaimsError::Missing("iss")));
}

#[test]
fn a_claim_of_the_wrong_type_refuses_the_token() {
    let no_integer =
        vec![json!(null), json!("1"), json!(1.5), json!(1.0), json!(1e9), json!([1]), json!({}), json!(true)];
    let no_text = vec![json!(1), json!(["x"]), json!({}), json!(false)];
    let no_audience = vec![json!(null), json!(1), json!({}), json!(["x", 1]), json!([null]), json!([["x"]])];
    let no_id = [no_integer.as_slice(), &[json!(u64::MAX)]].concat();
    let no_counter = [no_integer.as_slice(), &[json!(-1)]].concat();
    let table = [
        ("exp", no_integer.clone()),
        ("nbf", no_integer.clone()),
        ("iat", no_integer),
        ("iss", no_text.clone()),
        ("sub", no_text.clone()),
        ("jti", no_text),
        ("aud", no_audience),
        ("cid", no_id.clone()),
        ("pid", no_id),
        ("ep", no_counter),
        ("access", vec![json!({}), json!("x"), json!(1), json!(false)]),
    ];
    for (member, wrongs) in table {
        for wrong in wrongs {
            assert_eq!(with(member, &wrong), Err(ClaimsError::WrongType(member)), "{member}: {wrong}");
        }
    }
    for (member, rest) in [("exp", "-0"), ("nbf", "1786000000.0"), ("iat", "1E3")] {
        let text =
            format!(r#"{{"iss":"a","aud":"b","exp":1,"{member}":{rest}}}"#).replace(r#""exp":1,"exp""#, r#""exp""#);
        assert_eq!(TokenClaims::parse(text.as_bytes()), Err(ClaimsError::WrongType(member)), "{text}");
    }
}

#[test]
fn times_begin_with_1970_and_end_with_the_year_9999() {
    for member in ["exp", "nbf", "iat"] {
        for time in [LATEST_TIME, 1, 0] {
            assert!(with(member, &json!(time)).is_ok(), "{member}: {time}");
        }
        for time in [json!(LATEST_TIME + 1), json!(-1), json!(i64::MIN), json!(i64::MAX), json!(u64::MAX)] {
            assert_eq!(with(member, &time), Err(ClaimsError::Time(member)), "{time}");
        }
    }
    let printed = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap().to_string();
    assert_eq!(printed(LATEST_TIME), "9999-12-31 23:59:59.0 +00:00:00");
    assert_eq!(printed(EARLIEST_TIME), "1970-01-01 0:00:00.0 +00:00:00");
}

#[test]
fn the_audience_is_a_text_or_a_list() {
    let audience = |value: &Value| with("aud", value).unwrap().audience;
    assert!(audience(&json!("registry")).contains("registry"));
    assert!(!audience(&json!("registry2")).contains("registry"));
    assert!(audience(&json!(["a", "registry"])).contains("registry"));
    assert!(!audience(&json!([])).contains("registry"));
    assert!(!audience(&json!(["a,registry"])).contains("registry"));
}

#[test]
fn a_malformed_access_entry_refuses_the_token() {
    let good = json!({"type": "repository", "name": "a", "actions": ["pull"]});
    assert_eq!(with("access", &json!([good, null])), Err(ClaimsError::Access(AccessError::NotAnObject)));
    let wrong = json!({"type": "repository", "name": "a", "actions": "pull"});
    assert_eq!(with("access", &json!([good, wrong])), Err(ClaimsError::Access(AccessError::WrongType("actions"))));
}

#[test]
fn an_entry_that_names_no_resource_is_left_out_and_a_void_limit_voids_only_itself() {
    let entries = json!([
        {"type": "repository", "name": "a b", "actions": ["pull"]},
        {"type": "repository", "name": "a", "actions": ["pull"], "limited": [{"actions": ["push"], "tags": "*"}]},
        {},
    ]);
    let resource = Resource::repository(&"a".parse().unwrap());
    assert_eq!(with("access", &entries).unwrap().access, [Access::new(resource, [Action::Pull])]);
}

#[test]
fn names_are_exact_and_stand_once() {
    let claims = |member: &str| TokenClaims::parse(format!(r#"{{"iss":"a","aud":"b","exp":1,{member}}}"#).as_bytes());
    assert_eq!(claims(r#""exp":1"#), Err(ClaimsError::Json(StrictJsonError::DuplicateMember)));
    let twice = r#""access":[{"type":"repository","name":"a","name":"b"}]"#;
    assert_eq!(claims(twice), Err(ClaimsError::Json(StrictJsonError::DuplicateMember)));
    let other_case = r#""EXP":"x","Access":[null]"#;
    assert_eq!(claims(other_case).unwrap().access, []);
    for text in ["", "null", "[]", "\"x\"", "1"] {
        assert!(TokenClaims::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(TokenClaims::parse(b"[]"), Err(ClaimsError::NotAnObject));
}

#[test]
fn the_thirty_third_level_is_refused() {
    let nested = |depth: usize| {
        // The claims object is the first level.
        let deep = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        TokenClaims::parse(format!(r#"{{"iss":"a","aud":"b","exp":1,"x":{deep}}}"#).as_bytes())
    };
    assert!(nested(32).is_ok());
    assert_eq!(nested(33), Err(ClaimsError::Json(StrictJsonError::TooDeep)));
}

fn claims() -> impl Strategy<Value = TokenClaims> {
    let text = || ".{0,12}";
    let audience =
        prop_oneof![text().prop_map(Audience::One), prop::collection::vec(text(), 0..3).prop_map(Audience::Many)];
    let time = || EARLIEST_TIME..=LATEST_TIME;
    let times = (time(), prop::option::of(time()), prop::option::of(time()));
    let texts = (text(), prop::option::of(text()), prop::option::of(text()));
    let ids = (any::<Option<i64>>(), any::<Option<i64>>(), any::<Option<u64>>());
    let lists = (prop::collection::vec(accesses(), 0..3), prop::collection::vec(shortfalls(), 0..3));
    (texts, audience, times, ids, lists).prop_map(
        |((issuer, subject, id), audience, (expires_at, not_before, issued_at), ids, (access, short))| TokenClaims {
            issuer,
            subject,
            audience,
            expires_at,
            not_before,
            issued_at,
            id,
            credential: ids.0,
            principal: ids.1,
            epoch: ids.2,
            access,
            short,
        },
    )
}

proptest! {
    #[test]
    fn printing_and_parsing_are_inverse(claims in claims()) {
        prop_assert_eq!(TokenClaims::parse(claims.to_json().as_bytes()), Ok(claims));
    }

    #[test]
    fn whatever_is_accepted_reads_back_as_itself(
        member in prop::sample::select(vec!["sub", "aud", "exp", "nbf", "cid", "ep", "access"]),
        value in r#"null|-?[0-9]{1,12}|"[a-z]{0,3}"|\[(null|"a"|\{"type":"repository","name":"a"(,"actions":(null|\["pull"\]))?\})?\]"#,
    ) {
        let value: Value = serde_json::from_str(&value).unwrap_or_default();
        if let Ok(claims) = with(member, &value) {
            prop_assert_eq!(TokenClaims::parse(claims.to_json().as_bytes()), Ok(claims));
        }
    }

    #[test]
    fn no_bytes_make_parsing_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = TokenClaims::parse(&text);
    }
}
