//! What memory answers, against what the tables say.
//!
//! An answer is dropped after the commit that made it wrong. In between it is work in progress; so an answer counts that is the same one, not an equal
//! one, at every look.

use std::{sync::Arc, time::Duration};

use shared::{digest::Digest, reference::Reference, repository::RepositoryName};
use tokio::time::sleep;

use super::{Doctor, Error, Fault, check::Looked};
use crate::metadata::{
    blobs::{self, Held},
    manifests::{self, Served},
};

/// How long a commit may take to drop what it made wrong.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

type Blob = ((RepositoryName, Digest), Arc<Held>);
type Manifest = ((RepositoryName, Reference), Arc<Served>);

impl Doctor {
    /// Compares everything that is remembered.
    pub(super) async fn memory(&self) -> Result<Looked, Error> {
        let (blobs, manifests) = (self.metadata.blobs(), self.metadata.manifests());
        let (mut wrong_blobs, mut wrong_manifests) = (blobs.kept(), manifests.answers.kept());
        let rows = (wrong_blobs.len() + wrong_manifests.len()) as u64;
        for look in 0..3 {
            if look > 0 && !(wrong_blobs.is_empty() && wrong_manifests.is_empty()) {
                sleep(BETWEEN_LOOKS).await;
                wrong_blobs = still_kept(wrong_blobs, &blobs.kept());
                wrong_manifests = still_kept(wrong_manifests, &manifests.answers.kept());
            }
            wrong_blobs = self.wrong_blobs(wrong_blobs).await?;
            wrong_manifests = self.wrong_manifests(wrong_manifests).await?;
        }
        let blobs = wrong_blobs.iter().map(|((repository, digest), _)| remembered(repository, digest));
        let manifests = wrong_manifests.iter().map(|((repository, reference), _)| remembered(repository, reference));
        Ok(Looked { faults: blobs.chain(manifests).collect(), rows, ..Looked::END })
    }

    async fn wrong_blobs(&self, remembered: Vec<Blob>) -> Result<Vec<Blob>, Error> {
        let mut wrong = Vec::new();
        for (key, held) in remembered {
            let found = blobs::find(&mut self.metadata.read().await?, &key.0, &key.1).await?;
            if found.is_none_or(|found| found.id != held.id || found.key != held.key) {
                wrong.push((key, held));
            }
        }
        Ok(wrong)
    }

    async fn wrong_manifests(&self, remembered: Vec<Manifest>) -> Result<Vec<Manifest>, Error> {
        let mut wrong = Vec::new();
        for (key, served) in remembered {
            let found = manifests::find(&mut self.metadata.read().await?, &key.0, &key.1).await?;
            if found.is_none_or(|found| found.digest != served.digest) {
                wrong.push((key, served));
            }
        }
        Ok(wrong)
    }
}

/// Those that are still the very answers that memory gives.
fn still_kept<K: PartialEq, V>(wrong: Vec<(K, Arc<V>)>, kept: &[(K, Arc<V>)]) -> Vec<(K, Arc<V>)> {
    let same = |(key, answer): &(K, Arc<V>)| kept.iter().any(|(k, a)| k == key && Arc::ptr_eq(a, answer));
    wrong.into_iter().filter(same).collect()
}

fn remembered(repository: &RepositoryName, reference: &impl ToString) -> Fault {
    Fault::RememberedWrongly { repository: repository.to_string(), reference: reference.to_string() }
}
