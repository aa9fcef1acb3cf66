//! What the program is built from keeps to `deny.toml`: no banned crate, no licence outside the list, no source but the
//! registry of crates. `cargo deny` checks the same where it is installed.

mod licence;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

/// The lists of `deny.toml` that are checked here.
struct Policy {
    banned: Vec<String>,
    licences: BTreeSet<String>,
}

impl Policy {
    /// Reads the lists; the file is ours and keeps one entry to a line.
    fn parse(text: &str) -> Self {
        let quoted = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let banned =
            text.lines().filter(|line| line.trim_start().starts_with("{ crate = ")).filter_map(quoted).collect();
        let list = text.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']'));
        let licences = list.map_or("", |(list, _)| list).lines().filter_map(quoted).collect();
        Self { banned, licences }
    }

    /// Everything about `package` that the policy forbids.
    fn objections(&self, package: &Value) -> Vec<String> {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let name = text("name");
        let mut objections = Vec::new();
        if self.banned.iter().any(|banned| banned == name) {
            objections.push(format!("{name} is banned"));
        }
        if !licence::is_allowed(text("license"), &self.licences) {
            objections.push(format!("{name}: licence {:?} is not on the list", text("license")));
        }
        // Null is the workspace itself.
        let source = package["source"].as_str();
        if source.is_some_and(|source| !source.starts_with("registry+")) {
            objections.push(format!("{name} comes from {}", text("source")));
        }
        objections
    }
}

#[test]
fn t52_dependencies_keep_to_deny_toml() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let policy = Policy::parse(&fs::read_to_string(top.join("deny.toml")).expect("deny.toml is there"));
    assert!(policy.banned.len() >= 4 && policy.licences.len() >= 5, "deny.toml was not understood");
    let packages = packages(top);
    assert!(packages.len() > 100, "only {} packages were listed", packages.len());
    let objections: Vec<String> = packages.iter().flat_map(|package| policy.objections(package)).collect();
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn what_the_policy_forbids_is_named() {
    let policy =
        Policy::parse("deny = [\n    { crate = \"rsa\", reason = \"slow\" },\n]\n\nallow = [\n    \"MIT\",\n]\n");
    let package = |name: &str, licence: &str, source: &str| {
        policy.objections(&serde_json::json!({"name": name, "license": licence, "source": source}))
    };
    assert_eq!(package("serde", "MIT", "registry+https://index"), Vec::<String>::new());
    assert_eq!(package("rsa", "MIT", "registry+https://index"), ["rsa is banned"]);
    assert_eq!(package("gpl", "GPL-3.0", "registry+https://index").len(), 1);
    assert_eq!(package("fork", "MIT", "git+https://example.com/fork").len(), 1);
}

/// Every package that the workspace brings in on this machine's kind of Linux, tests included.
fn packages(top: &Path) -> Vec<Value> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &platform])
        .current_dir(top)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().cloned().expect("cargo lists packages")
}
