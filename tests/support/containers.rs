//! skopeo, podman and buildah, with a home, a storage and logins of their own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{
    program::Program,
    server::Account,
    tarball::{Entry, gzip, tar},
};
use crate::protocol::samples::{Algorithm, Blob, media, word};

/// One person's tools.
pub(crate) struct Containers {
    home: TempDir,
}

impl Containers {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::with_prefix("containers-").expect("a temporary directory can be made") }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn auth_file(&self) -> PathBuf {
        self.home.path().join("auth.json")
    }

    /// `skopeo WORDS`, without TLS where a registry is spoken to.
    pub(crate) fn skopeo(&self, words: &[&str]) -> Program {
        let (verb, rest) = words.split_first().expect("skopeo is told what to do");
        let program = Program::new("skopeo").arg("--insecure-policy").arg(verb);
        let program = match *verb {
            "copy" => program.args(["--src-tls-verify=false", "--dest-tls-verify=false"]),
            "manifest-digest" => program,
            _ => program.arg("--tls-verify=false"),
        };
        let program =
            if *verb == "manifest-digest" { program } else { program.arg("--authfile").arg(self.auth_file()) };
        program.args(rest)
    }

    /// `skopeo login`.
    pub(crate) fn login(&self, registry: &str, account: &Account) -> Program {
        self.skopeo(&["login", "--username", &account.name, "--password-stdin", registry])
            .input(account.secret.as_bytes())
    }

    /// `podman WORDS` on a storage of its own.
    pub(crate) fn podman(&self, words: &[&str]) -> Program {
        Program::new("podman").args(self.storage()).args(words).env("REGISTRY_AUTH_FILE", self.auth_file())
    }

    /// `buildah WORDS` on the same storage.
    pub(crate) fn buildah(&self, words: &[&str]) -> Program {
        Program::new("buildah").args(self.storage()).args(words).env("REGISTRY_AUTH_FILE", self.auth_file())
    }

    fn storage(&self) -> [String; 6] {
        let directory = |name: &str| self.home.path().join(name).display().to_string();
        let words = ["--root", &directory("root"), "--runroot", &directory("runroot"), "--storage-driver", "vfs"];
        words.map(str::to_owned)
    }

    /// Writes an OCI layout with one image of one layer that nobody has seen before; `skopeo copy oci:PATH` takes it.
    /// Returns the path and the digest of the manifest.
    pub(crate) fn layout(&self) -> (String, String) {
        layout(self.home())
    }
}

/// [`Containers::layout`] for other tools, below `parent`.
pub(crate) fn layout(parent: &Path) -> (String, String) {
    let directory = parent.join(format!("layout-{}", word()));
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("directories can be made in a temporary one");
    let store = |bytes: Vec<u8>| {
        let blob = Blob::of(Algorithm::Sha256, bytes);
        std::fs::write(blobs.join(&blob.digest["sha256:".len()..]), &blob.bytes).expect("a small file can be written");
        blob
    };
    let archive = tar(&[Entry { path: "hello", mode: 0o644, content: word().as_bytes() }]);
    let layer = store(gzip(&archive));
    let config = store(image_config(&Blob::of(Algorithm::Sha256, archive).digest));
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media::IMAGE,
        "config": config.descriptor(media::CONFIG),
        "layers": [layer.descriptor(media::LAYER_GZIP)],
    });
    let manifest = store(manifest.to_string().into_bytes());
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest.descriptor(media::IMAGE)]});
    std::fs::write(directory.join("index.json"), index.to_string()).expect("a small file can be written");
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("and another");
    (format!("oci:{}", directory.display()), manifest.digest)
}

fn image_config(diff_id: &str) -> Vec<u8> {
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    config.to_string().into_bytes()
}
