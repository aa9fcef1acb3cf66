//! Random walks through everything that changes what a namespace uses; after each step all is counted again.

use std::{cell::Cell, sync::Arc, time::Duration};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use tokio::{runtime::Handle, task::block_in_place};
use tokio_util::sync::CancellationToken;

use super::{
    Change, Chunk, Collector, Settings, Stage, UNCHANGED, ada, chunk, cut, digest, name, on_both, reserved, set, used,
};
use crate::content::{
    Error, TagLimits,
    fixture::{image, push, tag},
    manifests::DeleteManifest,
    uploads::UploadId,
};

on_both! { every_step_leaves_what_a_count_finds }

/// How many walks there are, and how many steps the longest has.
const WALKS: u32 = 16;
const STEPS: usize = 80;

const REPOSITORIES: [&str; 3] = ["acme/web", "acme/api", "other/web"];

/// One step; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    Set(u64),
    Unlimited,
    Start(usize),
    Append(usize, u8),
    Cut(usize),
    Finish(usize),
    Mismatch(usize),
    Cancel(usize),
    Push(usize, u8),
    Mount(usize, usize, u8),
    Put(usize, u8),
    Delete(usize, u8),
    Pass(u8),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let (repository, content) = (0..REPOSITORIES.len(), 0..6_u8);
    prop_oneof![
        3 => (0..1_200_u64).prop_map(Step::Set),
        1 => Just(Step::Unlimited),
        3 => repository.clone().prop_map(Step::Start),
        4 => (any::<usize>(), content.clone()).prop_map(|(upload, content)| Step::Append(upload, content)),
        1 => any::<usize>().prop_map(Step::Cut),
        3 => any::<usize>().prop_map(Step::Finish),
        1 => any::<usize>().prop_map(Step::Mismatch),
        1 => any::<usize>().prop_map(Step::Cancel),
        4 => (repository.clone(), content.clone()).prop_map(|(into, content)| Step::Push(into, content)),
        2 => (repository.clone(), repository.clone(), content.clone()).prop_map(|(into, from, of)| Step::Mount(into, from, of)),
        3 => (repository.clone(), content.clone()).prop_map(|(into, content)| Step::Put(into, content)),
        2 => (repository, content).prop_map(|(from, content)| Step::Delete(from, content)),
        2 => (1..100_u8).prop_map(Step::Pass),
        2 => Just(Step::Sweep),
    ]
}

/// A few contents, so that repositories and namespaces share them.
fn text(content: u8) -> String {
    format!("{content}").repeat(20 * (usize::from(content) + 1))
}

/// An upload that runs, and what it has.
struct Running {
    repository: &'static str,
    id: UploadId,
    received: String,
}

struct Walk<'s> {
    stage: &'s Stage,
    running: Vec<Running>,
    /// What may stand beside used and reserved bytes at most: the quota, or more where it was set lower.
    bound: Option<i64>,
    refused: u32,
    let_in: u32,
}

impl Walk<'_> {
    async fn all(&mut self, steps: &[Step]) -> Result<(u32, u32), TestCaseError> {
        for step in steps {
            self.take(step).await;
            self.stage.is_consistent().await;
            let held = used(self.stage).await + reserved(self.stage).await;
            if let Some(bound) = self.bound {
                prop_assert!(held <= bound, "{held} bytes after {step:?}, where {bound} may be");
                // What goes makes room up to the quota, and no further.
                self.bound = Some(bound.min(held.max(self.quota().await)));
            }
        }
        Ok((self.refused, self.let_in))
    }

    async fn quota(&self) -> i64 {
        self.stage.count("SELECT coalesce(quota, 0) FROM namespace WHERE name = 'acme'").await
    }

    fn settle<T>(&mut self, answer: Result<T, Error>) -> bool {
        match answer {
            Ok(_) => {
                self.let_in += 1;
                true
            }
            Err(Error::QuotaExceeded(exceeded)) => {
                assert_eq!(exceeded.namespace, "acme");
                assert!(exceeded.used + exceeded.reserved + exceeded.asked.max(1) > exceeded.quota, "{exceeded:?}");
                self.refused += 1;
                false
            }
            Err(
                Error::UploadUnknown
                | Error::BodyCut { .. }
                | Error::DigestMismatch { .. }
                | Error::BlobUnknown { .. }
                | Error::ManifestUnknown { .. }
                | Error::ManifestReferencesMissing { .. },
            ) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn pick(&self, number: usize) -> Option<usize> {
        (!self.running.is_empty()).then(|| number % self.running.len())
    }

    async fn take(&mut self, step: &Step) {
        let content = &self.stage.content;
        match *step {
            Step::Set(bytes) => {
                set(self.stage, Change { bytes: Some(Some(bytes)), ..UNCHANGED }).await;
                let held = used(self.stage).await + reserved(self.stage).await;
                self.bound = Some(held.max(i64::try_from(bytes).unwrap()));
            }
            Step::Unlimited => {
                set(self.stage, Change { bytes: Some(None), ..UNCHANGED }).await;
                self.bound = None;
            }
            Step::Start(repository) => {
                let repository = REPOSITORIES[repository];
                let started = content.start_upload(&name(repository), None, &ada()).await;
                let id = started.as_ref().ok().copied();
                self.settle(started);
                self.running.extend(id.map(|id| Running { repository, id, received: String::new() }));
            }
            Step::Append(number, of) => self.append(number, &text(of)).await,
            Step::Cut(number) => {
                let Some(place) = self.pick(number) else { return };
                let Running { repository, id, .. } = self.running[place];
                let announced = Chunk { length: Some(400), ..cut("cut") };
                let answer = content.append(&name(repository), id, announced).await;
                match answer {
                    Err(Error::BodyCut { .. }) => self.running[place].received.push_str("cut"),
                    _ => drop(self.running.remove(place)),
                }
                self.settle(answer);
            }
            Step::Finish(number) | Step::Mismatch(number) => {
                let Some(place) = self.pick(number) else { return };
                let Running { repository, id, mut received } = self.running.remove(place);
                if matches!(step, Step::Mismatch(_)) {
                    received.push('!');
                }
                let digest = digest(received.as_bytes());
                let finished = content.finish_upload(&name(repository), id, digest, Chunk::empty(), &ada()).await;
                self.settle(finished);
            }
            Step::Cancel(number) => {
                let Some(place) = self.pick(number) else { return };
                let Running { repository, id, .. } = self.running.remove(place);
                let cancelled = content.cancel_upload(&name(repository), id).await;
                self.settle(cancelled);
            }
            Step::Push(into, of) => {
                let pushed = self.stage.push(REPOSITORIES[into], &text(of)).await;
                self.settle(pushed);
            }
            Step::Mount(into, from, of) => {
                let (into, from) = (name(REPOSITORIES[into]), name(REPOSITORIES[from]));
                let mounted = content.mount(&into, &from, &digest(text(of).as_bytes()), &ada()).await;
                self.settle(mounted);
            }
            Step::Put(into, of) => {
                let manifest = image(&text(of), &[]);
                let stored = content.put_manifest(push(REPOSITORIES[into], tag(&format!("v{of}")), &manifest)).await;
                self.settle(stored);
            }
            Step::Delete(from, of) => {
                let delete = DeleteManifest {
                    repository: name(REPOSITORIES[from]),
                    digest: digest(image(&text(of), &[]).to_string().as_bytes()),
                    condition: None,
                    limits: TagLimits::Everything,
                    undelete_window: Duration::from_secs(60),
                    actor: "ada".to_owned(),
                };
                let deleted = content.delete_manifest(delete).await;
                self.settle(deleted);
            }
            Step::Pass(hours) => self.stage.pass(Duration::from_secs(60 * 60 * u64::from(hours))),
            Step::Sweep => {
                let store = Arc::new(self.stage.store.clone());
                let (metadata, clock) = (content.metadata.clone(), self.stage.clock.clone());
                let collector = Collector::new(metadata, store, clock, Settings::default());
                collector.sweep(&CancellationToken::new()).await.unwrap();
            }
        }
    }

    async fn append(&mut self, number: usize, text: &str) {
        let Some(place) = self.pick(number) else { return };
        let Running { repository, id, .. } = self.running[place];
        let appended = self.stage.content.append(&name(repository), id, chunk(text.to_owned())).await;
        if self.settle(appended) {
            self.running[place].received.push_str(text);
        } else {
            self.running.remove(place);
        }
    }
}

async fn every_step_leaves_what_a_count_finds(stage: &mut Stage) {
    let stage = &*stage;
    let (refused, let_in) = (Cell::new(0), Cell::new(0));
    let walked = block_in_place(|| {
        let config = Config { cases: WALKS, failure_persistence: None, ..Config::default() };
        // The same walks in every run: a difference stays where it was found.
        let chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let steps = prop::collection::vec(step(), STEPS / 4..STEPS);
        TestRunner::new_with_rng(config, chance).run(&steps, |steps| {
            Handle::current().block_on(async {
                set(stage, Change { bytes: Some(None), ..UNCHANGED }).await;
                let mut walk = Walk { stage, running: Vec::new(), bound: None, refused: 0, let_in: 0 };
                let walked = walk.all(&steps).await?;
                refused.set(refused.get() + walked.0);
                let_in.set(let_in.get() + walked.1);
                Ok(())
            })
        })
    });
    walked.unwrap_or_else(|error| panic!("{error}"));
    assert!(refused.get() > 25 && let_in.get() > 200, "refused {refused:?} times, let in {let_in:?} times");
}
