//! One tag, many writers: every answer is that of a register that does one thing at a time, between question and answer of each; and the history of the tag
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
use shared::{digest::Digest, reference::Reference};
use tokio::task::JoinSet;

use self::register::{Answer, Call, History};
use super::beside_each_other::Chance;
use crate::{
    content::{
        Content, Error, Promise, TagLimits,
        fixture::{Fixture, digest_of, image, name, on_both, push, tag},
        manifests::DeleteManifest,
        tags::DeleteTag,
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
    repository: String,
    number: u64,
    chance: Chance,
    clock: Arc<AtomicU64>,
    history: Vec<Call>,
    values: HashMap<Digest, u64>,
}

async fn a_tag_is_a_register(fixture: &mut Fixture) {
    let replicas = [fixture.content.clone(), fixture.replica().await];
    let (mut calls, mut rejected) = (0, 0);
    for round in 0..ROUNDS {
        let repository = format!("acme/round{round}");
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

/// All users at once.
async fn together(replicas: &[Content; 2], repository: &str, round: u64) -> (History, HashMap<Digest, u64>) {
    let clock = Arc::new(AtomicU64::new(0));
    let mut users = JoinSet::new();
    for number in 0..TASKS {
        let user = User {
            content: replicas[usize::from(number % 2 == 1)].clone(),
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
            let answer = match self.chance.below(8) {
                0..3 => self.write(value).await,
                3..5 => self.delete().await,
                5 => self.delete_manifest().await,
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
    assert_eq!(told.len(), writes.len() + deletions, "{repository}: each change has one row: {told:?}");
    for first in &writes {
        for second in writes.iter().filter(|second| first.ended < second.began) {
            let places = [first, second].map(|call| place(written(call.answer).unwrap()));
            assert!(places[0].is_some() && places[0] < places[1], "{repository}: {first:?} and {second:?} in {told:?}");
        }
    }
}
