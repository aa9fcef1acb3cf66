//! The rules themselves, each a sentence and a look at the files.

use super::source::{SourceFile, mentions};

/// Who may import whom within the registry and within auth: a module may name what follows it, and nothing else of its
/// crate. Every module of the two stands here.
const DIRECTIONS: [(&str, &str, &[&str]); 31] = [
    ("registry", "http", &["access", "content", "gc", "lifecycle", "health", "settings"]),
    ("registry", "access", &[]),
    ("registry", "content", &["metadata", "store", "failpoints"]),
    ("registry", "gc", &["metadata", "store", "failpoints"]),
    ("registry", "lifecycle", &["metadata", "store", "failpoints"]),
    // Keys and digests of bytes are written down; the bytes are the store's alone.
    ("registry", "metadata", &["store", "failpoints"]),
    ("registry", "store", &["failpoints"]),
    // Steps of all of these have points between them.
    ("registry", "failpoints", &[]),
    // The checks are the operator's; one of them asks whether content is ready.
    ("registry", "health", &["content", "settings"]),
    // Settings are values. What a way of access is made of, access knows; a default stands where it takes effect.
    ("registry", "settings", &["access", "content", "gc"]),
    ("registry", "server", EVERYTHING),
    ("registry", "cli", &["server", "settings"]),
    (
        "auth",
        "http",
        &[
            "identity",
            "permissions",
            "issuer",
            "accounts",
            "audit",
            "metrics",
            "tokens",
            "pki",
            "sealing",
            "secrets",
            "signing",
            "first_start",
            "doctor",
        ],
    ),
    // Permissions are pure values: whoever stores or proves something may speak of them.
    ("auth", "identity", &["accounts", "audit", "metrics", "permissions", "secrets"]),
    // Counters, and what the accounts were last seen to hold.
    ("auth", "metrics", &["accounts"]),
    ("auth", "permissions", &[]),
    ("auth", "issuer", &[]),
    // An audit event commits with its change, and names accounts by their ids.
    ("auth", "accounts", &["audit", "permissions"]),
    // What is known of the chain's end lies in a file beside the database.
    ("auth", "audit", &["accounts", "key_files"]),
    // The keys that sign: rows, certificates, the issuer that is given them.
    ("auth", "signing", &["accounts", "audit", "issuer", "pki", "secrets"]),
    // What keeps the audit while the server runs.
    ("auth", "sealing", &["accounts", "audit", "secrets"]),
    // A token: who asks, what they may do, the signature.
    ("auth", "tokens", &["accounts", "identity", "issuer", "metrics", "permissions", "secrets"]),
    ("auth", "pki", &["issuer", "key_files"]),
    ("auth", "secrets", &["key_files"]),
    ("auth", "key_files", &[]),
    // What a directory is asked, identity knows.
    ("auth", "settings", &["accounts", "identity", "issuer", "permissions", "pki", "sealing"]),
    ("auth", "first_start", &["accounts", "identity", "key_files", "permissions"]),
    // What was seen of a registry, and what is said of it: values.
    ("auth", "doctor", &[]),
    // What other programs know becomes a setup, and is compared by what permissions say.
    ("auth", "import", &["accounts", "identity", "permissions"]),
    ("auth", "server", EVERYTHING),
    // The command line is a client of the admin API, and speaks its types.
    ("auth", "cli", &["server", "settings", "http", "first_start", "audit", "doctor", "import"]),
];

/// What joins the parts may name all of them, but for the command line, which starts it.
const EVERYTHING: &[&str] = &["*"];

/// The modules that join everything.
const COMPOSITION: [&str; 2] = ["server", "cli"];

/// Crates that one file each may know, and the words that show it.
const FENCED: [(&str, &str); 4] = [
    ("jsonwebtoken's provider", "jsonwebtoken::crypto"),
    ("rcgen", "rcgen::"),
    ("ldap3", "ldap3::"),
    ("the object-store client", "object_store::"),
];

const FORBIDDEN_TYPE_NAMES: [&str; 6] = ["Manager", "Helper", "Service", "Util", "Data", "Info"];
const FORBIDDEN_TYPE_ENDINGS: [&str; 3] = ["Manager", "Helper", "Util"];
const FORBIDDEN_FILE_NAMES: [&str; 7] = ["util", "utils", "common", "misc", "helper", "helpers", "mod"];

/// Every broken rule, as `sentence: file:line`.
pub(super) fn broken(tree: &[SourceFile]) -> Vec<String> {
    let mut broken = Vec::new();
    let test_modules: Vec<String> = tree.iter().flat_map(SourceFile::test_modules).collect();
    for file in tree.iter().filter(|file| !is_test_only(file, &test_modules)) {
        let found = if file.is_manifest() { manifest(file) } else { code(file) };
        broken.extend(found.into_iter().map(|(sentence, line)| format!("{sentence}: {}:{line}", file.path)));
    }
    for (name, word) in FENCED {
        let knowing = tree.iter().filter(|f| !f.is_for_tests() && f.names(word).is_some());
        let knowing: Vec<&str> = knowing.map(|f| f.path.as_str()).collect();
        if knowing.len() > 1 {
            broken.push(format!("one file knows {name}, not {}: {}", knowing.len(), knowing.join(", ")));
        }
    }
    broken
}

type Finding = (String, usize);

/// Whether the file, or a directory above it, is a module that exists in tests only: a test may look anywhere.
fn is_test_only(file: &SourceFile, test_modules: &[String]) -> bool {
    let below = |module: &String| file.path.strip_prefix(module).is_some_and(|r| r == ".rs" || r.starts_with('/'));
    test_modules.iter().any(below)
}

fn code(file: &SourceFile) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(web_framework(file));
    found.extend(queries(file));
    found.extend(services_apart(file));
    found.extend(directions(file));
    found.extend(type_names(file));
    found.extend(file_name(file));
    found.extend(file.names("unsafe").map(|line| ("unsafe code is forbidden".to_owned(), line)));
    found
}

/// axum and status codes are http's. The composition roots may name the one type they hand on, `axum::Router`;
/// `shared::listen`, `shared::command` (a socket's two ends), the request layer of `shared::telemetry` and `shared::openapi`
/// (what handlers' types say) are the plumbing under both services; auth's command line is a client of its own admin API.
fn web_framework(file: &SourceFile) -> Vec<Finding> {
    let plumbing =
        ["listen", "command", "telemetry", "openapi"].into_iter().any(|module| file.is_below("shared", module));
    let speaks_it = file.module() == "http" || plumbing || file.is_below("auth", "cli") || file.package() == "src";
    if speaks_it || file.is_for_tests() {
        return Vec::new();
    }
    let joins = COMPOSITION.contains(&file.module()) || file.module() == "lib";
    let mut found = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        let line = if joins { line.replace("axum::Router", "Router") } else { line.clone() };
        if mentions(&line, "axum::") || mentions(&line, "use axum") {
            found.push(("axum appears only below http/".to_owned(), index + 1));
        }
        if line.contains("StatusCode") {
            found.push(("status codes appear only below http/".to_owned(), index + 1));
        }
    }
    found
}

/// SQL stands in the store modules.
fn queries(file: &SourceFile) -> Option<Finding> {
    let stores = [("registry", "metadata"), ("auth", "accounts"), ("auth", "audit"), ("shared", "database")];
    if stores.iter().any(|(package, module)| file.is_below(package, module)) {
        return None;
    }
    let words = ["query", "query_as", "query_scalar", "raw_sql"];
    let calls = words.iter().flat_map(|word| ["(", "::<"].map(|call| format!("sqlx::{word}{call}")));
    let line = calls.chain(["sqlx::QueryBuilder".to_owned()]).find_map(|call| file.names(&call))?;
    Some(("queries stand only below metadata/, accounts/ and audit/".to_owned(), line))
}

/// The two services share `shared` and nothing else.
fn services_apart(file: &SourceFile) -> Option<Finding> {
    let (sentence, words): (_, &[&str]) = match file.package() {
        "registry" => ("registry and auth never import each other", &["auth::", "portreeve_auth::"]),
        "auth" => ("registry and auth never import each other", &["registry::", "portreeve_registry::"]),
        "shared" => ("shared imports neither service", &["auth::", "registry::"]),
        _ => return None,
    };
    let line = words.iter().find_map(|word| file.names(word))?;
    Some((sentence.to_owned(), line))
}

fn manifest(file: &SourceFile) -> Vec<Finding> {
    let forbidden: &[&str] = match file.package() {
        "registry" => &["auth", "portreeve-auth"],
        "auth" => &["registry", "portreeve-registry"],
        "shared" => &["auth", "registry", "portreeve-auth", "portreeve-registry"],
        _ => &[],
    };
    let depends = |line: &String| {
        let key = line.split(['.', '=', ' ']).next().unwrap_or_default();
        forbidden.contains(&key)
    };
    let line = file.lines.iter().position(depends);
    line.map(|index| ("registry and auth never import each other".to_owned(), index + 1)).into_iter().collect()
}

/// The arrows of the architecture's picture.
fn directions(file: &SourceFile) -> Vec<Finding> {
    let (package, module) = (file.package(), file.module());
    if !["registry", "auth"].contains(&package) || file.module_path().is_empty() || file.is_for_tests() {
        return Vec::new();
    }
    let Some((.., allowed)) = DIRECTIONS.iter().find(|(p, m, _)| file.is_below(p, m)) else {
        return vec![(format!("{package}: {module} stands in no rule: say what it may import"), 1)];
    };
    let modules: Vec<&str> = DIRECTIONS.iter().filter(|(p, ..)| *p == package).map(|(_, m, _)| *m).collect();
    let may = |imported: &str| {
        imported == module || allowed.contains(&imported) || (*allowed == EVERYTHING && imported != "cli")
    };
    file_imports(file)
        .into_iter()
        .filter(|(imported, _)| modules.contains(&imported.as_str()) && !may(imported))
        .map(|(imported, line)| (format!("{package}: {module} never imports {imported}"), line))
        .collect()
}

/// The top modules of its own crate that a file names, with the lines: by `crate::` and by as many `super::` as lead to
/// the root, in single imports, in groups and in code.
fn file_imports(file: &SourceFile) -> Vec<(String, usize)> {
    let text = file.lines.join("\n");
    let own = file.module_path();
    let (mut imports, mut from) = (Vec::new(), 0);
    while let Some(at) = next_path(&text, from) {
        let line = text[..at].matches('\n').count() + 1;
        let mut leaves = Vec::new();
        let rest = path_tree(&text[at..], &mut Vec::new(), &mut leaves);
        from = text.len() - rest.len();
        imports.extend(leaves.iter().filter_map(|leaf| top_module(&own, leaf)).map(|top| (top, line)));
    }
    imports
}

/// Where a path of the crate's own begins, at `from` or behind it.
fn next_path(text: &str, from: usize) -> Option<usize> {
    let begins = |at: usize| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    };
    let anchors = ["crate::", "super::", "self::"];
    let found = anchors
        .iter()
        .filter_map(|anchor| text[from..].match_indices(anchor).map(|(at, _)| from + at).find(|at| begins(*at)));
    found.min()
}

/// Reads `a::{b, super::c::{d}}`: every path in it, as far as its names go. Gives back what follows.
fn path_tree<'t>(text: &'t str, prefix: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) -> &'t str {
    let name = head(text);
    let mut rest = &text[name.len()..];
    let depth = prefix.len();
    if !name.is_empty() {
        prefix.push(name);
    }
    if let Some(behind) = rest.strip_prefix("::") {
        rest = match behind.strip_prefix('{') {
            Some(group) => path_group(group, prefix, leaves),
            None => path_tree(behind, prefix, leaves),
        };
    } else {
        leaves.push(prefix.clone());
    }
    prefix.truncate(depth);
    rest
}

fn path_group<'t>(mut text: &'t str, prefix: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) -> &'t str {
    loop {
        text = text.trim_start();
        match text.chars().next() {
            None => return text,
            Some('}') => return &text[1..],
            Some(c) if c.is_alphanumeric() || c == '_' => text = path_tree(text, prefix, leaves),
            Some(c) => text = &text[c.len_utf8()..],
        }
    }
}

/// The top module that a path leads to from the module `own`; none for the root itself and for what it cannot reach.
fn top_module(own: &[&str], path: &[String]) -> Option<String> {
    let mut place: Vec<&str> = own.to_vec();
    for name in path {
        match name.as_str() {
            "crate" => place.clear(),
            "self" => {}
            "super" => {
                place.pop()?;
            }
            name => {
                place.push(name);
                break;
            }
        }
    }
    place.first().map(|&top| top.to_owned())
}

fn head(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn type_names(file: &SourceFile) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        // The associated type of a foreign trait (http_body's `Data`) has the name that the trait gives it.
        if line.starts_with(' ') && line.trim_start().starts_with("type ") {
            continue;
        }
        let mut words =
            line.split_whitespace().skip_while(|w| !["struct", "enum", "trait", "type", "union"].contains(w));
        let Some(name) = words.nth(1).map(head) else { continue };
        let says_nothing = FORBIDDEN_TYPE_NAMES.contains(&name.as_str());
        if says_nothing || FORBIDDEN_TYPE_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            found.push((format!("no type is called {name}: say what it is"), index + 1));
        }
    }
    found
}

fn file_name(file: &SourceFile) -> Option<Finding> {
    let name = file.path.rsplit('/').next()?.strip_suffix(".rs")?;
    FORBIDDEN_FILE_NAMES.contains(&name).then(|| (format!("no file is called {name}.rs: name its topic"), 1))
}
