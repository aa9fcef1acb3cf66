//! A pusher who may touch some tags only (design.md section 3, "Limits").

use super::*;

on_both! {
    every_tag_must_match_or_none_moves
    a_push_without_a_tag_is_allowed
    a_subject_may_be_absent_untagged_or_within_the_limits
    a_tag_about_a_manifest_follows_that_manifests_tags
    a_deletion_by_digest_needs_tags_that_all_match_and_no_index
    a_tag_is_deleted_only_within_the_limits
    no_pattern_matches_nothing
}

fn limited(put: PutManifest) -> PutManifest {
    PutManifest { limits: only(&["pr-*"]), ..put }
}

fn about(manifest: &Value, config: &str) -> Value {
    let mut signature = image(config, &[]);
    signature["subject"] = descriptor(MediaType::OCI_MANIFEST, manifest.to_string().as_bytes());
    signature
}

async fn every_tag_must_match_or_none_moves(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let image = image("config", &[]);
    let put = PutManifest { tags: vec![tag("latest")], ..limited(push("acme/web", tag("pr-1"), &image)) };
    let refused = fixture.put(put).await;
    let Err(Error::Denied(Denial::Tag { tag: denied })) = refused else { panic!("{refused:?}") };
    assert_eq!(denied, tag("latest"));
    assert_eq!(fixture.served("acme/web", tag("pr-1")).await, None);
    let put = PutManifest { tags: vec![tag("pr-2")], ..limited(push("acme/web", tag("pr-1"), &image)) };
    fixture.put(put).await.unwrap();
    assert_eq!(fixture.served("acme/web", tag("pr-2")).await, Some(digest_of(&image)));
}

async fn a_push_without_a_tag_is_allowed(fixture: &Fixture) {
    let image = image("config", &["layer"]);
    fixture.push_image("acme/web", "latest", "config").await;
    fixture.put(limited(push("acme/web", digest_of(&image), &image))).await.unwrap();
    assert_eq!(fixture.served("acme/web", tag("latest")).await, Some(digest_of(&image)));
}

async fn a_subject_may_be_absent_untagged_or_within_the_limits(fixture: &Fixture) {
    fixture.hold("acme/web", &["a", "b", "c"]).await;
    let signed = image("config", &["layer"]);
    let by_digest = |signature: &Value| limited(push("acme/web", digest_of(signature), signature));
    fixture.put(by_digest(&about(&signed, "a"))).await.unwrap();
    fixture.push_image("acme/web", "pr-1", "config").await;
    fixture.put(by_digest(&about(&signed, "b"))).await.unwrap();
    fixture.push_image("acme/web", "latest", "config").await;
    let refused = fixture.put(by_digest(&about(&signed, "c"))).await;
    let Err(Error::Denied(Denial::Named { named, carried })) = refused else { panic!("{refused:?}") };
    assert_eq!((named, carried), (digest_of(&signed), tag("latest")));
}

async fn a_tag_about_a_manifest_follows_that_manifests_tags(fixture: &Fixture) {
    fixture.hold("acme/web", &["a", "b"]).await;
    let signed = image("config", &["layer"]);
    let about = tag(&format!("sha256-{}.sig", digest_of(&signed).hex()));
    let (first, second) = (image("a", &[]), image("b", &[]));
    fixture.put(limited(push("acme/web", about.clone(), &first))).await.unwrap();
    fixture.push_image("acme/web", "pr-1", "config").await;
    fixture.put(limited(push("acme/web", about.clone(), &second))).await.unwrap();
    fixture.push_image("acme/web", "latest", "config").await;
    let refused = fixture.put(limited(push("acme/web", about.clone(), &first))).await;
    assert!(matches!(refused, Err(Error::Denied(Denial::Named { .. }))), "{refused:?}");
    assert_eq!(fixture.served("acme/web", about).await, Some(digest_of(&second)));
}

async fn a_deletion_by_digest_needs_tags_that_all_match_and_no_index(fixture: &Fixture) {
    let image = image("config", &["layer"]);
    let limited_delete = || DeleteManifest { limits: only(&["pr-*"]), ..delete("acme/web", digest_of(&image), DAY) };
    let denial = async || match fixture.content.delete_manifest(limited_delete()).await {
        Err(Error::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    };
    fixture.hold("acme/web", &["config", "layer"]).await;
    fixture.put(push("acme/web", digest_of(&image), &image)).await.unwrap();
    assert_eq!(denial().await, Denial::Untagged { digest: digest_of(&image) });
    fixture.push_image("acme/web", "pr-1", "config").await;
    fixture.push_image("acme/web", "latest", "config").await;
    assert_eq!(denial().await, Denial::Tag { tag: tag("latest") });
    fixture.push_image("acme/web", "latest", "other").await;
    let listing = index(&[&image]);
    fixture.put(push("acme/web", tag("all"), &listing)).await.unwrap();
    assert_eq!(denial().await, Denial::Listed { digest: digest_of(&image), index: digest_of(&listing) });
    fixture.content.delete_manifest(delete("acme/web", digest_of(&listing), Duration::ZERO)).await.unwrap();
    let deleted = fixture.content.delete_manifest(limited_delete()).await.unwrap();
    assert_eq!(deleted.tags, [tag("pr-1")]);
}

async fn a_tag_is_deleted_only_within_the_limits(fixture: &Fixture) {
    fixture.push_image("acme/web", "pr-1", "config").await;
    fixture.push_image("acme/web", "latest", "config").await;
    let limited = |text: &str| DeleteTag {
        condition: None,
        repository: name("acme/web"),
        tag: tag(text),
        limits: only(&["pr-*"]),
        actor: "robot.acme.ci".to_owned(),
    };
    let refused = fixture.content.delete_tag(limited("latest")).await;
    assert!(matches!(refused, Err(Error::Denied(Denial::Tag { .. }))), "{refused:?}");
    fixture.content.delete_tag(limited("pr-1")).await.unwrap();
    assert_eq!(fixture.served("acme/web", tag("pr-1")).await, None);
    assert!(fixture.served("acme/web", tag("latest")).await.is_some());
}

async fn no_pattern_matches_nothing(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let put = PutManifest { limits: only(&[]), ..push("acme/web", tag("pr-1"), &image("config", &[])) };
    let refused = fixture.put(put).await;
    assert!(matches!(refused, Err(Error::Denied(Denial::Tag { .. }))), "{refused:?}");
}
