//! The source tree keeps its promises: who may name whom, and what nothing may be called.
//!
//! The rules are those of docs/architecture.md. A broken one is reported with its sentence, the file and the line.

mod attacks;
mod rules;
mod source;

use std::path::Path;

use source::SourceFile;

#[test]
fn the_source_tree_keeps_its_dependency_directions() {
    let tree = source::read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    for package in source::PACKAGES {
        assert!(
            tree.iter().any(|f| f.package() == package && !f.is_manifest()),
            "no source file of {package} was read"
        );
    }
    let broken = rules::broken(&tree);
    assert!(broken.is_empty(), "{} broken rules:\n  {}", broken.len(), broken.join("\n  "));
}

/// Each rule is shown a tree that breaks it, so that none of them can pass by never looking.
#[test]
fn every_rule_notices_what_it_forbids() {
    let offences = [
        ("registry/src/content/blobs.rs", "use axum::body::Body;", "axum"),
        ("auth/src/identity/local.rs", "fn f() -> http::StatusCode { todo() }", "status codes"),
        ("registry/src/server.rs", "use axum::middleware;", "axum"),
        ("registry/src/gc/trash.rs", "sqlx::query(\"DELETE FROM trash\")", "queries"),
        ("registry/src/access/verifier.rs", "use auth::issuer::Issuer;", "never import each other"),
        ("auth/src/server.rs", "use registry::settings;", "never import each other"),
        ("shared/src/scope.rs", "use registry::settings;", "shared imports neither"),
        ("registry/Cargo.toml", "[dependencies]\nauth.workspace = true\n", "never import each other"),
        ("registry/src/content/tags.rs", "use crate::http::error;", "content"),
        ("registry/src/metadata/tags.rs", "use crate::content::Error;", "metadata never imports content"),
        ("registry/src/store/files.rs", "use crate::metadata::Metadata;", "store"),
        ("auth/src/permissions/decide.rs", "use crate::accounts::Accounts;", "permissions"),
        ("auth/src/issuer.rs", "use crate::{accounts::Accounts, pki};", "issuer"),
        ("registry/src/content/tags.rs", "use super::super::http::error;", "content never imports http"),
        ("registry/src/content.rs", "use super::http;", "content never imports http"),
        (
            "registry/src/store/files.rs",
            "use super::super::{metadata::Metadata, store};",
            "store never imports metadata",
        ),
        (
            "registry/src/content/tags.rs",
            "use super::{Content, super::access::Caller};",
            "content never imports access",
        ),
        (
            "registry/src/content/tags/limits.rs",
            "fn f() -> super::super::super::gc::Swept {}",
            "content never imports gc",
        ),
        ("registry/src/settings/http.rs", "use crate::store::Store;", "settings never imports store"),
        ("registry/src/health.rs", "use crate::metadata::Metadata;", "health never imports metadata"),
        ("registry/src/cli.rs", "use crate::content::Content;", "cli never imports content"),
        ("registry/src/server.rs", "use crate::cli::Command;", "server never imports cli"),
        ("auth/src/tokens.rs", "use crate::http::peer;", "tokens never imports http"),
        ("auth/src/cli/target.rs", "use crate::accounts::Accounts;", "cli never imports accounts"),
        ("auth/src/novelty.rs", "", "stands in no rule"),
        ("registry/src/access/realm.rs", "let at = \"https://a\"; axum::serve();", "axum"),
        ("auth/src/identity.rs", "struct LoginHelper;", "LoginHelper"),
        ("shared/src/digest.rs", "pub enum Info {}", "Info"),
        ("shared/src/utils.rs", "", "utils"),
        ("shared/src/clock/mod.rs", "", "mod.rs"),
        ("shared/src/clock.rs", "unsafe { f() }", "unsafe"),
    ];
    for (path, text, sentence) in offences {
        let broken = rules::broken(&[SourceFile::new(path, text)]);
        assert!(broken.iter().any(|b| b.contains(sentence)), "{path}: {text:?} passed; reported only {broken:?}");
    }
}

#[test]
fn a_second_file_that_knows_a_fenced_crate_is_named() {
    let tree = [
        SourceFile::new("auth/src/pki.rs", "use rcgen::KeyPair;"),
        SourceFile::new("auth/src/issuer.rs", "rcgen::generate()"),
    ];
    assert!(rules::broken(&tree).iter().any(|b| b.contains("one file knows rcgen")));
    assert!(rules::broken(&tree[..1]).is_empty());
}

#[test]
fn words_in_comments_break_no_rule() {
    let harmless = [
        "//! axum::Router is http's.\nfn f() {} // StatusCode too\n",
        "let quote = '\"'; // axum::Router\nlet other = '\\\''; // axum::Router\n",
        "let raw = r#\"a \" // b\"#; // axum::Router\n",
        "fn f<'a>(text: &'a str) {} // axum::Router\n",
    ];
    for text in harmless {
        let file = SourceFile::new("registry/src/content.rs", text);
        assert_eq!(rules::broken(&[file]), Vec::<String>::new(), "{text}");
    }
}

/// A test may look into the tables, wherever it stands; the code beside it may not.
#[test]
fn modules_of_tests_are_free() {
    let query = "fn f() { sqlx::query(\"DROP\") }";
    let parent = SourceFile::new("registry/src/content.rs", "mod blobs;\n#[cfg(test)]\nmod stage;\n");
    let tree =
        |path: &str| [SourceFile::new(parent.path.as_str(), &parent.lines.join("\n")), SourceFile::new(path, query)];
    assert_eq!(rules::broken(&tree("registry/src/content/stage.rs")), Vec::<String>::new());
    assert_eq!(rules::broken(&tree("registry/src/content/stage/postgres.rs")), Vec::<String>::new());
    assert_eq!(rules::broken(&tree("registry/src/content/blobs.rs")).len(), 1);
    let inline = format!("fn g() {{}}\n\n#[cfg(test)]\nmod tests {{\n{query}\n}}\n");
    assert_eq!(rules::broken(&[SourceFile::new("registry/src/content/tags.rs", &inline)]), Vec::<String>::new());
}

#[test]
fn what_is_allowed_passes() {
    let allowed = [
        ("registry/src/http/blobs.rs", "use axum::http::StatusCode; use crate::content::Content;"),
        ("registry/src/server.rs", "pub fn router(&self) -> axum::Router { self.router.clone() }"),
        ("shared/src/listen/plain.rs", "use axum::Router;"),
        ("registry/src/metadata/tags.rs", "sqlx::query_as(\"SELECT\")"),
        ("auth/src/accounts/grants.rs", "sqlx::query_scalar(\"SELECT\")"),
        ("registry/src/content/tags.rs", "use crate::{metadata::Metadata, store::Store};"),
        ("registry/src/access/companion.rs", "pub struct ServiceName; let auth = crate::auth_header::read();"),
        (
            "registry/src/content/tags/limits.rs",
            "use super::super::{Content, mount}; use super::super::super::metadata;",
        ),
        ("registry/src/content/catalog.rs", "use super::{Content, Error}; use crate::metadata::catalog::{self, Look};"),
    ];
    for (path, text) in allowed {
        assert_eq!(rules::broken(&[SourceFile::new(path, text)]), Vec::<String>::new(), "{path}: {text}");
    }
}
