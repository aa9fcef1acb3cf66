use shared::{
    database::{Failure, Operation, Transaction},
    on,
    readable::Readable,
};

use super::{Catalog, Cursor, MAX_LOOKED_AT};
use crate::content::fixture::{Fixture, index, on_both, push, tag};

on_both! {
    repositories_that_hold_a_manifest_are_listed_bytewise
    only_what_is_readable_is_listed
    a_page_gives_up_after_enough_names_and_goes_on_from_there
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
        self.content.catalog(readable, &from.parse().unwrap(), limit).await.unwrap()
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

/// Repositories without a manifest, as many uploads leave them.
struct Empty(usize);

impl Operation for Empty {
    type Output = ();
    type Refusal = std::convert::Infallible;
    const NAME: &'static str = "empty_repositories";

    async fn run(&self, tx: &mut Transaction<'_>) -> Result<(), Failure<Self::Refusal>> {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
                   INSERT INTO repository (namespace_id, name, created_at)
                   SELECT (SELECT min(id) FROM namespace), 'm/' || (100000 + i), 0 FROM n";
        let many = i32::try_from(self.0).unwrap();
        on!(tx, c => sqlx::query(sql).bind(many).execute(c).await.map(drop))?;
        Ok(())
    }
}

async fn a_page_gives_up_after_enough_names_and_goes_on_from_there(fixture: &Fixture) {
    fixture.repositories(&["a/first", "z/last"]).await;
    fixture.content.metadata.write(Empty(MAX_LOOKED_AT + 10)).await.unwrap();
    let first = fixture.catalog(None, "", 10).await;
    assert_eq!(first.names, ["a/first"]);
    let next = first.next.unwrap();
    assert!(matches!(next, Cursor::BehindUnseen(_)), "the name is not shown: {next:?}");
    let second = fixture.catalog(None, &next.to_string(), 10).await;
    assert_eq!(second, page(&["z/last"], None));
    assert_eq!(fixture.catalog(None, "~99999999", 1).await.names, ["a/first"]);
}
