//! What whoever starts a registry is warned of.

use serde_json::{Value, json};

use super::*;
use crate::{
    access::testing::{authority, root},
    settings::RawSettings,
    testing::Lines,
};

/// How often access control with these settings warns of that.
fn warned(auth: &Value, text: &str) -> usize {
    let tree = json!({"storage": {"filesystem": {"rootdirectory": "/data"}}, "auth": auth});
    let settings = Settings::try_from(serde_json::from_value::<RawSettings>(tree).unwrap()).unwrap();
    let lines = Lines::default();
    let guard = lines.capture();
    access(&settings, None, &Clock::system()).unwrap();
    drop(guard);
    lines.warnings(text)
}

#[test]
fn a_realm_that_crane_refuses_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let bundle = directory.path().join("bundle.pem");
    std::fs::write(&bundle, root(authority("token CA", None)).pem()).unwrap();
    let with = |realm: Option<&str>| {
        let mut token = json!({"service": "registry", "issuer": "issuer", "rootcertbundle": bundle});
        if let Some(realm) = realm {
            token["realm"] = realm.into();
        }
        warned(&json!({ "token": token }), "the realm is a private address: crane, cosign and kaniko refuse it")
    };
    assert_eq!(with(Some("http://10.0.0.7:5001/token")), 1);
    assert_eq!(with(Some("https://auth.example/token")), 0);
    assert_eq!(with(None), 0);
}

#[test]
fn no_access_control_is_a_warning() {
    assert_eq!(warned(&json!({"none": {}}), "everybody may pull, push and delete"), 1);
}
