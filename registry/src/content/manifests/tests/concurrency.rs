//! Pushes and deletions beside each other.

use std::sync::Arc;

use tokio::{sync::Notify, task::JoinSet, time::timeout};

use super::*;
use crate::{
    content::Content,
    metadata::fixture::{LockBoth, Row},
};

on_both! {
    pushes_to_one_tag_leave_a_history_without_gaps
    an_acknowledged_index_keeps_its_children_beside_deletions
    a_tag_never_points_at_what_was_deleted_beside_it
    the_first_pushes_of_a_namespace_come_at_once
    what_holds_and_what_is_held_come_and_go_at_once
    a_child_that_comes_while_its_index_goes_is_not_held_by_it
    whatever_happens_at_once_the_invariants_hold
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
                condition: None,
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

async fn a_child_that_comes_while_its_index_goes_is_not_held_by_it(fixture: &Fixture) {
    fixture.hold("acme/web", &["config"]).await;
    let child = image("config", &[]);
    let parents: Vec<Value> = (0..6).map(|number| with_annotation(index(&[&child]), number)).collect();
    for _ in 0..10 {
        for parent in &parents {
            fixture.put(push("acme/web", digest_of(parent), parent)).await.unwrap();
        }
        let mut tasks = all(&fixture.content, vec![push("acme/web", digest_of(&child), &child)]);
        for parent in &parents {
            let (content, digest) = (fixture.content.clone(), digest_of(parent));
            tasks.spawn(async move {
                content.delete_manifest(delete("acme/web", digest, Duration::ZERO)).await.map(|_| digest)
            });
        }
        let results = tasks.join_all().await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(fixture.count("SELECT count(*) FROM manifest WHERE expires_at IS NULL").await, 0);
        fixture.content.delete_manifest(delete("acme/web", digest_of(&child), Duration::ZERO)).await.unwrap();
    }
}

fn with_annotation(mut manifest: Value, number: usize) -> Value {
    manifest["annotations"] = json!({ "number": number.to_string() });
    manifest
}

/// Anybody who does anything: the same steps for the same seed, in an order that nobody knows.
struct Visitor {
    content: Content,
    state: u64,
}

impl Visitor {
    fn roll(&mut self, sides: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % sides
    }

    /// Two images, an index of both, and a signature of the index.
    fn manifest(&mut self) -> Value {
        let (first, second) = (image("config", &["one"]), image("config", &["one", "two"]));
        let both = index(&[&first, &second]);
        let mut signature = image("config", &["signature"]);
        signature["subject"] = descriptor(MediaType::OCI_INDEX, both.to_string().as_bytes());
        match self.roll(4) {
            0 => first,
            1 => second,
            2 => both,
            _ => signature,
        }
    }

    async fn step(&mut self) -> Result<(), Error> {
        let (manifest, tag) = (self.manifest(), tag(&format!("v{}", self.roll(2))));
        let limits = if self.roll(4) == 0 { only(&["v0"]) } else { TagLimits::Everything };
        let window = if self.roll(2) == 0 { DAY } else { Duration::ZERO };
        match self.roll(8) {
            0..=2 => {
                self.content.put_manifest(PutManifest { limits, ..push("acme/web", tag, &manifest) }).await.map(drop)
            }
            3 | 4 => self.content.put_manifest(push("acme/web", digest_of(&manifest), &manifest)).await.map(drop),
            5 | 6 => {
                let deletion = DeleteManifest { limits, ..delete("acme/web", digest_of(&manifest), window) };
                self.content.delete_manifest(deletion).await.map(drop)
            }
            _ => {
                let actor = "ada".to_owned();
                self.content
                    .delete_tag(DeleteTag { condition: None, repository: name("acme/web"), tag, limits, actor })
                    .await
            }
        }
    }

    async fn visit(mut self) {
        for _ in 0..40 {
            match self.step().await {
                Ok(()) | Err(Error::ManifestUnknown { .. } | Error::Denied(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

async fn whatever_happens_at_once_the_invariants_hold(fixture: &Fixture) {
    fixture.hold("acme/web", &["config", "one", "two", "signature"]).await;
    let mut visitors = JoinSet::new();
    for seed in 1..=6 {
        visitors.spawn(Visitor { content: fixture.content.clone(), state: seed }.visit());
    }
    while let Some(visited) = visitors.join_next().await {
        visited.unwrap();
        fixture.purge_due(Due::AtOnce).await;
    }
    for (broken, sql) in [
        (
            "I3: a manifest names what is not linked",
            "SELECT count(*) FROM manifest_blob n WHERE NOT EXISTS (
                 SELECT 1 FROM blob b JOIN link l ON l.blob_id = b.id AND l.repository_id = n.repository_id
                 WHERE b.digest = n.digest)",
        ),
        (
            "I8: a tag points at what nobody sees",
            "SELECT count(*) FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.deleted_at IS NOT NULL",
        ),
        (
            "I8: a history has a gap",
            "SELECT count(*) FROM tag t WHERE t.version <> (
                 SELECT count(*) FROM tag_history h WHERE h.repository_id = t.repository_id AND h.name = t.name)",
        ),
        (
            "I8: a history does not end where its tag stands",
            "SELECT count(*) FROM tag t JOIN tag_history h
                     ON h.repository_id = t.repository_id AND h.name = t.name AND h.version = t.version
                 LEFT JOIN manifest m ON m.id = t.manifest_id
             WHERE coalesce(m.digest, '') <> coalesce(h.digest, '')",
        ),
        (
            "I10: used bytes are not those of blobs and payloads",
            "SELECT used - (SELECT CAST(sum(size) AS BIGINT) FROM blob)
                 - (SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM manifest) FROM usage",
        ),
        (
            "a manifest stays for ever though nothing holds it",
            "SELECT count(*) FROM manifest m WHERE m.expires_at IS NULL
                 AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)
                 AND NOT EXISTS (SELECT 1 FROM manifest_child c
                                 WHERE c.repository_id = m.repository_id AND c.digest = m.digest)
                 AND NOT EXISTS (SELECT 1 FROM manifest s
                                 WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest)",
        ),
    ] {
        assert_eq!(fixture.count(sql).await, 0, "{broken}");
    }
}

async fn what_holds_and_what_is_held_come_and_go_at_once(fixture: &Fixture) {
    // A living manifest has no expiry exactly if a tag, an index or a kept subject holds it.
    let wrong = "SELECT count(*) FROM manifest m WHERE m.deleted_at IS NULL AND (m.expires_at IS NULL) <> (
        EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)
        OR EXISTS (SELECT 1 FROM manifest_child c WHERE c.repository_id = m.repository_id AND c.digest = m.digest)
        OR EXISTS (SELECT 1 FROM manifest s WHERE s.repository_id = m.repository_id AND s.digest = m.subject_digest))";
    for round in 0..20 {
        let config = format!("config {round}");
        fixture.hold("acme/web", &[&config, "layer"]).await;
        let child = image(&config, &["layer"]);
        let list = index(&[&child]);
        let mut about = image(&config, &[]);
        about["subject"] = descriptor(MediaType::OCI_MANIFEST, child.to_string().as_bytes());
        let by_digest = |manifest: &Value| fixture.put(push("acme/web", digest_of(manifest), manifest));
        let (first, second, third) =
            tokio::join!(fixture.put(push("acme/web", tag("v1"), &list)), by_digest(&child), by_digest(&about));
        assert!(first.is_ok() && second.is_ok() && third.is_ok(), "{first:?} {second:?} {third:?}");
        assert_eq!(fixture.count(wrong).await, 0, "round {round}: they came at once");
        let purge =
            |manifest: &Value| fixture.content.delete_manifest(delete("acme/web", digest_of(manifest), Duration::ZERO));
        purge(&child).await.unwrap();
        let (gone, come) = tokio::join!(purge(&list), by_digest(&child));
        assert!(gone.is_ok() && come.is_ok(), "{gone:?} {come:?}");
        assert_eq!(fixture.count(wrong).await, 0, "round {round}: the index went when its child came");
        purge(&about).await.unwrap();
        let (gone, come) = tokio::join!(purge(&child), by_digest(&about));
        assert!(gone.is_ok() && come.is_ok(), "{gone:?} {come:?}");
        assert_eq!(fixture.count(wrong).await, 0, "round {round}: the subject went when its referrer came");
        purge(&about).await.unwrap();
    }
}

/// What comes back as another type is purged first, and a purge locks a manifest's family. A push that holds the manifest by then
/// would wait for an older member of it, and whoever has that one for the manifest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_manifest_that_comes_back_as_another_type_keeps_the_order_of_locks() {
    let fixture = Fixture::postgres().await;
    fixture.hold("acme/web", &["config", "signature"]).await;
    let mut nameless = image("config", &[]);
    nameless.as_object_mut().unwrap().remove("mediaType");
    let mut signature = image("signature", &[]);
    signature["subject"] = descriptor(MediaType::OCI_MANIFEST, nameless.to_string().as_bytes());
    fixture.put(push("acme/web", tag("signature"), &signature)).await.unwrap();
    let as_type = |media_type: &str| PutManifest {
        media_type: Some(media_type.parse().unwrap()),
        ..push("acme/web", tag("v1"), &nameless)
    };
    let stored = fixture.put(as_type(MediaType::OCI_MANIFEST)).await.unwrap();
    fixture.content.delete_manifest(delete("acme/web", stored.digest, DAY)).await.unwrap();
    let held = Arc::new(Notify::new());
    let (first, second) = (Row::Manifest(digest_of(&signature)), Row::Manifest(stored.digest));
    let both = LockBoth { first, second, held: Arc::clone(&held) };
    let again = async {
        held.notified().await;
        fixture.put(as_type(MediaType::DOCKER_MANIFEST)).await
    };
    let both = async { tokio::join!(fixture.content.metadata.write(both), again) };
    let (locked, again) = timeout(Duration::from_secs(60), both).await.expect("the push waits for the signature's row");
    locked.expect("whoever waits for the signature holds nothing that comes behind it");
    assert_eq!(again.unwrap().digest, stored.digest);
    let types = fixture.texts("SELECT media_type FROM manifest ORDER BY id").await;
    assert_eq!(types, [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST], "the signature, and what it is about");
    fixture.clear().await;
}
