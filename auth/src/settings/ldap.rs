//! The directories of the settings, together; and one that a file describes in their words, to be added to a server.

use std::path::Path;

use serde_json::{Value, json};
use shared::{secret::Secret, settings::Source};

use super::SettingsError;
use crate::{
    accounts::providers::MAX_DIRECTORIES,
    identity::ldap::{
        config::Config,
        written::{Files, RawLdap, Unfit},
    },
};

pub(super) fn directories(raw: Vec<RawLdap>) -> Result<Vec<Config>, SettingsError> {
    if raw.len() > MAX_DIRECTORIES {
        return Err(SettingsError::invalid("ldap", format_args!("at most {MAX_DIRECTORIES} directories")));
    }
    let directories = raw.into_iter().map(|raw| raw.config(Files::Named)).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<&str> = directories.iter().map(|config| config.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(SettingsError::invalid("ldap.name", format_args!("there are two called {:?}", twice[0])));
    }
    Ok(directories)
}

impl From<Unfit> for SettingsError {
    fn from(Unfit { key, reason }: Unfit) -> Self {
        Self::Invalid { key, reason }
    }
}

/// What a file describes as the settings would, to be sent to a server that has none of its files: what these hold stands in their place.
///
/// # Errors
/// The file, or one that it names, cannot be read; a key that nothing reads.
pub fn to_be_added(file: &Path, password: Option<String>) -> Result<Value, SettingsError> {
    let mut described: RawLdap = super::known(Source::file(file)?)?;
    let path = described.bind.passwordfile.take();
    let read = |key, path: Option<&String>| path.map(|path| contents(key, path)).transpose();
    let in_file =
        read("ldap.bind.passwordfile", path.as_ref())?.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
    let told = described.bind.password.as_ref().map(|password| password.expose().clone());
    let password = match [password, in_file, told].into_iter().flatten().collect::<Vec<_>>().as_slice() {
        [] => None,
        [password] => Some(password.clone()),
        _ => return Err(SettingsError::invalid("ldap.bind", "there is one password, and two are named")),
    };
    described.ca = read("ldap.ca", described.ca.as_ref())?;
    described.certificate = read("ldap.certificate", described.certificate.as_ref())?;
    let key = read("ldap.key", described.key.as_ref().map(Secret::expose))?;
    let mut body = json!({ "ldap": described });
    body["ldap"]["key"] = json!(key);
    body["ldap"]["bind"]["password"] = json!(password);
    Ok(body)
}

fn contents(key: &'static str, path: &str) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|error| SettingsError::invalid(key, format_args!("{path}: {error}")))
}
