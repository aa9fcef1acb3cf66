//! How the suite's images, artifacts and indexes are made.

use serde_json::{Map, Value, json};

use super::{
    datasets::platform,
    samples::{Algorithm, Blob, DataSet, Manifest, layer, media, random, word},
};

/// The layers of an image.
#[derive(Clone, Copy)]
pub(crate) enum Layers {
    Compressed(usize),
    Plain(usize),
    /// One blob of this media type, as artifacts have.
    Blob(&'static str),
    /// One layer `{}` of the empty media type, as artifacts without content have.
    Empty,
}

/// The config of an image.
#[derive(Clone, Copy)]
pub(crate) enum Config {
    Image,
    /// `{}`, as artifacts have.
    Empty,
}

impl Config {
    pub(crate) fn blob(self, recipe: &Recipe, architecture: &str) -> Blob {
        if let Self::Empty = self {
            return Blob::of(recipe.algorithm, "{}");
        }
        // The same for every image of one platform, so that two of a set share it and it is pushed and deleted once.
        let mut config = platform(architecture);
        config["author"] = "the protocol suite".into();
        config["rootfs"] = json!({"type": "layers", "diff_ids": []});
        recipe.add_custom_field(&mut config);
        Blob::of(recipe.algorithm, config.to_string())
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Image => media::CONFIG,
            Self::Empty => media::EMPTY,
        }
    }
}

/// What all manifests of one making have in common.
pub(crate) struct Recipe {
    pub(crate) algorithm: Algorithm,
    pub(crate) layers: Layers,
    pub(crate) config: Config,
    pub(crate) artifact_type: Option<&'static str>,
    pub(crate) annotations: Map<String, Value>,
    /// One annotation more in each manifest, of random name and value.
    pub(crate) unique_annotation: bool,
    /// A member that no specification knows, in every document.
    pub(crate) custom_fields: bool,
    /// The content of blobs repeated in their descriptors.
    pub(crate) with_data: bool,
    pub(crate) subject: Option<Value>,
}

impl Default for Recipe {
    /// An image of two compressed layers.
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            layers: Layers::Compressed(2),
            config: Config::Image,
            artifact_type: None,
            annotations: Map::new(),
            unique_annotation: false,
            custom_fields: false,
            with_data: false,
            subject: None,
        }
    }
}

impl Recipe {
    pub(crate) fn artifact(artifact_type: &'static str) -> Self {
        let layers = Layers::Blob(media::EXAMPLE_1);
        Self { artifact_type: Some(artifact_type), config: Config::Empty, layers, ..Self::default() }
    }

    pub(crate) fn annotated_artifact(artifact_type: &'static str) -> Self {
        let annotations = [("org.example.suite".to_owned(), json!("hello"))].into_iter().collect();
        Self { annotations, unique_annotation: true, ..Self::artifact(artifact_type) }
    }

    /// Makes an image; its blobs go into `set`, the manifest is returned.
    pub(crate) fn image(&self, set: &mut DataSet, architecture: &str) -> Manifest {
        let layers: Vec<Value> = self.layer_blobs().iter().map(|(blob, kind)| self.added(set, blob, kind)).collect();
        let config = self.config.blob(self, architecture);
        let config = self.added(set, &config, self.config.media_type());
        let content = json!({"schemaVersion": 2, "mediaType": media::IMAGE, "config": config, "layers": layers});
        self.finished(content)
    }

    /// Makes an index of these children.
    pub(crate) fn index(&self, children: &[Value]) -> Manifest {
        self.finished(json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": children}))
    }

    /// Makes an image per platform, which go into `set`, and the index of them, which is returned.
    pub(crate) fn index_of_images(&self, set: &mut DataSet, platforms: &[&str]) -> Manifest {
        let mut children = Vec::new();
        for architecture in platforms {
            let image = self.image(set, architecture);
            let mut child = image.descriptor();
            child["platform"] = platform(architecture);
            children.push(child);
            set.manifests.push(image);
        }
        self.index(&children)
    }

    fn layer_blobs(&self) -> Vec<(Blob, &'static str)> {
        match self.layers {
            Layers::Compressed(count) => (0..count).map(|_| (layer(self.algorithm, true), media::LAYER_GZIP)).collect(),
            Layers::Plain(count) => (0..count).map(|_| (layer(self.algorithm, false), media::LAYER)).collect(),
            Layers::Blob(media_type) => vec![(Blob::of(self.algorithm, random(2048)), media_type)],
            Layers::Empty => vec![(Blob::of(self.algorithm, "{}"), media::EMPTY)],
        }
    }

    fn added(&self, set: &mut DataSet, blob: &Blob, media_type: &str) -> Value {
        set.add(blob);
        if self.with_data { blob.descriptor_with_data(media_type) } else { blob.descriptor(media_type) }
    }

    fn finished(&self, mut content: Value) -> Manifest {
        let mut annotations = self.annotations.clone();
        if self.unique_annotation {
            annotations.insert(format!("org.example.{}", word()), word().into());
        }
        if !annotations.is_empty() {
            content["annotations"] = annotations.into();
        }
        if let Some(artifact_type) = self.artifact_type {
            content["artifactType"] = artifact_type.into();
        }
        if let Some(subject) = &self.subject {
            content["subject"] = subject.clone();
        }
        self.add_custom_field(&mut content);
        Manifest::new(self.algorithm, &content)
    }

    fn add_custom_field(&self, content: &mut Value) {
        if self.custom_fields {
            content[format!("org.{}", word())] = word().into();
        }
    }
}
