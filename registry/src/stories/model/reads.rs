//! What readers are told.

use super::walk::{TAG, Walk, known, same};
use crate::content::{
    Promise,
    fixture::{digest_of, tag},
    referrers::ReferrersQuery,
};

impl Walk<'_> {
    /// What readers are told, from memory where there is one, against what the tables say: I8, I9, I10 and I12.
    pub(super) async fn compare_reads(&self) -> Result<(), String> {
        let rows = &self.world.rows;
        for repository in [0, 1] {
            let name = self.name(repository);
            for digest in [0, 1] {
                let readable = rows.link(repository, digest).is_some() && rows.is_live(digest);
                let found = known(self.stage.content.open_blob(&name, &self.digest(digest)).await)?;
                same("I9: a blob that is read", readable, found)?;
            }
            let found = self.stage.content.manifest(&name, &tag(TAG).into(), Promise::Nothing).await;
            let found = found.ok().map(|served| self.manifest_number(&served.digest.to_string()));
            same("I8: where a tag points", rows.tags[usize::from(repository)].target, found)?;
            self.compare_referrers(repository).await?;
        }
        same("I8: histories with gaps", 0, self.gaps().await)?;
        same("I10: used bytes", self.expected_use(), self.used().await)
    }

    async fn compare_referrers(&self, repository: u8) -> Result<(), String> {
        let subject = digest_of(&self.payload(0));
        let query = ReferrersQuery {
            repository: self.name(repository),
            subject,
            artifact_type: None,
            after: None,
            limit: None,
        };
        let found = self.stage.content.referrers(&query).await.unwrap().manifests;
        let found: Vec<u8> = found.iter().map(|found| self.manifest_number(&found.digest.to_string())).collect();
        let living = self.world.rows.manifests[usize::from(repository)][3].is_some_and(|row| !row.deleted);
        same("I12: referrers", if living { vec![3] } else { vec![] }, found)
    }

    fn expected_use(&self) -> u64 {
        let rows = &self.world.rows;
        let linked = |digest: &u8| rows.links.iter().any(|links| links[usize::from(*digest)].is_some());
        let blobs: u64 = [0, 1].iter().filter(|it| linked(it)).map(|it| self.bytes_of(*it).len() as u64).sum();
        let payload = |manifest: u8| self.payload(manifest).to_string().len() as u64;
        let held = rows.manifests.iter().flat_map(|rows| (0..).zip(rows)).filter(|(_, row)| row.is_some());
        blobs + held.map(|(manifest, _)| payload(manifest)).sum::<u64>()
    }
}
