use std::time::Duration;

use serde_json::Value;
use shared::{digest::Digest, reference::Reference, tag::Tag};

use super::{Carried, NotRestorable, RestoreManifest, RestoreTag, Restored, Restorer};
use crate::{
    content::{
        Error, Force, Promise, TagLimits,
        fixture::{Fixture, digest, digest_of, image, index, name, on_both, push, tag},
        manifests::{DeleteManifest, References},
        tags::{DeleteTag, history::Fate},
    },
    metadata::fixture::Tamper,
};

on_both! {
    a_deleted_manifest_comes_back_with_its_tags_where_that_is_asked
    what_a_purge_took_does_not_come_back
    what_is_missing_is_named_and_nothing_comes_back
    a_tag_that_has_moved_is_not_taken_without_force
    a_tag_returns_to_what_it_pointed_at
    a_history_tells_every_step_and_what_became_of_it
    a_restored_manifest_takes_no_promise_away
    every_restoration_leaves_an_event
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const WEB: &str = "acme/web";

fn by(force: Force) -> Restorer {
    Restorer { actor: "grace".to_owned(), force, references: References::Image }
}

impl Fixture {
    async fn delete(&self, digest: Digest) {
        let delete = DeleteManifest {
            repository: name(WEB),
            digest,
            condition: None,
            limits: TagLimits::Everything,
            actor: "ada".to_owned(),
            undelete_window: WEEK,
        };
        self.content.delete_manifest(delete).await.unwrap();
    }

    async fn untag(&self, text: &str) {
        let (limits, actor) = (TagLimits::Everything, "ada".to_owned());
        let delete = DeleteTag { repository: name(WEB), tag: tag(text), condition: None, limits, actor };
        self.content.delete_tag(delete).await.unwrap();
    }

    async fn restore(&self, digest: Digest, tags: Carried, force: Force) -> Result<Restored, Error> {
        let restore = RestoreManifest { repository: name(WEB), digest, tags, by: by(force) };
        self.content.restore_manifest(restore).await
    }

    async fn restore_tag(&self, text: &str, version: Option<i64>, force: Force) -> Result<Restored, Error> {
        let restore = RestoreTag { repository: name(WEB), tag: tag(text), version, by: by(force) };
        self.content.restore_tag(restore).await
    }

    /// What readers are served.
    async fn serves(&self, reference: impl Into<Reference>) -> Option<Digest> {
        let served = self.content.manifest(&name(WEB), &reference.into(), Promise::Nothing).await;
        served.ok().map(|served| served.digest)
    }
}

fn tags(texts: &[&str]) -> Vec<Tag> {
    texts.iter().map(|text| tag(text)).collect()
}

async fn a_deleted_manifest_comes_back_with_its_tags_where_that_is_asked(fixture: &Fixture) {
    let image = fixture.push_image(WEB, "v1", "config").await;
    fixture.push_image(WEB, "latest", "config").await;
    fixture.push_image(WEB, "gone-before", "config").await;
    fixture.untag("gone-before").await;
    for carried in [Carried::Nothing, Carried::Tags] {
        fixture.delete(image).await;
        assert_eq!(fixture.serves(image).await, None);
        let restored = fixture.restore(image, carried, Force::No).await.unwrap();
        let expected = if carried == Carried::Tags { tags(&["latest", "v1"]) } else { Vec::new() };
        assert_eq!(restored, Restored { digest: image, tags: expected });
        assert_eq!(fixture.serves(image).await, Some(image));
        let tagged = carried == Carried::Tags;
        assert_eq!(fixture.serves(tag("v1")).await, tagged.then_some(image), "{carried:?}");
        assert_eq!(fixture.serves(tag("gone-before")).await, None, "it was deleted by itself");
        let expiring = fixture.count("SELECT count(*) FROM manifest WHERE expires_at IS NOT NULL").await;
        assert_eq!(expiring, i64::from(!tagged), "without a tag it has its grace and no more");
        assert_eq!(fixture.count("SELECT count(*) FROM manifest WHERE deleted_by IS NOT NULL").await, 0);
        if !tagged {
            fixture.push_image(WEB, "v1", "config").await;
            fixture.push_image(WEB, "latest", "config").await;
        }
    }
    let again = fixture.restore(image, Carried::Tags, Force::No).await.unwrap();
    assert_eq!(again.tags, [], "what lives is left as it is");
}

async fn what_a_purge_took_does_not_come_back(fixture: &Fixture) {
    let image = fixture.push_image(WEB, "v1", "config").await;
    fixture.delete(image).await;
    fixture.pass(WEEK + Duration::from_secs(1));
    for attempt in [
        fixture.restore(image, Carried::Tags, Force::Yes).await,
        fixture.restore(digest(b"never"), Carried::Nothing, Force::Yes).await,
        fixture.restore_tag("v1", None, Force::Yes).await,
    ] {
        assert!(
            matches!(attempt, Err(Error::NotRestorable(NotRestorable::Manifest { .. }))),
            "the purge may come at any moment: {attempt:?}"
        );
    }
    assert_eq!(fixture.serves(image).await, None);
    assert_eq!(fixture.count("SELECT count(*) FROM tag WHERE manifest_id IS NOT NULL").await, 0);
}

async fn what_is_missing_is_named_and_nothing_comes_back(fixture: &Fixture) {
    fixture.hold(WEB, &["config", "layer", "other"]).await;
    let (child, other) = (image("config", &["layer"]), image("other", &[]));
    for child in [&child, &other] {
        fixture.put(push(WEB, digest_of(child), child)).await.unwrap();
    }
    let list = index(&[&child, &other]);
    fixture.put(push(WEB, tag("v1"), &list)).await.unwrap();
    for manifest in [&list, &child] {
        fixture.delete(digest_of(manifest)).await;
    }
    let missing_of = |refused: Result<Restored, Error>| match refused {
        Err(Error::ManifestReferencesMissing { missing }) => missing,
        other => panic!("{other:?}"),
    };
    let refused = fixture.restore(digest_of(&list), Carried::Tags, Force::No).await;
    assert_eq!(missing_of(refused), [digest_of(&child)], "a child that nobody sees is missing");
    assert_eq!((fixture.serves(digest_of(&list)).await, fixture.serves(tag("v1")).await), (None, None));

    fixture.damage(digest(b"layer")).await;
    let refused = fixture.restore(digest_of(&child), Carried::Nothing, Force::Yes).await;
    assert_eq!(missing_of(refused), [digest(b"layer")], "force makes no image of what has no bytes");
    fixture.content.metadata.write(Tamper("UPDATE blob SET state = 'live'")).await.unwrap();

    fixture.restore(digest_of(&list), Carried::Tags, Force::Yes).await.unwrap();
    assert_eq!(fixture.serves(tag("v1")).await, Some(digest_of(&list)), "as sparse as one may push it");
    fixture.restore(digest_of(&child), Carried::Nothing, Force::No).await.unwrap();
    let held = "SELECT count(*) FROM manifest WHERE expires_at IS NULL AND deleted_at IS NULL";
    assert_eq!(fixture.count(held).await, 3, "the index holds its children again");
}

async fn a_tag_that_has_moved_is_not_taken_without_force(fixture: &Fixture) {
    let old = fixture.push_image(WEB, "v1", "config").await;
    fixture.push_image(WEB, "v2", "config").await;
    fixture.delete(old).await;
    let new = fixture.push_image(WEB, "v2", "another").await;
    let refused = fixture.restore(old, Carried::Tags, Force::No).await;
    assert!(matches!(&refused, Err(Error::TagMoved { tag, at }) if tag.as_str() == "v2" && *at == new), "{refused:?}");
    assert_eq!((fixture.serves(old).await, fixture.serves(tag("v1")).await), (None, None), "all of it or nothing");
    fixture.restore(old, Carried::Tags, Force::Yes).await.unwrap();
    for text in ["v1", "v2"] {
        assert_eq!(fixture.serves(tag(text)).await, Some(old));
    }
    assert_eq!(fixture.serves(new).await, Some(new));
}

async fn a_tag_returns_to_what_it_pointed_at(fixture: &Fixture) {
    let first = fixture.push_image(WEB, "v1", "config").await;
    let second = fixture.push_image(WEB, "v1", "another").await;
    let moved = fixture.restore_tag("v1", None, Force::No).await;
    assert!(matches!(moved, Err(Error::TagMoved { at, .. }) if at == second), "{moved:?}");
    fixture.restore_tag("v1", None, Force::Yes).await.unwrap();
    assert_eq!(fixture.serves(tag("v1")).await, Some(first), "one step back");
    fixture.untag("v1").await;
    fixture.restore_tag("v1", None, Force::No).await.unwrap();
    assert_eq!(fixture.serves(tag("v1")).await, Some(first), "what was deleted last comes back");
    fixture.delete(second).await;
    fixture.restore_tag("v1", Some(2), Force::Yes).await.unwrap();
    assert_eq!(fixture.serves(tag("v1")).await, Some(second), "with the deleted manifest that it pointed at");
    fixture.restore_tag("v1", Some(2), Force::No).await.unwrap();
    let version = "SELECT count(*) FROM tag WHERE version = 6";
    assert_eq!(fixture.count(version).await, 1, "where it stands already it does not move");
    let refusal = async |text: &str, version| fixture.restore_tag(text, version, Force::Yes).await.unwrap_err();
    for (text, version, expected) in [
        ("v1", Some(4), "version 4 of the tag v1 is its deletion"),
        ("v1", Some(7), "no version 7"),
        ("v1", Some(0), "no version 0"),
        ("v1", Some(i64::MAX), "no version"),
        ("v2", None, "acme/web never had a tag v2"),
    ] {
        let refused = refusal(text, version).await.to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    fixture.push_image(WEB, "v3", "config").await;
    assert!(refusal("v3", None).await.to_string().contains("points where it always did"));
}

async fn a_history_tells_every_step_and_what_became_of_it(fixture: &Fixture) {
    let first = fixture.push_image(WEB, "v1", "config").await;
    let second = fixture.push_image(WEB, "v1", "another").await;
    fixture.untag("v1").await;
    let third = fixture.push_image(WEB, "v1", "third").await;
    fixture.delete(second).await;
    let (repository, v1) = (name(WEB), tag("v1"));
    let told = async |before, limit| {
        let steps = fixture.content.tag_history(&repository, &v1, before, limit).await.unwrap();
        steps.into_iter().map(|step| (step.version, step.digest, step.fate)).collect::<Vec<_>>()
    };
    let all = [
        (4, Some(third), Fate::Living),
        (3, None, Fate::Gone),
        (2, Some(second), Fate::Deleted),
        (1, Some(first), Fate::Living),
    ];
    assert_eq!(told(None, 10).await, all);
    assert_eq!(told(None, 2).await, all[..2]);
    assert_eq!(told(Some(3), 2).await, all[2..]);
    assert_eq!(told(Some(1), 2).await, []);
    fixture.pass(WEEK + Duration::from_secs(1));
    assert_eq!(told(Some(3), 1).await, [(2, Some(second), Fate::Gone)], "its window is over");
    let actors = fixture.content.tag_history(&repository, &v1, None, 10).await.unwrap();
    assert!(actors.iter().all(|step| step.actor == "ada"), "{actors:?}");
    for (repository, tag) in [(name("acme/other"), tag("v1")), (repository, tag("v2"))] {
        let unknown = fixture.content.tag_history(&repository, &tag, None, 10).await;
        assert!(matches!(unknown, Err(Error::NotRestorable(NotRestorable::Tag { .. }))), "{unknown:?}");
    }
}

/// An administrator's restoration is no push of whoever bears the same name, so nothing that one was promised ends with it.
async fn a_restored_manifest_takes_no_promise_away(fixture: &Fixture) {
    let image = fixture.push_image(WEB, "v1", "config").await;
    fixture.delete(image).await;
    fixture.hold(WEB, &["config"]).await;
    let promised = "SELECT count(*) FROM link WHERE leased_until > 0";
    assert_eq!(fixture.count(promised).await, 1);
    let restore = RestoreManifest {
        repository: name(WEB),
        digest: image,
        tags: Carried::Tags,
        by: Restorer { actor: "ada".to_owned(), ..by(Force::No) },
    };
    fixture.content.restore_manifest(restore).await.unwrap();
    assert_eq!(fixture.count(promised).await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NULL").await, 2);
}

async fn every_restoration_leaves_an_event(fixture: &Fixture) {
    let image = fixture.push_image(WEB, "v1", "config").await;
    fixture.delete(image).await;
    fixture.restore(image, Carried::Tags, Force::No).await.unwrap();
    fixture.restore(image, Carried::Tags, Force::No).await.unwrap();
    let events = fixture.texts("SELECT body FROM event WHERE kind = 'manifest_restored'").await;
    assert_eq!(events.len(), 1, "what changes nothing leaves none");
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!(
        (&event["digest"], &event["tags"][0], &event["actor"]),
        (&image.to_string().into(), &"v1".into(), &"grace".into())
    );
    let history = fixture.texts("SELECT actor FROM tag_history ORDER BY tag_history.version").await;
    assert_eq!(history, ["ada", "ada", "grace"]);
}
