//! `doctor`: asks the server what it signs with, and a registry what it makes of that.

use std::{fs, io, path::PathBuf, time::Instant};

use serde_json::{Value, json};
use shared::clock::Clock;
use url::Url;

use super::{CliError, output, request::Request, target::Target};
use crate::doctor::{self, Accepts, Observed, Probe, State};

/// Which registry, and how it is reached.
#[derive(Debug)]
pub(super) struct Patient {
    pub(super) registry: Url,
    pub(super) authorities: Option<PathBuf>,
    pub(super) issuer: Option<String>,
}

/// Examines a registry. What does not fit is an error at the end.
pub(super) async fn examine(
    patient: &Patient,
    target: &Target,
    json: bool,
    out: &mut impl io::Write,
) -> Result<(), CliError> {
    let authorities = patient.authorities.as_deref().map(fs::read).transpose()?;
    let client =
        doctor::client(authorities.as_deref()).map_err(|error| CliError::Argument(format!("--ca: {error}")))?;
    let registry = &patient.registry;
    let bare = doctor::version_check(&client, registry, None).await;
    let answered = Instant::now();
    let mut seen = Observed {
        registry: registry.to_string(),
        at: Clock::system().now(),
        realm: None,
        ours: Accepts::NotAsked,
        foreign: Accepts::NotAsked,
        bare,
    };
    let challenge = seen.bare.as_ref().ok().and_then(|answer| answer.challenge.clone());
    let mut probe = None;
    if let Some(challenge) = challenge {
        let service = challenge.service.clone();
        let found = ask(target, &service, None).await?;
        // The server that signs may have another clock than this machine.
        seen.at = found.now - answered.elapsed();
        seen.realm = Some(doctor::realm(&client, &challenge, &service).await);
        seen.ours = shown(&client, registry, found.token.as_deref()).await;
        if matches!(seen.ours, Accepts::No(_)) {
            let likely =
                patient.issuer.clone().into_iter().chain(doctor::likely_issuers(registry, &challenge, &service));
            for issuer in likely.filter(|issuer| *issuer != found.issuer) {
                let other = ask(target, &service, Some(&issuer)).await?;
                if shown(&client, registry, other.token.as_deref()).await == Accepts::Yes {
                    seen.ours = Accepts::UnderIssuer(issuer);
                    break;
                }
            }
        }
        seen.foreign = shown(&client, registry, Some(&found.foreign)).await;
        probe = Some(found);
    }
    print(&seen, probe.as_ref(), json, out)
}

async fn ask(target: &Target, service: &str, issuer: Option<&str>) -> Result<Probe, CliError> {
    let request = Request::post(&["doctor"], json!({ "service": service, "issuer": issuer }));
    let answer = target.ask(&request.method, &request.url, request.body.as_ref()).await?;
    serde_json::from_value(answer).map_err(|error| CliError::Document(error.to_string()))
}

async fn shown(client: &reqwest::Client, registry: &Url, token: Option<&str>) -> Accepts {
    if token.is_none() {
        return Accepts::NotAsked;
    }
    match doctor::version_check(client, registry, token).await {
        Ok(answer) if answer.status == 200 => Accepts::Yes,
        Ok(answer) => Accepts::No(answer.status),
        Err(_) => Accepts::NotAsked,
    }
}

fn print(seen: &Observed, probe: Option<&Probe>, json: bool, out: &mut impl io::Write) -> Result<(), CliError> {
    let findings = doctor::judged(seen, probe);
    let faults = findings.iter().filter(|finding| finding.state == State::Fault).count();
    if json {
        let answer = json!({ "registry": seen.registry, "well": faults == 0, "findings": findings });
        output::print(&answer, &[], true, out)?;
    } else {
        for finding in &findings {
            let state = match finding.state {
                State::Well => "well",
                State::Notice => "notice",
                State::Fault => "FAULT",
            };
            let (says, mend) = (said(&finding.says), finding.mend.as_deref().map(said));
            writeln!(out, "{state:<6}  {:<9}  {says}", finding.check)?;
            if let Some(mend) = mend {
                writeln!(out, "                   {mend}")?;
            }
        }
    }
    if faults == 0 { Ok(()) } else { Err(CliError::Unwell { registry: seen.registry.clone(), faults }) }
}

/// What a registry said cannot drive a terminal.
fn said(text: &str) -> String {
    output::text(&Value::from(text))
}
