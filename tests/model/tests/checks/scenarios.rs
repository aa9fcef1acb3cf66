//! The bounded worlds. Each says what it leaves out; together they touch every operation.

use model::{
    Job, Lives, Power, References, Rules, Scenario, Shape, Variant,
    scenario::{Grain, SHORTEST},
};

const fn rules(lives: Lives, shapes: &'static [Shape]) -> Rules {
    Rules { variant: Variant::AsWritten, lives, shapes }
}

const fn job(holder: u8, repository: u8, manifest: u8) -> Job {
    Job { holder, repository, manifest, tagged: false, references: References::Image }
}

const fn tagged(holder: u8, repository: u8, manifest: u8) -> Job {
    Job { tagged: true, ..job(holder, repository, manifest) }
}

/// One image of one blob.
const IMAGE: &[Shape] = &[Shape { blobs: &[0], children: &[], subject: None }];

/// One digest, two repositories, a pusher in each that pushes twice and mounts from the other, two collectors that crash between any two steps, late and
/// repeated deletes, uploads that die or are cancelled, deletions of manifests and of blobs. Time: whatever lasts lasts until the next tick.
pub(crate) const LINKS: Scenario = Scenario {
    name: "links of two repositories",
    rules: rules(SHORTEST, IMAGE),
    repositories: 2,
    digests: 1,
    clients: &[&[job(0, 0, 0), job(0, 0, 0)], &[job(1, 1, 0)]],
    collectors: 2,
    grain: Grain::Fine,
    powers: &[Power::DeleteManifests, Power::GiveUp],
    histories: false,
};

/// The same with patient pushers: both push twice, and nobody gives up. One collector.
pub(crate) const PATIENT: Scenario = Scenario {
    name: "links of two repositories, patient pushers",
    clients: &[&[job(0, 0, 0), job(0, 0, 0)], &[job(1, 1, 0), job(1, 1, 0)]],
    collectors: 1,
    powers: &[Power::DeleteManifests],
    ..LINKS
};

/// The same with both pushers in one repository, who also cancel.
pub(crate) const ONE_REPOSITORY: Scenario = Scenario {
    name: "links of one repository",
    repositories: 1,
    clients: &[&[job(0, 0, 0), job(0, 0, 0)], &[job(1, 0, 0)]],
    powers: &[Power::DeleteManifests, Power::GiveUp, Power::Cancel],
    ..LINKS
};

/// One repository where blobs are deleted by hand and links are collected by hand.
pub(crate) const BY_HAND: Scenario = Scenario {
    name: "links collected by hand",
    clients: &[&[job(0, 0, 0), job(0, 0, 0)], &[job(1, 0, 0)]],
    powers: &[Power::DeleteManifests, Power::DeleteBlobs, Power::CollectByHand],
    ..ONE_REPOSITORY
};

/// Two pushes of one holder at once: the manifest of one ends the promise of both, and what holds the blob afterwards is the reference, and the hold that
/// follows it. (Nothing is collected by hand: see [`ONE_HOLDER_BY_HAND`].)
pub(crate) const ONE_HOLDER: Scenario = Scenario {
    name: "two pushes of one holder",
    clients: &[&[job(0, 0, 0), job(0, 0, 0)], &[job(0, 0, 0)]],
    powers: &[Power::DeleteManifests, Power::GiveUp],
    ..ONE_REPOSITORY
};

/// The known limit: parallel pushes of one holder count as one.
pub(crate) const ONE_HOLDER_BY_HAND: Scenario =
    Scenario { powers: &[Power::DeleteManifests, Power::CollectByHand], ..ONE_HOLDER };

/// How long promises last: a day is three ticks, so that one can be half over. Three holders look, push and delete; links are collected by sweeps and by
/// hand. Uploads are one step.
pub(crate) const PROMISES: Scenario = Scenario {
    name: "promises of three holders",
    rules: rules(Lives { promise: 3, grace: 3, window: 1, trash: 1, upload: 1 }, IMAGE),
    repositories: 1,
    digests: 1,
    clients: &[&[job(0, 0, 0), job(0, 0, 0)], &[job(1, 0, 0), job(1, 0, 0)], &[job(2, 0, 0)]],
    collectors: 0,
    grain: Grain::Coarse,
    powers: &[Power::DeleteManifests, Power::CollectByHand],
    histories: false,
};

/// A disk that loses bytes once: two pushers of the lost digest in one repository, a look before each finish, readers that notice.
pub(crate) const HEALING: Scenario = Scenario {
    name: "a disk that loses bytes",
    repositories: 1,
    clients: &[&[job(0, 0, 0), job(0, 0, 0)], &[job(1, 0, 0)]],
    collectors: 1,
    powers: &[Power::DeleteManifests, Power::LoseBytes],
    ..LINKS
};

/// Two images that share a blob, an index of both, and a referrer of the first.
const FAMILY: &[Shape] = &[
    Shape { blobs: &[0], children: &[], subject: None },
    Shape { blobs: &[0, 1], children: &[], subject: None },
    Shape { blobs: &[], children: &[0, 1], subject: None },
    Shape { blobs: &[1], children: &[], subject: Some(0) },
];

/// Two digests, two images, an index of both and a referrer, in one repository: pushed child by child, tagged, deleted with a window or for good, expired
/// where nothing holds them, purged. Uploads and trash are one step each; whatever lasts lasts until the next tick.
pub(crate) const MANIFESTS: Scenario = Scenario {
    name: "images, an index and a referrer",
    rules: rules(Lives { promise: 1, grace: 1, window: 1, trash: 0, upload: 1 }, FAMILY),
    repositories: 1,
    digests: 2,
    clients: &[&[job(0, 0, 0), tagged(0, 0, 2), job(0, 0, 3)], &[tagged(1, 0, 1), job(1, 0, 3), tagged(1, 0, 2)]],
    collectors: 0,
    grain: Grain::Coarse,
    powers: &[
        Power::DeleteManifests,
        Power::DeleteTags,
        Power::DeleteBlobs,
        Power::ExpireManifests,
        Power::LookAtManifests,
    ],
    histories: false,
};

/// Manifests' own grace: half of it may be over when somebody asks. One image, an index of it, its tag.
pub(crate) const GRACE: Scenario = Scenario {
    name: "the grace of manifests",
    rules: rules(
        Lives { promise: 3, grace: 3, window: 1, trash: 0, upload: 1 },
        &[
            Shape { blobs: &[0], children: &[], subject: None },
            Shape { blobs: &[], children: &[0], subject: None },
            Shape { blobs: &[], children: &[], subject: Some(0) },
        ],
    ),
    repositories: 1,
    digests: 1,
    clients: &[&[job(0, 0, 0), tagged(0, 0, 1), tagged(0, 0, 2)], &[tagged(1, 0, 0), tagged(1, 0, 1), job(1, 0, 2)]],
    ..MANIFESTS
};

/// Two taggers and a deleter of one tag, with its history; both images are deleted and come back.
pub(crate) const TAGS: Scenario = Scenario {
    name: "one tag and its history",
    rules: rules(Lives { promise: 1, grace: 1, window: 1, trash: 0, upload: 1 }, {
        const TWO: &[Shape] =
            &[Shape { blobs: &[0], children: &[], subject: None }, Shape { blobs: &[1], children: &[], subject: None }];
        TWO
    }),
    repositories: 1,
    digests: 2,
    clients: &[&[tagged(0, 0, 0), tagged(0, 0, 1)], &[tagged(1, 0, 1), tagged(1, 0, 0)]],
    collectors: 0,
    grain: Grain::Coarse,
    powers: &[Power::DeleteManifests, Power::DeleteTags, Power::ExpireManifests],
    histories: true,
};

/// Manifests that are deleted and brought back by somebody who reads them first, while others push, delete, collect by hand and let expire what nothing
/// holds: an image and an index of it, which hold and are held.
pub(crate) const UNDELETE: Scenario = Scenario {
    name: "manifests that come back",
    rules: rules(
        Lives { promise: 1, grace: 1, window: 2, trash: 0, upload: 1 },
        &[
            Shape { blobs: &[0], children: &[], subject: None },
            Shape { blobs: &[], children: &[0], subject: None },
            Shape { blobs: &[0], children: &[], subject: Some(0) },
        ],
    ),
    repositories: 1,
    digests: 1,
    clients: &[&[job(0, 0, 0), tagged(0, 0, 1)], &[tagged(1, 0, 0), job(1, 0, 2)]],
    collectors: 0,
    grain: Grain::Coarse,
    powers: &[Power::DeleteManifests, Power::DeleteTags, Power::CollectByHand, Power::ExpireManifests, Power::Undelete],
    histories: false,
};

/// A repository that is deleted as a whole, comes back, and is purged step by step, when its window is over or by hand; another one that is pushed to its name
/// meanwhile. The pusher is in the middle of an upload when it goes. The blob is shared by the two. (Nothing leaves the trash here: [`LINKS`] has collectors.)
pub(crate) const REPOSITORIES: Scenario = Scenario {
    name: "repositories that come back",
    rules: rules(Lives { promise: 1, grace: 1, window: 1, trash: 0, upload: 1 }, IMAGE),
    repositories: 1,
    digests: 1,
    clients: &[&[tagged(0, 0, 0), job(0, 0, 0)]],
    collectors: 0,
    grain: Grain::Fine,
    powers: &[Power::DeleteRepositories, Power::CollectByHand],
    histories: false,
};

/// The same with an index, and with what is deleted by itself in them, and undeleted. Uploads and trash are one step each.
pub(crate) const REPOSITORIES_AND_MANIFESTS: Scenario = Scenario {
    name: "repositories and manifests that come back",
    rules: rules(
        Lives { promise: 1, grace: 1, window: 1, trash: 0, upload: 1 },
        &[Shape { blobs: &[0], children: &[], subject: None }, Shape { blobs: &[], children: &[0], subject: None }],
    ),
    clients: &[&[job(0, 0, 0), tagged(0, 0, 1)], &[tagged(1, 0, 0), job(1, 0, 0)]],
    collectors: 0,
    grain: Grain::Coarse,
    powers: &[
        Power::DeleteRepositories,
        Power::DeleteManifests,
        Power::ExpireManifests,
        Power::Undelete,
        Power::CollectByHand,
    ],
    ..REPOSITORIES
};

/// Everything meets: two digests in two repositories, mounts from one to the other, an image of both with a tagged index over it, deletions of manifests and
/// tags, and a collector that dies between any two of its steps and whose deletes come late. Uploads are one step.
pub(crate) const TOGETHER: Scenario = Scenario {
    name: "two digests, two repositories, an index, a collector that crashes",
    rules: rules(
        Lives { promise: 1, grace: 1, window: 1, trash: 0, upload: 1 },
        &[Shape { blobs: &[0, 1], children: &[], subject: None }, Shape { blobs: &[], children: &[0], subject: None }],
    ),
    repositories: 2,
    digests: 2,
    clients: &[&[job(0, 0, 0), tagged(0, 0, 1)], &[job(1, 1, 0)]],
    collectors: 1,
    grain: Grain::Coarse,
    powers: &[Power::DeleteManifests, Power::DeleteTags],
    histories: false,
};

/// The same with a referrer in the place of the index, which keeps a digest of its own and comes before its subject in one of the repositories, and with
/// two collectors.
pub(crate) const TOGETHER_WITH_A_REFERRER: Scenario = Scenario {
    name: "two digests, two repositories, a referrer, two collectors that crash",
    rules: rules(
        Lives { promise: 1, grace: 1, window: 1, trash: 0, upload: 1 },
        &[Shape { blobs: &[0], children: &[], subject: None }, Shape { blobs: &[1], children: &[], subject: Some(0) }],
    ),
    clients: &[&[tagged(0, 0, 0), job(0, 0, 1)], &[job(1, 1, 1)]],
    collectors: 2,
    ..TOGETHER
};

/// A manifest that names a blob before it is there, and the upload of that blob.
pub(crate) const LENIENT: Scenario = Scenario {
    name: "a manifest before its blob",
    repositories: 1,
    clients: &[&[Job { references: References::Lenient, ..job(0, 0, 0) }], &[job(1, 0, 0)]],
    collectors: 1,
    powers: &[Power::DeleteManifests, Power::GiveUp],
    ..LINKS
};
