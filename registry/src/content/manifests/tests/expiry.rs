//! What holds a manifest, and what a pusher was promised.

use super::*;

on_both! {
    blobs_that_a_manifest_names_do_not_expire
    another_holders_promise_outlives_the_push
    an_untagged_manifest_has_a_grace
    children_are_held_by_their_index
    an_image_that_loses_its_last_tag_has_a_grace
    a_referrer_is_held_by_its_subject_whichever_comes_first
    a_pushers_look_puts_the_grace_ahead
}

impl Fixture {
    /// When the manifest may go, in microseconds; None while something holds it.
    async fn expiry(&self, manifest: Digest) -> Option<i64> {
        let rows = self.texts("SELECT digest || ' ' || coalesce(expires_at, 0) FROM manifest").await;
        let row = rows.iter().find_map(|row| row.strip_prefix(&format!("{manifest} "))).unwrap();
        Some(row.parse().unwrap()).filter(|at| *at != 0)
    }

    async fn has_full_grace(&self, manifest: Digest) -> bool {
        let end = (self.clock.now() + MANIFEST_GRACE).micros();
        let minute = 60 * 1_000_000;
        self.expiry(manifest).await.is_some_and(|at| (end - minute..=end + minute).contains(&at))
    }
}

async fn blobs_that_a_manifest_names_do_not_expire(fixture: &Fixture) {
    fixture.hold("acme/web", &["config", "layer", "another"]).await;
    fixture.push_image("acme/web", "v1", "config").await;
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NULL AND leased_until = 0").await, 2);
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NOT NULL AND leased_until > 0").await, 1);
}

async fn another_holders_promise_outlives_the_push(fixture: &Fixture) {
    fixture.hold("acme/web", &["config", "layer"]).await;
    let other = Pusher { holder: "bob".to_owned(), actor: "bob".to_owned() };
    let image = image("config", &["layer"]);
    fixture.put(PutManifest { pusher: other, ..push("acme/web", tag("v1"), &image) }).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM link WHERE expires_at IS NULL AND leased_until > 0").await, 2);
}

async fn an_untagged_manifest_has_a_grace(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let image = image("config", &[]);
    fixture.put(push("acme/web", digest_of(&image), &image)).await.unwrap();
    assert!(fixture.has_full_grace(digest_of(&image)).await);
    fixture.pass(DAY / 2);
    assert!(!fixture.has_full_grace(digest_of(&image)).await);
    fixture.put(push("acme/web", digest_of(&image), &image)).await.unwrap();
    assert!(fixture.has_full_grace(digest_of(&image)).await, "pushed again, it begins again");
    fixture.put(push("acme/web", tag("v1"), &image)).await.unwrap();
    assert_eq!(fixture.expiry(digest_of(&image)).await, None);
    fixture.put(push("acme/web", digest_of(&image), &image)).await.unwrap();
    assert_eq!(fixture.expiry(digest_of(&image)).await, None, "it still is tagged");
}

async fn children_are_held_by_their_index(fixture: &Fixture) {
    fixture.hold("acme/web", &["amd64", "arm64"]).await;
    let (first, second) = (image("amd64", &[]), image("arm64", &[]));
    let both = index(&[&first, &second]);
    fixture.put(push("acme/web", digest_of(&first), &first)).await.unwrap();
    fixture.put(push("acme/web", tag("v1"), &both)).await.unwrap();
    assert_eq!(fixture.expiry(digest_of(&first)).await, None);
    fixture.put(push("acme/web", digest_of(&second), &second)).await.unwrap();
    assert_eq!(fixture.expiry(digest_of(&second)).await, None, "it comes after the index that lists it");

    fixture.content.delete_manifest(delete("acme/web", digest_of(&both), DAY)).await.unwrap();
    assert_eq!(fixture.expiry(digest_of(&first)).await, None, "a deleted index is kept");
    fixture.pass(2 * DAY);
    assert_eq!(fixture.purge_due(Due::AfterWindow).await, 1);
    assert!(fixture.has_full_grace(digest_of(&first)).await);
    assert!(fixture.has_full_grace(digest_of(&second)).await);
}

async fn an_image_that_loses_its_last_tag_has_a_grace(fixture: &Fixture) {
    let old = fixture.push_image("acme/web", "v1", "old").await;
    fixture.put(push("acme/web", tag("latest"), &image("old", &["layer"]))).await.unwrap();
    fixture.pass(100 * DAY);
    fixture.push_image("acme/web", "v1", "new").await;
    assert_eq!(fixture.expiry(old).await, None, "latest still points at it");
    fixture.push_image("acme/web", "latest", "new").await;
    assert!(fixture.has_full_grace(old).await, "counted from the loss, not from the push");
}

async fn a_referrer_is_held_by_its_subject_whichever_comes_first(fixture: &Fixture) {
    fixture.hold("acme/web", &["signed", "signature"]).await;
    let signed = image("signed", &[]);
    let mut signature = image("signature", &[]);
    signature["subject"] = descriptor(MediaType::OCI_MANIFEST, signed.to_string().as_bytes());
    let stored = fixture.put(push("acme/web", digest_of(&signature), &signature)).await.unwrap();
    assert_eq!(stored.subject, Some(digest_of(&signed)));
    assert!(fixture.has_full_grace(digest_of(&signature)).await, "what it is about is not there");
    fixture.put(push("acme/web", tag("v1"), &signed)).await.unwrap();
    assert_eq!(fixture.expiry(digest_of(&signature)).await, None);

    fixture.content.delete_manifest(delete("acme/web", digest_of(&signed), Duration::ZERO)).await.unwrap();
    assert!(fixture.has_full_grace(digest_of(&signature)).await);
    fixture.put(push("acme/web", tag("v1"), &signed)).await.unwrap();
    fixture.put(push("acme/web", digest_of(&signature), &signature)).await.unwrap();
    assert_eq!(fixture.expiry(digest_of(&signature)).await, None);
}

async fn a_pushers_look_puts_the_grace_ahead(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let image = image("config", &[]);
    let digest = digest_of(&image);
    fixture.put(push("acme/web", digest, &image)).await.unwrap();
    fixture.pass(DAY / 2 + Duration::from_secs(60));
    let before = fixture.expiry(digest).await;
    fixture.served("acme/web", digest).await.unwrap();
    assert_eq!(fixture.expiry(digest).await, before, "a reader's look writes nothing");
    let promise = Promise::To(&pusher());
    fixture.content.manifest(&name("acme/web"), &Reference::Digest(digest), promise).await.unwrap();
    assert!(fixture.has_full_grace(digest).await);
}
