use proptest::prelude::*;
use serde_json::{Value, json};
use shared::digest::{Algorithm, Digest};

use super::*;

mod growth;

fn digest(of: &str) -> String {
    Digest::of(Algorithm::Sha256, of.as_bytes()).to_string()
}

fn descriptor(media_type: &str, of: &str) -> Value {
    json!({ "mediaType": media_type, "digest": digest(of), "size": of.len() })
}

fn image() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", "config"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer")],
    })
}

fn index() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [descriptor(MediaType::OCI_MANIFEST, "amd64"), descriptor(MediaType::OCI_MANIFEST, "arm64")],
    })
}

fn with(mut manifest: Value, member: &str, value: Value) -> Value {
    manifest[member] = value;
    manifest
}

fn without(mut manifest: Value, member: &str) -> Value {
    manifest.as_object_mut().unwrap().remove(member);
    manifest
}

fn parse(content_type: &str, manifest: &Value) -> Result<Manifest, ManifestInvalid> {
    Manifest::parse(Some(&content_type.parse().unwrap()), manifest.to_string().as_bytes())
}

fn parse_image(manifest: &Value) -> Result<Manifest, ManifestInvalid> {
    parse(MediaType::OCI_MANIFEST, manifest)
}

fn digests(references: &[BlobReference]) -> Vec<String> {
    references.iter().map(|reference| reference.descriptor.digest.to_string()).collect()
}

#[test]
fn an_image_names_its_config_and_layers() {
    let manifest = parse_image(&image()).unwrap();
    assert_eq!(manifest.shape, Shape::Image);
    assert_eq!(digests(&manifest.blobs), [digest("config"), digest("layer")]);
    assert!(manifest.blobs.iter().all(|blob| blob.required));
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    assert_eq!((manifest.subject, manifest.children, manifest.annotations), (None, vec![], None));
}

#[test]
fn a_docker_image_is_read_like_an_oci_one() {
    let manifest = with(image(), "mediaType", json!(MediaType::DOCKER_MANIFEST));
    assert_eq!(parse(MediaType::DOCKER_MANIFEST, &manifest).unwrap().blobs.len(), 2);
}

#[test]
fn an_index_names_its_children_and_has_no_artifact_type_of_its_own() {
    let manifest = parse(MediaType::OCI_INDEX, &index()).unwrap();
    assert_eq!(manifest.shape, Shape::Index);
    assert_eq!(manifest.children.len(), 2);
    assert_eq!((manifest.blobs, manifest.artifact_type), (vec![], None));
}

#[test]
fn an_index_of_layers_names_blobs_too() {
    let cache = with(
        index(),
        "manifests",
        json!([
            descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer"),
            descriptor("application/vnd.buildkit.cacheconfig.v0", "cache")
        ]),
    );
    let manifest = parse(MediaType::OCI_INDEX, &cache).unwrap();
    assert_eq!(digests(&manifest.blobs), [digest("layer"), digest("cache")]);
    assert!(manifest.blobs.iter().all(|blob| !blob.required));
}

#[test]
fn members_that_go_writes_as_null_are_absent() {
    let image = with(with(with(image(), "layers", Value::Null), "annotations", Value::Null), "subject", Value::Null);
    assert_eq!(parse_image(&image).unwrap().blobs.len(), 1);
    assert!(parse(MediaType::OCI_INDEX, &with(index(), "manifests", Value::Null)).unwrap().children.is_empty());
}

#[test]
fn the_body_names_the_type_where_the_request_does_not() {
    let parsed = Manifest::parse(None, image().to_string().as_bytes()).unwrap();
    assert_eq!(parsed.media_type.as_str(), MediaType::OCI_MANIFEST);
    let nameless = without(image(), "mediaType").to_string();
    assert_eq!(Manifest::parse(None, nameless.as_bytes()), Err(ManifestInvalid::MediaTypeMissing));
    assert!(parse_image(&without(image(), "mediaType")).is_ok(), "OCI lets the body leave it out");
}

#[test]
fn request_and_body_must_agree() {
    let error = parse(MediaType::DOCKER_MANIFEST, &image()).unwrap_err();
    assert!(matches!(error, ManifestInvalid::MediaTypeMismatch { .. }), "{error}");
    let error = parse_image(&with(image(), "mediaType", json!("not a type"))).unwrap_err();
    assert!(matches!(error, ManifestInvalid::MediaTypeMalformed(_)), "{error}");
}

#[test]
fn one_payload_cannot_be_read_as_an_image_and_as_an_index() {
    let both = with(image(), "manifests", json!([]));
    assert!(matches!(parse_image(&both), Err(ManifestInvalid::Misplaced { member: "manifests", .. })));
    for member in ["config", "layers"] {
        let both = with(index(), member, image()[member].clone());
        assert!(matches!(parse(MediaType::OCI_INDEX, &both), Err(ManifestInvalid::Misplaced { .. })), "{member}");
    }
}

#[test]
fn a_member_that_stands_twice_is_refused() {
    let twice = image().to_string().replacen('{', r#"{"layers":[],"#, 1);
    let error = Manifest::parse(None, twice.as_bytes()).unwrap_err();
    assert!(matches!(error, ManifestInvalid::NotJson(_)), "{error}");
}

#[test]
fn malformed_images_are_refused() {
    let bad_digest = json!({ "mediaType": "a/b", "digest": "sha256:baddigest", "size": 1 });
    let cases = [
        without(image(), "schemaVersion"),
        with(image(), "schemaVersion", json!(1)),
        with(image(), "schemaVersion", json!("2")),
        without(image(), "config"),
        with(image(), "config", json!({})),
        with(image(), "config", bad_digest.clone()),
        with(image(), "layers", json!("none")),
        with(image(), "layers", json!([bad_digest])),
        with(image(), "layers", json!([{ "mediaType": "a/b", "digest": digest("x"), "size": -1 }])),
        with(image(), "layers", json!([{ "mediaType": "a/b", "digest": digest("x"), "size": 1.5 }])),
        with(image(), "layers", json!([{ "mediaType": "a/b", "digest": digest("x"), "size": u64::MAX }])),
        with(image(), "subject", json!({})),
        with(image(), "annotations", json!({ "a": 1 })),
        with(image(), "artifactType", json!("a\u{0}b")),
        with(image(), "artifactType", json!("a".repeat(MAX_ARTIFACT_TYPE_BYTES + 1))),
        json!({}),
        json!([]),
        json!(null),
    ];
    for case in cases {
        assert!(parse_image(&case).is_err(), "{case}");
    }
}

#[test]
fn an_artifacts_type_has_as_many_bytes_as_the_limit_says() {
    let longest = "a".repeat(MAX_ARTIFACT_TYPE_BYTES);
    let read = parse_image(&with(image(), "artifactType", json!(longest))).unwrap();
    assert_eq!(read.artifact_type.as_deref(), Some(longest.as_str()));
}

#[test]
fn schema_1_is_refused_by_name() {
    let error =
        parse("application/vnd.docker.distribution.manifest.v1+prettyjws", &json!({ "schemaVersion": 1 })).unwrap_err();
    assert_eq!(error, ManifestInvalid::Schema1);
}

#[test]
fn a_layer_that_may_not_be_distributed_is_not_required_where_it_says_where_it_lies() {
    let layer = |media_type: &str, urls: Value| with(descriptor(media_type, "windows"), "urls", urls);
    let required =
        |layer: Value| parse_image(&with(image(), "layers", json!([layer]))).map(|image| image.blobs[1].required);
    let somewhere = json!(["https://layers.example/windows"]);
    for foreign in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        assert_eq!(required(layer(foreign, somewhere.clone())), Ok(false), "{foreign}");
        assert_eq!(required(layer(foreign, json!([]))), Ok(true), "{foreign}");
        assert_eq!(required(layer(foreign, Value::Null)), Ok(true), "{foreign}");
        assert!(required(layer(foreign, json!(["file:///etc/passwd"]))).is_err(), "{foreign}");
    }
    assert_eq!(required(layer("application/vnd.oci.image.layer.v1.tar", somewhere)), Ok(true));
}

#[test]
fn annotations_are_kept_for_referrers_lists_only() {
    let annotations = json!({ "b": "2", "a": "é\u{0}" });
    let plain = with(image(), "annotations", annotations.clone());
    assert_eq!(parse_image(&plain).unwrap().annotations, None);
    let signature = with(plain, "subject", descriptor(MediaType::OCI_MANIFEST, "signed"));
    let kept = parse_image(&signature).unwrap().annotations.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), annotations);
}

#[test]
fn the_artifact_type_is_the_manifests_own_before_the_configs() {
    let own = with(image(), "artifactType", json!("application/vnd.example.sbom"));
    assert_eq!(parse_image(&own).unwrap().artifact_type.as_deref(), Some("application/vnd.example.sbom"));
    let empty = with(image(), "artifactType", json!(""));
    assert_eq!(parse_image(&empty).unwrap().artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
}

#[test]
fn an_unknown_kind_is_accepted_and_keeps_what_it_names() {
    let artifact = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "artifactType": "application/vnd.example",
        "blobs": [descriptor("text/plain", "notes")],
        "layers": "another meaning",
        "subject": descriptor(MediaType::OCI_MANIFEST, "signed"),
    });
    let manifest = parse("application/vnd.oci.artifact.manifest.v1+json", &artifact).unwrap();
    assert_eq!((manifest.shape, digests(&manifest.blobs)), (Shape::Other, vec![digest("notes")]));
    assert!(!manifest.blobs[0].required);
    assert_eq!(manifest.subject.unwrap().digest.to_string(), digest("signed"));
    assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.example"));
}

#[test]
fn an_unknown_kind_need_not_be_json() {
    let text: MediaType = "text/plain".parse().unwrap();
    assert_eq!(Manifest::parse(Some(&text), b"hello"), Ok(Manifest::opaque(text.clone())));
    assert!(matches!(Manifest::parse(Some(&text), b"{hello"), Err(ManifestInvalid::NotJson(_))));
    assert!(matches!(Manifest::parse(None, b"hello"), Err(ManifestInvalid::NotJson(_))));
}

#[test]
fn limits_hold_at_their_edge() {
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar", "layer");
    let of = |layers: usize| parse_image(&with(image(), "layers", Value::Array(vec![layer.clone(); layers])));
    assert!(of(MAX_DESCRIPTORS - 1).is_ok());
    assert_eq!(of(MAX_DESCRIPTORS), Err(ManifestInvalid::TooManyDescriptors));

    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(parse_image(&with(image(), "custom", nested(MAX_JSON_DEPTH - 1))).is_ok());
    assert_eq!(parse_image(&with(image(), "custom", nested(MAX_JSON_DEPTH))), Err(ManifestInvalid::TooDeep));
}

/// JSON that is near enough to a manifest to reach every branch.
fn nearly_a_manifest() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just(MediaType::OCI_MANIFEST.to_owned()),
        Just(MediaType::OCI_INDEX.to_owned()),
        Just(digest("layer")),
        ".{0,8}",
    ];
    let leaf =
        prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), Just(json!(2)), text.prop_map(Value::from)];
    let name = prop::sample::select(vec![
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "blobs",
        "manifests",
        "subject",
        "annotations",
        "digest",
        "size",
        "urls",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_media_type() -> impl Strategy<Value = Option<MediaType>> {
    let known = [MediaType::OCI_MANIFEST, MediaType::OCI_INDEX, MediaType::DOCKER_LIST, "application/vnd.example+json"];
    prop::option::of(prop::sample::select(known.to_vec()).prop_map(|text| text.parse().unwrap()))
}

proptest! {
    #[test]
    fn no_bytes_make_parsing_panic(media_type in any_media_type(), payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(media_type.as_ref(), &payload);
    }

    #[test]
    fn what_parses_fits_the_database(media_type in any_media_type(), value in nearly_a_manifest()) {
        if let Ok(manifest) = Manifest::parse(media_type.as_ref(), value.to_string().as_bytes()) {
            prop_assert!(manifest.descriptors() <= MAX_DESCRIPTORS);
            prop_assert!(manifest.artifact_type.is_none_or(|text| is_artifact_type(&text)));
            prop_assert!(manifest.annotations.is_none_or(|text| serde_json::from_str::<BTreeMap<String, String>>(&text).is_ok()));
        }
    }

    #[test]
    fn a_cut_image_never_parses(length in 0_usize..400) {
        let whole = image().to_string();
        if length < whole.len() {
            let cut = whole.as_bytes().get(..length).unwrap_or_default();
            prop_assert!(Manifest::parse(None, cut).is_err());
        }
    }
}

/// Also where nobody looks: a client that reads all of it would not take it for JSON.
#[test]
fn text_that_is_not_utf8_is_refused_in_members_without_meaning_too() {
    let json = br#"{"schemaVersion":2,"manifests":[],"remark":"?"}"#;
    let index: MediaType = MediaType::OCI_INDEX.parse().unwrap();
    Manifest::parse(Some(&index), json).unwrap();
    let broken: Vec<u8> = json.iter().map(|byte| if *byte == b'?' { 0xff } else { *byte }).collect();
    assert!(matches!(Manifest::parse(Some(&index), &broken), Err(ManifestInvalid::NotJson(_))));
}

#[test]
fn annotations_that_are_no_texts_are_refused_whether_they_are_shown_or_not() {
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let descriptor = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":2}}"#);
    for subject in [String::new(), format!(r#""subject":{descriptor},"#)] {
        for (annotations, fine) in
            [("{}", true), (r#"{"a":"b"}"#, true), (r#"{"a":1}"#, false), (r#"{"a":null}"#, false), ("[]", false)]
        {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let text = format!(
                r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{descriptor},{subject}"annotations":{annotations}}}"#
            );
            assert_eq!(Manifest::parse(None, text.as_bytes()).is_ok(), fine, "{text}");
        }
    }
}
