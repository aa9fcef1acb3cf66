//! What each operation requires, design.md section 3, "Required access".

use std::collections::BTreeSet;

use shared::{
    access::{Access, Action, Resource},
    repository::RepositoryName,
};

use super::{Operation, Start};

impl Operation {
    /// Everything that a caller must be allowed; a challenge names all of it.
    #[must_use]
    pub fn required_access(&self) -> Vec<Access> {
        match self {
            Self::Version => Vec::new(),
            Self::Catalog { .. } => vec![Access::new(Resource::catalog(), BTreeSet::from([Action::Any]))],
            Self::ListTags { repository, .. }
            | Self::HeadManifest { repository, .. }
            | Self::GetManifest { repository, .. }
            | Self::HeadBlob { repository, .. }
            | Self::GetBlob { repository, .. }
            | Self::UploadStatus { repository, .. }
            | Self::Referrers { repository, .. } => vec![on(repository, [Action::Pull])],
            Self::StartUpload { repository, start: Start::Mount { from: Some(from), .. } } if from != repository => {
                vec![on(repository, [Action::Pull, Action::Push]), on(from, [Action::Pull])]
            }
            Self::PutManifest { repository, .. }
            | Self::StartUpload { repository, .. }
            | Self::AppendUpload { repository, .. }
            | Self::FinishUpload { repository, .. } => vec![on(repository, [Action::Pull, Action::Push])],
            // Who may push may also give up: a push token has no delete.
            Self::CancelUpload { repository, .. } => vec![on(repository, [Action::Push])],
            Self::DeleteManifest { repository, .. } | Self::DeleteBlob { repository, .. } => {
                vec![on(repository, [Action::Delete])]
            }
        }
    }
}

fn on<const N: usize>(repository: &RepositoryName, actions: [Action; N]) -> Access {
    Access::new(Resource::repository(repository), BTreeSet::from(actions))
}
