use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::settings::{FileCheck, HttpCheck, TcpCheck};

const SOON: StorageCheck = StorageCheck { interval: Duration::from_millis(5), threshold: 1 };
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the checks until `wanted` holds.
async fn until(checks: &Checks, wanted: impl Fn(&BTreeMap<String, String>) -> bool) -> BTreeMap<String, String> {
    let cancelled = CancellationToken::new();
    let seen = async {
        while !wanted(&checks.failures()) {
            sleep(Duration::from_millis(2)).await;
        }
        cancelled.cancel();
        checks.failures()
    };
    let (seen, ()) = tokio::join!(timeout(PATIENCE, seen), checks.run(cancelled.clone()));
    seen.expect("the checks never found it")
}

#[tokio::test]
async fn a_file_takes_a_registry_out_and_back_in() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("down");
    let files = vec![FileCheck { path: path.clone(), interval: SOON.interval }];
    let checks = Checks::new(&Health { files, storage: Some(SOON), ..Health::default() }, home.path());
    assert!(!checks.fail());
    std::fs::write(&path, "").unwrap();
    let failures = until(&checks, |failures| !failures.is_empty()).await;
    assert_eq!(failures, BTreeMap::from([(path.display().to_string(), "file exists".to_owned())]));
    assert!(checks.fail());
    std::fs::remove_file(&path).unwrap();
    until(&checks, BTreeMap::is_empty).await;
    assert!(!checks.fail());
}

#[tokio::test]
async fn the_data_directory_is_missed_after_so_many_looks() {
    let home = tempfile::tempdir().unwrap();
    let storage = Some(StorageCheck { interval: Duration::from_millis(50), threshold: 3 });
    let checks = Checks::new(&Health { storage, ..Health::default() }, &home.path().join("gone"));
    let begun = std::time::Instant::now();
    let failures = until(&checks, |failures| !failures.is_empty()).await;
    assert!(begun.elapsed() >= Duration::from_millis(100), "two looks are forgiven");
    assert_eq!(failures.into_keys().collect::<Vec<_>>(), ["storagedriver_filesystem"]);
}

/// Answers every request with this status line.
async fn answering(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n").as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn others_are_asked_over_http_and_tcp() {
    let (well, ill) = (answering("204 No Content").await, answering("500 Oh").await);
    let closed = {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        taken.local_addr().unwrap().to_string()
    };
    let http = |address| HttpCheck {
        url: format!("http://{address}/x").parse().unwrap(),
        status: 204,
        timeout: PATIENCE,
        when: SOON,
    };
    let tcp = |address: &str| TcpCheck { address: address.to_owned(), timeout: PATIENCE, when: SOON };
    let settings = Health {
        http: vec![http(well), http(ill)],
        tcp: vec![tcp(&well.to_string()), tcp(&closed)],
        ..Health::default()
    };
    let checks = Checks::new(&settings, std::path::Path::new("/"));
    let failures = until(&checks, |failures| failures.len() == 2).await;
    assert_eq!(failures[&format!("http://{ill}/x")], "downstream service returned unexpected status: 500");
    assert!(failures[&closed].starts_with(&format!("connection to {closed} failed")), "{failures:?}");
}
