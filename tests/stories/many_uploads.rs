//! Ten thousand pushes that were begun and left: what they cost while they are open, and when they end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::apart::{as_account, push};
use crate::{
    protocol::client::Client,
    support::{
        announce,
        server::{Launch, Portreeve},
    },
};

const MANY: usize = 10_000;
const AT_ONCE: usize = 16;
/// How much more the server may hold for all of them. An upload that nobody writes to is a row and a file.
const MEMORY_KIB: u64 = 64 * 1024;
/// How long one more push may take beside them, and the end of them all.
const ONE_MORE: Duration = Duration::from_secs(5);
const ALL_ENDED: Duration = Duration::from_secs(120);

async fn begin(client: &Client) {
    let begun = client.request(Method::POST, "acme/web/blobs/uploads/").send().await.unwrap();
    assert_eq!(begun.status, 202);
}

/// Nobody comes back for any of them in time.
async fn let_time_pass(portreeve: &Portreeve) {
    let file = SqliteConnectOptions::new().filename(portreeve.data().join("registry.db"));
    let mut database = SqliteConnection::connect_with(&file).await.unwrap();
    let changed = sqlx::query("UPDATE upload SET expires_at = 1").execute(&mut database).await.unwrap();
    assert_eq!(changed.rows_affected(), MANY as u64, "every upload is open");
    database.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_open_uploads_cost_little_and_end() {
    let mut portreeve = Launch::up().quiet().start();
    let client = Arc::new(as_account(&portreeve, &portreeve.admin()));
    assert_eq!(push(&client, "acme/web", "before").await, 201);
    let before = portreeve.memory("VmRSS");
    let begun = Instant::now();
    stream::iter(0..MANY).map(|_| begin(&client)).buffer_unordered(AT_ONCE).for_each(async |()| {}).await;
    let (opened, more) = (begun.elapsed(), portreeve.memory("VmRSS").saturating_sub(before));
    let begun = Instant::now();
    assert_eq!(push(&client, "acme/web", "beside").await, 201);
    let beside = begun.elapsed();

    assert!(portreeve.stop().success());
    let_time_pass(&portreeve).await;
    portreeve.start_again();
    let begun = Instant::now();
    let collected = format!("uploads={MANY}");
    while !portreeve.log().contains(&collected) {
        assert!(begun.elapsed() < ALL_ENDED, "they do not end:\n{}", portreeve.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    announce(&format!(
        "{MANY} open uploads: opened in {} ms, {more} KiB more memory, another push in {} ms, ended in {} ms",
        opened.as_millis(),
        beside.as_millis(),
        begun.elapsed().as_millis(),
    ));
    assert!(more < MEMORY_KIB, "{more} KiB for {MANY} uploads");
    assert!(beside < ONE_MORE, "a push beside them took {beside:?}");
    assert_eq!(push(&as_account(&portreeve, &portreeve.admin()), "acme/web", "after").await, 201);
}
