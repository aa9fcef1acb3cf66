//! Pushes and deletions beside each other.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::*;
use crate::content::Content;

on_both! {
    pushes_to_one_tag_leave_a_history_without_gaps
    an_acknowledged_index_keeps_its_children_beside_deletions
    a_tag_never_points_at_what_was_deleted_beside_it
    the_first_pushes_of_a_namespace_come_at_once
}

fn all(content: &Content, puts: Vec<PutManifest>) -> JoinSet<Result<Digest, Error>> {
    let mut tasks = JoinSet::new();
    for put in puts {
        let content = content.clone();
        tasks.spawn(async move { content.put_manifest(put).await.map(|stored| stored.digest) });
    }
    tasks
}

async fn pushes_to_one_tag_leave_a_history_without_gaps(fixture: &Fixture) {
    let configs: Vec<String> = (0..16).map(|number| format!("config {number}")).collect();
    fixture.hold("acme/web", &configs.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let puts = configs.iter().map(|config| push("acme/web", tag("latest"), &image(config, &[])));
    let results = all(&fixture.content, puts.collect()).join_all().await;
    assert!(results.iter().all(Result::is_ok), "they wait for each other: {results:?}");
    let versions = fixture.texts("SELECT CAST(version AS TEXT) FROM tag_history ORDER BY tag_history.version").await;
    let expected: Vec<String> = (1..=16).map(|version| version.to_string()).collect();
    assert_eq!(versions, expected);
    let last = fixture.texts("SELECT digest FROM tag_history ORDER BY version DESC LIMIT 1").await;
    assert_eq!(fixture.served("acme/web", tag("latest")).await.map(|digest| digest.to_string()), last.first().cloned());
    assert_eq!(fixture.count("SELECT count(*) FROM manifest WHERE expires_at IS NULL").await, 1);
}

async fn an_acknowledged_index_keeps_its_children_beside_deletions(fixture: &Fixture) {
    for round in 0..10 {
        let config = format!("config {round}");
        let child = image(&config, &["layer"]);
        fixture.hold("acme/web", &[&config, "layer"]).await;
        fixture.put(push("acme/web", digest_of(&child), &child)).await.unwrap();
        let strict = PutManifest { references: References::Strict, ..push("acme/web", tag("v1"), &index(&[&child])) };
        let deletion = fixture.content.delete_manifest(DeleteManifest {
            limits: only(&["*"]),
            ..delete("acme/web", digest_of(&child), Duration::ZERO)
        });
        // An untagged manifest is not deleted under a limit, a listed one neither: whoever comes first, the index is whole.
        let (put, deletion) = tokio::join!(fixture.put(strict), deletion);
        put.unwrap();
        assert!(matches!(deletion, Err(Error::Denied(_))), "{deletion:?}");

        let next = image(&format!("{config} b"), &["layer"]);
        fixture.hold("acme/web", &[&format!("{config} b")]).await;
        fixture.put(push("acme/web", digest_of(&next), &next)).await.unwrap();
        let strict = PutManifest { references: References::Strict, ..push("acme/web", tag("v2"), &index(&[&next])) };
        let deletion = fixture.content.delete_manifest(delete("acme/web", digest_of(&next), Duration::ZERO));
        let (put, deletion) = tokio::join!(fixture.put(strict), deletion);
        deletion.unwrap();
        if let Err(error) = put {
            assert!(matches!(error, Error::ManifestReferencesMissing { .. }), "{error}");
        }
    }
    assert_eq!(
        fixture
            .count(
                "SELECT count(*) FROM manifest_blob n WHERE NOT EXISTS (
             SELECT 1 FROM blob b JOIN link l ON l.blob_id = b.id AND l.repository_id = n.repository_id
             WHERE b.digest = n.digest)"
            )
            .await,
        0,
        "what a manifest names is linked"
    );
}

async fn a_tag_never_points_at_what_was_deleted_beside_it(fixture: &Fixture) {
    for window in [DAY, Duration::ZERO] {
        for round in 0..10 {
            let config = format!("config {round} {}", window.as_secs());
            let old = fixture.push_image("acme/web", "v1", &config).await;
            let again = push("acme/web", tag("v2"), &image(&config, &["layer"]));
            let drop_tag = DeleteTag {
                repository: name("acme/web"),
                tag: tag("v1"),
                limits: TagLimits::Everything,
                actor: "ada".to_owned(),
            };
            let (put, deletion, untag) = tokio::join!(
                fixture.put(again),
                fixture.content.delete_manifest(delete("acme/web", old, window)),
                fixture.content.delete_tag(drop_tag),
            );
            put.unwrap();
            deletion.unwrap();
            assert!(matches!(untag, Ok(()) | Err(Error::ManifestUnknown { .. })), "{untag:?}");
            let dangling =
                "SELECT count(*) FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.deleted_at IS NOT NULL";
            assert_eq!(fixture.count(dangling).await, 0);
        }
    }
    let gaps = "SELECT count(*) FROM tag t WHERE t.version <> (
        SELECT count(*) FROM tag_history h WHERE h.repository_id = t.repository_id AND h.name = t.name)";
    assert_eq!(fixture.count(gaps).await, 0);
}

async fn the_first_pushes_of_a_namespace_come_at_once(fixture: &Fixture) {
    let empty = Arc::new(index(&[]));
    let puts = (0..8).map(|number| push(&format!("acme/repo{}", number % 4), tag("v1"), &empty));
    let results = all(&fixture.content, puts.collect()).join_all().await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(fixture.count("SELECT count(*) FROM repository").await, 4);
    assert_eq!(fixture.count("SELECT count(*) FROM namespace").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM manifest").await, 4);
    let payloads = fixture.count("SELECT CAST(sum(size) AS BIGINT) FROM manifest").await;
    assert_eq!(fixture.count("SELECT used FROM usage").await, payloads);
}
