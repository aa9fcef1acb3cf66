//! Stories of rules over real content, on a clock that moves.

mod by_pattern;
mod previews;
mod runs;
mod scale;
mod sets;

use std::time::Duration;

use serde_json::{Value, json};
use shared::digest::Digest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    About, Document, Error, Expiry, Settings,
    preview::{Previewed, Told},
    set::Confirmed,
};
use crate::{
    content::fixture::{Fixture, name, on_both},
    lifecycle::immutable::Wanted,
    metadata::rules::runs::Progress,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn acme() -> About {
    About::Namespace(name("acme"))
}

fn expiry(fixture: &Fixture) -> Expiry {
    let settings = Settings { undelete: WINDOW, ..Settings::default() };
    Expiry::new(fixture.content.metadata.clone(), fixture.clock.clone(), settings)
}

fn document(rules: Value) -> Document {
    match rules {
        Value::Array(rules) => Document { rules },
        other => panic!("no list of rules: {other}"),
    }
}

async fn set(expiry: &Expiry, about: &About, rules: Value) {
    expiry.set(about, document(rules), Confirmed::Yes, "ada").await.unwrap();
}

/// Rules for tags of pull requests.
fn closed_pull_requests() -> Value {
    json!([{"name": "pull requests", "expire": {"tags": "pr-*", "not_pushed_for": "7d"}}, {"keep": {"tags": "pr-keep"}}])
}

async fn push(fixture: &Fixture, repository: &str, tags: &[&str]) {
    for tag in tags {
        fixture.push_image(repository, tag, tag).await;
    }
}

async fn run(expiry: &Expiry) -> Progress {
    expiry.begin(&name("acme"), "ada", None).await.unwrap().go(&CancellationToken::new()).await.unwrap()
}

/// The tags that are left, with their repositories.
async fn left(fixture: &Fixture) -> Vec<String> {
    let sql = "SELECT r.name || ':' || t.name FROM tag t JOIN repository r ON r.id = t.repository_id \
               WHERE t.manifest_id IS NOT NULL ORDER BY r.name, t.name";
    fixture.texts(sql).await
}

/// Everything that a preview tells.
async fn previewed(expiry: &Expiry, previewed: Previewed) -> Vec<Value> {
    let (sender, mut told) = mpsc::channel::<Told>(16);
    let preview = expiry.preview(&name("acme"), previewed).await.unwrap();
    let telling = tokio::spawn(async move { preview.tell(&sender, &CancellationToken::new()).await });
    let mut lines = Vec::new();
    while let Some(line) = told.recv().await {
        lines.push(serde_json::to_value(line).unwrap());
    }
    telling.await.unwrap().unwrap();
    lines
}

fn token(told: &[Value]) -> String {
    told.last().unwrap()["token"].as_str().unwrap().to_owned()
}

/// Makes tags of `acme` immutable.
async fn immutable(fixture: &Fixture, pattern: &str) {
    let wanted = json!({"rules": [{"name": "held", "tags": [pattern]}]});
    let wanted: Wanted = serde_json::from_value(wanted).unwrap();
    let lifecycle = crate::lifecycle::Lifecycle::new(
        fixture.content.metadata.clone(),
        fixture.clock.clone(),
        std::time::Duration::ZERO,
    );
    lifecycle.set_immutable(name("acme"), wanted.understand(&name("acme")).unwrap(), "ada".to_owned()).await.unwrap();
}

async fn manifest_of(fixture: &Fixture, repository: &str, tag: &str) -> Digest {
    fixture.push_image(repository, tag, tag).await
}
