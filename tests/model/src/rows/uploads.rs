//! `metadata/uploads.rs` and `metadata/uploads/finish.rs`.

use super::{Blob, Rows, Upload, at};
use crate::{Number, Rules, Variant};

/// What finish thinks of the bytes that are already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Looked {
    /// Where it looked.
    pub key: Number,
    /// Whether they were there.
    pub sound: bool,
}

/// What became of an upload that was to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Its bytes are the blob's.
    New,
    /// The registry had them already.
    Surplus,
    /// They took the place of damaged ones.
    Healed,
    /// Nothing yet: look at the bytes under this key first.
    LookFirst(Number),
    /// The upload is gone.
    NotYours,
}

impl Rows {
    /// `StartUpload`, under a key that the caller has drawn. None where the scenario has no room.
    pub fn start_upload(&mut self, rules: &Rules, repository: Number, key: Number) -> Option<Number> {
        let free = self.uploads.iter().position(Option::is_none)?;
        self.uploads[free] = Some(Upload { repository, key, left: rules.lives.upload });
        Number::try_from(free).ok()
    }

    /// `FinishUpload`.
    pub fn finish_upload(
        &mut self,
        rules: &Rules,
        upload: Number,
        digest: Number,
        holder: Number,
        looked: Option<Looked>,
    ) -> Finished {
        let Some(Upload { repository, key, .. }) = self.uploads[at(upload)] else { return Finished::NotYours };
        if self.hidden[at(repository)].is_some() {
            return Finished::NotYours;
        }
        let finished = match self.blobs[at(digest)] {
            None => Finished::New,
            Some(blob) => match looked {
                Some(looked) if looked.key == blob.key => {
                    if looked.sound && !blob.damaged {
                        Finished::Surplus
                    } else {
                        Finished::Healed
                    }
                }
                // What was looked at is not compared where the row says already that it is damaged.
                _ if blob.damaged => Finished::Healed,
                _ => return Finished::LookFirst(blob.key),
            },
        };
        self.uploads[at(upload)] = None;
        let replaced = match finished {
            Finished::Surplus => Some(key),
            _ => self.blobs[at(digest)].replace(Blob { key, damaged: false }).map(|blob| blob.key),
        };
        if let Some(replaced) = replaced.filter(|replaced| self.blobs[at(digest)].is_none_or(|it| it.key != *replaced))
        {
            self.throw_away(replaced, rules.lives.trash);
        }
        self.promise(rules, repository, digest, holder);
        self.fill_in(rules, digest);
        finished
    }

    /// Under [`Variant::ReferencesById`] a new blob is filled in wherever a committed manifest waits for it.
    fn fill_in(&mut self, rules: &Rules, digest: Number) {
        if rules.variant == Variant::ReferencesById {
            for rows in &mut self.manifests {
                for (manifest, row) in (0..).zip(rows) {
                    if let Some(row) = row.as_mut().filter(|_| rules.shape(manifest).blobs.contains(&digest)) {
                        row.resolved.insert(digest);
                    }
                }
            }
        }
    }

    /// `EndUpload` by its client, who may come too late.
    pub fn cancel_upload(&mut self, rules: &Rules, upload: Number) -> bool {
        self.uploads[at(upload)].is_some_and(|row| row.left > 0) && self.end_upload(rules, upload)
    }

    /// `EndUpload` of one that has expired: the caller has looked.
    pub fn end_upload(&mut self, rules: &Rules, upload: Number) -> bool {
        let Some(row) = self.uploads[at(upload)].take() else { return false };
        self.throw_away(row.key, rules.lives.trash);
        true
    }
}
