//! The doctor as a command: beside the running server, on a stopped one, its exit status and what it prints.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::apart::{as_account, push};
use crate::support::{
    program::{Outcome, Program},
    server::{Portreeve, program},
};

async fn doctor(portreeve: &Portreeve, options: &[&str], status: i32) -> Outcome {
    let outcome = portreeve.command(&[&["registry", "doctor"], options].concat()).run().await;
    assert_eq!(outcome.status, Some(status), "{outcome}");
    outcome
}

/// The files of blobs, by their length.
fn blobs(portreeve: &Portreeve) -> Vec<(u64, PathBuf)> {
    let directories = fs::read_dir(portreeve.data().join("blobs")).unwrap();
    let files = directories.flat_map(|directory| fs::read_dir(directory.unwrap().path()).unwrap());
    let mut files: Vec<_> =
        files.map(|file| file.unwrap().path()).map(|path| (path.metadata().unwrap().len(), path)).collect();
    files.sort();
    files
}

#[tokio::test]
async fn the_doctor_looks_beside_the_server_and_without_it() {
    let mut portreeve = Portreeve::up();
    let admin = as_account(&portreeve, &portreeve.admin());
    assert_eq!(push(&admin, "acme/web", "v1").await, 201);
    doctor(&portreeve, &[], 0).await.says("manifests: 1 looked at, 0 findings").says("0 findings, 0 repaired");
    doctor(&portreeve, &["--deep", "--rate", "50M"], 0).await;

    let stray = portreeve.data().join("blobs/ab/0123");
    fs::write(&stray, "stray").unwrap();
    let found = doctor(&portreeve, &[], 1).await;
    found.says("I2 key blobs/ab/0123: 5 bytes that no row knows").says("1 findings, 0 of them repaired");
    assert!(stray.exists(), "it only looks");
    let repaired = doctor(&portreeve, &["--repair"], 1).await;
    repaired.says("   repaired: moved to quarantine").says("1 findings, 1 of them repaired");
    assert_eq!(fs::read_to_string(portreeve.data().join("quarantine/blobs/ab/0123")).unwrap(), "stray");
    doctor(&portreeve, &[], 0).await;

    assert!(portreeve.stop().success());
    let (length, file) = blobs(&portreeve).remove(0);
    fs::write(&file, "?".repeat(usize::try_from(length).unwrap())).unwrap();
    doctor(&portreeve, &[], 0).await;
    let damaged = doctor(&portreeve, &["--deep", "--json"], 1).await;
    let events: Vec<Value> = damaged.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let finding = events.iter().find(|event| event["event"] == "finding").unwrap();
    assert_eq!((&finding["invariant"], &finding["fault"]), (&json!("I1"), &json!("bytes_differ")), "{finding}");
    assert_eq!(finding["named_by"], json!(["acme/web:v1"]));
    assert_eq!(events.last().unwrap()["findings"], 1);
    doctor(&portreeve, &["--repair"], 1).await.says("   left: push it again: that heals it");

    portreeve.start_again();
    assert_eq!(push(&admin, "acme/web", "v1").await, 201);
    doctor(&portreeve, &["--deep", "--restart"], 0).await;
    doctor(&portreeve, &["--rate", "much"], 2).await.says("a rate is a share of the time");
}

#[tokio::test]
async fn a_doctor_without_a_patient_fails_with_2() {
    let home = tempfile::tempdir().unwrap();
    let missing = Program::new(program()).args(["registry", "doctor", "--data"]).arg(home.path().join("missing"));
    let outcome = missing.run().await;
    assert_eq!(outcome.status, Some(2), "{outcome}");
    outcome.says("is no data directory of Portreeve");
}
