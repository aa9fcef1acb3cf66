//! Files and variables as people write them, read into a small tree of the registry's shape.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::secret::Secret;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tree {
    log: Log,
    storage: Storage,
    http: Http,
    health: Health,
    notifications: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Log {
    level: Level,
    fields: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Debug,
    #[default]
    Info,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Storage {
    filesystem: Option<Filesystem>,
    inmemory: Option<BTreeMap<String, String>>,
    s3: Option<S3>,
    maintenance: Maintenance,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filesystem {
    rootdirectory: Option<String>,
    maxthreads: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct S3 {
    bucket: String,
    secretkey: Option<Secret<String>>,
    max_retries: Option<i32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Maintenance {
    readonly: Switch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Switch {
    enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Http {
    addr: Option<String>,
    headers: BTreeMap<String, Vec<String>>,
    tls: Tls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tls {
    clientcas: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Health {
    file: Vec<FileCheck>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FileCheck {
    file: String,
    interval: Option<String>,
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<Read<Tree>, SettingsError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Source::text("config.yml", text)?
        .version("0.1")?
        .overlay("REGISTRY", variables)
        .aliases(&[("health.file", "FILECHECKERS")])
        .read()
}

fn read(text: &str, variables: &[(&str, &str)]) -> Tree {
    let read = read_with(text, variables).unwrap();
    assert_eq!(read.unknown, [], "everything is known");
    read.value
}

fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    read_with(text, variables).unwrap_err().to_string()
}

const V: &str = "version: 0.1\n";

#[test]
fn a_file_is_read_as_it_is_written() {
    let tree = read(
        "version: 0.1
log: {level: debug, fields: {service: registry, shard: 3}}
storage:
  filesystem:
    rootdirectory: /var/lib/registry   # where it lies
    maxthreads: 0x10
  maintenance: {readonly: {enabled: yes}}
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
  tls:
    clientcas:
      - /a
      - /b
",
        &[],
    );
    assert_eq!(tree.log.level, Level::Debug);
    assert_eq!(json!(tree.log.fields), json!({"service": "registry", "shard": 3}));
    let filesystem = tree.storage.filesystem.unwrap();
    assert_eq!((filesystem.rootdirectory.as_deref(), filesystem.maxthreads), (Some("/var/lib/registry"), Some(16)));
    assert!(tree.storage.maintenance.readonly.enabled);
    assert_eq!(tree.http.headers["X-Content-Type-Options"], ["nosniff"]);
    assert_eq!(tree.http.tls.clientcas, ["/a", "/b"]);
}

#[test]
fn text_that_looks_like_a_number_stays_text() {
    let tree = read(&format!("{V}storage: {{s3: {{bucket: 007, secretkey: 0123}}}}"), &[]);
    let s3 = tree.storage.s3.unwrap();
    assert_eq!((s3.bucket.as_str(), s3.secretkey.unwrap().expose().as_str()), ("007", "0123"));
}

#[test]
fn secrets_in_variables_are_taken_literally() {
    for secret in ["0123", "1e5", "yes", "p@ss: word #1", "\"quoted\"", "{abc", "*x", " spaced "] {
        let tree = read(V, &[("REGISTRY_STORAGE_S3_SECRETKEY", secret)]);
        assert_eq!(tree.storage.s3.unwrap().secretkey.unwrap().expose(), secret);
    }
}

#[test]
fn variables_reach_every_leaf_whatever_the_file_has() {
    let file = format!("{V}storage:\n  maintenance:\n    readonly:\n      enabled: false\n  s3: {{max_retries: 1}}\n");
    for text in [V, file.as_str()] {
        let tree = read(
            text,
            &[
                ("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true"),
                ("REGISTRY_STORAGE_S3_MAX_RETRIES", "5"),
                ("REGISTRY_HTTP_ADDR", "\":5000\""),
                ("REGISTRY_LOG_LEVEL", "debug"),
            ],
        );
        assert!(tree.storage.maintenance.readonly.enabled);
        assert_eq!(tree.storage.s3.unwrap().max_retries, Some(5));
        assert_eq!(tree.http.addr.as_deref(), Some(":5000"));
        assert_eq!(tree.log.level, Level::Debug);
    }
}

#[test]
fn a_variable_for_a_section_replaces_it_and_deeper_ones_are_laid_over_that() {
    let file = format!("{V}storage: {{filesystem: {{rootdirectory: /a}}, s3: {{bucket: b}}}}");
    let tree = read(
        &file,
        &[
            ("REGISTRY_STORAGE", "filesystem"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/b"),
            ("REGISTRY_STORAGE_MAINTENANCE", "readonly: {enabled: true}"),
        ],
    );
    assert!(tree.storage.s3.is_none());
    assert_eq!(tree.storage.filesystem.unwrap().rootdirectory.as_deref(), Some("/b"));
    assert!(tree.storage.maintenance.readonly.enabled);
    let tree = read(V, &[("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{\"enabled\":true}")]);
    assert!(tree.storage.maintenance.readonly.enabled);
}

#[test]
fn one_word_stands_for_a_section() {
    let tree = read(&format!("{V}storage: inmemory"), &[]);
    assert_eq!(tree.storage.inmemory, Some(BTreeMap::new()));
}

#[test]
fn lists_grow_by_index_in_the_order_of_numbers() {
    let names: Vec<String> = (0..12).map(|index| format!("REGISTRY_HTTP_TLS_CLIENTCAS_{index}")).collect();
    let variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    assert_eq!(read(&format!("{V}http: {{tls: {{clientcas: [/a]}}}}"), &variables).http.tls.clientcas, names);

    assert_eq!(read(V, &[("REGISTRY_HTTP_TLS_CLIENTCAS", "[/a,/b]")]).http.tls.clientcas, ["/a", "/b"]);
    assert_eq!(
        refusal(V, &[("REGISTRY_HTTP_TLS_CLIENTCAS_1", "/a")]),
        "environment variable REGISTRY_HTTP_TLS_CLIENTCAS_1: http.tls.clientcas: \
         the list has 0 entries, so the next index is 0"
    );
    assert_eq!(
        refusal(V, &[("REGISTRY_HTTP_TLS_CLIENTCAS", "/a")]),
        "environment variable REGISTRY_HTTP_TLS_CLIENTCAS: http.tls.clientcas: a list is expected here, like [/a]"
    );
}

#[test]
fn go_names_yaml_names_and_a_field_called_file_all_work() {
    for name in ["REGISTRY_HEALTH_FILE_0_FILE", "REGISTRY_HEALTH_FILECHECKERS_0_FILE"] {
        let tree = read(V, &[(name, "/down"), ("REGISTRY_HEALTH_FILE_0_INTERVAL", "5s")]);
        assert_eq!(tree.health.file[0].file, "/down", "{name}");
        assert_eq!(tree.health.file[0].interval.as_deref(), Some("5s"));
    }
}

#[test]
fn a_value_can_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, "hunter2\n").unwrap();
    let path = path.to_str().unwrap();
    let tree = read(V, &[("REGISTRY_STORAGE_S3_SECRETKEY_FILE", path), ("REGISTRY_HTTP_ADDR_FILE", path)]);
    assert_eq!(tree.storage.s3.unwrap().secretkey.unwrap().expose(), "hunter2");
    assert_eq!(tree.http.addr.as_deref(), Some("hunter2"));

    let both = refusal(V, &[("REGISTRY_HTTP_ADDR", ":1"), ("REGISTRY_HTTP_ADDR_FILE", path)]);
    assert!(both.ends_with("REGISTRY_HTTP_ADDR and REGISTRY_HTTP_ADDR_FILE both set this"), "{both}");
    let missing = refusal(V, &[("REGISTRY_HTTP_ADDR_FILE", "/nowhere")]);
    assert!(missing.starts_with("environment variable REGISTRY_HTTP_ADDR_FILE: http.addr: cannot read /nowhere"));
}

#[test]
fn a_variable_finds_a_free_name_that_is_there_in_another_case() {
    let file = format!("{V}http: {{headers: {{X-Foo: [a]}}}}\nlog: {{fields: {{max_size: 1}}}}");
    let tree = read(
        &file,
        &[
            ("REGISTRY_HTTP_HEADERS_X-FOO", "[b]"),
            ("REGISTRY_LOG_FIELDS_MAX_SIZE", "2"),
            ("REGISTRY_LOG_FIELDS_ENVIRONMENT", "staging"),
        ],
    );
    assert_eq!(tree.http.headers, BTreeMap::from([("X-Foo".to_owned(), vec!["b".to_owned()])]));
    assert_eq!(json!(tree.log.fields), json!({"max_size": 2, "environment": "staging"}));
}

#[test]
fn where_nothing_says_what_it_is_variables_make_lists_and_sections() {
    let tree = read(
        V,
        &[
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "alistener"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_THRESHOLD", "5"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_1", "{name: \"007\", disabled: true}"),
        ],
    );
    let expected = json!({"endpoints": [{"name": "alistener", "threshold": 5}, {"name": "007", "disabled": true}]});
    assert_eq!(tree.notifications, Some(expected));
}

#[test]
fn what_nothing_reads_is_found_with_what_was_probably_meant() {
    let read = read_with(
        "version: 0.1\nhttp:\n  adr: :5000\n  nonsense: {a: 1}\n",
        &[
            ("REGISTRY_HTPT_ADDR", ":1"),
            ("REGISTRY_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
            ("REGISTRY_HTTP_ADDR_X", ""),
        ],
    )
    .unwrap();
    let unknown: Vec<String> = read.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        unknown,
        [
            "the environment variable REGISTRY_HTPT_ADDR is unknown; did you mean REGISTRY_HTTP_ADDR?",
            "the environment variable REGISTRY_PORT_5000_TCP is unknown",
            "config.yml, line 3: http.adr is unknown; did you mean addr?",
            "config.yml, line 4: http.nonsense is unknown",
            "the environment variable REGISTRY_HTTP_ADDR_X is unknown",
        ]
    );
    assert_eq!(read.unknown.iter().filter(|unknown| unknown.is_in_file()).count(), 2);
}

/// Where skopeo keeps its logins is no setting of ours; what is like it, by one letter, may be meant for us.
#[test]
fn another_programs_variable_is_passed_over() {
    let variables = [("REGISTRY_AUTH_FILE", "/root/auth.json"), ("REGISTRY_AUTH_FILES", "/root/auth.json")];
    let read = read_with("version: 0.1\n", &variables).unwrap();
    let unknown: Vec<String> = read.unknown.iter().map(ToString::to_string).collect();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(unknown[0].contains("REGISTRY_AUTH_FILES"), "{unknown:?}");
}

#[test]
fn an_unknown_name_within_a_variable_is_told_apart_from_an_unknown_variable() {
    let read = read_with(V, &[("REGISTRY_HTTP", "{adr: x}")]).unwrap();
    assert_eq!(
        read.unknown[0].to_string(),
        "environment variable REGISTRY_HTTP: http.adr is unknown; did you mean addr?"
    );
}

#[test]
fn an_error_names_place_key_and_reason() {
    for (text, expected) in [
        (
            "storage: {maintenance: {readonly: {enabled: 1}}}",
            "config.yml, line 2: storage.maintenance.readonly.enabled: true or false is expected here, not \"1\"",
        ),
        (
            "storage:\n  filesystem:\n    maxthreads: many",
            "config.yml, line 4: storage.filesystem.maxthreads: \"many\" is not a whole number",
        ),
        (
            "storage: {filesystem: {maxthreads: -1}}",
            "config.yml, line 2: storage.filesystem.maxthreads: -1 is out of range",
        ),
        ("log: {level: loud}", "config.yml, line 2: log.level: unknown variant `loud`, expected `debug` or `info`"),
        ("http: {addr: [a]}", "config.yml, line 2: http.addr: one value is expected here, not a list"),
        ("http: nonsense", "config.yml, line 2: http: a section is expected here, not \"nonsense\""),
        (
            "http: {tls: {clientcas: [[a]]}}",
            "config.yml, line 2: http.tls.clientcas[0]: one value is expected here, not a list",
        ),
        ("http: {addr: a, addr: b}", "config.yml, line 2: addr stands here twice"),
    ] {
        assert_eq!(refusal(&format!("{V}{text}"), &[]), expected);
    }
}

#[test]
fn the_version_is_required_and_known() {
    assert_eq!(refusal("http: {}", &[]), "config.yml, line 1: version: is required here: version: 0.1");
    assert_eq!(refusal("log: {}\nversion: 0.2", &[]), "config.yml, line 2: version: only version 0.1 is known");
    assert!(Source::empty().version("0.1").unwrap().read::<Tree>().is_ok());
}

#[test]
fn an_empty_variable_unsets_an_optional_value() {
    let file = format!("{V}http: {{addr: x}}");
    assert_eq!(read(&file, &[("REGISTRY_HTTP_ADDR", "")]).http.addr, None);
}

#[test]
fn another_services_part_is_read_on_its_own() {
    let text = "version: 0.1\nportreeve:\n  auth:\n    http: {addr: :5001, adr: x}\n";
    let read = Source::text("config.yml", text)
        .unwrap()
        .version("0.1")
        .unwrap()
        .section(&["portreeve", "auth"])
        .overlay("PORTREEVE_AUTH", [("PORTREEVE_AUTH_LOG_LEVEL".to_owned(), "debug".to_owned())])
        .read::<Tree>()
        .unwrap();
    assert_eq!((read.value.http.addr.as_deref(), read.value.log.level), (Some(":5001"), Level::Debug));
    assert_eq!(read.unknown[0].to_string(), "config.yml, line 4: http.adr is unknown; did you mean addr?");
}

#[test]
fn anchors_and_merges_work_and_cannot_explode() {
    let text = format!("{V}log: {{fields: &f {{a: 1, b: 2}}}}\nnotifications: {{<<: *f, b: 3}}");
    assert_eq!(read(&text, &[]).notifications, Some(json!({"a": 1, "b": 3})));

    let mut bomb = format!("{V}a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb += &format!("b{level}: &a{level} [{aliases}]\n");
    }
    assert!(refusal(&bomb, &[]).ends_with("too many values"), "{}", refusal(&bomb, &[]));
    let deep = format!("{V}a: {}{}", "[".repeat(100), "]".repeat(100));
    assert!(read_with(&deep, &[]).is_err());
}

#[test]
fn what_is_not_yaml_is_refused_with_its_line() {
    let error = refusal("version: 0.1\nhttp: [", &[]);
    assert!(error.starts_with("config.yml, line ") && error.contains("not YAML"), "{error}");
    assert!(refusal("version: 0.1\n---\nversion: 0.1", &[]).contains("a second document"));
}

#[test]
fn variables_of_other_programs_and_in_small_letters_are_left_alone() {
    let tree =
        read(V, &[("registry_http_addr", "x"), ("REGISTRYX_HTTP_ADDR", "x"), ("PATH", "/bin"), ("REGISTRY", "x")]);
    assert_eq!(tree.http.addr, None);
}

#[test]
fn sections_that_the_file_does_not_have_come_from_the_defaults() {
    let defaults = || Source::text("defaults", "http: {addr: d, secret: d}\nstorage: {root: d}").unwrap();
    let read = |text: &str| {
        let source = Source::text("f", text).unwrap().or_sections_of(defaults());
        source.read::<serde_json::Value>().unwrap().value
    };
    assert_eq!(read("http: {addr: mine}"), serde_json::json!({"http": {"addr": "mine"}, "storage": {"root": "d"}}));
    assert_eq!(read(""), serde_json::json!({"http": {"addr": "d", "secret": "d"}, "storage": {"root": "d"}}));
}

#[test]
fn a_file_may_have_what_the_limits_say_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yml");
    let most = usize::try_from(MAX_FILE_BYTES).unwrap();
    for (length, refused) in [(most, false), (most + 1, true)] {
        std::fs::write(&file, format!("#{}\n", "x".repeat(length - 2))).unwrap();
        let read = Source::file(&file);
        assert_eq!(read.is_err(), refused, "{length}");
        if let Err(error) = read {
            assert!(error.to_string().contains("config.yml: settings of more than 1048576 bytes"), "{error}");
        }
    }

    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(yaml::parse(&nested(yaml::MAX_DEPTH + 1)).is_ok(), "the outermost is not within another");
    assert_eq!(yaml::parse(&nested(yaml::MAX_DEPTH + 2)).unwrap_err().reason, "nested too deeply");

    // The list is a value, too.
    let list = |values: usize| format!("[{}]", "1,".repeat(values - 1));
    assert!(yaml::parse(&list(yaml::MAX_NODES)).is_ok());
    assert_eq!(yaml::parse(&list(yaml::MAX_NODES + 1)).unwrap_err().reason, "too many values");
    // An alias counts as often as it is written.
    let aliases = |times: usize| format!("[&a [{}],{}]", "1,".repeat(98), "*a,".repeat(times));
    assert!(yaml::parse(&aliases(499)).is_ok());
    assert_eq!(yaml::parse(&aliases(500)).unwrap_err().reason, "too many values");
}
