use serde_json::{Value, json};
use shared::{digest::Digest, reference::Reference};

use super::{MAX_ANNOTATIONS, MAX_REFERRERS, Referrer, ReferrersQuery};
use crate::{
    content::{
        Promise, TagLimits,
        fixture::{Fixture, descriptor, digest, digest_of, image, index, name, on_both, push, tag},
        manifest::MediaType,
        manifests::DeleteManifest,
    },
    metadata::fixture::Tamper,
};

on_both! {
    referrers_are_listed_with_type_and_annotations
    a_filter_keeps_one_type
    pages_are_bounded_in_number_and_in_bytes
    a_page_holds_as_many_referrers_as_the_limit_says
    a_repository_that_does_not_exist_has_no_referrers
    deleted_referrers_are_not_listed
    a_list_of_the_referrers_tag_schema_is_folded_in
    a_folded_list_is_filtered_and_paged_with_the_others
    a_folded_list_goes_with_its_tag
}

const SUBJECT: &[u8] = b"what they are about";

fn about(mut manifest: Value) -> Value {
    manifest["subject"] = descriptor(MediaType::OCI_MANIFEST, SUBJECT);
    manifest
}

fn query(artifact_type: Option<&str>) -> ReferrersQuery {
    ReferrersQuery {
        repository: name("acme/web"),
        subject: digest(SUBJECT),
        artifact_type: artifact_type.map(str::to_owned),
        after: None,
        limit: None,
    }
}

impl Fixture {
    async fn attach(&self, manifest: &Value) -> Digest {
        self.hold("acme/web", &["config"]).await;
        self.put(push("acme/web", digest_of(manifest), manifest)).await.unwrap().digest
    }

    async fn referrers(&self, query: &ReferrersQuery) -> Vec<Referrer> {
        self.content.referrers(query).await.unwrap().manifests
    }
}

fn artifact(number: usize) -> Value {
    let mut artifact = about(image("config", &[]));
    artifact["artifactType"] = json!(format!("application/vnd.example.{}", number % 2));
    artifact["annotations"] = json!({ "number": number.to_string() });
    artifact
}

async fn referrers_are_listed_with_type_and_annotations(fixture: &Fixture) {
    let plain = about(image("config", &[]));
    let list = about(index(&[]));
    for manifest in [&plain, &list, &artifact(0)] {
        fixture.attach(manifest).await;
    }
    fixture.attach(&image("config", &[])).await;
    let listed = fixture.referrers(&query(None)).await;
    let mut digests: Vec<Digest> = listed.iter().map(|referrer| referrer.digest).collect();
    let mut expected = vec![digest_of(&plain), digest_of(&list), digest_of(&artifact(0))];
    expected.sort_unstable();
    assert_eq!(digests, expected);
    digests.clear();

    let shown = |digest: Digest| serde_json::to_value(listed.iter().find(|one| one.digest == digest).unwrap()).unwrap();
    assert_eq!(
        shown(digest_of(&artifact(0))),
        json!({
            "mediaType": MediaType::OCI_MANIFEST,
            "digest": digest_of(&artifact(0)),
            "size": artifact(0).to_string().len(),
            "artifactType": "application/vnd.example.0",
            "annotations": { "number": "0" },
        })
    );
    assert_eq!(shown(digest_of(&plain))["artifactType"], "application/vnd.oci.image.config.v1+json");
    assert!(shown(digest_of(&plain)).get("annotations").is_none());
    assert!(shown(digest_of(&list)).get("artifactType").is_none());
}

async fn a_filter_keeps_one_type(fixture: &Fixture) {
    for number in 0..5 {
        fixture.attach(&artifact(number)).await;
    }
    assert_eq!(fixture.referrers(&query(Some("application/vnd.example.0"))).await.len(), 3);
    assert_eq!(fixture.referrers(&query(Some("application/vnd.example.1"))).await.len(), 2);
    assert!(fixture.referrers(&query(Some("application/vnd.example"))).await.is_empty());
}

async fn pages_are_bounded_in_number_and_in_bytes(fixture: &Fixture) {
    for number in 0..5 {
        fixture.attach(&artifact(number)).await;
    }
    let all: Vec<Digest> = fixture.referrers(&query(None)).await.iter().map(|referrer| referrer.digest).collect();
    let first = fixture.content.referrers(&ReferrersQuery { limit: Some(3), ..query(None) }).await.unwrap();
    assert_eq!((first.manifests.len(), first.next), (3, Some(all[2])));
    let rest = ReferrersQuery { after: first.next, limit: Some(2), ..query(None) };
    let rest = fixture.content.referrers(&rest).await.unwrap();
    assert_eq!(rest.manifests.iter().map(|one| one.digest).collect::<Vec<_>>(), all[3..]);
    assert_eq!(rest.next, None);

    // Annotations of more than the bound: one manifest in each page, and none is left out.
    let long = usize::try_from(MAX_ANNOTATIONS).unwrap();
    for number in 0..2 {
        let mut heavy = artifact(7);
        heavy["annotations"] = json!({ "text": "x".repeat(long), "number": number.to_string() });
        fixture.attach(&heavy).await;
    }
    let heavy = |one: &Referrer| one.annotations.as_ref().is_some_and(|text| text.get().len() > long);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.content.referrers(&ReferrersQuery { after, ..query(None) }).await.unwrap();
        assert!(page.manifests.iter().filter(|one| heavy(one)).count() <= 1, "two of them fit into no page");
        seen.extend(page.manifests.iter().map(|one| one.digest));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((seen.len(), &once), (7, &seen), "each once, in order");
}

async fn a_page_holds_as_many_referrers_as_the_limit_says(fixture: &Fixture) {
    fixture.attach(&artifact(0)).await;
    // Decimal digits are hexadecimal ones, too.
    let many = "WITH RECURSIVE n(i) AS (SELECT 100002 UNION ALL SELECT i + 1 FROM n WHERE i < 101000) \
                INSERT INTO manifest (repository_id, digest, media_type, size, subject_digest, pushed_at) \
                SELECT m.repository_id, 'sha256:0000000000000000000000000000000000000000000000000000000000' || n.i, \
                       m.media_type, 1, m.subject_digest, 0 FROM manifest m CROSS JOIN n";
    fixture.content.metadata.write(Tamper(many)).await.unwrap();
    for limit in [None, Some(usize::MAX)] {
        let page = fixture.content.referrers(&ReferrersQuery { limit, ..query(None) }).await.unwrap();
        assert_eq!((page.manifests.len(), page.next), (MAX_REFERRERS, None));
    }
    fixture.attach(&artifact(1)).await;
    let first = fixture.content.referrers(&query(None)).await.unwrap();
    assert_eq!(first.manifests.len(), MAX_REFERRERS);
    assert!(first.next.is_some());
    let rest = fixture.content.referrers(&ReferrersQuery { after: first.next, ..query(None) }).await.unwrap();
    assert_eq!((rest.manifests.len(), rest.next), (1, None));
}

async fn a_repository_that_does_not_exist_has_no_referrers(fixture: &Fixture) {
    let page = fixture.content.referrers(&query(None)).await.unwrap();
    assert!(page.manifests.is_empty() && page.next.is_none());
}

async fn deleted_referrers_are_not_listed(fixture: &Fixture) {
    let attached = fixture.attach(&artifact(0)).await;
    let delete = DeleteManifest {
        condition: None,
        repository: name("acme/web"),
        digest: attached,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window: std::time::Duration::from_secs(60),
    };
    fixture.content.delete_manifest(delete).await.unwrap();
    assert!(fixture.referrers(&query(None)).await.is_empty());
    let gone = fixture.content.manifest(&name("acme/web"), &Reference::Digest(attached), Promise::Nothing).await;
    assert!(gone.is_err());
}

/// What clients of OCI 1.0 push: an index of referrers under the subject's referrers tag.
async fn push_list(fixture: &Fixture, listed: &[&Value]) -> Digest {
    let list = index(listed);
    let tag = digest(SUBJECT).to_string().replace(':', "-");
    fixture.put(push("acme/web", self::tag(&tag), &list)).await.unwrap().digest
}

/// A manifest that says nothing of what it is about.
fn silent(number: usize) -> Value {
    let mut silent = artifact(number);
    silent.as_object_mut().unwrap().remove("subject");
    silent
}

fn digests(referrers: &[Referrer]) -> Vec<Digest> {
    referrers.iter().map(|one| one.digest).collect()
}

fn sorted(manifests: &[&Value]) -> Vec<Digest> {
    let mut digests: Vec<Digest> = manifests.iter().map(|manifest| digest_of(manifest)).collect();
    digests.sort_unstable_by_key(ToString::to_string);
    digests
}

async fn a_list_of_the_referrers_tag_schema_is_folded_in(fixture: &Fixture) {
    let (naming, silent, absent) = (artifact(0), silent(1), artifact(2));
    let mut of_another = artifact(3);
    of_another["subject"] = descriptor(MediaType::OCI_MANIFEST, b"another subject");
    for manifest in [&naming, &silent, &of_another] {
        fixture.attach(manifest).await;
    }
    assert_eq!(digests(&fixture.referrers(&query(None)).await), sorted(&[&naming]));
    push_list(fixture, &[&naming, &silent, &absent, &of_another]).await;
    let referrers = fixture.referrers(&query(None)).await;
    assert_eq!(
        digests(&referrers),
        sorted(&[&naming, &silent]),
        "each once; what is absent or about another is not there"
    );
    let folded = referrers.iter().find(|one| one.digest == digest_of(&silent)).unwrap();
    let folded = serde_json::to_value(folded).unwrap();
    let expected = json!({
        "mediaType": MediaType::OCI_MANIFEST,
        "digest": digest_of(&silent),
        "size": silent.to_string().len(),
        "artifactType": "application/vnd.example.1",
        "annotations": {"number": "1"},
    });
    assert_eq!(folded, expected, "as the manifest itself says");
    assert!(fixture.referrers(&ReferrersQuery { repository: name("acme/other"), ..query(None) }).await.is_empty());
    let other = ReferrersQuery { subject: digest(b"another subject"), ..query(None) };
    assert_eq!(digests(&fixture.referrers(&other).await), sorted(&[&of_another]));
}

async fn a_folded_list_is_filtered_and_paged_with_the_others(fixture: &Fixture) {
    let manifests: Vec<Value> =
        (0..8).map(|number| if number < 4 { artifact(number) } else { silent(number) }).collect();
    for manifest in &manifests {
        fixture.attach(manifest).await;
    }
    let all: Vec<&Value> = manifests.iter().collect();
    push_list(fixture, &all).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = fixture.content.referrers(&ReferrersQuery { after, limit: Some(3), ..query(None) }).await.unwrap();
        assert!(page.manifests.len() <= 3);
        seen.extend(digests(&page.manifests));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, sorted(&all));
    let of_one_type = fixture.referrers(&query(Some("application/vnd.example.1"))).await;
    let expected: Vec<&Value> = manifests.iter().skip(1).step_by(2).collect();
    assert_eq!(digests(&of_one_type), sorted(&expected));
}

async fn a_folded_list_goes_with_its_tag(fixture: &Fixture) {
    let silent = [silent(0), silent(1)];
    for manifest in &silent {
        fixture.attach(manifest).await;
    }
    let both = push_list(fixture, &[&silent[0], &silent[1]]).await;
    assert_eq!(digests(&fixture.referrers(&query(None)).await), sorted(&[&silent[0], &silent[1]]));
    push_list(fixture, &[&silent[1]]).await;
    assert_eq!(digests(&fixture.referrers(&query(None)).await), sorted(&[&silent[1]]), "a newer list says less");
    let delete = |digest| DeleteManifest {
        condition: None,
        repository: name("acme/web"),
        digest,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window: std::time::Duration::from_secs(60),
    };
    push_list(fixture, &[&silent[0], &silent[1]]).await;
    fixture.content.delete_manifest(delete(digest_of(&silent[1]))).await.unwrap();
    assert_eq!(digests(&fixture.referrers(&query(None)).await), sorted(&[&silent[0]]), "a deleted one is not listed");
    fixture.content.delete_manifest(delete(both)).await.unwrap();
    assert!(fixture.referrers(&query(None)).await.is_empty(), "and nothing without the list");
}
