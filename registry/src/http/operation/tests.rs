use std::collections::BTreeSet;

use axum::http::Method;
use proptest::prelude::*;
use shared::{
    access::{Access, Action, Resource},
    digest::{Algorithm, Digest},
    reference::Reference,
    repository::RepositoryName,
};

use super::{MAX_PATH_BYTES, MAX_TAGS_PER_PUSH, Operation, PageQuery, ParseError, Start};
use crate::content::uploads::UploadId;

fn parse(method: &Method, target: &str) -> Result<Operation, ParseError> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Operation::parse(method, path, query)
}

fn get(target: &str) -> Result<Operation, ParseError> {
    parse(&Method::GET, target)
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"x")
}

#[test]
fn the_end_of_the_path_decides_what_it_is() {
    let tags = |repository| Operation::ListTags { repository, page: PageQuery::default() };
    let by_tag =
        |repository, tag: &str| Operation::GetManifest { repository, reference: Reference::Tag(tag.parse().unwrap()) };
    assert_eq!(get("/v2/foo/bar/manifests/tags/list"), Ok(tags(name("foo/bar/manifests"))));
    assert_eq!(get("/v2/foo/bar/manifests/manifests/tags"), Ok(by_tag(name("foo/bar/manifests"), "tags")));
    assert_eq!(get("/v2/blobs/uploads/manifests/list"), Ok(by_tag(name("blobs/uploads"), "list")));
    assert_eq!(get("/v2/a%2Fb/tags/list"), Ok(tags(name("a/b"))));
    assert_eq!(get("/v2"), Ok(Operation::Version));
    assert_eq!(get("/v2/"), Ok(Operation::Version));
}

#[test]
fn unknown_paths_and_names_are_told_apart() {
    for target in ["/", "/v2x", "/v2/_other", "/v2/a", "/v2/a/b", "/v2/tags/list", "/v2/a/tags/other", "/v2/a/blobs/"] {
        assert_eq!(get(target), Err(ParseError::NotFound), "{target}");
    }
    for target in [
        "/v2/UPPER/tags/list",
        "/v2/a//b/tags/list",
        "/v2/a/../b/tags/list",
        "/v2/a/%2e%2e/b/tags/list",
        "/v2/a%00/tags/list",
        "/v2/a%zz/tags/list",
        "/v2/a%2/tags/list",
        "/v2/a%ff/tags/list",
        "/v2/host:5000/a/tags/list",
        "/v2/a\u{7f}/tags/list",
        "/v2//tags/list",
    ] {
        assert!(matches!(get(target), Err(ParseError::Name { .. })), "{target}: {:?}", get(target));
    }
    let longest = format!("/v2/{}/tags/list", "a".repeat(255));
    assert!(get(&longest).is_ok());
    assert!(matches!(get(&longest.replace("/tags", "a/tags")), Err(ParseError::Name { .. })));
    let over = format!("/v2/{}", "a".repeat(MAX_PATH_BYTES - 3));
    assert_eq!(get(&over), Err(ParseError::PathTooLong));
    assert_eq!(get(&over[..MAX_PATH_BYTES]), Err(ParseError::NotFound));
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let allow = |method, target: &str| match parse(&method, target) {
        Err(ParseError::MethodNotAllowed { allow }) => allow,
        other => panic!("{target}: {other:?}"),
    };
    assert_eq!(allow(Method::PUT, "/v2/"), "GET, HEAD");
    assert_eq!(allow(Method::POST, "/v2/_catalog"), "GET, HEAD");
    assert_eq!(allow(Method::PATCH, "/v2/a/manifests/b"), "DELETE, GET, HEAD, PUT");
    assert_eq!(allow(Method::PUT, &format!("/v2/a/blobs/{}", digest())), "DELETE, GET, HEAD");
    assert_eq!(allow(Method::GET, "/v2/a/blobs/uploads/"), "POST");
    assert_eq!(allow(Method::POST, "/v2/a/blobs/uploads/x"), "DELETE, GET, HEAD, PATCH, PUT");
    assert_eq!(allow(Method::OPTIONS, "/v2/a/tags/list"), "GET, HEAD");
}

#[test]
fn an_upload_starts_in_one_of_three_ways() {
    let start = |query: &str| match parse(&Method::POST, &format!("/v2/a/blobs/uploads/{query}")) {
        Ok(Operation::StartUpload { start, .. }) => Ok(start),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let digest = digest();
    assert_eq!(start(""), Ok(Start::Session { algorithm: None }));
    assert_eq!(start("?digest-algorithm=sha512"), Ok(Start::Session { algorithm: Some(Algorithm::Sha512) }));
    assert!(matches!(start("?digest-algorithm=md5"), Err(ParseError::Digest { .. })));
    assert_eq!(start(&format!("?digest={digest}")), Ok(Start::Whole { digest }));
    assert_eq!(start(&format!("?mount={digest}")), Ok(Start::Mount { digest, from: None }));
    assert_eq!(start(&format!("?mount={digest}&from=b")), Ok(Start::Mount { digest, from: Some(name("b")) }));
    assert!(matches!(start(&format!("?mount={digest}&from=B")), Err(ParseError::Name { .. })));
    assert_eq!(start(&format!("?digest={digest}&digest={digest}")), Err(ParseError::Repeated { name: "digest" }));
    assert!(parse(&Method::POST, "/v2/a/blobs/uploads").is_ok());
}

#[test]
fn a_push_by_digest_may_name_tags_and_a_push_by_tag_may_not() {
    let by_digest = format!("/v2/a/manifests/{}", digest());
    let put = |target: &str| parse(&Method::PUT, target);
    let Ok(Operation::PutManifest { tags, .. }) = put(&format!("{by_digest}?tag=one&tag=two&tag=one")) else {
        panic!("refused")
    };
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(put("/v2/a/manifests/one?tag=two"), Err(ParseError::TagTwice));
    let many = |count: usize| (0..count).map(|at| format!("tag=t{at}")).collect::<Vec<_>>().join("&");
    assert!(put(&format!("{by_digest}?{}", many(MAX_TAGS_PER_PUSH))).is_ok());
    assert_eq!(put(&format!("{by_digest}?{}", many(MAX_TAGS_PER_PUSH + 1))), Err(ParseError::TooManyTags));
    assert!(matches!(put("/v2/a/manifests/sha256:baddigeststring"), Err(ParseError::Digest { .. })));
    assert!(matches!(put("/v2/a/manifests/-x"), Err(ParseError::Tag { .. })));
}

#[test]
fn page_sizes_are_counts() {
    let page = |query: &str| match get(&format!("/v2/_catalog?{query}")) {
        Ok(Operation::Catalog { page }) => Ok(page),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!(page("n=0&last=a%2Fb"), Ok(PageQuery { limit: Some(0), last: Some("a/b".into()) }));
    for wrong in ["n=-1", "n=x", "n=", "n=1.5", "n=%2B1", "n=99999999999999999999"] {
        assert!(matches!(page(wrong), Err(ParseError::PageSize { .. })), "{wrong}");
    }
    assert_eq!(page("n=1&n=2"), Err(ParseError::Repeated { name: "n" }));
}

#[test]
fn an_artifact_type_keeps_its_plus() {
    let target = format!("/v2/a/referrers/{}?artifactType=application/vnd.x+json", digest());
    let Ok(Operation::Referrers { artifact_type, .. }) = get(&target) else { panic!("refused") };
    assert_eq!(artifact_type.as_deref(), Some("application/vnd.x+json"));
}

#[test]
fn required_access_is_what_the_design_says() {
    let required = |method: Method, target: String| {
        let mut seen = Vec::new();
        for Access { resource, actions, .. } in parse(&method, &target).unwrap().required_access() {
            seen.push((resource, actions));
        }
        seen
    };
    let on = |repository: &str, actions: &[Action]| {
        (Resource::repository(&name(repository)), actions.iter().cloned().collect::<BTreeSet<_>>())
    };
    let (digest, upload) = (digest(), upload_id());
    let push = [Action::Pull, Action::Push];
    let cases = [
        (Method::GET, "/v2/".to_owned(), vec![]),
        (Method::GET, "/v2/_catalog".to_owned(), vec![(Resource::catalog(), BTreeSet::from([Action::Any]))]),
        (Method::HEAD, "/v2/a/manifests/b".to_owned(), vec![on("a", &[Action::Pull])]),
        (Method::PUT, "/v2/a/manifests/b".to_owned(), vec![on("a", &push)]),
        (Method::DELETE, "/v2/a/manifests/b".to_owned(), vec![on("a", &[Action::Delete])]),
        (Method::DELETE, format!("/v2/a/blobs/{digest}"), vec![on("a", &[Action::Delete])]),
        (Method::DELETE, format!("/v2/a/blobs/uploads/{upload}"), vec![on("a", &[Action::Push])]),
        (Method::PATCH, format!("/v2/a/blobs/uploads/{upload}"), vec![on("a", &push)]),
        (
            Method::POST,
            format!("/v2/a/blobs/uploads/?mount={digest}&from=b"),
            vec![on("a", &push), on("b", &[Action::Pull])],
        ),
        (Method::POST, format!("/v2/a/blobs/uploads/?mount={digest}&from=a"), vec![on("a", &push)]),
    ];
    for (method, target, expected) in cases {
        assert_eq!(required(method, target.clone()), expected, "{target}");
    }
}

fn upload_id() -> UploadId {
    "0123456789abcdef".parse().unwrap()
}

fn any_name() -> impl Strategy<Value = RepositoryName> {
    "[a-z0-9]{1,5}([._-][a-z0-9]{1,3})?(/(manifests|blobs|uploads|tags|list|referrers|[a-z]{1,4})){0,3}"
        .prop_map(|text| name(&text))
}

fn any_digest() -> impl Strategy<Value = Digest> {
    (any::<bool>(), any::<u64>()).prop_map(|(long, seed)| {
        Digest::of(if long { Algorithm::Sha512 } else { Algorithm::Sha256 }, &seed.to_be_bytes())
    })
}

fn any_reference() -> impl Strategy<Value = Reference> {
    prop_oneof![
        any_digest().prop_map(Reference::Digest),
        "[A-Za-z0-9_][A-Za-z0-9._-]{0,12}".prop_map(|text| Reference::Tag(text.parse().unwrap())),
    ]
}

fn any_page() -> impl Strategy<Value = PageQuery> {
    (proptest::option::of(any::<u64>()), proptest::option::of("[ -~é]{1,12}"))
        .prop_map(|(limit, last)| PageQuery { limit, last })
}

fn any_start() -> impl Strategy<Value = Start> {
    prop_oneof![
        prop_oneof![Just(None), Just(Some(Algorithm::Sha256)), Just(Some(Algorithm::Sha512))]
            .prop_map(|algorithm| Start::Session { algorithm }),
        any_digest().prop_map(|digest| Start::Whole { digest }),
        (any_digest(), proptest::option::of(any_name())).prop_map(|(digest, from)| Start::Mount { digest, from }),
    ]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let reading = prop_oneof![
        Just(Operation::Version),
        any_page().prop_map(|page| Operation::Catalog { page }),
        (any_name(), any_page()).prop_map(|(repository, page)| Operation::ListTags { repository, page }),
        (any_name(), any_reference())
            .prop_map(|(repository, reference)| Operation::HeadManifest { repository, reference }),
        (any_name(), any_reference())
            .prop_map(|(repository, reference)| Operation::GetManifest { repository, reference }),
        (any_name(), any_digest()).prop_map(|(repository, digest)| Operation::HeadBlob { repository, digest }),
        (any_name(), any_digest()).prop_map(|(repository, digest)| Operation::GetBlob { repository, digest }),
        (any_name(), any_digest(), proptest::option::of("[a-z]{1,5}/[a-z.+]{1,8}"), proptest::option::of(any_digest()))
            .prop_map(|(repository, subject, artifact_type, last)| Operation::Referrers {
                repository,
                subject,
                artifact_type,
                last
            }),
    ];
    let writing = prop_oneof![
        (any_name(), any_digest(), proptest::collection::btree_set("[a-z]{1,4}", 0..5)).prop_map(
            |(repository, digest, tags)| Operation::PutManifest {
                repository,
                reference: Reference::Digest(digest),
                tags: tags.iter().map(|tag| tag.parse().unwrap()).collect()
            }
        ),
        (any_name(), any_reference())
            .prop_map(|(repository, reference)| Operation::DeleteManifest { repository, reference }),
        (any_name(), any_digest()).prop_map(|(repository, digest)| Operation::DeleteBlob { repository, digest }),
        (any_name(), any_start()).prop_map(|(repository, start)| Operation::StartUpload { repository, start }),
        any_name().prop_map(|repository| Operation::UploadStatus { repository, upload: upload_id() }),
        any_name().prop_map(|repository| Operation::AppendUpload { repository, upload: upload_id() }),
        (any_name(), any_digest()).prop_map(|(repository, digest)| Operation::FinishUpload {
            repository,
            upload: upload_id(),
            digest
        }),
        any_name().prop_map(|repository| Operation::CancelUpload { repository, upload: upload_id() }),
    ];
    prop_oneof![reading, writing]
}

proptest! {
    #[test]
    fn what_is_printed_is_parsed_to_the_same(operation in any_operation()) {
        prop_assert_eq!(parse(&operation.method(), &operation.to_string()), Ok(operation));
    }

    #[test]
    fn no_text_panics(method in "GET|HEAD|PUT|PATCH|POST|DELETE|BREW", path in "\\PC{0,80}", query in "\\PC{0,80}") {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let _ = Operation::parse(&method, &path, Some(&query));
        let near = format!("/v2/{path}/blobs/uploads/{query}");
        if let Ok(operation) = Operation::parse(&method, &near, Some(&query)) {
            let _ = (operation.required_access(), operation.to_string());
        }
    }
}
