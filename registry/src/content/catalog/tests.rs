use shared::readable::Readable;

use super::{Catalog, Cursor, MAX_LOOKED_AT, MAX_NAMES};
use crate::{
    content::fixture::{Fixture, index, on_both, push, tag},
    metadata::fixture::{EmptyRepositories, Tamper},
};

on_both! {
    repositories_that_hold_a_manifest_are_listed_bytewise
    only_what_is_readable_is_listed
    a_page_gives_up_after_enough_names_and_goes_on_from_there
    a_page_holds_as_many_names_as_the_limit_says
}

fn readable(allow: &[&str], deny: &[&str]) -> Readable {
    let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Readable { allow: patterns(allow), deny: patterns(deny), within: None }
}

impl Fixture {
    async fn repositories(&self, names: &[&str]) {
        for name in names {
            self.put(push(name, tag("v1"), &index(&[]))).await.unwrap();
        }
    }

    async fn catalog(&self, readable: Option<&Readable>, from: &str, limit: usize) -> Catalog {
        self.catalog_from(readable, &Cursor::Behind(from.to_owned()), limit).await
    }

    async fn catalog_from(&self, readable: Option<&Readable>, from: &Cursor, limit: usize) -> Catalog {
        self.content.catalog(readable, from, limit).await.unwrap()
    }
}

fn page(names: &[&str], next: Option<&str>) -> Catalog {
    let names = names.iter().map(ToString::to_string).collect();
    Catalog { names, next: next.map(|name| Cursor::Behind(name.to_owned())) }
}

async fn repositories_that_hold_a_manifest_are_listed_bytewise(fixture: &Fixture) {
    fixture.repositories(&["a/b", "a", "a-b", "a0"]).await;
    fixture.hold("a/blobs-only", &["blob"]).await;
    assert_eq!(fixture.catalog(None, "", 10).await, page(&["a", "a-b", "a/b", "a0"], None));
    assert_eq!(fixture.catalog(None, "", 2).await, page(&["a", "a-b"], Some("a-b")));
    assert_eq!(fixture.catalog(None, "a-b", 2).await, page(&["a/b", "a0"], None));
    assert_eq!(fixture.catalog(None, "a.never-was", 1).await, page(&["a/b"], Some("a/b")));
    assert_eq!(fixture.catalog(None, "", 0).await, page(&[], None));
}

async fn only_what_is_readable_is_listed(fixture: &Fixture) {
    fixture.repositories(&["acme/api", "acme/secret", "acme/web", "acme2/x", "zoo/lion"]).await;
    let acme = readable(&["acme/**"], &["acme/secret"]);
    assert_eq!(fixture.catalog(Some(&acme), "", 10).await, page(&["acme/api", "acme/web"], None));
    assert_eq!(fixture.catalog(Some(&acme), "", 1).await, page(&["acme/api"], Some("acme/api")));
    let some = readable(&["zoo/*", "acme/w*"], &[]);
    assert_eq!(fixture.catalog(Some(&some), "", 10).await, page(&["acme/web", "zoo/lion"], None));
    assert_eq!(fixture.catalog(Some(&some), "acme/web", 10).await, page(&["zoo/lion"], None));
    assert_eq!(fixture.catalog(Some(&readable(&[], &[])), "", 10).await, page(&[], None));
}

async fn a_page_gives_up_after_enough_names_and_goes_on_from_there(fixture: &Fixture) {
    fixture.repositories(&["a/first", "z/last"]).await;
    let many = i32::try_from(MAX_LOOKED_AT).unwrap() + 10;
    fixture.content.metadata.write(EmptyRepositories(many)).await.unwrap();
    let first = fixture.catalog(None, "", 10).await;
    assert_eq!(first.names, ["a/first"]);
    let next = first.next.unwrap();
    assert!(matches!(next, Cursor::BehindUnseen(_)), "the name is not shown: {next:?}");
    let second = fixture.catalog_from(None, &next, 10).await;
    assert_eq!(second, page(&["z/last"], None));
    assert_eq!(fixture.catalog_from(None, &Cursor::BehindUnseen(99_999_999), 1).await.names, ["a/first"]);
}

async fn a_page_holds_as_many_names_as_the_limit_says(fixture: &Fixture) {
    fixture.repositories(&["z/last"]).await;
    fixture.content.metadata.write(EmptyRepositories(i32::try_from(MAX_NAMES).unwrap())).await.unwrap();
    let held = "INSERT INTO manifest (repository_id, digest, media_type, size, pushed_at) \
                SELECT id, 'sha256:00', 'application/x', 1, 0 FROM repository WHERE name LIKE 'm/%'";
    fixture.content.metadata.write(Tamper(held)).await.unwrap();
    for limit in [MAX_NAMES, usize::MAX] {
        let first = fixture.catalog(None, "", limit).await;
        assert_eq!(first.names.len(), MAX_NAMES);
        let next = first.next.unwrap();
        assert_eq!(fixture.catalog_from(None, &next, limit).await, page(&["z/last"], None));
    }
}
