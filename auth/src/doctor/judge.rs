//! What is said of what was seen. Pure: every way to be broken is a value.

use std::time::Duration;

use shared::{challenge::BearerChallenge, clock::Timestamp};

use super::{Finding, Probe, State};

/// By how much the clocks of an issuer and a registry may differ: what registries forgive.
pub(super) const LEEWAY: Duration = Duration::from_secs(60);
/// Where it is time to look at clocks.
const NOTICEABLE: Duration = Duration::from_secs(5);
/// Leaves sign for a week of their two: one that has less left than this was not replaced.
const OVERDUE: Duration = Duration::from_secs(6 * 24 * 3600);
/// A registry that follows the feed asks twice a minute.
const SILENT: Duration = Duration::from_secs(60);

/// What was seen of a registry.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its address, as it was said.
    pub registry: String,
    /// What it answered without a token; why it did not, if it did not.
    pub bare: Result<super::Answer, String>,
    /// When that answer came, by the clock of the server that signs.
    pub at: Timestamp,
    /// What stands at the realm, if a challenge named one.
    pub realm: Option<RealmSeen>,
    /// What it says to a token of ours.
    pub ours: Accepts,
    /// What it says to a stranger's.
    pub foreign: Accepts,
}

/// What stands at a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealmSeen {
    /// The challenge names no address.
    NoUrl,
    /// It is an address of one link: nobody else's clients reach it, and nobody is to be asked there on a stranger's word.
    OfTheLink,
    /// Nobody answers there.
    Silent(String),
    /// Somebody does.
    Answered {
        /// The status.
        status: u16,
        /// The key of the token that came.
        kid: Option<String>,
    },
}

/// What a registry says to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Nobody asked.
    NotAsked,
    /// It takes it.
    Yes,
    /// It takes it under this other `iss`.
    UnderIssuer(String),
    /// It refuses it, with this status.
    No(u16),
}

/// All that is to be said. Without a probe the registry is no registry of ours to judge.
#[must_use]
pub fn judged(seen: &Observed, probe: Option<&Probe>) -> Vec<Finding> {
    let Some((answer, challenge)) = answered(seen) else { return vec![no_challenge(seen)] };
    let mut findings =
        vec![well("reachable", format!("{} answers, and asks for tokens of {}", seen.registry, challenge.realm))];
    let Some(probe) = probe else { return findings };
    let service = challenge.service.as_str();
    let clock = clock(answer.date, seen.at);
    findings.push(self::service(service, probe));
    findings.extend(seen.realm.as_ref().map(|realm| self::realm(realm, &challenge.realm, probe)));
    findings.push(leaf(probe, answer.date.unwrap_or(seen.at)));
    findings.push(trust(seen, probe, &clock));
    findings.extend(stranger(&seen.foreign));
    findings.push(clock);
    findings.push(feed(service, probe));
    findings
}

fn answered(seen: &Observed) -> Option<(&super::Answer, &BearerChallenge)> {
    let answer = seen.bare.as_ref().ok()?;
    Some((answer, answer.challenge.as_ref()?))
}

fn well(check: &'static str, says: impl Into<String>) -> Finding {
    Finding { check, state: State::Well, says: says.into(), mend: None }
}

fn fault(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { check, state: State::Fault, says: says.into(), mend: Some(mend.into()) }
}

fn notice(check: &'static str, says: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { state: State::Notice, ..fault(check, says, mend) }
}

fn no_challenge(seen: &Observed) -> Finding {
    let registry = &seen.registry;
    match seen.bare.as_ref().map(|answer| answer.status) {
        Err(reason) => fault(
            "reachable",
            format!("{registry} does not answer: {reason}"),
            "say the address that clients use, with its scheme; for a certificate of your own authority add --ca FILE",
        ),
        Ok(200) => fault(
            "reachable",
            format!("{registry} lets everybody in: it asks for no token"),
            "set auth.token (realm, service, issuer, rootcertbundle) in the registry's configuration",
        ),
        Ok(401) => fault(
            "reachable",
            format!("{registry} asks for credentials, and not for a Bearer token"),
            "the registry's configuration has another kind of auth: replace it by auth.token",
        ),
        Ok(status) => fault(
            "reachable",
            format!("{registry} answers {status} for /v2/"),
            "this is no registry, or something stands before it: say the registry's own address",
        ),
    }
}

fn service(service: &str, probe: &Probe) -> Finding {
    if probe.services.iter().any(|known| known == service) {
        return well("service", format!("it calls itself {service:?}, and tokens are made for that"));
    }
    let known = probe.services.join(", ");
    fault(
        "service",
        format!("it calls itself {service:?}, and tokens are made for {known} only"),
        format!("portreeve auth service add {service:?}, or set auth.token.service of the registry to one of these"),
    )
}

fn realm(seen: &RealmSeen, realm: &str, probe: &Probe) -> Finding {
    let set = "set auth.token.realm of the registry to this server's address with /token behind it";
    match seen {
        RealmSeen::NoUrl => fault("realm", format!("{realm:?} is no address"), set),
        RealmSeen::OfTheLink => fault(
            "realm",
            format!("{realm} is an address of one link (169.254.0.0/16, fe80::/10), and was not asked"),
            set,
        ),
        RealmSeen::Silent(reason) => fault(
            "realm",
            format!("nobody answers at {realm}: {reason}"),
            format!("start portreeve auth there, or {set}; clients must reach it, too"),
        ),
        RealmSeen::Answered { kid: Some(kid), .. } if *kid == probe.kid => {
            well("realm", format!("{realm} is this server"))
        }
        RealmSeen::Answered { kid: Some(_), .. } => {
            fault("realm", format!("at {realm} another server signs tokens, with a key that is not ours"), set)
        }
        RealmSeen::Answered { status: 400, kid: None } if !probe.services.is_empty() => fault(
            "realm",
            format!("{realm} makes no token for this service (400)"),
            "make the service known first, and look again",
        ),
        RealmSeen::Answered { status, kid: None } => {
            fault("realm", format!("{realm} answers {status}, and no token"), set)
        }
    }
}

fn clock(date: Option<Timestamp>, at: Timestamp) -> Finding {
    let Some(date) = date else {
        return notice(
            "clock",
            "it says no Date, so its clock is not known",
            "compare the clocks by hand: more than a minute and tokens are refused",
        );
    };
    // The header has whole seconds.
    let apart = if date > at { date.since(at) } else { at.since(date) };
    let says = format!("its clock is {} s {} ours", apart.as_secs(), if date > at { "ahead of" } else { "behind" });
    let mend = "set both clocks by NTP: a registry forgives 60 s in a token, and nothing in a certificate";
    if apart > LEEWAY {
        fault("clock", says, mend)
    } else if apart > NOTICEABLE {
        notice("clock", says, mend)
    } else {
        well("clock", says)
    }
}

fn leaf(probe: &Probe, theirs: Timestamp) -> Finding {
    let rotate = "portreeve auth keys rotate; if that does not help, restart auth and look at its log";
    let (Some(begins), Some(ends)) = (probe.begins, probe.ends) else {
        return if probe.chained {
            let kid = &probe.kid;
            well("leaf", format!("the key {kid} that signs is the operator's (token.key): its end is not known here"))
        } else {
            fault("leaf", "the certificate of the signing key cannot be read", rotate)
        };
    };
    let left = ends.since(theirs);
    if !probe.chained {
        fault("leaf", format!("the bundle does not vouch for the key {} that signs", probe.kid), rotate)
    } else if theirs < begins {
        fault(
            "leaf",
            format!("by the registry's clock the signing certificate begins only at {begins}"),
            "set the registry's clock",
        )
    } else if left <= Duration::from_secs(probe.token_seconds) {
        fault("leaf", format!("the signing certificate ends at {ends}, sooner than the tokens that it signs"), rotate)
    } else if left < OVERDUE {
        notice("leaf", format!("the signing certificate ends at {ends} and should have been replaced by now"), rotate)
    } else {
        well("leaf", format!("the signing certificate holds until {ends}, and the bundle vouches for it"))
    }
}

fn trust(seen: &Observed, probe: &Probe, clock: &Finding) -> Finding {
    let bundle = &probe.bundle[..probe.bundle.len().min(16)];
    match &seen.ours {
        Accepts::Yes => {
            well("trust", format!("it accepts a token that we sign now, under the issuer {:?}", probe.issuer))
        }
        Accepts::UnderIssuer(theirs) => fault(
            "issuer",
            format!("it trusts our key and expects the issuer {theirs:?}; our tokens say {:?}", probe.issuer),
            format!("set auth.token.issuer of the registry to {:?}, or token.issuer here to {theirs:?}", probe.issuer),
        ),
        Accepts::No(_) if clock.state == State::Fault => fault(
            "trust",
            "it refuses a token that we sign now; the clocks may be all that is wrong",
            "mend the clocks and look again",
        ),
        Accepts::No(status) => fault(
            "trust",
            format!(
                "it refuses a token that we sign now ({status}): it does not trust our authority (SHA-256 {bundle}…), or expects an issuer that is neither {:?} nor a usual one",
                probe.issuer
            ),
            "put this server's /certs/bundle.pem where auth.token.rootcertbundle points (a stock registry is restarted then), and compare auth.token.issuer (--issuer NAME tries one)",
        ),
        Accepts::NotAsked => notice("trust", "no token was shown to it", "mend what stands above and look again"),
    }
}

fn stranger(foreign: &Accepts) -> Option<Finding> {
    match foreign {
        Accepts::NotAsked => None,
        Accepts::No(_) => Some(well("stranger", "it refuses a token that a stranger signed")),
        Accepts::Yes | Accepts::UnderIssuer(_) => Some(fault(
            "stranger",
            "it accepts a token that a stranger signed: anybody may do anything there",
            "what stands before the registry, or its auth, does not verify tokens: take it off the network",
        )),
    }
}

fn feed(service: &str, probe: &Probe) -> Finding {
    let life = probe.token_seconds;
    let late = format!("what is revoked counts there until tokens end, {life} s");
    match (probe.credential, probe.fed_at) {
        (_, Some(at)) if probe.now.since(at) <= SILENT => {
            well("feed", format!("it asked for the revocation feed at {at}"))
        }
        (true, _) if probe.replicas => notice(
            "feed",
            "it has not asked this server for the revocation feed lately; where several auth servers run it may ask another",
            "ask the others, each by its own address (--server), or look into the registry's log for its companion",
        ),
        (_, Some(at)) => fault(
            "feed",
            format!("it has not asked for the revocation feed since {at}: {late}"),
            "look into the registry's log for its companion: address, credential, network",
        ),
        (true, None) => fault(
            "feed",
            format!("it has a credential for the revocation feed and has not asked since this server began: {late}"),
            "set portreeve.companion (url, credential) of the registry; portreeve auth service list shows its name",
        ),
        (false, None) => notice(
            "feed",
            format!("it has no credential for the revocation feed: {late}"),
            format!(
                "a stock registry knows no feed; a portreeve registry gets one by portreeve auth service add {service:?} (in one process with auth it needs none)"
            ),
        ),
    }
}
