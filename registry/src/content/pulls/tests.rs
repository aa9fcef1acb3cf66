use std::{sync::PoisonError, time::Duration};

use shared::reference::Reference;

use super::{Key, MAX_DIFFERENT, Pulls};
use crate::content::{
    TagLimits,
    fixture::{Fixture, digest, name, on_both, tag},
    manifests::DeleteManifest,
};

on_both! {
    pulls_add_up_by_tag_and_by_manifest
    pulls_of_what_has_gone_are_left_out
    counting_pulls_while_the_manifest_goes_is_harmless
}

async fn pulls_add_up_by_tag_and_by_manifest(fixture: &Fixture) {
    let image = fixture.push_image("acme/web", "v1", "config").await;
    fixture.push_image("acme/web", "latest", "config").await;
    let pull = |reference: Reference| fixture.content.pulled(&name("acme/web"), &reference, image);
    pull(tag("v1").into());
    pull(tag("v1").into());
    pull(tag("latest").into());
    fixture.content.write_pulls().await.unwrap();
    fixture.pass(Duration::from_secs(60));
    pull(tag("v1").into());
    pull(image.into());
    fixture.content.write_pulls().await.unwrap();
    fixture.content.write_pulls().await.unwrap();
    let tags = fixture.texts("SELECT name || ' ' || pulls FROM tag_pull ORDER BY name").await;
    assert_eq!(tags, ["latest 1", "v1 3"]);
    assert_eq!(fixture.count("SELECT pulls FROM manifest_pull").await, 5);
    let later = "SELECT max(pulled_at) - min(pulled_at) FROM tag_pull";
    assert!(fixture.count(later).await >= 60 * 1_000_000, "the last pull counts");
}

async fn pulls_of_what_has_gone_are_left_out(fixture: &Fixture) {
    let image = fixture.push_image("acme/web", "v1", "config").await;
    fixture.content.pulled(&name("acme/none"), &tag("v1").into(), image);
    fixture.content.pulled(&name("acme/web"), &digest(b"gone").into(), digest(b"gone"));
    fixture.content.write_pulls().await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM tag_pull").await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM manifest_pull").await, 0);
}

async fn counting_pulls_while_the_manifest_goes_is_harmless(fixture: &Fixture) {
    for round in 0..30 {
        let image = fixture.push_image("acme/web", "v1", &format!("config {round}")).await;
        fixture.content.pulled(&name("acme/web"), &tag("v1").into(), image);
        let delete = DeleteManifest {
            repository: name("acme/web"),
            digest: image,
            condition: None,
            limits: TagLimits::Everything,
            actor: "ada".to_owned(),
            undelete_window: Duration::ZERO,
        };
        let (counted, deleted) = tokio::join!(fixture.content.write_pulls(), fixture.content.delete_manifest(delete));
        counted.unwrap();
        deleted.unwrap();
    }
    assert_eq!(fixture.count("SELECT count(*) FROM manifest_pull").await, 0);
    assert_eq!(fixture.count("SELECT pulls FROM tag_pull").await, 30, "the tag's count is whole");
}

#[test]
fn what_is_remembered_is_bounded() {
    let pulls = Pulls::default();
    let now = shared::clock::Timestamp::EPOCH;
    for number in 0..MAX_DIFFERENT + 10 {
        let reference = Reference::Tag(tag(&format!("v{number}")));
        pulls.add(Key { repository: name("acme/web"), reference, digest: digest(b"image") }, now);
    }
    let counted = pulls.0.lock().unwrap_or_else(PoisonError::into_inner).len();
    assert_eq!(counted, MAX_DIFFERENT);
}
