use std::time::Duration;

use serde_json::{Value, json};
use shared::{
    clock::Timestamp,
    digest::{Algorithm, Digest},
    reference::Reference,
};

use super::{Condition, DeleteManifest, PutManifest, References};
use crate::{
    content::{
        Error, Promise, Pusher, TagLimits,
        fixture::{Fixture, descriptor, digest, digest_of, image, index, name, on_both, only, push, pusher, tag},
        manifest::MediaType,
        tags::{DeleteTag, Denial},
    },
    metadata::manifests::{Due, MANIFEST_GRACE, purge_whole, purgeable},
};

mod concurrency;
mod expiry;
mod immutable;
mod limited;

on_both! {
    an_image_is_served_as_it_was_pushed
    a_push_that_lacks_blobs_names_them_all_and_leaves_nothing
    an_index_may_be_sparse_unless_the_policy_is_strict
    a_lenient_repository_takes_what_it_cannot_hold_yet
    an_index_of_layers_needs_no_manifests
    a_wrong_size_is_refused
    a_push_by_digest_must_hash_to_it
    a_digest_keeps_its_algorithm
    what_was_read_before_a_change_is_not_served_after_it
    a_push_moves_all_its_tags
    the_same_push_again_changes_nothing
    the_same_bytes_are_not_two_kinds_of_manifest
    a_condition_decides_whether_the_tag_moves
    a_condition_is_about_every_tag_or_about_the_manifest
    a_deleted_manifest_is_hidden_and_comes_back_with_a_push
    a_deletion_without_a_window_purges
    a_purge_waits_for_the_window_unless_told_not_to
    a_blob_is_deleted_only_with_what_nobody_sees
    a_damaged_blob_must_be_pushed_again
    used_bytes_follow_payloads
    every_change_leaves_an_event
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn delete(repository: &str, digest: Digest, undelete_window: Duration) -> DeleteManifest {
    DeleteManifest {
        condition: None,
        repository: name(repository),
        digest,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window,
    }
}

impl Fixture {
    async fn served(&self, repository: &str, reference: impl Into<Reference>) -> Option<Digest> {
        match self.content.manifest(&name(repository), &reference.into(), Promise::Nothing).await {
            Ok(served) => Some(served.digest),
            Err(Error::ManifestUnknown { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn purge_due(&self, due: Due) -> usize {
        let mut reader = self.content.metadata.read().await.unwrap();
        let until = match due {
            Due::AfterWindow => self.clock.now(),
            Due::AtOnce | Due::Untagged => Timestamp::from_micros(i64::MAX),
        };
        let ids = purgeable(&mut reader, until, 100).await.unwrap();
        drop(reader);
        let mut purged = 0;
        for manifest in ids {
            let whole = purge_whole(&self.content.metadata, manifest, due, MANIFEST_GRACE).await.unwrap();
            purged += usize::from(whole.is_some());
        }
        purged
    }
}

async fn an_image_is_served_as_it_was_pushed(fixture: &Fixture) {
    fixture.hold("acme/web", &["config", "layer"]).await;
    let payload = serde_json::to_string_pretty(&image("config", &["layer"])).unwrap() + "\n\n";
    let put = PutManifest { payload: payload.clone().into(), ..push("acme/web", tag("v1"), &Value::Null) };
    let stored = fixture.put(put).await.unwrap();
    assert_eq!((stored.digest, stored.tags, stored.subject), (digest(payload.as_bytes()), vec![tag("v1")], None));

    for reference in [Reference::Tag(tag("v1")), Reference::Digest(stored.digest)] {
        let served = fixture.content.manifest(&name("acme/web"), &reference, Promise::Nothing).await.unwrap();
        assert_eq!(served.payload, payload.as_bytes());
        assert_eq!((served.digest, served.media_type.as_str()), (stored.digest, MediaType::OCI_MANIFEST));
    }
    assert_eq!(fixture.served("acme/web", tag("v2")).await, None);
    assert_eq!(fixture.served("acme/other", stored.digest).await, None, "a digest opens no other repository");
}

async fn a_push_that_lacks_blobs_names_them_all_and_leaves_nothing(fixture: &Fixture) {
    fixture.hold("acme/other", &["config", "one", "two"]).await;
    fixture.hold("acme/web", &["one"]).await;
    let refused = fixture.put(push("acme/web", tag("v1"), &image("config", &["one", "two", "two"]))).await;
    let Err(Error::ManifestReferencesMissing { missing }) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, [digest(b"config"), digest(b"two")], "other repositories' blobs do not count");
    assert_eq!(fixture.count("SELECT count(*) FROM manifest").await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM tag").await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NULL").await, 0);
}

async fn an_index_may_be_sparse_unless_the_policy_is_strict(fixture: &Fixture) {
    let absent = image("absent", &[]);
    let present = image("config", &["layer"]);
    fixture.push_image("acme/web", "amd64", "config").await;
    let sparse = index(&[&present, &absent]);
    let strict = PutManifest { references: References::Strict, ..push("acme/web", tag("v1"), &sparse) };
    let refused = fixture.put(strict).await;
    let Err(Error::ManifestReferencesMissing { missing }) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, [digest_of(&absent)]);
    fixture.put(push("acme/web", tag("v1"), &sparse)).await.unwrap();
    let whole = index(&[&present]);
    let strict = PutManifest { references: References::Strict, ..push("acme/web", tag("v2"), &whole) };
    fixture.put(strict).await.unwrap();
}

async fn a_lenient_repository_takes_what_it_cannot_hold_yet(fixture: &Fixture) {
    let image = image("config", &["layer"]);
    let put = PutManifest { references: References::Lenient, ..push("acme/web", tag("v1"), &image) };
    fixture.put(put).await.unwrap();
    assert_eq!(
        fixture.count("SELECT count(*) FROM manifest_blob").await,
        2,
        "a blob that comes later is named already"
    );
    assert_eq!(fixture.count("SELECT count(*) FROM link").await, 0, "to be named opens no blob");
}

async fn an_index_of_layers_needs_no_manifests(fixture: &Fixture) {
    fixture.hold("acme/cache", &["layer"]).await;
    let cache = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", b"layer")],
    });
    let put = PutManifest { references: References::Strict, ..push("acme/cache", tag("main"), &cache) };
    fixture.put(put).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NULL").await, 1, "the collector keeps it");
}

async fn a_wrong_size_is_refused(fixture: &Fixture) {
    fixture.hold("acme/web", &["config", "layer"]).await;
    let mut wrong = image("config", &["layer"]);
    wrong["layers"][0]["size"] = json!(4);
    let refused = fixture.put(push("acme/web", tag("v1"), &wrong)).await;
    assert!(matches!(refused, Err(Error::DescriptorSize { stated: 4, held: 5, .. })), "{refused:?}");

    let child = image("config", &["layer"]);
    fixture.put(push("acme/web", digest_of(&child), &child)).await.unwrap();
    let mut wrong = index(&[&child]);
    wrong["manifests"][0]["size"] = json!(1);
    let refused = fixture.put(push("acme/web", tag("v1"), &wrong)).await;
    assert!(matches!(refused, Err(Error::DescriptorSize { stated: 1, .. })), "{refused:?}");
}

async fn a_push_by_digest_must_hash_to_it(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let image = image("config", &[]);
    let refused = fixture.put(push("acme/web", digest(b"another"), &image)).await;
    let Err(Error::DigestMismatch { expected, computed }) = refused else { panic!("{refused:?}") };
    assert_eq!((expected, computed), (digest(b"another"), digest_of(&image)));
}

async fn a_digest_keeps_its_algorithm(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let image = image("config", &[]);
    let sha512 = Digest::of(Algorithm::Sha512, image.to_string().as_bytes());
    let put = PutManifest { tags: vec![tag("v1")], ..push("acme/web", sha512, &image) };
    assert_eq!(fixture.put(put).await.unwrap().digest, sha512);
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(sha512));
    assert_eq!(fixture.served("acme/web", digest_of(&image)).await, None);
}

async fn what_was_read_before_a_change_is_not_served_after_it(fixture: &Fixture) {
    for round in 0..3 {
        let image = fixture.push_image("acme/web", "v1", &format!("config {round}")).await;
        assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(image));
        assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(image), "from memory");
        assert_eq!(fixture.served("acme/web", image).await, Some(image));
    }
    let drop_tag = DeleteTag {
        condition: None,
        repository: name("acme/web"),
        tag: tag("v1"),
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
    };
    fixture.content.delete_tag(drop_tag).await.unwrap();
    assert_eq!(fixture.served("acme/web", tag("v1")).await, None);
}

async fn a_push_moves_all_its_tags(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let image = image("config", &[]);
    let tags: Vec<_> = (0..12).map(|number| tag(&format!("v{number:02}"))).collect();
    let twice = tags.iter().chain(&tags).cloned().collect();
    let put = PutManifest { tags: twice, ..push("acme/web", digest_of(&image), &image) };
    assert_eq!(fixture.put(put).await.unwrap().tags, tags);
    for tag in tags {
        assert_eq!(fixture.served("acme/web", tag).await, Some(digest_of(&image)));
    }
}

async fn the_same_push_again_changes_nothing(fixture: &Fixture) {
    fixture.push_image("acme/web", "v1", "config").await;
    let before = fixture.count("SELECT used FROM usage").await;
    fixture.push_image("acme/web", "v1", "config").await;
    assert_eq!(
        fixture.texts("SELECT digest FROM tag_history").await,
        [digest_of(&image("config", &["layer"])).to_string()]
    );
    assert_eq!(fixture.count("SELECT version FROM tag").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM event").await, 1);
    assert_eq!(fixture.count("SELECT used FROM usage").await, before);
}

async fn the_same_bytes_are_not_two_kinds_of_manifest(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let mut nameless = image("config", &[]);
    nameless.as_object_mut().unwrap().remove("mediaType");
    let as_type = |media_type: &str| PutManifest {
        media_type: Some(media_type.parse().unwrap()),
        ..push("acme/web", tag("v1"), &nameless)
    };
    let stored = fixture.put(as_type(MediaType::OCI_MANIFEST)).await.unwrap();
    let refused = fixture.put(as_type(MediaType::DOCKER_MANIFEST)).await;
    assert!(matches!(refused, Err(Error::ManifestHeldAs { .. })), "{refused:?}");
    // Once it is gone the bytes may come back as something else.
    fixture.content.delete_manifest(delete("acme/web", stored.digest, DAY)).await.unwrap();
    fixture.put(as_type(MediaType::DOCKER_MANIFEST)).await.unwrap();
    let reference = Reference::Tag(tag("v1"));
    let served = fixture.content.manifest(&name("acme/web"), &reference, Promise::Nothing).await.unwrap();
    assert_eq!(served.media_type, MediaType::DOCKER_MANIFEST);
    assert_eq!(fixture.count("SELECT count(*) FROM manifest_blob").await, 1);
}

async fn a_condition_decides_whether_the_tag_moves(fixture: &Fixture) {
    let first = fixture.push_image("acme/web", "v1", "first").await;
    fixture.hold("acme/web", &["second"]).await;
    let second = image("second", &[]);
    let put = |tag_name: &str, condition| PutManifest {
        condition: Some(condition),
        ..push("acme/web", tag(tag_name), &second)
    };
    for (tag, condition, current) in [
        ("v1", Condition::Absent, Some(first)),
        ("v1", Condition::PointsAt(vec![digest_of(&second)]), Some(first)),
        ("v2", Condition::Exists, None),
        ("v2", Condition::PointsAt(vec![first]), None),
    ] {
        let refused = fixture.put(put(tag, condition)).await;
        let Err(Error::ConditionFailed { current: found }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, current, "{tag}");
    }
    fixture.put(put("v2", Condition::Absent)).await.unwrap();
    fixture.put(put("v1", Condition::PointsAt(vec![digest(b"x"), first]))).await.unwrap();
    fixture.put(put("v1", Condition::Exists)).await.unwrap();
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(digest_of(&second)));
}

async fn a_condition_is_about_every_tag_or_about_the_manifest(fixture: &Fixture) {
    let first = fixture.push_image("acme/web", "v1", "first").await;
    fixture.hold("acme/web", &["second"]).await;
    let second = image("second", &[]);
    let put = |tags: &[&str], condition| PutManifest {
        tags: tags.iter().map(|name| tag(name)).collect(),
        condition: Some(condition),
        ..push("acme/web", digest_of(&second), &second)
    };
    for (tags, condition, current) in [
        (&["v1"][..], Condition::PointsAt(vec![digest_of(&second)]), Some(first)),
        (&["v1", "v2"], Condition::PointsAt(vec![first]), None),
        (&["v0", "v1"], Condition::Absent, Some(first)),
        (&[], Condition::Exists, None),
    ] {
        let refused = fixture.put(put(tags, condition)).await;
        let Err(Error::ConditionFailed { current: found }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, current, "{tags:?}");
    }
    assert_eq!(fixture.count("SELECT count(*) FROM manifest").await, 1, "a refused push leaves nothing");
    fixture.put(put(&[], Condition::Absent)).await.unwrap();
    let refused = fixture.put(put(&[], Condition::Absent)).await;
    assert!(matches!(refused, Err(Error::ConditionFailed { current: Some(_) })), "{refused:?}");
    fixture.put(put(&["v1"], Condition::PointsAt(vec![first]))).await.unwrap();
    fixture.put(put(&["v1"], Condition::PointsAt(vec![digest_of(&second)]))).await.unwrap();
}

async fn a_deleted_manifest_is_hidden_and_comes_back_with_a_push(fixture: &Fixture) {
    let image = fixture.push_image("acme/web", "v1", "config").await;
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(image));
    let deleted = fixture.content.delete_manifest(delete("acme/web", image, DAY)).await.unwrap();
    assert_eq!(deleted.tags, [tag("v1")]);
    assert_eq!(fixture.served("acme/web", tag("v1")).await, None);
    assert_eq!(fixture.served("acme/web", image).await, None);
    let again = fixture.content.delete_manifest(delete("acme/web", image, DAY)).await;
    assert!(matches!(again, Err(Error::ManifestUnknown { .. })), "{again:?}");
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NULL").await, 2, "its blobs stay for it");

    fixture.push_image("acme/web", "v1", "config").await;
    assert_eq!(fixture.served("acme/web", tag("v1")).await, Some(image));
    let history = fixture.texts("SELECT coalesce(digest, 'deleted') FROM tag_history ORDER BY version").await;
    assert_eq!(history, [image.to_string(), "deleted".to_owned(), image.to_string()]);
    assert_eq!(fixture.count("SELECT count(*) FROM manifest WHERE expires_at IS NOT NULL").await, 0);
}

async fn a_deletion_without_a_window_purges(fixture: &Fixture) {
    let image = fixture.push_image("acme/web", "v1", "config").await;
    fixture.content.delete_manifest(delete("acme/web", image, Duration::ZERO)).await.unwrap();
    for sql in [
        "SELECT count(*) FROM manifest",
        "SELECT count(*) FROM manifest_payload",
        "SELECT count(*) FROM manifest_blob",
        "SELECT count(*) FROM link WHERE expires_at IS NULL",
    ] {
        assert_eq!(fixture.count(sql).await, 0, "{sql}");
    }
    assert_eq!(fixture.count("SELECT count(*) FROM link").await, 2, "a pusher may just have been told they are here");
    let missing = fixture.content.delete_manifest(delete("acme/web", image, Duration::ZERO)).await;
    assert!(matches!(missing, Err(Error::ManifestUnknown { .. })), "{missing:?}");
    let missing = fixture.content.delete_manifest(delete("acme/none", image, Duration::ZERO)).await;
    assert!(matches!(missing, Err(Error::ManifestUnknown { .. })), "{missing:?}");
}

async fn a_purge_waits_for_the_window_unless_told_not_to(fixture: &Fixture) {
    let first = fixture.push_image("acme/web", "v1", "first").await;
    let second = fixture.push_image("acme/web", "v2", "second").await;
    fixture.content.delete_manifest(delete("acme/web", first, DAY)).await.unwrap();
    assert_eq!(fixture.purge_due(Due::AfterWindow).await, 0);
    fixture.pass(DAY + Duration::from_secs(1));
    fixture.content.delete_manifest(delete("acme/web", second, DAY)).await.unwrap();
    assert_eq!(fixture.purge_due(Due::AfterWindow).await, 1);
    assert_eq!(fixture.purge_due(Due::AtOnce).await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM manifest").await, 0);
    let third = fixture.push_image("acme/web", "v3", "third").await;
    assert_eq!(fixture.purge_due(Due::AtOnce).await, 0, "the living are not purged");
    assert_eq!(fixture.served("acme/web", tag("v3")).await, Some(third));
}

async fn a_blob_is_deleted_only_with_what_nobody_sees(fixture: &Fixture) {
    let image = fixture.push_image("acme/web", "v1", "config").await;
    let delete_layer =
        || async { fixture.content.delete_blob(&name("acme/web"), &digest(b"layer"), &TagLimits::Everything).await };
    let refused = delete_layer().await;
    assert!(matches!(refused, Err(Error::BlobInUse { manifest }) if manifest == image), "{refused:?}");
    fixture.content.delete_manifest(delete("acme/web", image, DAY)).await.unwrap();
    delete_layer().await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM manifest").await, 0, "it could not come back whole");
    assert_eq!(fixture.texts("SELECT digest FROM blob").await, [digest(b"config").to_string()]);
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NULL").await, 0);
}

async fn a_damaged_blob_must_be_pushed_again(fixture: &Fixture) {
    fixture.hold("acme/web", &["config", "layer"]).await;
    fixture.damage(digest(b"layer")).await;
    let refused = fixture.put(push("acme/web", tag("v1"), &image("config", &["layer"]))).await;
    let Err(Error::ManifestReferencesMissing { missing }) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, [digest(b"layer")]);
}

async fn used_bytes_follow_payloads(fixture: &Fixture) {
    fixture.hold("acme/web", &["config", "layer"]).await;
    let blobs = fixture.count("SELECT used FROM usage").await;
    let image = fixture.push_image("acme/web", "v1", "config").await;
    let size = fixture.count("SELECT size FROM manifest").await;
    assert_eq!(fixture.count("SELECT used FROM usage").await, blobs + size);
    fixture.content.delete_manifest(delete("acme/web", image, DAY)).await.unwrap();
    assert_eq!(fixture.count("SELECT used FROM usage").await, blobs + size, "it can come back");
    fixture.push_image("acme/web", "v1", "config").await;
    assert_eq!(fixture.count("SELECT used FROM usage").await, blobs + size);
    fixture.content.delete_manifest(delete("acme/web", image, Duration::ZERO)).await.unwrap();
    assert_eq!(fixture.count("SELECT used FROM usage").await, blobs);
}

async fn every_change_leaves_an_event(fixture: &Fixture) {
    let image = fixture.push_image("acme/web", "v1", "config").await;
    fixture.content.delete_manifest(delete("acme/web", image, DAY)).await.unwrap();
    let kinds = fixture.texts("SELECT kind FROM event ORDER BY id").await;
    assert_eq!(kinds, ["manifest_pushed", "manifest_deleted"]);
    let bodies = fixture.texts("SELECT body FROM event ORDER BY id").await;
    let pushed: Value = serde_json::from_str(&bodies[0]).unwrap();
    assert_eq!(pushed["repository"], "acme/web");
    assert_eq!(pushed["digest"], image.to_string());
    assert_eq!(pushed["mediaType"], MediaType::OCI_MANIFEST);
    assert_eq!(pushed["tags"], json!(["v1"]));
    assert_eq!(pushed["actor"], "ada");
}
