//! Parts of a blob.

use reqwest::Method;

use super::{Suite, answer::Failure, samples::Blob};

/// The size of the blob that the ranges are cut from.
pub(crate) const SIZE: usize = 2048;

/// A `Range` header and the first and last byte that must come back, or `None` for 416.
///
/// `500-0` is a range whose end lies before its start: RFC 9110 lets a server ignore it; the specification's program
/// and Go's file server say 416.
pub(crate) const TABLE: [(&str, Option<(usize, usize)>); 6] = [
    ("500-1499", Some((500, 1499))),
    ("500-", Some((500, SIZE - 1))),
    ("-500", Some((SIZE - 500, SIZE - 1))),
    ("2000-5000", Some((2000, SIZE - 1))),
    ("500-0", None),
    ("5000-10000", None),
];

impl Suite {
    pub(crate) async fn get_range(
        &self,
        blob: &Blob,
        range: &str,
        expected: Option<(usize, usize)>,
    ) -> Result<(), Failure> {
        let path = format!("{}/blobs/{}", self.repository, blob.digest);
        let answer = self.client.request(Method::GET, &path).header("range", format!("bytes={range}")).send().await?;
        let Some((first, last)) = expected else {
            return answer.status(&[416]).map(|_| ());
        };
        answer
            .status(&[206])?
            .header_is("content-length", &(last - first + 1).to_string())?
            .header_is("content-range", &format!("bytes {first}-{last}/{SIZE}"))?
            .body_is(&blob.bytes[first..=last])?;
        Ok(())
    }
}
