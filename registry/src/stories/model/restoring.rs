//! What administrators bring back, for real.

use super::{
    stage::ticks,
    walk::{Walk, same},
};
use crate::{
    content::{
        Error, Force,
        fixture::digest_of,
        manifests::References,
        undelete::{Carried, NotRestorable, RestoreManifest, Restorer},
    },
    lifecycle::{
        Lifecycle,
        repositories::{DeleteRepository, RestoreRepository},
    },
};

impl Walk<'_> {
    /// Whether a manifest came back.
    pub(super) async fn restore(&self, repository: u8, manifest: u8) -> Result<bool, String> {
        let by = Restorer { actor: "walk".to_owned(), force: Force::No, references: References::Image };
        let digest = digest_of(&self.payload(manifest));
        let restore = RestoreManifest { repository: self.name(repository), digest, tags: Carried::Nothing, by };
        match self.stage.content.restore_manifest(restore).await {
            Ok(_) => Ok(true),
            Err(Error::NotRestorable(NotRestorable::Manifest { .. }) | Error::ManifestReferencesMissing { .. }) => {
                Ok(false)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A repository goes and comes back.
    pub(super) async fn hide(&self, repository: u8) -> Result<(), String> {
        let window = ticks(self.scenario.rules.lives.window);
        let lifecycle = Lifecycle::new(self.stage.content.metadata.clone(), self.stage.clock.clone(), window);
        let (name, force, actor) = (self.name(repository), Force::No, "walk".to_owned());
        let delete = DeleteRepository { name: name.clone(), force, actor: actor.clone() };
        lifecycle.delete_repository(delete).await.map_err(|error| error.to_string())?;
        let hidden = self.stage.content.tags(&name, "", None).await;
        same("a hidden repository", true, matches!(hidden, Err(Error::RepositoryUnknown { .. })))?;
        let restore = RestoreRepository { name, id: None, force, actor };
        lifecycle.restore_repository(restore).await.map(drop).map_err(|error| error.to_string())
    }
}
