//! The data sets of the walk, in its order: images, indexes and artifacts in every shape that clients produce.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    recipe::{Config, Layers, Recipe},
    samples::{Algorithm, Blob, DataSet, Manifest, Tagging, layer, media, random},
};

/// The platforms of an index, by architecture.
const PLATFORMS: [&str; 2] = ["amd64", "arm64"];

/// Every data set.
pub(crate) fn all() -> Vec<DataSet> {
    vec![
        image("image", &Recipe::default()),
        image("image-uncompressed", &Recipe { layers: Layers::Plain(2), ..Recipe::default() }),
        large_manifest(),
        index("index", &Recipe::default(), &PLATFORMS),
        nested_index(),
        index("empty-index", &Recipe::default(), &[]),
        image("artifact", &Recipe::artifact(media::EXAMPLE_1)),
        index("artifact-index", &Recipe::artifact(media::EXAMPLE_1), &PLATFORMS),
        image("artifact-without-layers", &Recipe { layers: Layers::Empty, ..Recipe::artifact(media::EXAMPLE_1) }),
        artifacts_with_subject(),
        index_with_subject(),
        missing_subject(),
        image("data-field", &Recipe { with_data: true, ..Recipe::default() }),
        foreign_layers(),
        index("custom-fields", &Recipe { custom_fields: true, ..Recipe::default() }, &PLATFORMS),
        image("no-layers", &Recipe { layers: Layers::Compressed(0), ..Recipe::default() }),
        sparse(),
        sha512(),
        tags_by_query("tag-param-sha256", Algorithm::Sha256),
        tags_by_query("tag-param-sha512", Algorithm::Sha512),
        bad_digest(),
    ]
}

/// One image with one tag, the name of the set.
fn image(name: &'static str, recipe: &Recipe) -> DataSet {
    let mut set = DataSet::new(name);
    let mut image = recipe.image(&mut set, PLATFORMS[0]);
    image.tags.push(name.to_owned());
    set.manifests.push(image);
    set
}

/// One index with one tag, and an image for each platform.
fn index(name: &'static str, recipe: &Recipe, platforms: &[&str]) -> DataSet {
    let mut set = DataSet::new(name);
    let mut index = recipe.index_of_images(&mut set, platforms);
    index.tags.push(name.to_owned());
    set.manifests.push(index);
    set
}

/// A manifest of 3.9 MB: registries accept 4 MiB at least.
fn large_manifest() -> DataSet {
    let annotation = |number: usize| (format!("large-annotation-{number}"), json!("A".repeat(10_000)));
    image("large-manifest", &Recipe { annotations: (0..390).map(annotation).collect(), ..Recipe::default() })
}

/// An index of two indexes.
fn nested_index() -> DataSet {
    let recipe = Recipe::default();
    let mut set = DataSet::new("nested-index");
    let mut children = Vec::new();
    for _ in 0..2 {
        let index = recipe.index_of_images(&mut set, &PLATFORMS);
        children.push(index.descriptor());
        set.manifests.push(index);
    }
    let mut top = recipe.index(&children);
    top.tags.push("index-of-index".to_owned());
    set.manifests.push(top);
    set
}

/// An image and three that refer to it: an image without artifactType, and artifacts of two types with annotations.
fn artifacts_with_subject() -> DataSet {
    let mut set = image("artifacts-with-subject", &Recipe::default());
    let subject = set.manifests[0].descriptor();
    let referrers = [
        (Recipe::default(), None),
        (Recipe::annotated_artifact(media::EXAMPLE_1), Some("tagged-artifact1")),
        (
            Recipe { layers: Layers::Blob(media::OCTETS), ..Recipe::annotated_artifact(media::EXAMPLE_2) },
            Some("tagged-artifact2"),
        ),
    ];
    for (recipe, tag) in referrers {
        let recipe = Recipe { subject: Some(subject.clone()), ..recipe };
        let mut referrer = recipe.image(&mut set, PLATFORMS[0]);
        referrer.tags.extend(tag.map(str::to_owned));
        set.manifests.push(referrer);
    }
    set
}

/// An index, and an index of artifacts that all refer to it.
fn index_with_subject() -> DataSet {
    let mut set = index("index-with-subject", &Recipe::default(), &PLATFORMS);
    let subject = set.manifests.last().map(Manifest::descriptor);
    let recipe = Recipe { subject, ..Recipe::annotated_artifact(media::EXAMPLE_1) };
    let mut referrer = recipe.index_of_images(&mut set, &PLATFORMS);
    referrer.tags.push("tagged-artifact".to_owned());
    set.manifests.push(referrer);
    set
}

/// An artifact whose subject nobody ever pushed.
fn missing_subject() -> DataSet {
    let absent = Blob::random(Algorithm::Sha256, 123);
    let recipe =
        Recipe { subject: Some(absent.descriptor(media::IMAGE)), ..Recipe::annotated_artifact(media::EXAMPLE_1) };
    image("missing-subject", &recipe)
}

/// An image with two layers that lie elsewhere and are never pushed.
fn foreign_layers() -> DataSet {
    let mut set = DataSet::new("non-distributable-layers");
    let elsewhere = |media_type: &str| {
        let blob = Blob::random(Algorithm::Sha256, 256);
        let mut descriptor = blob.descriptor(media_type);
        descriptor["urls"] = json!([format!("https://store.example.com/{}", blob.digest)]);
        descriptor
    };
    let own = layer(Algorithm::Sha256, true);
    set.add(&own);
    let config = Config::Image.blob(&Recipe::default(), PLATFORMS[0]);
    set.add(&config);
    let layers = json!([
        elsewhere(media::FOREIGN_LAYER_GZIP),
        elsewhere(media::FOREIGN_LAYER),
        own.descriptor(media::LAYER_GZIP)
    ]);
    let content = json!({
        "schemaVersion": 2, "mediaType": media::IMAGE, "config": config.descriptor(media::CONFIG), "layers": layers,
    });
    let mut image = Manifest::new(Algorithm::Sha256, &content);
    image.tags.push("non-distributable-image".to_owned());
    set.manifests.push(image);
    set
}

/// An image that lacks a layer, and an index that lacks one of its two images.
fn sparse() -> DataSet {
    let recipe = Recipe::default();
    let mut set = image("sparse", &recipe);
    set.blobs.remove(0);
    let present = recipe.image(&mut set, PLATFORMS[0]);
    let absent = Blob::random(Algorithm::Sha256, 1024).descriptor(media::IMAGE);
    let children = [(present.descriptor(), PLATFORMS[0]), (absent, PLATFORMS[1])].map(|(mut child, architecture)| {
        child["platform"] = platform(architecture);
        child
    });
    set.manifests.push(present);
    let mut index = recipe.index(&children);
    index.tags.push("sparse-index".to_owned());
    set.manifests.push(index);
    set
}

/// An index whose every digest is sha512. No tags: a PUT by tag names no algorithm, so it would mean sha256.
fn sha512() -> DataSet {
    let mut set = DataSet::new("sha512");
    let recipe = Recipe { algorithm: Algorithm::Sha512, ..Recipe::default() };
    let index = recipe.index_of_images(&mut set, &PLATFORMS);
    set.manifests.push(index);
    set
}

/// An index and its images, each pushed by digest with its tags in the query; the index has two.
fn tags_by_query(name: &'static str, algorithm: Algorithm) -> DataSet {
    let mut set = index(name, &Recipe { algorithm, ..Recipe::default() }, &PLATFORMS);
    for (number, manifest) in set.manifests.iter_mut().enumerate() {
        manifest.tags.push(format!("{name}-{number}"));
        manifest.tagging = Tagging::ByQuery;
    }
    set
}

/// An image whose manifest is pushed with two spaces more than its digest knows of.
fn bad_digest() -> DataSet {
    let mut set = image("bad-digest-image", &Recipe::default());
    set.refused = true;
    for manifest in &mut set.manifests {
        manifest.tags.clear();
        manifest.blob.bytes = Bytes::from([manifest.blob.bytes.as_ref(), b"  "].concat());
    }
    set
}

/// How an index names the platform of a child.
pub(super) fn platform(architecture: &str) -> Value {
    json!({"os": "linux", "architecture": architecture})
}

/// The image and the layer that the check of malformed digests pushes.
pub(super) fn small_image() -> DataSet {
    let mut set = image("invalid-digest-format", &Recipe { layers: Layers::Compressed(1), ..Recipe::default() });
    set.manifests[0].tags.clear();
    set
}

/// A digest that nothing has.
pub(super) fn unknown_digest() -> String {
    Algorithm::Sha256.digest(&random(64))
}
