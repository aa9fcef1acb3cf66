use super::{DeleteTag, MAX_TAGS, Names};
use crate::{
    content::{
        Error, TagLimits,
        fixture::{Fixture, name, on_both, tag},
        manifests::Condition,
    },
    metadata::fixture::Tamper,
};

on_both! {
    a_page_holds_as_many_tags_as_the_limit_says
    tags_are_listed_bytewise_a_page_at_a_time
    a_repository_that_does_not_exist_has_no_list
    a_deleted_tag_is_gone_and_its_version_goes_on
    a_tag_that_points_elsewhere_than_the_caller_believes_is_not_deleted
}

fn names(names: &[&str], more: bool) -> Names {
    Names { names: names.iter().map(ToString::to_string).collect(), more }
}

fn delete(text: &str) -> DeleteTag {
    DeleteTag {
        condition: None,
        repository: name("acme/web"),
        tag: tag(text),
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
    }
}

async fn a_page_holds_as_many_tags_as_the_limit_says(fixture: &Fixture) {
    fixture.push_image("acme/web", "first", "config").await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
                INSERT INTO tag (repository_id, name, manifest_id, version, updated_at) \
                SELECT m.repository_id, 't' || (100000 + n.i), m.id, 1, 0 FROM manifest m CROSS JOIN n";
    fixture.content.metadata.write(Tamper(many)).await.unwrap();
    let list = async |limit| {
        let Names { names, more } = fixture.content.tags(&name("acme/web"), "", limit).await.unwrap();
        (names.len(), more)
    };
    for limit in [None, Some(MAX_TAGS), Some(usize::MAX)] {
        assert_eq!(list(limit).await, (MAX_TAGS, false), "{limit:?}");
    }
    fixture.push_image("acme/web", "one-more", "config").await;
    for limit in [None, Some(MAX_TAGS), Some(usize::MAX)] {
        assert_eq!(list(limit).await, (MAX_TAGS, true), "{limit:?}");
    }
}

async fn tags_are_listed_bytewise_a_page_at_a_time(fixture: &Fixture) {
    for text in ["a", "B", "_x", "1.10", "1.9"] {
        fixture.push_image("acme/web", text, "config").await;
    }
    let repository = name("acme/web");
    let list = async |after: &str, limit| fixture.content.tags(&repository, after, limit).await.unwrap();
    assert_eq!(list("", None).await, names(&["1.10", "1.9", "B", "_x", "a"], false));
    assert_eq!(list("", Some(2)).await, names(&["1.10", "1.9"], true));
    assert_eq!(list("1.9", Some(3)).await, names(&["B", "_x", "a"], false), "a page that is exactly full has no next");
    assert_eq!(list("C", Some(1)).await, names(&["_x"], true), "the name need not exist");
    assert_eq!(list("zz", Some(1)).await, names(&[], false));
    assert_eq!(list("", Some(0)).await, names(&[], false));
    assert_eq!(list("", Some(usize::MAX)).await.names.len(), 5);
}

async fn a_repository_that_does_not_exist_has_no_list(fixture: &Fixture) {
    let unknown = fixture.content.tags(&name("acme/web"), "", None).await;
    assert!(matches!(unknown, Err(Error::RepositoryUnknown { .. })), "{unknown:?}");
    fixture.hold("acme/web", &["blob"]).await;
    assert_eq!(fixture.content.tags(&name("acme/web"), "", None).await.unwrap(), names(&[], false));
}

async fn a_deleted_tag_is_gone_and_its_version_goes_on(fixture: &Fixture) {
    let missing = fixture.content.delete_tag(delete("v1")).await;
    assert!(matches!(missing, Err(Error::ManifestUnknown { .. })), "{missing:?}");
    fixture.push_image("acme/web", "v1", "config").await;
    fixture.push_image("acme/web", "v2", "config").await;
    fixture.content.delete_tag(delete("v1")).await.unwrap();
    let missing = fixture.content.delete_tag(delete("v1")).await;
    assert!(matches!(missing, Err(Error::ManifestUnknown { .. })), "{missing:?}");
    assert_eq!(fixture.content.tags(&name("acme/web"), "", None).await.unwrap(), names(&["v2"], false));
    assert_eq!(fixture.count("SELECT count(*) FROM manifest WHERE expires_at IS NULL").await, 1, "v2 holds it");
    fixture.content.delete_tag(delete("v2")).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM manifest WHERE expires_at IS NOT NULL").await, 1);
    fixture.push_image("acme/web", "v1", "config").await;
    let versions = fixture
        .texts("SELECT CAST(version AS TEXT) FROM tag_history WHERE name = 'v1' ORDER BY tag_history.version")
        .await;
    assert_eq!(versions, ["1", "2", "3"]);
}

async fn a_tag_that_points_elsewhere_than_the_caller_believes_is_not_deleted(fixture: &Fixture) {
    let before = fixture.push_image("acme/web", "v1", "config").await;
    let now = fixture.push_image("acme/web", "v1", "another config").await;
    let delete_if = |condition| DeleteTag { condition: Some(condition), ..delete("v1") };
    for condition in [Condition::PointsAt(vec![before]), Condition::Absent] {
        let refused = fixture.content.delete_tag(delete_if(condition)).await;
        assert!(
            matches!(refused, Err(Error::ConditionFailed { current: Some(current) }) if current == now),
            "{refused:?}"
        );
    }
    fixture.content.delete_tag(delete_if(Condition::PointsAt(vec![before, now]))).await.unwrap();
    let gone = fixture.content.delete_tag(delete_if(Condition::Exists)).await;
    assert!(matches!(gone, Err(Error::ManifestUnknown { .. })), "{gone:?}");
}
