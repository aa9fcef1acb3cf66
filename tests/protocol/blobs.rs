//! The blob group: every way to push, then reading and deleting, for one digest algorithm.

use reqwest::Method;

use super::{
    Suite,
    answer::Failure,
    pushes::{CHUNK, Chunks, Expect, Way},
    ranges,
    report::Report,
    samples::{Algorithm, Blob},
};

/// A blob that needs three chunks, the last one shorter.
const THREE_CHUNKS: usize = 3 * CHUNK - 5;

const SMALL: usize = 512;

/// The pushes of one blob each, with the size that shows what the way is about.
const PUSHES: [(&str, Way, usize); 8] = [
    ("post only", Way::PostOnly, SMALL),
    ("post+put", Way::PostPut, SMALL),
    ("chunked single", Way::Chunked(Chunks { last_in_put: false, out_of_order: false }), SMALL),
    ("stream", Way::Stream, SMALL),
    ("chunked multi", Way::Chunked(Chunks { last_in_put: false, out_of_order: false }), THREE_CHUNKS),
    ("chunked multi and put chunk", Way::Chunked(Chunks { last_in_put: true, out_of_order: false }), THREE_CHUNKS),
    ("chunked out-of-order", Way::Chunked(Chunks { last_in_put: false, out_of_order: true }), THREE_CHUNKS),
    (
        "chunked out-of-order and put chunk",
        Way::Chunked(Chunks { last_in_put: true, out_of_order: true }),
        THREE_CHUNKS,
    ),
];

/// Pushes whose bytes do not have the digest they are pushed under.
const REFUSED: [(&str, Way); 5] = [
    ("bad digest post only", Way::PostOnly),
    ("bad digest post+put", Way::PostPut),
    ("bad digest chunked", Way::Chunked(Chunks { last_in_put: false, out_of_order: false })),
    ("bad digest chunked and put chunk", Way::Chunked(Chunks { last_in_put: true, out_of_order: false })),
    ("bad digest stream", Way::Stream),
];

pub(crate) async fn group(suite: &Suite, report: &mut Report, algorithm: Algorithm) {
    report.enter(format!("{} blobs", algorithm.name()));
    let unknown = Blob::random(algorithm, SMALL);
    report.case("get-missing", suite.blob_gone(&suite.repository, &unknown, Method::GET)).await;
    for (name, way, size) in PUSHES {
        pushed_read_deleted(suite, report, (name, way), Blob::random(algorithm, size)).await;
    }
    mounts(suite, report, algorithm).await;
    report.enter("post cancel");
    report.case("blob-post-cancel", suite.cancel(&suite.repository)).await;
    delete(suite, report, &suite.repository, &unknown).await;
    report.leave();
    range_requests(suite, report, algorithm).await;
    for (name, content) in [("empty", ""), ("emptyJSON", "{}")] {
        pushed_read_deleted(suite, report, (name, Way::PostPut), Blob::of(algorithm, content)).await;
    }
    for (name, way) in REFUSED {
        let blob = Blob::random(algorithm, THREE_CHUNKS).corrupted();
        report.enter(name);
        report.case(way.name(), suite.push_blob(&suite.repository, &blob, way, Expect::BadDigest)).await;
        report.leave();
    }
    report.leave();
}

async fn pushed_read_deleted(suite: &Suite, report: &mut Report, (name, way): (&str, Way), blob: Blob) {
    report.enter(name);
    report.case(way.name(), suite.push_blob(&suite.repository, &blob, way, Expect::Stored)).await;
    read(suite, report, &blob).await;
    delete(suite, report, &suite.repository, &blob).await;
    report.leave();
}

async fn mounts(suite: &Suite, report: &mut Report, algorithm: Algorithm) {
    for (name, source) in [("mount", Some(suite.source.as_str())), ("mount anonymous", None)] {
        let blob = Blob::random(algorithm, SMALL);
        report.enter(name);
        report.case("blob-post-put", suite.push_blob(&suite.source, &blob, Way::PostPut, Expect::Stored)).await;
        report.case("blob-mount", suite.mount(source, &blob)).await;
        read(suite, report, &blob).await;
        delete(suite, report, &suite.repository, &blob).await;
        delete(suite, report, &suite.source, &blob).await;
        report.leave();
    }
    let blob = Blob::random(algorithm, SMALL);
    report.enter("mount missing");
    report.case("blob-mount", suite.mount_missing(&blob)).await;
    read(suite, report, &blob).await;
    delete(suite, report, &suite.repository, &blob).await;
    report.leave();
}

async fn range_requests(suite: &Suite, report: &mut Report, algorithm: Algorithm) {
    let blob = Blob::random(algorithm, ranges::SIZE);
    report.enter("range requests");
    report.case("blob-post-put", suite.push_blob(&suite.repository, &blob, Way::PostPut, Expect::Stored)).await;
    for (range, expected) in ranges::TABLE {
        report.case(&format!("range {range}"), suite.get_range(&blob, range, expected)).await;
    }
    delete(suite, report, &suite.repository, &blob).await;
    report.leave();
}

async fn read(suite: &Suite, report: &mut Report, blob: &Blob) {
    report.case("blob-head", suite.head_blob(blob)).await;
    report.case("blob-get", suite.get_blob(blob)).await;
}

/// Deletes a blob, which must be gone at once, in this repository.
pub(crate) async fn delete(suite: &Suite, report: &mut Report, repository: &str, blob: &Blob) {
    report.case("blob-delete", suite.delete_blob(repository, blob)).await;
    report.case("blob-delete, gone at once", suite.blob_gone(repository, blob, Method::HEAD)).await;
}

impl Suite {
    pub(crate) async fn head_blob(&self, blob: &Blob) -> Result<(), Failure> {
        let answer = self.client.request(Method::HEAD, &blob_path(&self.repository, blob)).send().await?;
        answer.status(&[200])?.digest_is(&blob.digest)?.body_is(b"")?;
        answer.header_is("content-length", &blob.bytes.len().to_string())?;
        Ok(())
    }

    pub(crate) async fn get_blob(&self, blob: &Blob) -> Result<(), Failure> {
        let answer = self.client.request(Method::GET, &blob_path(&self.repository, blob)).send().await?;
        answer.status(&[200])?.digest_is(&blob.digest)?.body_is(&blob.bytes)?;
        answer.header_is("content-length", &blob.bytes.len().to_string())?;
        Ok(())
    }

    /// Deletes; that it was not there is as good.
    async fn delete_blob(&self, repository: &str, blob: &Blob) -> Result<(), Failure> {
        let answer = self.client.request(Method::DELETE, &blob_path(repository, blob)).send().await?;
        answer.status(&[202, 404]).map(|_| ())
    }

    async fn blob_gone(&self, repository: &str, blob: &Blob, method: Method) -> Result<(), Failure> {
        let answer = self.client.request(method, &blob_path(repository, blob)).send().await?;
        answer.status(&[404]).map(|_| ())
    }
}

fn blob_path(repository: &str, blob: &Blob) -> String {
    format!("{repository}/blobs/{}", blob.digest)
}
