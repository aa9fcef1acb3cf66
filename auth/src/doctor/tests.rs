//! Every way to be broken, and what is said of it.

use std::time::Duration;

use shared::clock::Timestamp;

use super::{
    Accepts, Answer, Observed, Probe, RealmSeen, State, client, http_date, judge::LEEWAY, judged, likely_issuers, realm,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> Timestamp {
    Timestamp::from_seconds(1_800_000_000)
}

fn probe() -> Probe {
    Probe {
        now: now(),
        issuer: "portreeve".to_owned(),
        services: vec!["registry.test".to_owned()],
        token: Some(String::new()),
        foreign: String::new(),
        kid: "k1".to_owned(),
        begins: Some(now() - DAY),
        ends: Some(now() + DAY * 12),
        chained: true,
        bundle: "ab".repeat(32),
        credential: true,
        fed_at: Some(now() - Duration::from_secs(20)),
        replicas: false,
        token_seconds: 300,
    }
}

fn seen() -> Observed {
    let challenge = "Bearer realm=\"https://auth.test/token\",service=\"registry.test\"".parse().unwrap();
    Observed {
        registry: "https://registry.test".to_owned(),
        bare: Ok(Answer { status: 401, date: Some(now()), challenge: Some(challenge) }),
        at: now(),
        realm: Some(RealmSeen::Answered { status: 200, kid: Some("k1".to_owned()) }),
        ours: Accepts::Yes,
        foreign: Accepts::No(401),
    }
}

/// What is not well, with its check.
fn unwell(seen: &Observed, probe: &Probe) -> Vec<(&'static str, State, String)> {
    let findings = judged(seen, Some(probe)).into_iter().filter(|finding| finding.state != State::Well);
    let told = findings.map(|finding| {
        assert!(finding.mend.as_ref().is_some_and(|mend| !mend.is_empty()), "{finding:?} says nothing to do");
        (finding.check, finding.state, format!("{}; {}", finding.says, finding.mend.unwrap_or_default()))
    });
    told.collect()
}

#[test]
fn a_healthy_registry_is_well_in_everything() {
    assert_eq!(unwell(&seen(), &probe()), []);
    let checks: Vec<_> = judged(&seen(), Some(&probe())).iter().map(|finding| finding.check).collect();
    assert_eq!(checks, ["reachable", "service", "realm", "leaf", "trust", "stranger", "clock", "feed"]);
}

#[test]
fn each_way_to_be_broken_is_named_with_what_mends_it() {
    use State::{Fault, Notice};
    let apart = |by: Duration| {
        let mut seen = seen();
        if let Ok(answer) = &mut seen.bare {
            answer.date = Some(now() - by);
        }
        (seen, probe())
    };
    let with = |change: &dyn Fn(&mut Observed, &mut Probe)| {
        let (mut seen, mut probe) = (seen(), probe());
        change(&mut seen, &mut probe);
        (seen, probe)
    };
    let cases: Vec<((Observed, Probe), &str, State, &str)> = vec![
        (with(&|seen, _| seen.ours = Accepts::No(401)), "trust", Fault, "rootcertbundle"),
        (
            with(&|seen, _| seen.ours = Accepts::UnderIssuer("other".into())),
            "issuer",
            Fault,
            "expects the issuer \"other\"",
        ),
        (with(&|_, probe| probe.services = vec!["another".into()]), "service", Fault, "service add \"registry.test\""),
        (with(&|seen, _| seen.realm = Some(RealmSeen::NoUrl)), "realm", Fault, "is no address"),
        (
            with(&|seen, _| seen.realm = Some(RealmSeen::Silent("refused".into()))),
            "realm",
            Fault,
            "nobody answers at https://auth.test/token: refused",
        ),
        (
            with(&|seen, _| seen.realm = Some(RealmSeen::Answered { status: 200, kid: Some("k2".into()) })),
            "realm",
            Fault,
            "another server",
        ),
        (
            with(&|seen, _| seen.realm = Some(RealmSeen::Answered { status: 404, kid: None })),
            "realm",
            Fault,
            "answers 404",
        ),
        (with(&|seen, _| seen.realm = Some(RealmSeen::OfTheLink)), "realm", Fault, "was not asked"),
        (with(&|seen, _| seen.foreign = Accepts::Yes), "stranger", Fault, "anybody may do anything"),
        (with(&|_, probe| probe.chained = false), "leaf", Fault, "keys rotate"),
        (
            with(&|_, probe| probe.ends = Some(now() + Duration::from_secs(299))),
            "leaf",
            Fault,
            "sooner than the tokens",
        ),
        (with(&|_, probe| probe.ends = Some(now() + DAY * 5)), "leaf", Notice, "should have been replaced"),
        (with(&|_, probe| probe.begins = Some(now() + DAY)), "leaf", Fault, "begins only at"),
        (with(&|_, probe| probe.fed_at = Some(now() - Duration::from_secs(61))), "feed", Fault, "has not asked"),
        (with(&|_, probe| probe.fed_at = None), "feed", Fault, "portreeve.companion"),
        (
            with(&|_, probe| (probe.begins, probe.ends, probe.chained) = (None, None, false)),
            "leaf",
            Fault,
            "cannot be read",
        ),
        (with(&|_, probe| (probe.fed_at, probe.replicas) = (None, true)), "feed", Notice, "may ask another"),
        (with(&|_, probe| (probe.fed_at, probe.credential) = (None, false)), "feed", Notice, "until tokens end, 300 s"),
        (apart(LEEWAY + Duration::from_secs(1)), "clock", Fault, "61 s behind ours"),
        (apart(LEEWAY), "clock", Notice, "60 s behind ours"),
    ];
    for ((seen, probe), check, state, text) in cases {
        let told = unwell(&seen, &probe);
        let [(found, how, said)] = told.as_slice() else { panic!("{check}: {told:?}") };
        assert_eq!((*found, *how), (check, state), "{said}");
        assert!(said.contains(text), "{text:?} is not said: {said}");
    }
}

#[test]
fn a_key_of_the_operators_is_well_without_an_end_that_is_known() {
    let brought = Probe { begins: None, ends: None, ..probe() };
    assert_eq!(unwell(&seen(), &brought), []);
    let said: Vec<_> = judged(&seen(), Some(&brought)).into_iter().filter(|finding| finding.check == "leaf").collect();
    assert!(said[0].says.contains("the operator's"), "{said:?}");
}

#[tokio::test]
async fn a_realm_on_the_link_is_not_asked() {
    let client = client(None).unwrap();
    for host in ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"] {
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"").parse().unwrap();
        assert_eq!(realm(&client, &challenge, "s").await, RealmSeen::OfTheLink, "{host}");
    }
    let challenge = "Bearer realm=\"data:,x\",service=\"s\"".parse().unwrap();
    assert_eq!(realm(&client, &challenge, "s").await, RealmSeen::NoUrl);
}

#[test]
fn what_is_no_registry_with_tokens_is_said_at_once() {
    let bare = |bare| Observed { bare, realm: None, ours: Accepts::NotAsked, foreign: Accepts::NotAsked, ..seen() };
    let answer = |status| Ok(Answer { status, date: None, challenge: None });
    for (bare, text) in [
        (bare(Err("connection refused".to_owned())), "does not answer: connection refused"),
        (bare(answer(200)), "lets everybody in"),
        (bare(answer(401)), "not for a Bearer token"),
        (bare(answer(404)), "answers 404 for /v2/"),
    ] {
        let [finding] = &judged(&bare, None)[..] else { panic!() };
        assert!(finding.state == State::Fault && finding.says.contains(text), "{finding:?}");
    }
}

#[test]
fn clocks_are_blamed_before_bundles() {
    let mut seen = Observed { ours: Accepts::No(401), ..seen() };
    if let Ok(answer) = &mut seen.bare {
        answer.date = Some(now() + DAY);
    }
    let told = unwell(&seen, &probe());
    assert!(told.iter().any(|(check, _, said)| *check == "trust" && said.contains("mend the clocks")), "{told:?}");
    assert!(
        told.iter().any(|(check, _, said)| *check == "clock" && said.contains("86400 s ahead of ours")),
        "{told:?}"
    );
}

#[test]
fn dates_are_read_as_servers_write_them() {
    assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp::from_seconds(784_111_777)));
    for text in ["", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37"] {
        assert_eq!(http_date(text), None, "{text}");
    }
}

#[test]
fn usual_issuers_are_tried() {
    let challenge = "Bearer realm=\"https://auth.test:5001/token\",service=\"s\"".parse().unwrap();
    let likely = likely_issuers(&"https://registry.test".parse().unwrap(), &challenge, "s");
    for name in ["s", "https://auth.test:5001/token", "https://auth.test:5001", "auth.test", "registry.test"] {
        assert!(likely.iter().any(|one| one == name), "{name} is not among {likely:?}");
    }
}
