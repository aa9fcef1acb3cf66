//! docker_auth's static users and its ordered list of rules, as accounts, teams, namespaces and grants.
//!
//! There the first entry that matches decides, and nothing behind it counts; here grants add up. So both are computed for every account
//! over sample repositories, and what would change is listed. What has no form here is left out and named.

mod acl;
mod compare;
mod config;
mod expression;
mod samples;
#[cfg(test)]
mod tests;
mod translate;

use serde::Serialize;
use shared::{
    repository::RepositoryName,
    settings::{SettingsError, Source},
};

use crate::accounts::setup::Document;
use acl::View;
use config::{Config, User};
use samples::Samples;

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// What is to be added.
    pub document: Document,
    /// What was left out, or is not quite the same.
    pub warnings: Vec<Warning>,
    /// Every account and sample repository whose answer is another.
    pub differences: Vec<Changed>,
    /// How many pairs of an account and a repository were compared.
    pub compared: usize,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Where in the file; zero for the file as a whole.
    pub line: usize,
    /// What, as a sentence.
    pub text: String,
}

/// One account at one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The account; empty for somebody who did not sign in, `*` for whoever does and does not stand in the file.
    pub account: String,
    /// The repository.
    pub repository: String,
    /// What docker_auth allows.
    pub before: String,
    /// What these grants allow.
    pub after: String,
    /// Whether that is something that was not allowed before.
    pub more: bool,
}

/// Reads `auth_config.yml` and compares over the repositories that its own patterns suggest, and over these.
///
/// # Errors
/// The first thing that cannot be read, with line and key.
pub fn docker_auth(name: &str, text: &str, repositories: &[RepositoryName]) -> Result<Imported, SettingsError> {
    let read = Source::text(name, text)?.read::<config::RawConfig>()?;
    let mut warnings = Vec::new();
    let config = Config::of(read.value, &read.unknown, &mut warnings);
    let samples = Samples::of(&config, repositories);
    let stranger = User::stranger();
    let views: Vec<View<'_>> = config.users.iter().chain([&stranger]).map(|user| config.seen_by(user)).collect();
    let document = translate::document(&config, &views, &samples, repositories, &mut warnings);
    let (differences, compared) = compare::differences(&config, &views, &document, &samples);
    warnings.sort_by_key(|warning| warning.line);
    warnings.dedup();
    Ok(Imported { document, warnings, differences, compared })
}
