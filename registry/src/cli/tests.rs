//! Files and variables as operators write them, laid over the registry's own tree (distribution.md 1.4).

use shared::listen::Place;

use super::*;
use crate::settings::{AccessSettings, Deletes, Writes};

const FILE: &str = "version: 0.1
storage: {filesystem: {rootdirectory: /data}, maintenance: {readonly: {enabled: false}}}
http: {addr: 127.0.0.1:5000}
";

fn read(text: &str, variables: &[(&str, &str)]) -> Result<(Settings, Vec<String>), String> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("config.yml");
    std::fs::write(&path, text).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    match load(&path, variables) {
        Ok((settings, unknown)) => Ok((settings, unknown.iter().map(ToString::to_string).collect())),
        Err(error) => Err(error.to_string().replace(&path.display().to_string(), "config.yml")),
    }
}

fn settings(variables: &[(&str, &str)]) -> Settings {
    let (settings, unknown) = read(FILE, variables).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    settings
}

fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    read(text, variables).map(|(settings, _)| settings).unwrap_err()
}

#[test]
fn leaves_under_sections_that_the_file_has_are_reached() {
    // The stock registry ignores the first, and dies of it where the file has no such section.
    let read_only = "REGISTRY_STORAGE_MAINTENANCE_READONLY";
    assert_eq!(settings(&[("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true")]).storage.writes, Writes::Refused);
    assert_eq!(settings(&[(read_only, "{\"enabled\":true}")]).storage.writes, Writes::Refused);
    let maintenance = ("REGISTRY_STORAGE_MAINTENANCE", "readonly: {enabled: true}");
    assert_eq!(settings(&[maintenance]).storage.writes, Writes::Refused);
    assert_eq!(settings(&[("REGISTRY_STORAGE_DELETE_ENABLED", "true")]).storage.deletes, Deletes::Enabled);
    let purging = settings(&[("REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "1h")]).storage.upload_life;
    assert_eq!(purging.as_secs(), 3600);
    assert_eq!(settings(&[("REGISTRY_HTTP_ADDR", "127.0.0.1:1")]).http.listen, Place::Tcp("127.0.0.1:1".into()));
}

#[test]
fn a_way_of_access_can_be_named_by_one_word_and_completed_below() {
    let htpasswd = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
    ];
    let expected = AccessSettings::Htpasswd { realm: "Registry Realm".into(), path: "/auth/htpasswd".into() };
    assert_eq!(settings(&htpasswd).access, expected);
    assert_eq!(settings(&htpasswd[1..]).access, expected);
    assert_eq!(refusal(FILE, &htpasswd[..1]), "config.yml: auth.htpasswd.realm: is required here");
    assert_eq!(settings(&[("REGISTRY_AUTH", "none")]).access, AccessSettings::None);
    let silly = refusal(FILE, &[("REGISTRY_AUTH", "silly")]);
    assert!(silly.starts_with("config.yml: auth.silly: lets everybody in"), "{silly}");
}

#[test]
fn access_that_nobody_knows_does_not_leave_the_registry_open() {
    let expected = "config.yml: auth.ldap: is no way of access; use token, htpasswd or none";
    assert_eq!(refusal(&format!("{FILE}auth: {{ldap: {{url: x}}}}"), &[]), expected);
    assert_eq!(refusal(FILE, &[("REGISTRY_AUTH", "ldap: {url: x}")]), expected);
    let word = refusal(&format!("{FILE}auth: ldap"), &[]);
    assert!(word.ends_with("auth: a section is expected here, not \"ldap\""), "{word}");
    // A service called registry-auth makes Kubernetes set this one.
    let (_, unknown) = read(FILE, &[("REGISTRY_AUTH_SERVICE_HOST", "10.0.0.1")]).unwrap();
    assert_eq!(unknown, ["the environment variable REGISTRY_AUTH_SERVICE_HOST is unknown"]);
}

#[test]
fn bare_words_and_empty_sections_are_answered_as_what_they_name() {
    let with = |part: &str| refusal(&format!("version: 0.1\n{part}\n"), &[]);
    for part in ["storage: inmemory", "storage: {inmemory: }", "storage: {inmemory: {}}"] {
        assert!(with(part).starts_with("config.yml: storage.inmemory: there is no store in memory"), "{part}");
    }
    for part in ["auth: silly", "auth: {silly: }", "auth: {silly: {realm: x}}"] {
        let refused = refusal(&format!("{FILE}{part}\n"), &[]);
        assert!(refused.starts_with("config.yml: auth.silly: "), "{refused}");
    }
    for part in ["auth: none", "auth: {none: }", "auth: ", ""] {
        assert_eq!(read(&format!("{FILE}{part}\n"), &[]).unwrap().0.access, AccessSettings::None, "{part}");
    }
    let stock = "version: 0.1\nstorage: filesystem\n";
    assert_eq!(read(stock, &[]).unwrap().0.storage.root.as_os_str(), "/var/lib/registry");
    assert!(refusal(FILE, &[("REGISTRY_STORAGE", "inmemory")]).contains("storage.inmemory"));
}

#[test]
fn lists_take_indices_and_secrets_come_from_files() {
    let checks = settings(&[
        ("REGISTRY_HEALTH_FILE_0_FILE", "/down"),
        ("REGISTRY_HEALTH_FILECHECKERS_1_FILE", "/out"),
        ("REGISTRY_HEALTH_FILE_1_INTERVAL", "5s"),
    ]);
    let files: Vec<_> = checks.health.files.iter().map(|check| check.path.display().to_string()).collect();
    assert_eq!(files, ["/down", "/out"]);
    let far = refusal(FILE, &[("REGISTRY_HEALTH_FILE_3_FILE", "/x")]);
    assert!(far.ends_with("the list has 0 entries, so the next index is 0"), "{far}");

    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("secret");
    std::fs::write(&secret, "prt_svc_0123\n").unwrap();
    let secret = secret.display().to_string();
    let variables = [
        ("REGISTRY_PORTREEVE_COMPANION_URL", "http://auth:5001"),
        ("REGISTRY_PORTREEVE_COMPANION_CREDENTIAL_FILE", &secret),
    ];
    let companion = settings(&variables).companion.unwrap();
    assert_eq!(companion.credential.expose(), "prt_svc_0123");
}
