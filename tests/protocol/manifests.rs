//! Manifests, tags and referrers: the exchanges of the walk, and the small groups that stand on their own.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;

use super::{
    Suite,
    answer::{Answer, Failure},
    client::Request,
    datasets,
    pushes::{Expect, Way},
    report::Report,
    samples::{Manifest, Tagging, media, word},
    walk,
};

type Done = Result<(), Failure>;

/// A digest that is none.
const MALFORMED: &str = "sha256:baddigeststring";

pub(crate) async fn ping(suite: &Suite, report: &mut Report) {
    let ping = async { suite.client.request(Method::GET, "").send().await?.status(&[200]).map(|_| ()) };
    report.case("ping", ping).await;
}

/// A repository that nobody has written to answers like an empty one.
pub(crate) async fn empty(suite: &Suite, report: &mut Report) {
    report.enter("empty");
    report.case("tag list", async { suite.tag_list(None).await.map(|_| ()) }).await;
    report.case("referrers", async { suite.referrers(&datasets::unknown_digest(), None).await.map(|_| ()) }).await;
    report.leave();
}

pub(crate) async fn missing(suite: &Suite, report: &mut Report) {
    report.enter("missing-manifest");
    report.case("by-digest", suite.manifest_get_is(&datasets::unknown_digest(), &[404])).await;
    report.case("by-tag", suite.manifest_get_is(&format!("missing-{}", word()), &[404])).await;
    report.leave();
}

/// A malformed digest is refused at PUT and finds nothing at GET.
pub(crate) async fn invalid_digest_format(suite: &Suite, report: &mut Report) {
    let set = datasets::small_image();
    report.enter(set.name);
    for blob in &set.blobs {
        report.case("push", suite.push_blob(&suite.repository, blob, Way::PostPut, Expect::Stored)).await;
    }
    report.case("manifest-put", suite.put_manifest(MALFORMED, &set.manifests[0], Expect::BadDigest)).await;
    report.case("manifest-get", suite.manifest_get_is(MALFORMED, &[404, 400])).await;
    walk::delete(suite, report, &set).await;
    report.leave();
}

impl Suite {
    /// Pushes a manifest under a tag or its digest, and reads it back from where the registry says it is.
    pub(crate) async fn put_manifest(&self, reference: &str, manifest: &Manifest, expect: Expect) -> Done {
        let mut request = self.manifest(Method::PUT, reference).header("content-type", &manifest.media_type);
        if manifest.tagging == Tagging::ByQuery {
            request = manifest.tags.iter().fold(request, |request, tag| request.query("tag", tag));
        }
        // Without its length: many clients send manifests that way.
        let answer = request.streamed(&manifest.blob.bytes).send().await?;
        if expect == Expect::BadDigest {
            return answer.status(&[400]).map(|_| ());
        }
        answer.status(&[201])?.digest_is(manifest.digest())?;
        if let Some(subject) = &manifest.subject {
            answer.header_is("oci-subject", subject)?;
        }
        if manifest.tagging == Tagging::ByQuery {
            tags_acknowledged(&answer, &manifest.tags)?;
        }
        let read = with_accept(self.client.follow(Method::GET, answer.location()?)).send().await?;
        described(&read, manifest)?.body_is(&manifest.blob.bytes)?;
        Ok(())
    }

    pub(crate) async fn head_manifest(&self, reference: &str, manifest: &Manifest) -> Done {
        let answer = with_accept(self.manifest(Method::HEAD, reference)).send().await?;
        described(&answer, manifest)?.body_is(b"")?;
        Ok(())
    }

    pub(crate) async fn get_manifest(&self, reference: &str, manifest: &Manifest) -> Done {
        let answer = with_accept(self.manifest(Method::GET, reference)).send().await?;
        described(&answer, manifest)?.body_is(&manifest.blob.bytes)?;
        Ok(())
    }

    /// Deletes a tag or a manifest; that it was not there is as good.
    pub(crate) async fn delete_manifest(&self, reference: &str) -> Done {
        self.manifest(Method::DELETE, reference).send().await?.status(&[202, 404]).map(|_| ())
    }

    pub(crate) async fn manifest_gone(&self, reference: &str) -> Done {
        with_accept(self.manifest(Method::HEAD, reference)).send().await?.status(&[404]).map(|_| ())
    }

    async fn manifest_get_is(&self, reference: &str, allowed: &[u16]) -> Done {
        with_accept(self.manifest(Method::GET, reference)).send().await?.status(allowed).map(|_| ())
    }

    /// The list has the tags of this set, and `last` cuts it exactly behind the tag it names.
    pub(crate) async fn tags_listed(&self, set: &super::samples::DataSet) -> Done {
        let (answer, tags) = self.tag_list(None).await?;
        if let Some((tag, _)) = set.tags().find(|(tag, _)| !tags.contains(*tag)) {
            return Err(answer.instead_of(format_args!("the tag {tag} in the list")));
        }
        let middle = tags.len() / 2;
        let Some(last) = middle.checked_sub(1).and_then(|index| tags.iter().nth(index)) else { return Ok(()) };
        let (answer, rest) = self.tag_list(Some(last)).await?;
        let expected: BTreeSet<String> = tags.iter().skip(middle).cloned().collect();
        if rest == expected {
            return Ok(());
        }
        Err(answer.instead_of(format_args!("exactly the tags {expected:?}")))
    }

    async fn tag_list(&self, last: Option<&str>) -> Result<(Answer, BTreeSet<String>), Failure> {
        let mut request = self.client.request(Method::GET, &format!("{}/tags/list", self.repository));
        if let Some(last) = last {
            request = request.query("last", last);
        }
        let answer = request.send().await?;
        if answer.status(&[200, 404])?.status == 404 {
            return Ok((answer, BTreeSet::new()));
        }
        let body = answer.json()?;
        // 2.8 registries say null for an empty list; that much is tolerated.
        let tags = body["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tags = tags.iter().map(|tag| tag.as_str().unwrap_or_default().to_owned()).collect();
        Ok((answer, tags))
    }

    /// The lists of these subjects hold these descriptors, and filtering by each artifact type leaves only its own.
    pub(crate) async fn referrers_listed(&self, expected: &BTreeMap<&str, Vec<&Value>>) -> Done {
        for (subject, referrers) in expected {
            let (answer, listed) = self.referrers(subject, None).await?;
            all_listed(&answer, &listed, referrers)?;
            let types: BTreeSet<&str> = referrers.iter().filter_map(|r| r["artifactType"].as_str()).collect();
            for artifact_type in types {
                let (answer, listed) = self.referrers(subject, Some(artifact_type)).await?;
                let wanted: Vec<&Value> =
                    referrers.iter().copied().filter(|r| r["artifactType"] == artifact_type).collect();
                all_listed(&answer, &listed, &wanted)?;
                let named = |value: &str| value.split(',').any(|filter| filter.trim() == "artifactType");
                if !answer.header_values("oci-filters-applied").any(named) {
                    return Err(answer.instead_of("OCI-Filters-Applied: artifactType"));
                }
                if listed.iter().any(|r| r["artifactType"] != artifact_type) {
                    return Err(answer.instead_of(format_args!("only referrers of the type {artifact_type}")));
                }
            }
        }
        Ok(())
    }

    async fn referrers(&self, subject: &str, artifact_type: Option<&str>) -> Result<(Answer, Vec<Value>), Failure> {
        let mut request = self.client.request(Method::GET, &format!("{}/referrers/{subject}", self.repository));
        if let Some(artifact_type) = artifact_type {
            request = request.query("artifactType", artifact_type);
        }
        let answer = request.send().await?;
        let body = answer.status(&[200])?.header_is("content-type", media::INDEX)?.json()?;
        if body["schemaVersion"] != 2 || body["mediaType"] != media::INDEX {
            return Err(answer.instead_of("an OCI index of schema version 2"));
        }
        let list = body["manifests"].as_array().cloned();
        let list = list.ok_or_else(|| answer.instead_of("a list of manifests"))?;
        Ok((answer, list))
    }

    fn manifest(&self, method: Method, reference: &str) -> Request<'_> {
        self.client.request(method, &format!("{}/manifests/{reference}", self.repository))
    }
}

fn with_accept(request: Request<'_>) -> Request<'_> {
    request.header("accept", media::INDEX).header("accept", media::IMAGE)
}

/// The headers that go with a manifest, at GET and HEAD alike.
fn described<'a>(answer: &'a Answer, manifest: &Manifest) -> Result<&'a Answer, Failure> {
    answer
        .status(&[200])?
        .header_is("content-type", &manifest.media_type)?
        .header_is("content-length", &manifest.blob.bytes.len().to_string())?
        .digest_is(manifest.digest())
}

/// `OCI-Tag` names every tag that was asked for, repeated or as a list.
fn tags_acknowledged(answer: &Answer, tags: &[String]) -> Done {
    let named: BTreeSet<&str> = answer.header_values("oci-tag").flat_map(|v| v.split(',')).map(str::trim).collect();
    match tags.iter().find(|tag| !named.contains(tag.as_str())) {
        Some(tag) => Err(answer.instead_of(format_args!("OCI-Tag: {tag}"))),
        None => Ok(()),
    }
}

fn all_listed(answer: &Answer, listed: &[Value], expected: &[&Value]) -> Done {
    let members = ["mediaType", "digest", "size", "artifactType", "annotations"];
    let same = |a: &Value, b: &Value| members.iter().all(|member| a[member] == b[member]);
    match expected.iter().find(|wanted| !listed.iter().any(|found| same(found, wanted))) {
        Some(wanted) => Err(answer.instead_of(format_args!("a list with {wanted}"))),
        None => Ok(()),
    }
}
