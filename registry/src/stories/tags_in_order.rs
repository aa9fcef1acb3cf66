//! One tag, many writers (pushes, deletions of the tag and of what it points at, restorations, tags by pattern, lifecycle rules): every answer is that of a register that does one thing at a time, between question and answer of each; and the history of the tag
//! tells the same order.

mod register;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use model::announce;
use serde_json::json;
use shared::{digest::Digest, reference::Reference, repository::RepositoryName};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::register::{Answer, Call, History};
use super::beside_each_other::Chance;
use crate::{
    content::{
        Content, Error, Force, Promise, TagLimits,
        fixture::{Fixture, digest_of, image, name, on_both, push, tag},
        manifests::{DeleteManifest, References},
        tags::DeleteTag,
        undelete::{RestoreTag, Restorer},
    },
    lifecycle::rules::{
        self as rules, About, Document, Expiry,
        by_pattern::{Mode, Repositories, TagsToDelete},
        set::Confirmed,
    },
    metadata::fixture::texts,
};

on_both! { a_tag_is_a_register }

const ROUNDS: u64 = 12;
const TASKS: u64 = 6;
const CALLS: u64 = 10;
const TAG: &str = "latest";

const HISTORY: &str = "SELECT r.name || ' ' || h.version || ' ' || coalesce(h.digest, '-') FROM tag_history h \
                       JOIN repository r ON r.id = h.repository_id ORDER BY r.id, h.version";

/// One of those who use the tag of one repository.
struct User {
    content: Content,
    expiry: Expiry,
    repository: String,
    number: u64,
    chance: Chance,
    clock: Arc<AtomicU64>,
    history: Vec<Call>,
    values: HashMap<Digest, u64>,
}

async fn a_tag_is_a_register(fixture: &mut Fixture) {
    let replicas = [fixture.content.clone(), fixture.replica().await].map(|content| {
        let expiry = Expiry::new(content.metadata.clone(), fixture.clock.clone(), rules::Settings::default());
        (content, expiry)
    });
    let (mut calls, mut rejected) = (0, 0);
    for round in 0..ROUNDS {
        // Rules are run on a namespace as a whole.
        let repository = format!("round{round}/web");
        let let_go = Document { rules: vec![json!({"expire": {"tags": TAG, "not_pushed_for": "0s"}})] };
        replicas[0].1.set(&About::Namespace(namespace(&repository)), let_go, Confirmed::Yes, "ada").await.unwrap();
        fixture.hold(&repository, &["config", "layer"]).await;
        let (history, values) = together(&replicas, &repository, round).await;
        assert!(history.is_linearizable(), "round {round}: {history:#?}");
        for lie in history.lies() {
            assert!(!lie.is_linearizable(), "round {round}: {lie:#?}");
            rejected += 1;
        }
        calls += history.calls().len();
        tells_the_same(fixture, &repository, &history, &values).await;
    }
    assert!(rejected > 0, "no history was there to be falsified");
    let database = fixture.content.metadata.dialect();
    announce(&format!(
        "tags on {database:?}: {calls} calls in {ROUNDS} rounds are linearizable, {rejected} falsified histories are not"
    ));
}

fn namespace(repository: &str) -> RepositoryName {
    name(name(repository).namespace())
}

/// All users at once.
async fn together(replicas: &[(Content, Expiry); 2], repository: &str, round: u64) -> (History, HashMap<Digest, u64>) {
    let clock = Arc::new(AtomicU64::new(0));
    let mut users = JoinSet::new();
    for number in 0..TASKS {
        let (content, expiry) = replicas[usize::from(number % 2 == 1)].clone();
        let user = User {
            content,
            expiry,
            repository: repository.to_owned(),
            number,
            chance: Chance::seeded(round << 32 | number),
            clock: Arc::clone(&clock),
            history: Vec::new(),
            values: values(),
        };
        users.spawn(user.act());
    }
    (History::new(users.join_all().await.into_iter().flatten().collect()), values())
}

/// What each push writes, by its digest: no two write the same.
fn values() -> HashMap<Digest, u64> {
    (0..TASKS * CALLS).map(|value| (digest_of(&payload(value)), value)).collect()
}

fn payload(value: u64) -> serde_json::Value {
    let mut payload = image("config", &["layer"]);
    payload["annotations"] = json!({ "value": value.to_string() });
    payload
}

impl User {
    async fn act(mut self) -> Vec<Call> {
        for call in 0..CALLS {
            let value = self.number * CALLS + call;
            let began = self.clock.fetch_add(1, Ordering::SeqCst);
            let answer = match self.chance.below(11) {
                0..3 => self.write(value).await,
                3..5 => self.delete().await,
                5 => self.delete_manifest().await,
                6 => self.restore().await,
                7 => self.delete_by_pattern().await,
                8 => self.run_rules().await,
                _ => self.read().await,
            };
            let ended = self.clock.fetch_add(1, Ordering::SeqCst);
            self.history.extend(answer.map(|answer| Call { began, ended, answer }));
        }
        self.history
    }

    async fn write(&self, value: u64) -> Option<Answer> {
        let put = push(&self.repository, tag(TAG), &payload(value));
        self.content.put_manifest(put).await.unwrap();
        Some(Answer::Wrote(value))
    }

    async fn delete(&self) -> Option<Answer> {
        let delete = DeleteTag {
            repository: name(&self.repository),
            tag: tag(TAG),
            condition: None,
            limits: TagLimits::Everything,
            actor: "ada".to_owned(),
        };
        match self.content.delete_tag(delete).await {
            Ok(()) => Some(Answer::Deleted),
            Err(Error::ManifestUnknown { .. }) => Some(Answer::Read(None)),
            Err(error) => panic!("{error}"),
        }
    }

    /// Deletes the manifest that the tag points at: another way in which a tag goes, if it still points there.
    async fn delete_manifest(&mut self) -> Option<Answer> {
        let Some(Answer::Read(Some(value))) = self.read().await else { return None };
        let delete = DeleteManifest {
            repository: name(&self.repository),
            digest: digest_of(&payload(value)),
            condition: None,
            limits: TagLimits::Everything,
            actor: "ada".to_owned(),
            undelete_window: Duration::from_secs(60 * self.chance.below(2) as u64),
        };
        match self.content.delete_manifest(delete).await {
            Ok(deleted) if deleted.tags.is_empty() => None,
            Ok(_) => Some(Answer::DeletedValue(value)),
            Err(Error::ManifestUnknown { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Points the tag at the newest value of its history that it is not at.
    async fn restore(&self) -> Option<Answer> {
        let by = Restorer { actor: "ada".to_owned(), force: Force::Yes, references: References::default() };
        let (repository, tag) = (name(&self.repository), tag(TAG));
        match self.content.restore_tag(RestoreTag { repository, tag, version: None, by }).await {
            Ok(restored) => Some(Answer::Restored(self.values[&restored.digest])),
            Err(Error::NotRestorable(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn delete_by_pattern(&self) -> Option<Answer> {
        let namespace = namespace(&self.repository);
        let repositories = Repositories::Named(vec![name(&self.repository)]);
        let (pattern, actor) = (TAG.parse().unwrap(), "ada".to_owned());
        let order = TagsToDelete { namespace, pattern, repositories, mode: Mode::Delete, actor };
        let done = self.expiry.delete_tags(&order).await.unwrap();
        match (done.deleted, done.left) {
            (1, 0) => Some(Answer::Deleted),
            (0, 0) => Some(Answer::Read(None)),
            // It was there, and somebody moved it before it could go.
            moved => {
                assert_eq!(moved, (0, 1));
                None
            }
        }
    }

    async fn run_rules(&self) -> Option<Answer> {
        let run = match self.expiry.begin(&namespace(&self.repository), "ada", None).await {
            Ok(run) => run,
            Err(rules::Error::Running { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        let done = run.go(&CancellationToken::new()).await.unwrap();
        assert!(done.expired <= 1, "{done:?}");
        (done.expired == 1).then_some(Answer::Deleted)
    }

    async fn read(&self) -> Option<Answer> {
        let reference = Reference::Tag(tag(TAG));
        match self.content.manifest(&name(&self.repository), &reference, Promise::Nothing).await {
            Ok(served) => Some(Answer::Read(Some(self.values[&served.digest]))),
            Err(Error::ManifestUnknown { .. }) => Some(Answer::Read(None)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The rows of the tag's history have no gap, hold each change once, and in an order in which nothing comes before what had ended when it began.
async fn tells_the_same(fixture: &Fixture, repository: &str, history: &History, values: &HashMap<Digest, u64>) {
    let rows = texts(&fixture.content.metadata, HISTORY).await;
    let ours = rows.iter().filter_map(|row| row.strip_prefix(&format!("{repository} ")));
    let mut told = Vec::new();
    for (version, row) in (1..).zip(ours) {
        let (found, digest) = row.split_once(' ').unwrap();
        assert_eq!(found.parse::<u64>().unwrap(), version, "{repository}: a gap in {rows:#?}");
        told.push(digest.parse::<Digest>().ok().map(|digest| values[&digest]));
    }
    let written = |answer| if let Answer::Wrote(value) = answer { Some(value) } else { None };
    let place = |value| told.iter().position(|told| *told == Some(value));
    let writes: Vec<&Call> = history.calls().iter().filter(|call| written(call.answer).is_some()).collect();
    let deletions = history.calls().iter().filter(|call| call.answer.deletes()).count();
    // A restoration of what somebody else has just restored changes nothing.
    let restorations = history.calls().iter().filter(|call| matches!(call.answer, Answer::Restored(_))).count();
    let changes = writes.len() + deletions;
    assert!(
        (changes..=changes + restorations).contains(&told.len()),
        "{repository}: each change has one row: {changes} and {restorations} restorations, {told:?}"
    );
    for first in &writes {
        for second in writes.iter().filter(|second| first.ended < second.began) {
            let places = [first, second].map(|call| place(written(call.answer).unwrap()));
            assert!(places[0].is_some() && places[0] < places[1], "{repository}: {first:?} and {second:?} in {told:?}");
        }
    }
}
