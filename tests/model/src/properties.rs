//! What must hold at every moment: the invariants of design.md section 6 that concern rows, bytes and promises.
//!
//! I5 (one row for a digest) cannot be otherwise here, and is a unique index there (docs/decisions/0025). I9 (no read without a link), I10 (used bytes) and I12 (referrers) are compared with the real
//! tables by `registry/src/stories/model.rs`.

use crate::{Number, References, Scenario, World, rows::at};

/// Something that must hold.
pub type Property = fn(&Scenario, &World) -> bool;

/// All of them, by their names.
pub const ALL: [(&str, Property); 9] = [
    ("I1 a live blob has its bytes", live_blobs_have_bytes),
    ("I2 no bytes without a row", bytes_have_rows),
    ("I3 what a kept manifest names is readable", references_are_readable),
    ("I4 no link without a blob, no blob without a link", links_and_blobs_belong_together),
    ("I6 a key is used once", keys_are_used_once),
    ("I7 a promise is kept", promises_are_kept),
    ("I8 a tag points at a living manifest, where its history ends", tags_are_sound),
    ("a manifest can expire exactly while nothing holds it", expiry_follows_from_holds),
    ("a push heals", pushes_heal),
];

fn live_blobs_have_bytes(_: &Scenario, world: &World) -> bool {
    let live = (0..).zip(&world.rows.blobs).filter(|(_, blob)| blob.is_some_and(|blob| !blob.damaged));
    live.into_iter().all(|(digest, _)| world.has_bytes(digest))
}

fn bytes_have_rows(_: &Scenario, world: &World) -> bool {
    let rows = world.rows.keys();
    world.rows.bytes.iter().all(|key| rows.has(key))
}

/// Where a manifest may name what is missing, what it names and was there must not go.
fn references_are_readable(scenario: &Scenario, world: &World) -> bool {
    let lenient = scenario.clients.iter().flat_map(|jobs| jobs.iter()).any(|job| job.references == References::Lenient);
    let held = |repository: Number, digest: Number| is_readable(world, repository, digest);
    let mut kept = (0..).zip(&world.rows.manifests).flat_map(|(repository, rows)| {
        (0..).zip(rows).filter(|(_, row)| row.is_some()).map(move |(manifest, _)| (repository, manifest))
    });
    !world.broken.reference
        && (lenient
            || kept.all(|(repository, manifest)| {
                scenario.rules.shape(manifest).blobs.iter().all(|digest| held(repository, *digest))
            }))
}

fn is_readable(world: &World, repository: Number, digest: Number) -> bool {
    world.rows.link(repository, digest).is_some() && world.has_bytes(digest)
}

fn links_and_blobs_belong_together(scenario: &Scenario, world: &World) -> bool {
    (0..scenario.digests).all(|digest| {
        let linked = world.rows.links.iter().any(|links| links[digest].is_some());
        linked == world.rows.blobs[digest].is_some()
    })
}

fn keys_are_used_once(_: &Scenario, world: &World) -> bool {
    let rows = &world.rows;
    let blobs = rows.blobs.iter().flatten().map(|blob| blob.key);
    let uploads = rows.uploads.iter().flatten().map(|upload| upload.key);
    let trash = (0..).zip(&rows.trash).filter(|(_, row)| row.is_some()).map(|(key, _)| key);
    let mut keys: Vec<Number> = blobs.chain(uploads).chain(trash).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    keys.len() == count && !world.broken.key
}

fn promises_are_kept(scenario: &Scenario, world: &World) -> bool {
    let kept = |client: Number| {
        let Some(job) = scenario.job(world, client) else { return true };
        let told = world.clients[at(client)];
        let blobs = (0..).zip(told.promised).filter(|(_, left)| *left > 0);
        let children = scenario.rules.shape(job.manifest).children.iter().zip(told.promised_children);
        let mut children = children.filter(|(_, left)| *left > 0).map(|(child, _)| *child);
        let repository = world.rows.slot(job.repository);
        let rows = &world.rows.manifests[at(repository)];
        blobs.into_iter().all(|(digest, _)| is_readable(world, repository, digest))
            && children.all(|child| rows[at(child)].is_some_and(|row| !row.deleted))
    };
    !world.broken.push && (0..).take(scenario.clients.len()).all(kept)
}

fn tags_are_sound(scenario: &Scenario, world: &World) -> bool {
    world.rows.tags.iter().zip(&world.rows.manifests).all(|(tag, rows)| {
        let living = |target: Number| rows[at(target)].is_some_and(|row| !row.deleted);
        let last = tag.version.checked_sub(1).and_then(|last| tag.history[at(last)]);
        let past = tag.history.iter().skip(at(tag.version)).all(Option::is_none);
        tag.target.is_none_or(living) && (!scenario.histories || (last == tag.target && past))
    })
}

fn expiry_follows_from_holds(scenario: &Scenario, world: &World) -> bool {
    let follows = (0..).zip(&world.rows.manifests).all(|(repository, rows)| {
        // What nobody sees is purged in any order, or comes back and is looked at then.
        world.rows.hidden[at(repository)].is_some()
            || (0..).zip(rows).all(|(manifest, row)| {
                row.is_none_or(|row| {
                    row.deleted || row.expires.is_none() == world.rows.is_held(&scenario.rules, repository, manifest)
                })
            })
    });
    follows && !world.broken.hold
}

fn pushes_heal(_: &Scenario, world: &World) -> bool {
    !world.broken.healing
}
