//! What is answered about referrers, against what payloads say (I12).
//!
//! One is read after the other while manifests come and go. So what payloads say is read before the answer and behind it: only what is said both times can be
//! missing from the answer, and only what is said neither time is too much in it.

use std::collections::BTreeMap;

use shared::digest::Digest;

use super::{Doctor, Error, Fault, Named};
use crate::metadata::{
    examine::{
        Range,
        manifests::{self, Whole},
        referrers::{self as rows, Subject},
    },
    manifests::ManifestId,
    referrers::{self, Query, Row},
};

/// How many referrers are asked for at a time, and how many characters of annotations.
const PAGE: i64 = 200;
const ANNOTATIONS: i64 = 1 << 20;

/// What is told of a referrer. The annotations of one that only a list speaks of are read from its payload at every answer, and stand in no row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Descriptor {
    media_type: String,
    size: u64,
    artifact_type: Option<String>,
    annotations: Option<String>,
}

type Descriptors = BTreeMap<Digest, Descriptor>;

impl Doctor {
    /// What is wrong with the answers about a page of subjects that manifests name.
    pub(super) async fn referrers(&self, range: &Range) -> Result<Vec<Fault>, Error> {
        let subjects = rows::named(&mut self.metadata.read().await?, range).await?;
        self.wrong_referrers(&subjects).await
    }

    /// The same for subjects that only lists under referrers tags speak of, by a page of tags.
    pub(super) async fn listed_referrers(&self, range: &Range) -> Result<Vec<Fault>, Error> {
        let subjects = rows::listed(&mut self.metadata.read().await?, range).await?;
        self.wrong_referrers(&subjects).await
    }

    async fn wrong_referrers(&self, subjects: &[Subject]) -> Result<Vec<Fault>, Error> {
        let mut faults = Vec::new();
        for subject in subjects {
            let said = self.said_about(subject).await?;
            let answered = self.answered_about(subject).await?;
            if said != answered {
                let again = self.said_about(subject).await?;
                faults.extend(differences(subject, [&said, &again], &answered));
            }
        }
        Ok(faults)
    }

    /// The living manifests that are about a subject: their payloads say so, or they say nothing and the list of the subject has them.
    async fn said_about(&self, subject: &Subject) -> Result<Descriptors, Error> {
        let repository = subject.repository_id;
        let naming = rows::naming(&mut self.metadata.read().await?, repository, &subject.digest).await?;
        let mut said = self.about(subject, naming, Silent::Elsewhere).await?;
        let Some(list) = rows::list(&mut self.metadata.read().await?, subject).await? else { return Ok(said) };
        let Some(list) = manifests::whole(&mut self.metadata.read().await?, list).await? else { return Ok(said) };
        let children =
            rows::of_digests(&mut self.metadata.read().await?, repository, &self.named(&list).children).await?;
        said.extend(self.about(subject, children, Silent::Listed).await?);
        Ok(said)
    }

    async fn about(&self, subject: &Subject, ids: Vec<ManifestId>, silent: Silent) -> Result<Descriptors, Error> {
        let mut about = Descriptors::new();
        for id in ids {
            // A payload may be large: no connection is held between two of them.
            let whole = manifests::whole(&mut self.metadata.read().await?, id).await?;
            let Some(whole) = whole.filter(|whole| !whole.deleted) else { continue };
            let (Ok(digest), named) = (whole.of.digest.parse::<Digest>(), self.named(&whole)) else { continue };
            let annotations = match &named.subject {
                Some(named_subject) if *named_subject == subject.digest.to_string() => named.annotations,
                None if silent == Silent::Listed && digest != subject.digest => None,
                _ => continue,
            };
            let Whole { media_type, size, .. } = whole;
            about.insert(digest, Descriptor { media_type, size, artifact_type: named.artifact_type, annotations });
        }
        Ok(about)
    }

    /// What a payload says; what is recorded where nobody can read it today.
    fn named(&self, whole: &Whole) -> Named {
        let read = whole.payload.as_ref().and_then(|payload| (self.reading.named)(&whole.media_type, payload));
        read.unwrap_or_else(|| {
            let [subject, artifact_type, annotations] = whole.recorded.clone();
            Named { subject, artifact_type, annotations, children: whole.children.clone(), ..Named::default() }
        })
    }

    /// What a client is told, page by page.
    async fn answered_about(&self, subject: &Subject) -> Result<Descriptors, Error> {
        let (mut answered, mut after) = (Descriptors::new(), None);
        loop {
            let query = Query {
                repository: &subject.repository,
                subject: &subject.digest,
                artifact_type: None,
                after: after.as_ref(),
                limit: PAGE,
                annotations: ANNOTATIONS,
            };
            let (page, shortened) = referrers::list(&mut self.metadata.read().await?, &query).await?;
            let full = shortened || page.len() as i64 == PAGE;
            let Some(last) = page.last().filter(|_| full).map(|row| row.digest) else {
                answered.extend(page.into_iter().map(described));
                return Ok(answered);
            };
            answered.extend(page.into_iter().map(described));
            after = Some(last);
        }
    }
}

/// Whether manifests count that do not say what they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silent {
    /// They are about nothing.
    Elsewhere,
    /// The list has them, and speaks for them.
    Listed,
}

fn described(row: Row) -> (Digest, Descriptor) {
    let Row { digest, media_type, size, artifact_type, annotations, listed: _ } = row;
    (digest, Descriptor { media_type, size, artifact_type, annotations })
}

/// What is wrong with an answer that lies between two readings of what is said.
fn differences(subject: &Subject, [before, behind]: [&Descriptors; 2], answered: &Descriptors) -> Vec<Fault> {
    let fault = |referrer: &Digest, reason: &str| Fault::ReferrersWrong {
        repository: subject.repository.to_string(),
        about: subject.digest.to_string(),
        referrer: referrer.to_string(),
        reason: reason.to_owned(),
    };
    let said = before.iter().filter(|(digest, _)| behind.contains_key(digest));
    let missing = said.filter_map(|(digest, descriptor)| match answered.get(digest) {
        None => Some(fault(digest, "the answer leaves it out")),
        Some(other) if other != descriptor => Some(fault(digest, "the answer describes it as something else")),
        Some(_) => None,
    });
    let unsaid = answered.keys().filter(|digest| !before.contains_key(digest) && !behind.contains_key(digest));
    missing.chain(unsaid.map(|digest| fault(digest, "the answer has it, and nothing says so"))).collect()
}

#[cfg(test)]
mod tests {
    use shared::digest::Algorithm;

    use super::*;
    use crate::metadata::RepositoryId;

    fn digest(text: &str) -> Digest {
        Digest::of(Algorithm::Sha256, text.as_bytes())
    }

    fn descriptors<const N: usize>(of: [(&str, u64); N]) -> Descriptors {
        let descriptor =
            |size| Descriptor { media_type: "a/b".to_owned(), size, artifact_type: None, annotations: None };
        of.into_iter().map(|(text, size)| (digest(text), descriptor(size))).collect()
    }

    /// What comes or goes between two looks is no fault, whichever look sees it.
    #[test]
    fn an_answer_is_wrong_where_both_readings_say_so() {
        let subject =
            Subject { repository_id: RepositoryId(1), repository: "acme/web".parse().unwrap(), digest: digest("it") };
        let before = descriptors([("stays", 1), ("lost", 1), ("other", 1), ("goes", 1)]);
        let behind = descriptors([("stays", 1), ("lost", 1), ("other", 1), ("comes", 1)]);
        let answered = descriptors([("stays", 1), ("other", 2), ("comes", 1), ("nobody's", 1)]);
        let found = differences(&subject, [&before, &behind], &answered);
        let mut about: Vec<String> = found.iter().map(Fault::subject).collect();
        about.sort();
        let mut expected = ["lost", "nobody's", "other"]
            .map(|text| format!("{} among the referrers of {} in acme/web", digest(text), digest("it")));
        expected.sort();
        assert_eq!(about, expected);
        assert!(
            differences(&subject, [&before, &behind], &descriptors([("stays", 1), ("lost", 1), ("other", 1)]))
                .is_empty()
        );
    }
}
