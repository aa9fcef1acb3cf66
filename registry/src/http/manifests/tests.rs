use std::io;

use axum::http::HeaderValue;
use futures_util::{FutureExt, stream};
use tokio::time::sleep;

use super::*;
use crate::content::budget::{LARGE_MANIFESTS_BUDGET, USUAL_MANIFEST_BYTES};

const LIMIT: u64 = 8 << 20;

fn announcing(length: usize) -> HeaderMap {
    [(header::CONTENT_LENGTH, HeaderValue::from(length))].into_iter().collect()
}

/// A sender that announces much, and sends a little and nothing more.
fn dawdling() -> Body {
    let first = stream::iter([io::Result::Ok(Bytes::from_static(b"{"))]);
    Body::from_stream(first.chain(stream::pending()))
}

#[tokio::test]
async fn slow_manifests_take_no_more_memory_than_their_share() {
    let budget = Budget::default();
    let large = announcing(LARGE_MANIFESTS_BUDGET);
    let mut slow = Box::pin(collect(dawdling(), &large, LIMIT, &budget, &PATIENCE));
    assert!((&mut slow).now_or_never().is_none());
    let whole = vec![b' '; LARGE_MANIFESTS_BUDGET];
    let mut second = Box::pin(collect(Body::from(whole), &large, LIMIT, &budget, &PATIENCE));
    assert!((&mut second).now_or_never().is_none(), "there is no room for a second one");
    let silent = HeaderMap::new();
    let unannounced = collect(Body::from("{}"), &silent, LIMIT, &budget, &PATIENCE);
    assert!(unannounced.now_or_never().is_none(), "who does not say how much may send as much");
    let usual = Body::from(vec![b' '; USUAL_MANIFEST_BYTES]);
    let usual = collect(usual, &announcing(USUAL_MANIFEST_BYTES), LIMIT, &budget, &PATIENCE).now_or_never();
    assert!(usual.is_some_and(|collected| collected.is_ok()), "usual ones do not wait for large ones");
    drop(slow);
    assert_eq!(second.await.unwrap().0.len(), LARGE_MANIFESTS_BUDGET);
}

#[tokio::test]
async fn who_dawdles_is_cut_and_who_waits_too_long_is_told() {
    let budget = Budget::default();
    let patience = Patience { body: Duration::from_millis(200), room: Duration::from_millis(100) };
    let drops = stream::repeat_with(|| io::Result::Ok(Bytes::from_static(b" ")));
    let pause = patience.body / 20;
    let drops = drops.then(move |drop| async move {
        sleep(pause).await;
        drop
    });
    let large = announcing(LARGE_MANIFESTS_BUDGET);
    let (slow, waiting) = tokio::join!(
        collect(Body::from_stream(drops), &large, LIMIT, &budget, &patience),
        collect(Body::from("{}"), &large, LIMIT, &budget, &patience),
    );
    assert!(matches!(slow, Err(Error::BodyCut)), "a byte now and then does not help: {slow:?}");
    assert!(matches!(waiting, Err(Error::TooMany { .. })), "{waiting:?}");
}

#[tokio::test]
async fn a_body_has_no_more_than_it_announced() {
    let budget = Budget::default();
    let more = collect(Body::from("more"), &announcing(3), LIMIT, &budget, &PATIENCE).await;
    assert!(matches!(more, Err(Error::ManifestTooLarge { .. })), "{more:?}");
    let room = collect(Body::from("{}"), &announcing(2), LIMIT, &budget, &PATIENCE).await.unwrap();
    assert_eq!(room.0, "{}");
}
