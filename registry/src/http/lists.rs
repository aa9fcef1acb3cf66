//! Lists: tags, the catalog, referrers. Each page says in `Link` where the next one begins.

use axum::{
    body::Body,
    http::{Response, header},
};
use serde::Serialize;
use serde_json::json;
use shared::{access::CatalogView, digest::Digest, repository::RepositoryName};

use super::{
    answer::{Answer, FILTERS_APPLIED},
    error::Error,
    operation::{Operation, PageQuery},
    place::UnknownPlace,
    state::Visit,
};
use crate::content::{manifest::MediaType, referrers::ReferrersQuery};

const JSON: &str = "application/json";

/// A page of tags. `n` above the limit is clamped, as at the stock registry; without `n` come all, up to what one
/// page can hold.
pub(super) async fn tags(visit: &Visit, repository: RepositoryName, page: PageQuery) -> Result<Response<Body>, Error> {
    let limit = page.limit.map(|limit| limit.min(visit.rules().tag_entries));
    let after = page.last.as_deref().unwrap_or_default();
    let found = visit.content().tags(&repository, after, limit.map(as_count)).await?;
    let answer = Answer::json(document(&Tags { name: repository.as_str(), tags: &found.names }), JSON);
    let next = found.names.last().filter(|_| found.more);
    Ok(match next {
        Some(last) => {
            let page = PageQuery { limit, last: Some(last.clone()) };
            link(visit, answer, &Operation::ListTags { repository, page }).finish()
        }
        None => answer.finish(),
    })
}

/// A page of the catalog, filtered to what the caller may read where its token says so.
pub(super) async fn catalog(visit: &Visit, page: PageQuery) -> Result<Response<Body>, Error> {
    let most = visit.rules().catalog_entries;
    let limit = page.limit.unwrap_or_else(|| most.min(DEFAULT_CATALOG_PAGE));
    if limit > most {
        return Err(Error::PageTooLarge { asked: limit, most });
    }
    let readable = match visit.caller.catalog() {
        CatalogView::Everything => None,
        // A token that limits the catalog, at a registry that can ask nobody what that means: nothing is readable.
        CatalogView::OnlyReadable | CatalogView::Nothing => Some(visit.readable().await?.unwrap_or_default()),
    };
    let from =
        visit.registry.places.read(page.last.as_deref().unwrap_or_default()).map_err(|UnknownPlace| Error::Place)?;
    let found = visit.content().catalog(readable.as_ref(), &from, as_count(limit)).await?;
    let answer = Answer::json(document(&Repositories { repositories: &found.names }), JSON);
    Ok(match found.next.and_then(|next| visit.registry.places.write(&next)) {
        Some(next) => {
            let page = PageQuery { limit: Some(limit), last: Some(next) };
            link(visit, answer, &Operation::Catalog { page }).finish()
        }
        None => answer.finish(),
    })
}

#[derive(Serialize)]
struct Tags<'a> {
    name: &'a str,
    tags: &'a [String],
}

#[derive(Serialize)]
struct Repositories<'a> {
    repositories: &'a [String],
}

/// A long list as JSON, without a tree of values in between.
#[expect(clippy::expect_used, reason = "texts under names that are texts can be written as JSON")]
fn document(list: &impl Serialize) -> String {
    serde_json::to_string(list).expect("a list of texts is JSON")
}

/// The stock registry's page where a client does not say how many.
const DEFAULT_CATALOG_PAGE: u64 = 100;

/// The referrers of a digest, as an index. A repository that does not exist has none: the answer is 200 in any case.
pub(super) async fn referrers(
    visit: &Visit,
    repository: RepositoryName,
    subject: Digest,
    artifact_type: Option<String>,
    last: Option<Digest>,
) -> Result<Response<Body>, Error> {
    let query = ReferrersQuery {
        repository: repository.clone(),
        subject,
        artifact_type: artifact_type.clone(),
        after: last,
        limit: None,
    };
    let found = visit.content().referrers(&query).await?;
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": found.manifests,
    });
    let mut answer = Answer::json(document.to_string(), MediaType::OCI_INDEX);
    if artifact_type.is_some() {
        answer = answer.fixed(FILTERS_APPLIED, "artifactType");
    }
    Ok(match found.next {
        Some(last) => {
            let next = Operation::Referrers { repository, subject, artifact_type, last: Some(last) };
            link(visit, answer, &next).finish()
        }
        None => answer.finish(),
    })
}

fn link(visit: &Visit, answer: Answer, next: &Operation) -> Answer {
    answer.header(header::LINK, &visit.next_page(next))
}

fn as_count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
