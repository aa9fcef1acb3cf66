use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use shared::listen::Place;

use super::*;
use crate::access::{Realm, key::TokenAlgorithm};

fn read(tree: Value) -> Result<Settings, SettingsError> {
    Settings::try_from(serde_json::from_value::<RawSettings>(tree).expect("the tree has the right types"))
}

/// The smallest tree with `part` laid into it.
fn with(part: Value) -> Result<Settings, SettingsError> {
    let mut tree = json!({"storage": {"filesystem": {"rootdirectory": "/data"}}});
    merge(&mut tree, part);
    read(tree)
}

fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (key, value) in part {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part,
    }
}

fn key_of(part: Value) -> String {
    match with(part) {
        Err(error) => error.key,
        Ok(settings) => panic!("accepted: {settings:?}"),
    }
}

#[test]
fn a_stock_configuration_starts() {
    // As the Debian package and the stock image have it.
    let settings = read(json!({
        "version": 0.1,
        "log": {"fields": {"service": "registry"}},
        "storage": {"cache": {"blobdescriptor": "inmemory"}, "filesystem": {"rootdirectory": "/var/lib/registry"},
                    "delete": {"enabled": true}},
        "http": {"addr": ":5000", "headers": {"X-Content-Type-Options": ["nosniff"]}, "secret": "x"},
        "health": {"storagedriver": {"enabled": true, "interval": "10s", "threshold": 3}},
        "notifications": {"endpoints": []}, "redis": {},
    }))
    .unwrap();
    assert_eq!(settings.storage.root, PathBuf::from("/var/lib/registry"));
    assert_eq!(settings.storage.deletes, Deletes::Enabled);
    assert_eq!(settings.http.listen, Place::Tcp(":5000".into()));
    assert_eq!(settings.http.headers, [("X-Content-Type-Options".to_owned(), "nosniff".to_owned())]);
    assert_eq!(settings.access, AccessSettings::None);
    assert_eq!(settings.log.fields["service"], "registry");
    let every_ten_seconds = StorageCheck { interval: Duration::from_secs(10), threshold: 3 };
    assert_eq!(settings.health.storage, Some(every_ten_seconds));
}

#[test]
fn defaults_are_distributions() {
    let settings = with(json!({})).unwrap();
    assert_eq!((settings.catalog_entries, settings.tag_entries), (1000, 1000));
    assert_eq!(settings.storage.deletes, Deletes::Disabled);
    assert_eq!(settings.storage.writes, Writes::Allowed);
    assert_eq!(settings.storage.upload_life, Duration::from_secs(168 * 3600));
    assert_eq!(settings.http.prefix, "/");
    assert_eq!(settings.manifest_limit, DEFAULT_MANIFEST_LIMIT);
    assert_eq!(settings.lives.undelete, Duration::ZERO);
    assert_eq!(settings.references, References::Normal);
    assert!(matches!(settings.database, DatabaseSettings::Sqlite { path } if path.as_os_str() == "/data/registry.db"));
}

#[test]
fn what_comes_later_stops_the_start_and_an_empty_section_does_not() {
    for (key, part) in [
        ("storage.s3", json!({"storage": {"s3": {"bucket": "b"}}})),
        ("storage.azure", json!({"storage": {"azure": {}}})),
        ("storage.inmemory", json!({"storage": {"inmemory": {}}})),
        ("storage.cache.blobdescriptor", json!({"storage": {"cache": {"blobdescriptor": "redis"}}})),
        ("redis", json!({"redis": {"addrs": ["redis:6379"]}})),
        ("proxy", json!({"proxy": {"remoteurl": "https://registry-1.docker.io"}})),
        ("notifications", json!({"notifications": {"endpoints": [{"url": "http://x"}]}})),
        ("middleware", json!({"middleware": {"storage": [{"name": "redirect"}]}})),
        ("policy", json!({"policy": {"repository": {"classes": ["image"]}}})),
        ("log.hooks", json!({"log": {"hooks": [{"type": "mail"}]}})),
        ("http.tls.letsencrypt", json!({"http": {"tls": {"letsencrypt": {"hosts": ["x"]}}}})),
        ("validation.manifests.urls", json!({"validation": {"manifests": {"urls": {"allow": ["^https://x"]}}}})),
        ("auth.silly", json!({"auth": {"silly": {"realm": "x"}}})),
        // As a file says it that leaves the value out.
        ("auth.silly", json!({"auth": {"silly": null}})),
        ("storage.inmemory", json!({"storage": {"inmemory": null}})),
        ("storage.s3", json!({"storage": {"s3": null}})),
    ] {
        assert_eq!(key_of(part), key);
    }
    assert!(with(json!({"proxy": {"remoteurl": null}, "notifications": {"endpoints": []}})).is_ok());
    assert!(with(json!({"compatibility": {"schema1": {"enabled": true}}, "reporting": {"bugsnag": {}}})).is_ok());
}

#[test]
fn what_cannot_be_names_its_key() {
    for (key, part) in [
        ("log.level", json!({"log": {"level": "loud"}})),
        ("log.formatter", json!({"log": {"formatter": "xml"}})),
        ("http.addr", json!({"http": {"addr": "nowhere"}})),
        ("http.net", json!({"http": {"net": "carrier pigeon"}})),
        ("http.addr", json!({"http": {"net": "unix"}})),
        ("http.host", json!({"http": {"host": "registry.example.com"}})),
        ("http.prefix", json!({"http": {"prefix": "/no-end"}})),
        ("http.prefix", json!({"http": {"prefix": "//"}})),
        ("http.tls.key", json!({"http": {"tls": {"certificate": "c.pem"}}})),
        ("http.tls.minimumtls", json!({"http": {"tls": {"certificate": "c", "key": "k", "minimumtls": "tls1.0"}}})),
        (
            "http.tls.clientauth",
            json!({"http": {"tls": {"certificate": "c", "key": "k", "clientauth": "request-client-cert"}}}),
        ),
        ("tags.maxtags", json!({"tags": {"maxtags": -1}})),
        ("portreeve.references", json!({"portreeve": {"references": "loose"}})),
        ("portreeve.manifestlimit", json!({"portreeve": {"manifestlimit": (4 << 20) - 1}})),
        ("portreeve.manifestlimit", json!({"portreeve": {"manifestlimit": (64 << 20) + 1}})),
        ("portreeve.database.url", json!({"portreeve": {"database": {"url": "mysql://x"}}})),
        ("portreeve.connections.total", json!({"portreeve": {"connections": {"total": 0}}})),
        ("portreeve.connections.peraddress", json!({"portreeve": {"connections": {"peraddress": 1_048_577}}})),
        ("portreeve.trustedproxies", json!({"portreeve": {"trustedproxies": ["10.0.0.1/8"]}})),
        ("portreeve.companion.credential", json!({"portreeve": {"companion": {"url": "http://auth"}}})),
        ("storage.maintenance.uploadpurging", json!({"storage": {"maintenance": {"uploadpurging": {"age": "0s"}}}})),
        ("health.file.file", json!({"health": {"file": [{}]}})),
        ("log.fields.level", json!({"log": {"fields": {"level": "x"}}})),
        ("log.fields.a b", json!({"log": {"fields": {"a b": "x"}}})),
        // An empty section is a way of access that was begun, not one that was left out.
        ("auth.htpasswd.realm", json!({"auth": {"htpasswd": null}})),
        ("auth.token", json!({"auth": {"token": null}})),
    ] {
        assert_eq!(key_of(part), key);
    }
    assert_eq!(read(json!({})).unwrap_err().key, "storage");
}

#[test]
fn access_is_one_and_complete() {
    let token =
        json!({"realm": "https://auth.example/token", "issuer": "i", "service": "s", "rootcertbundle": "/b.pem"});
    let AccessSettings::Token(read) = with(json!({"auth": {"token": token}})).unwrap().access else {
        panic!("no token")
    };
    assert_eq!(read.realm, Realm::Fixed("https://auth.example/token".parse().unwrap()));
    assert_eq!(read.algorithms, TokenAlgorithm::ALL);
    let changed = |member: &str, value: Value| {
        let mut token = token.clone();
        token[member] = value;
        with(json!({"auth": {"token": token}}))
    };
    let realm = |answer: Result<Settings, SettingsError>| match answer.unwrap().access {
        AccessSettings::Token(token) => token.realm.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(realm(changed("realm", Value::Null)), Realm::OfRequest { path: "/token".into() });
    assert_eq!(realm(changed("autoredirect", json!(true))), Realm::OfRequest { path: "/auth/token".into() });
    for (member, value, key) in [
        ("issuer", json!(""), "auth.token.issuer"),
        ("service", Value::Null, "auth.token.service"),
        ("rootcertbundle", Value::Null, "auth.token"),
        ("realm", json!("not an address"), "auth.token.realm"),
        ("signingalgorithms", json!(["HS256"]), "auth.token.signingalgorithms"),
        ("jwks", json!("ftp://x/jwks"), "auth.token.jwks"),
    ] {
        assert_eq!(changed(member, value).unwrap_err().key, key);
    }
    let both = json!({"auth": {"token": token, "htpasswd": {"realm": "r", "path": "/p"}}});
    assert_eq!(key_of(both), "auth");
    assert_eq!(key_of(json!({"auth": {"htpasswd": {"path": "/p"}}})), "auth.htpasswd.realm");
    for none in [json!({"none": {}}), json!({"none": null}), json!({})] {
        assert_eq!(with(json!({ "auth": none })).unwrap().access, AccessSettings::None);
    }
}

#[test]
fn proxies_are_ranges_or_addresses() {
    let proxies = |texts: &[&str]| {
        let read = with(json!({"portreeve": {"trustedproxies": texts}}));
        read.map(|settings| settings.http.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let written = ["10.0.0.0/8", "127.0.0.1", "::ffff:192.0.2.0/120", "::ffff:192.0.2.7", "fd00::/8", "::1"];
    let read = ["10.0.0.0/8", "127.0.0.1/32", "192.0.2.0/24", "192.0.2.7/32", "fd00::/8", "::1/128"];
    assert_eq!(proxies(&written).unwrap(), read);
    for wrong in ["", "10.0.0.0/33", "10.0.0.1/8", "x/8", "10.0.0.0/", "::/129", "localhost"] {
        let refused = proxies(&[wrong]).unwrap_err().to_string();
        assert!(refused.contains("portreeve.trustedproxies") && refused.contains(&format!("{wrong:?}")), "{refused}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let settings = with(json!({"portreeve": {
        "companion": {"url": "http://auth:5001", "credential": "prt_svc_hush"},
        "database": {"url": "postgres://user:hush@db/registry"},
    }}));
    assert!(!format!("{settings:?}").contains("hush"));
}

#[test]
fn a_manifest_limit_may_be_as_low_as_the_specification_allows_and_as_high_as_memory_does() {
    for limit in [4 << 20, 64 << 20] {
        assert_eq!(with(json!({"portreeve": {"manifestlimit": limit}})).unwrap().manifest_limit, limit);
    }
}

#[test]
fn connections_are_counted_from_one_to_a_million() {
    let limits = |key: &str, most: u64| {
        let settings = with(json!({"portreeve": {"connections": {key: most}}}));
        settings.map(|settings| settings.http.limits()).map_err(|error| error.key)
    };
    for most in [1, 1_048_576] {
        assert_eq!(limits("total", most).unwrap().connections as u64, most);
        assert_eq!(limits("peraddress", most).unwrap().connections_each as u64, most);
    }
    for (key, named) in [("total", "portreeve.connections.total"), ("peraddress", "portreeve.connections.peraddress")] {
        for most in [0, 1_048_577] {
            assert_eq!(limits(key, most).unwrap_err(), named, "{most}");
        }
    }
}

#[test]
fn a_life_is_a_hundred_years_at_most() {
    let longest = 100 * 366 * 24;
    for life in ["undelete", "grace", "trash"] {
        assert!(with(json!({"portreeve": {life: format!("{longest}h")}})).is_ok(), "{life}");
        assert_eq!(key_of(json!({"portreeve": {life: format!("{longest}h1s")}})), "portreeve");
    }
    let age = |age: String| json!({"storage": {"maintenance": {"uploadpurging": {"age": age}}}});
    assert!(with(age(format!("{longest}h"))).is_ok());
    assert_eq!(key_of(age(format!("{longest}h1s"))), "storage.maintenance.uploadpurging");
}

#[test]
fn metrics_are_told_where_the_file_says() {
    let metrics = |prometheus: Value| {
        let settings = with(json!({"http": {"debug": {"addr": "127.0.0.1:0", "prometheus": prometheus}}}));
        settings.map(|settings| settings.http.metrics).map_err(|error| error.key)
    };
    assert_eq!(metrics(json!({"enabled": false, "path": "/metrics"})), Ok(None));
    assert_eq!(metrics(json!({"enabled": true})), Ok(Some("/metrics".to_owned())));
    assert_eq!(metrics(json!({"enabled": true, "path": "/numbers"})), Ok(Some("/numbers".to_owned())));
    for path in ["metrics", "/{all}", "/debug/health"] {
        let refused = metrics(json!({"enabled": true, "path": path}));
        assert_eq!(refused, Err("http.debug.prometheus.path".to_owned()), "{path}");
    }
}

#[test]
fn lives_are_those_of_the_file() {
    let purging = |purging: Value| {
        let settings = with(json!({"storage": {"maintenance": {"uploadpurging": purging}}}));
        settings.map(|settings| settings.storage.upload_life)
    };
    let (hour, century) = (Duration::from_secs(3600), Duration::from_secs(100 * 366 * 24 * 3600));
    assert_eq!(purging(json!({"enabled": true, "age": "1h", "interval": "24h", "dryrun": false})), Ok(hour));
    assert_eq!(purging(json!({"enabled": false, "age": "1h"})), Ok(century), "never, as far as anybody will see");
    assert!(purging(json!({"age": "2000000h"})).is_err());
    let lives =
        with(json!({"portreeve": {"grace": "1h", "trash": "2h", "undelete": "3h", "collect": "4h"}})).unwrap().lives;
    assert_eq!(lives, Lives { grace: hour, trash: 2 * hour, undelete: 3 * hour, collect: 4 * hour });
    assert_eq!(with(json!({})).unwrap().lives.collect, Duration::from_secs(60));
    let restless = with(json!({"portreeve": {"collect": "1ms"}})).unwrap_err();
    assert_eq!(restless.to_string(), "portreeve.collect: must be at least 100ms");
}

#[test]
fn rests_are_as_short_as_the_limits_say_and_no_shorter() {
    let collect = |text: &str| with(json!({"portreeve": {"collect": text}})).map(|settings| settings.lives.collect);
    assert_eq!(collect("100ms"), Ok(Duration::from_millis(100)));
    assert_eq!(key_of(json!({"portreeve": {"collect": "99.999999ms"}})), "portreeve.collect");
    let every = |text: &str| with(json!({"portreeve": {"lifecycle": {"every": text}}})).map(|read| read.rules_every);
    assert_eq!(every("1s"), Ok(Some(Duration::from_secs(1))));
    assert_eq!(every("0"), Ok(None), "left to people");
    for short in ["999.999999ms", "1ns"] {
        assert_eq!(key_of(json!({"portreeve": {"lifecycle": {"every": short}}})), "portreeve.lifecycle.every");
    }
}
