//! Entity tags: a digest in quotes, which can never be stale.

use axum::http::{HeaderMap, HeaderName, header};
use shared::digest::Digest;

/// The entity tag of content.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client has it already (`If-None-Match`): 304. Tags without quotes are understood, as the stock
/// registry understands them.
pub(super) fn is_known(headers: &HeaderMap, digest: &Digest) -> bool {
    fields(headers, &header::IF_NONE_MATCH).any(|tag| tag == "*" || bare(tag) == digest.to_string())
}

/// Whether a range may be served (`If-Range`): only of the content that the client has the beginning of. Dates
/// never match, for we send none.
pub(super) fn range_applies(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|field| field.to_str().is_ok_and(|tag| tag == etag(digest)))
}

/// The entries of a list of entity tags, over all fields of the name. Digests contain no comma.
pub(super) fn fields<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|tag| !tag.is_empty())
}

/// Without the mark of a weak tag, and without quotes.
pub(super) fn bare(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use shared::digest::Algorithm;

    use super::*;

    #[test]
    fn lists_weak_tags_and_bare_digests_match() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let known = |field: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_NONE_MATCH, "\"other\"".parse().unwrap());
            headers.append(header::IF_NONE_MATCH, field.parse().unwrap());
            is_known(&headers, &digest)
        };
        for field in
            [etag(&digest), format!("W/\"{digest}\""), digest.to_string(), format!("\"a\", \"{digest}\""), "*".into()]
        {
            assert!(known(&field), "{field}");
        }
        assert!(!known("\"sha256:00\""));
        assert!(!is_known(&HeaderMap::new(), &digest));
    }

    #[test]
    fn a_range_needs_the_same_content() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let applies = |field: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(field) = field {
                headers.insert(header::IF_RANGE, field.parse().unwrap());
            }
            range_applies(&headers, &digest)
        };
        assert!(applies(None));
        assert!(applies(Some(&etag(&digest))));
        assert!(!applies(Some("\"other\"")));
        assert!(!applies(Some("Wed, 21 Oct 2015 07:28:00 GMT")));
    }
}
