//! How soon it is there.

use std::time::{Duration, Instant};

use crate::support::{announce, server::Portreeve};

/// The promise is a second, of a release build on a machine that does nothing else. Here others build and test beside it: the figure
/// is printed, and only what no load explains is a failure.
const GENEROUS: Duration = Duration::from_secs(20);

#[tokio::test]
async fn it_is_ready_soon_after_it_was_started() {
    let begun = Instant::now();
    let mut portreeve = Portreeve::up();
    portreeve.get("/readyz").await;
    let first = begun.elapsed();
    portreeve.kill();
    let begun = Instant::now();
    portreeve.start_again();
    portreeve.get("/readyz").await;
    let (first, again) = (first.as_millis(), begun.elapsed().as_millis());
    announce(&format!("ready after {first} ms with a new data directory, after {again} ms with an old one"));
    assert!(first.max(again) < GENEROUS.as_millis(), "{first} ms, {again} ms");
}
