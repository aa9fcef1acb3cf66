//! Loss of power (I13): what was acknowledged is there when the power comes back, whatever of the rest the disk has kept.
//!
//! A real server runs under `strace`, which writes down what it does to files and what it answers. The trace is replayed on a model of a disk that keeps
//! what was synced and, of everything else, any part: pages of writes, lengths, names, in any order, of the database, its log, the blobs and the directories
//! together. At many points the power is lost; the real program is started on what the disk has then, and asked for every image that it had acknowledged.
//!
//! Why not a block device that records (dm-log-writes, dm-flakey): it needs a kernel with device-mapper, and shows what one filesystem does with our syncs;
//! ext4 writes down names and sizes in order whether we ask for it or not. The model gives nothing that was not asked for.

mod aftermath;
mod chance;
mod disk;
mod replay;
mod trace;
mod workload;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use self::{
    aftermath::Aftermath,
    chance::Chance,
    disk::{Loss, Syncs},
    replay::Replay,
    trace::{Moment, moments},
    workload::Workload,
};
use crate::support::announce;

/// How long crashes are looked at where syncs are honoured.
const PATIENCE: Duration = Duration::from_secs(45);

/// How many crashes there are at least, however slow the machine.
const LEAST: usize = 32;

/// How many crashes are looked at before a disk that breaks its word must have been found out.
const MOST_UNNOTICED: usize = 60;

/// How many crashes there are on one way through the trace.
const A_PASS: usize = 32;

/// The same where the first violation ends it.
const A_NOTICE: usize = 12;

const LOSSES: [Loss; 5] = [Loss::Everything, Loss::AnyOfIt, Loss::Bytes, Loss::Names, Loss::Nothing];

/// What a look at crashes came to.
#[derive(Debug, Default)]
struct Found {
    crashes: usize,
    /// Images that had been acknowledged before the crashes, added up.
    images: usize,
    /// Pieces that were not synced at the crashes, added up.
    waiting: usize,
    violations: Vec<String>,
}

#[tokio::test]
#[ignore = "needs strace"]
async fn power_may_be_lost_at_any_moment() {
    let workload = Workload::run().await;
    let moments = moments(&workload.trace);
    let points = Points::of(&moments, &workload);
    let begun = Instant::now();
    let mut found = Found::default();
    let mut chance = Chance::new(1);
    while found.crashes < LEAST || begun.elapsed() < PATIENCE {
        pass((&moments, &workload), (points.choose(A_PASS, &mut chance), Syncs::Honoured), &mut found, &mut chance)
            .await;
    }
    announce(&format!(
        "power loss: {} crashes in a trace of {} syncs and {} images, {} images acknowledged before them, {} unsynced changes at risk, {} violations",
        found.crashes,
        points.syncs,
        workload.images.len(),
        found.images,
        found.waiting,
        found.violations.len()
    ));
    assert!(found.violations.is_empty(), "{}", found.violations.join("\n"));
    for syncs in [Syncs::NotOfDirectories, Syncs::NotOfTheDatabase, Syncs::NotOfBlobs] {
        let noticed = notice(&moments, &workload, &points, syncs).await;
        announce(&format!("power loss: a disk with syncs {syncs:?} is found out at crash {noticed}"));
    }
}

/// After how many crashes it is found out that a disk does not keep its word.
async fn notice(moments: &[Moment<'_>], workload: &Workload, points: &Points, syncs: Syncs) -> usize {
    let (mut found, mut chance) = (Found::default(), Chance::new(2));
    while found.crashes < MOST_UNNOTICED {
        pass((moments, workload), (points.choose(A_NOTICE, &mut chance), syncs), &mut found, &mut chance).await;
        if !found.violations.is_empty() {
            return found.crashes;
        }
    }
    panic!("{} crashes of a disk with syncs {syncs:?}, and nobody noticed: this test shows nothing", found.crashes);
}

/// Goes through the trace and loses the power at each of these points, in a new way each time.
async fn pass(
    (moments, workload): (&[Moment<'_>], &Workload),
    (points, syncs): (Vec<usize>, Syncs),
    found: &mut Found,
    chance: &mut Chance,
) {
    let mut replay = Replay::new(&workload.data, syncs);
    let mut points = points.into_iter().peekable();
    for (at, moment) in moments.iter().enumerate() {
        replay.play(moment);
        while points.next_if_eq(&at).is_some() {
            let loss = LOSSES[chance.below(LOSSES.len())];
            let room = room();
            let data = room.path().join("data");
            replay.disk.crash(&data, loss, chance);
            found.crashes += 1;
            found.images += replay.manifests.len();
            found.waiting += replay.disk.waiting();
            if let Err(violation) = look(workload, &replay, &data).await {
                found.violations.push(format!("after moment {at}, {loss:?}: {violation}"));
                if syncs != Syncs::Honoured {
                    return;
                }
            }
        }
    }
}

/// Starts the program on what the disk has, and looks for everything that was acknowledged.
async fn look(workload: &Workload, replay: &Replay, data: &Path) -> Result<(), String> {
    let mut aftermath = Aftermath::start(data)?;
    aftermath.serves(workload, &replay.manifests, &replay.blobs).await?;
    aftermath.takes_a_push().await?;
    aftermath.kill();
    aftermath.is_consistent().await
}

/// Memory where the machine offers it: the crash is in the model, and what the program syncs after it costs nothing there.
fn room() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory can be made")
}

/// Where the power may be lost.
struct Points {
    all: usize,
    /// Right behind an answer: nothing could be synced any more.
    answers: Vec<usize>,
    /// Around the returns of syncs.
    around_syncs: Vec<usize>,
    syncs: usize,
}

impl Points {
    /// Finds them, and makes sure that the trace shows every answer that the clients got.
    fn of(moments: &[Moment<'_>], workload: &Workload) -> Self {
        let mut replay = Replay::new(&workload.data, Syncs::Honoured);
        let (mut answers, mut around_syncs) = (Vec::new(), Vec::new());
        for (at, moment) in moments.iter().enumerate() {
            let before = (replay.manifests.len() + replay.blobs.len(), replay.syncs);
            replay.play(moment);
            if replay.manifests.len() + replay.blobs.len() > before.0 {
                answers.push(at);
            }
            if replay.syncs > before.1 {
                around_syncs.extend([at.saturating_sub(1), at]);
            }
        }
        assert_eq!(replay.manifests.len(), workload.manifests_answered, "manifests in the trace");
        assert_eq!(replay.blobs.len(), workload.blobs_answered, "blobs in the trace");
        Self { all: moments.len(), answers, around_syncs, syncs: replay.syncs }
    }

    /// Some of them, in order.
    fn choose(&self, count: usize, chance: &mut Chance) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..count)
            .map(|number| match number % 4 {
                0 | 1 => self.answers[chance.below(self.answers.len())],
                2 => self.around_syncs[chance.below(self.around_syncs.len())],
                _ => chance.below(self.all),
            })
            .collect();
        chosen.sort_unstable();
        chosen
    }
}
