//! A request's body read whole: within a number of bytes, and within a time.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use thiserror::Error;
use tokio::time::timeout;

/// Why a body is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoBody {
    /// It has more bytes than allowed, or ended before its announced end.
    #[error("the body is cut, or longer than {limit} bytes")]
    TooLong {
        /// What is allowed.
        limit: usize,
    },
    /// It came too slowly.
    #[error("the body did not arrive within {} s", within.as_secs())]
    TooSlow {
        /// What is allowed.
        within: Duration,
    },
}

/// All of a body, within limits of size and time: a connection must not be held by a byte now and then.
///
/// # Errors
/// [`NoBody`].
pub async fn whole(body: Body, limit: usize, within: Duration) -> Result<Bytes, NoBody> {
    match timeout(within, to_bytes(body, limit)).await {
        Ok(read) => read.map_err(|_| NoBody::TooLong { limit }),
        Err(_) => Err(NoBody::TooSlow { within }),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn a_body_that_drips_is_not_waited_for() {
        let drop = Ok::<_, std::io::Error>(Bytes::from_static(b"a"));
        let dripping = Body::from_stream(stream::iter([drop]).chain(stream::pending()));
        let within = Duration::from_millis(20);
        assert_eq!(whole(dripping, 10, within).await, Err(NoBody::TooSlow { within }));
        let minute = Duration::from_secs(60);
        assert_eq!(whole("0123456789".into(), 10, minute).await.unwrap(), "0123456789");
        assert_eq!(whole("0123456789+".into(), 10, minute).await, Err(NoBody::TooLong { limit: 10 }));
    }
}
