//! What settings say, and what they must not.

use super::*;
use crate::identity::ldap::config::{ExternalId, Security};

fn read(text: &str, variables: &[(&str, &str)]) -> Result<ProcessSettings, SettingsError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ProcessSettings::from_source(Source::text("auth.yml", text).unwrap().version(VERSION)?.overlay(PREFIX, variables))
}

fn error(text: &str) -> String {
    read(&format!("version: 0.1\n{text}"), &[]).unwrap_err().to_string()
}

#[test]
fn without_a_file_everything_has_a_default() {
    let settings = ProcessSettings::load(None, []).unwrap();
    assert_eq!(settings.listen, Place::Tcp(DEFAULT_LISTEN.into()));
    assert_eq!(settings.data, Path::new("./data"));
    assert_eq!(settings.auth.issuer, "portreeve");
    assert_eq!(settings.auth.services.len(), 1);
    assert!(
        matches!(settings.auth.location(Path::new("/d")), Location::Sqlite { path } if path == Path::new("/d/auth.db"))
    );
}

#[test]
fn a_whole_file_is_read_and_overlaid() {
    let text = "\
version: 0.1
data: /var/lib/auth
http: {addr: ':5001', tls: {certificate: c.pem, key: k.pem}}
log: {level: debug, formatter: json}
database: {url: 'postgres://u:p@db/x', schema: auth}
token: {issuer: https://auth.example.com, expiration: 600, bundle: /trust/bundle.pem}
services: [{name: registry.example.com, catalog: admins}]
htpasswd: /etc/htpasswd
trustedproxies: [10.0.0.0/8]
";
    let settings =
        read(text, &[("PORTREEVE_AUTH_TOKEN_EXPIRATION", "900"), ("PORTREEVE_AUTH_SERVICE_PORT", "80")]).unwrap();
    assert_eq!(settings.auth.token_life, Duration::from_secs(900));
    assert_eq!(settings.auth.issuer, "https://auth.example.com");
    assert_eq!(settings.auth.bundle.as_deref(), Some(Path::new("/trust/bundle.pem")));
    assert_eq!(settings.auth.services[0].1, Catalog::Admins);
    assert_eq!(settings.auth.htpasswd.as_deref(), Some(Path::new("/etc/htpasswd")));
    assert!(settings.tls.is_some());
    let printed = format!("{settings:?}");
    assert!(!printed.contains("u:p@"), "{printed}");
}

#[test]
fn what_makes_no_sense_is_named_with_its_place() {
    for (text, expected) in [
        ("htpaswd: x", "htpaswd is unknown; did you mean htpasswd?"),
        ("token: {expiraton: 5}", "token.expiraton is unknown"),
        ("token: {expiration: 59}", "token.expiration: 60 to 3600"),
        ("token: {expiration: 3601}", "token.expiration: 60 to 3600"),
        ("token: {issuer: ''}", "token.issuer"),
        ("ldap: [{name: corp, urls: [ldap://dc1], users: {base: dc=x}, usres: {}}]", "usres is unknown"),
        ("ldap: [{urls: [ldap://dc1], users: {base: dc=x}}]", "ldap.name"),
        ("ldap: [{name: htpasswd, urls: [ldap://dc1], users: {base: dc=x}}]", "ldap.name"),
        ("ldap: [{name: corp, users: {base: dc=x}}]", "ldap.urls"),
        ("ldap: [{name: corp, urls: ['http://dc1'], users: {base: dc=x}}]", "ldap.urls"),
        ("ldap: [{name: corp, urls: [ldap://dc1]}]", "ldap.users.base"),
        ("ldap: [{name: corp, urls: [ldap://dc1], users: {base: corp}}]", "ldap.users.base"),
        ("ldap: [{name: corp, urls: [ldap://dc1], users: {base: dc=x, filter: 'uid=*)('}}]", "ldap.users.filter"),
        ("ldap: [{name: corp, urls: [ldap://dc1], users: {base: dc=x, login: ['uid)(x']}}]", "ldap.users.login"),
        ("ldap: [{name: corp, urls: [ldap://dc1], users: {base: dc=x, id: uid}}]", "ldap.users.id"),
        ("ldap: [{name: corp, urls: [ldap://dc1], users: {base: dc=x, scope: all}}]", "ldap.users.scope"),
        (
            "ldap: [{name: corp, urls: [ldap://dc1], template: 'cn={username}x,dc=x', users: {base: dc=x}}]",
            "ldap.template",
        ),
        (
            "ldap: [{name: corp, urls: [ldap://dc1], template: 'uid={username},dc=x', users: {base: dc=x}, groups: {base: dc=x}}]",
            "ldap.groups: need bind",
        ),
        ("ldap: [{name: corp, urls: [ldap://dc1], bind: {dn: cn=a}, users: {base: dc=x}}]", "ldap.bind"),
        (
            "ldap: [{name: corp, urls: [ldap://dc1], bind: {dn: cn=a, password: ''}, users: {base: dc=x}}]",
            "ldap.bind.password",
        ),
        ("ldap: [{name: corp, urls: [ldap://dc1], bind: {external: true}, users: {base: dc=x}}]", "ldap.bind.external"),
        ("ldap: [{name: corp, urls: [ldap://dc1], key: k.pem, users: {base: dc=x}}]", "ldap.certificate"),
        (
            "ldap: [{name: a, urls: [ldap://dc1], users: {base: dc=x}}, {name: a, urls: [ldap://dc2], users: {base: dc=x}}]",
            "two called \"a\"",
        ),
        ("services: [{name: ''}]", "services.name"),
        ("services: [{name: a, catalog: all}]", "services.catalog"),
        ("database: {url: 'mysql://secret'}", "database.url"),
        ("database: {schema: 'a b'}", "database.schema"),
        ("trustedproxies: [10.0.0.1/8]", "trustedproxies"),
        ("http: {tls: {certificate: c.pem}}", "http.tls.key"),
        ("log: {level: loud}", "log.level"),
        ("log: {formatter: xml}", "log.formatter"),
    ] {
        assert!(error(text).contains(expected), "{text}: {}", error(text));
    }
    let issuer = |length: usize| format!("version: 0.1\ntoken: {{issuer: {}}}", "i".repeat(length));
    assert!(read(&issuer(MAX_ISSUER_BYTES), &[]).is_ok());
    assert!(read(&issuer(MAX_ISSUER_BYTES + 1), &[]).unwrap_err().to_string().contains("token.issuer: 1 to 255"));
    assert!(!error("database: {url: 'mysql://secret'}").contains("secret"));
    assert!(read("token: {}", &[]).unwrap_err().to_string().contains("version"));
}

#[test]
fn commands_read_the_registrys_configuration_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    let read = |text: &str, variables: &[(&str, &str)]| {
        std::fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ProcessSettings::for_commands(Some(&file), variables)
    };
    let both = "\
version: 0.1
http: {addr: ':5000', secret: x}
storage: {filesystem: {rootdirectory: /srv/registry}, delete: {enabled: true}}
portreeve: {undelete: 24h, auth: {htpasswd: /etc/htpasswd}}
";
    let settings = read(both, &[("PORTREEVE_AUTH_TOKEN_ISSUER", "us")]).unwrap();
    assert_eq!(settings.data, Path::new("/srv/registry"));
    assert_eq!(settings.auth.htpasswd.as_deref(), Some(Path::new("/etc/htpasswd")));
    assert_eq!(settings.auth.issuer, "us");
    let elsewhere = read(both, &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/mnt")]).unwrap();
    assert_eq!(elsewhere.data, Path::new("/mnt"));
    assert_eq!(read("version: 0.1\nportreeve: {}", &[]).unwrap().data, Path::new(DEFAULT_DATA));
    assert_eq!(read("version: 0.1\ndata: /own", &[]).unwrap().data, Path::new("/own"));

    let refused = |text: &str| read(text, &[]).unwrap_err().to_string();
    assert!(refused("version: 0.1\nportreeve: {auth: {htpaswd: x}}").contains("htpaswd is unknown"));
    assert!(refused("version: 0.1\nportreeve: {auth: {data: x}}").contains("of the registry"));
    assert!(refused("version: 0.1\ndatta: x").contains("did you mean data?"));
}

#[test]
fn what_belongs_to_the_process_is_the_registrys_where_both_are_one() {
    for key in ["data: /d", "http: {}", "log: {}"] {
        let raw = Source::text("config.yml", key).unwrap().read::<RawSettings>().unwrap().value;
        assert!(Settings::together(raw).unwrap_err().to_string().contains("of the registry"), "{key}");
    }
    assert!(Settings::together(RawSettings::default()).is_ok());
}

#[test]
fn a_directory_is_read_with_its_defaults() {
    let text = "\
version: 0.1
ldap:
  - name: corp
    urls: [ldaps://dc1.corp.test, ldap://dc2.corp.test]
    bind: {dn: 'cn=reader,dc=corp,dc=test', password: 'hunter2'}
    users: {base: 'ou=people,dc=corp,dc=test', login: [sAMAccountName, mail], id: objectguid}
";
    let settings = read(text, &[("PORTREEVE_AUTH_LDAP_0_BIND_PASSWORD", "another")]).unwrap();
    let [corp] = &settings.auth.ldap[..] else { panic!("one directory") };
    assert_eq!(
        corp.servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["ldaps://dc1.corp.test:636", "ldap://dc2.corp.test:389"]
    );
    assert_eq!(corp.servers[1].security, Security::StartTls, "never plain text unless somebody says so");
    assert_eq!((corp.users.name.as_str(), corp.users.id), ("sAMAccountName", ExternalId::ObjectGuid));
    let printed = format!("{settings:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("another"), "{printed}");
}

#[test]
fn what_makes_no_sense_is_named_with_its_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("auth.yml");
    for text in ["token: {expiration: 59}", "tokens: {}", "token: [", "token: {expiration: soon}"] {
        std::fs::write(&file, format!("version: 0.1\n{text}\n")).unwrap();
        for load in [ProcessSettings::load, ProcessSettings::for_commands] {
            let refused = load(Some(&file), Vec::new()).unwrap_err().to_string();
            assert!(refused.starts_with(&file.display().to_string()), "{refused}");
        }
    }
}
