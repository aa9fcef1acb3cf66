//! The model and the program side by side: random walks through the model's actions, each step run by the real operation too, and every row compared after
//! every step. So what the model proves is said about the SQL, and whoever changes one of them hears of it here.
//!
//! A walk is a list of numbers, each of which chooses one of the actions that are possible then. That makes it short to tell and easy to shrink.

mod collecting;
mod contents;
mod observed;
mod pushing;
mod reads;
mod restoring;
mod stage;
mod walk;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use model::{Job, Lives, Power, References, Rules, Scenario, Shape, Variant, announce, scenario::Grain};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use tokio::{runtime::Handle, task::block_in_place};

use self::{stage::ModelStage, walk::Walk};

shared::on_both! { crate::stories::model::stage::ModelStage:
    every_step_does_what_the_model_says
    a_model_that_says_something_else_is_found_out
}

/// How many walks there are, and how many steps the longest has.
const WALKS: u32 = 24;
const STEPS: usize = 160;

const fn job(holder: u8, repository: u8, manifest: u8, tagged: bool) -> Job {
    Job { holder, repository, manifest, tagged, references: References::Image }
}

/// Everything at once, which no search could come to the end of: two repositories of one namespace, two digests, two images, an index and a referrer, three
/// pushers, two collectors, a person who collects by hand, each step by itself, and times in ticks of eight hours. (Each pusher is a holder of its own:
/// what is collected by hand between two pushes of one holder is the known limit that `ONE_HOLDER_BY_HAND` finds.)
const EVERYTHING: Scenario = Scenario {
    name: "everything",
    rules: Rules {
        variant: Variant::AsWritten,
        lives: Lives { promise: 3, grace: 3, window: 1, trash: 1, upload: 2 },
        shapes: &[
            Shape { blobs: &[0], children: &[], subject: None },
            Shape { blobs: &[0, 1], children: &[], subject: None },
            Shape { blobs: &[], children: &[0, 1], subject: None },
            Shape { blobs: &[1], children: &[], subject: Some(0) },
        ],
    },
    repositories: 2,
    digests: 2,
    clients: &[
        &[
            job(0, 0, 0, true),
            job(0, 0, 1, false),
            job(0, 0, 2, true),
            job(0, 0, 0, true),
            job(0, 1, 3, false),
            job(0, 0, 2, false),
            job(0, 0, 0, true),
        ],
        &[job(1, 1, 1, true), job(1, 0, 3, false), job(1, 1, 0, true), job(1, 1, 2, true), job(1, 0, 1, true)],
        &[
            job(2, 0, 1, true),
            job(2, 1, 1, true),
            Job { references: References::Lenient, ..job(2, 1, 0, false) },
            job(2, 0, 3, true),
        ],
    ],
    collectors: 2,
    grain: Grain::Fine,
    powers: &[
        Power::DeleteManifests,
        Power::Restore,
        Power::DeleteTags,
        Power::DeleteBlobs,
        Power::CollectByHand,
        Power::ExpireManifests,
        Power::LookAndPromise,
        Power::LookAtManifests,
        Power::Cancel,
        Power::LoseBytes,
    ],
    histories: false,
};

/// How often each kind of action changed something.
type Counts = BTreeMap<String, u32>;

/// Walks at random until a step differs. Walks are numbered: no two share a row.
fn walk(stage: &ModelStage, scenario: Scenario, numbers: &AtomicU32, config: Config) -> Result<Counts, String> {
    let counts = Mutex::new(Counts::new());
    let choices = prop::collection::vec(any::<u16>(), STEPS / 4..STEPS);
    let walked = block_in_place(|| {
        // The same walks in every run: what they come to is known, and a difference stays where it was found.
        let chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        TestRunner::new_with_rng(config, chance).run(&choices, |choices| {
            let walk = Walk::new(stage, scenario, numbers.fetch_add(1, Ordering::Relaxed));
            let walked = Handle::current().block_on(walk.all(&choices)).map_err(TestCaseError::fail)?;
            let mut counts = counts.lock().unwrap();
            walked.into_iter().for_each(|kind| *counts.entry(kind).or_default() += 1);
            Ok(())
        })
    });
    walked.map_err(|error| error.to_string())?;
    Ok(counts.into_inner().unwrap())
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

async fn every_step_does_what_the_model_says(stage: &mut ModelStage) {
    let counts = walk(stage, EVERYTHING, &AtomicU32::new(0), config(WALKS)).unwrap_or_else(|error| panic!("{error}"));
    assert_everything_came_up(&counts);
    let (database, steps) = (stage.content.metadata.dialect(), counts.values().sum::<u32>());
    announce(&format!("model beside the program on {database:?}: {WALKS} walks, {steps} steps, 0 differences"));
}

/// What was rejected differs from what is written, and the walks come to where it does.
async fn a_model_that_says_something_else_is_found_out(stage: &mut ModelStage) {
    let numbers = AtomicU32::new(0);
    for variant in [Variant::NoHold, Variant::NoHolder, Variant::NoLease, Variant::ChildrenKeepTheirExpiry] {
        let found = walk(stage, EVERYTHING.under(variant), &numbers, Config { max_shrink_iters: 0, ..config(400) });
        let difference = found.expect_err(&format!("{variant:?} was not found out"));
        assert!(difference.contains("the model says"), "{variant:?}: {difference}");
    }
}

/// A walk that never comes to an action says nothing about it.
fn assert_everything_came_up(counts: &Counts) {
    const KINDS: [&str; 31] = [
        "Look",
        "Promise",
        "Head",
        "Mount",
        "Start",
        "Write",
        "Finish",
        "Stat",
        "Cancel",
        "LookAtChildren",
        "Put",
        "DeleteManifest",
        "RestoreManifest",
        "HideRepository",
        "DeleteTag",
        "DeleteBlob",
        "Purge",
        "PurgeAtOnce",
        "ExpireManifest",
        "CollectLink",
        "CollectByHand",
        "ExpireUpload",
        "Take",
        "DeleteBytes",
        "LoseAnswer",
        "Forget",
        "Crash",
        "DeleteLate",
        "LoseBytes",
        "FindMissing",
        "Tick",
    ];
    let missing: Vec<&str> = KINDS.into_iter().filter(|kind| !counts.contains_key(*kind)).collect();
    assert!(missing.is_empty(), "no walk came to {missing:?}: {counts:?}");
}
