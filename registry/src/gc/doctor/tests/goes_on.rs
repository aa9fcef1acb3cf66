//! A run that is ended is gone on with.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{cases::prepare, dry::examine};
use crate::{
    gc::{
        Error,
        doctor::{Begin, Check, Depth, Doctor, Event, Mode, Order, Rate},
    },
    metadata::backup::ForgetUnfinished,
    stories::stage::{Stage, on_both},
};

on_both! {
    a_run_that_was_ended_goes_on_where_it_was
    a_run_that_was_left_alone_for_long_begins_anew
    one_doctor_is_at_work_at_a_time
}

fn order(begin: Begin) -> Order {
    Order { depth: Depth::Sizes, mode: Mode::Report, begin, rate: Rate::ALL, actor: "ada".to_owned() }
}

/// Listens until a check is over, and hangs up.
async fn until(doctor: &Doctor, last: Check) {
    let (listener, mut told) = mpsc::channel(1);
    let never = CancellationToken::new();
    let listening = async move {
        while let Some(event) = told.recv().await {
            if matches!(event, Event::Checked { check, .. } if check == last) {
                return;
            }
        }
    };
    let (ended, ()) = tokio::join!(doctor.examine(order(Begin::WhereEnded), listener, &never), listening);
    assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
}

/// The checks that a run makes.
async fn checks(doctor: &Doctor, begin: Begin) -> (Vec<Check>, bool) {
    let (listener, mut told) = mpsc::channel(10_000);
    let totals = doctor.examine(order(begin), listener, &CancellationToken::new()).await.unwrap();
    let mut checks = Vec::new();
    while let Some(event) = told.recv().await {
        if let Event::Checked { check, .. } = event {
            checks.push(check);
        }
    }
    (checks, totals.resumed)
}

async fn a_run_that_was_ended_goes_on_where_it_was(stage: &mut Stage) {
    prepare(stage).await;
    // It is told before the run is ended, and counts.
    stage
        .tamper_behind("UPDATE link SET expires_at = NULL WHERE blob_id = (SELECT id FROM blob WHERE size = 15)")
        .await;
    let (_, whole) = examine(stage, Depth::Sizes, Mode::Report, Begin::Aside).await;
    let doctor = stage.doctor();
    until(&doctor, Check::Manifests).await;
    let (listener, mut told) = mpsc::channel(10_000);
    let went_on = doctor.examine(order(Begin::WhereEnded), listener, &CancellationToken::new()).await.unwrap();
    assert!(went_on.resumed);
    assert_eq!((went_on.findings, went_on.looked), (whole.findings, whole.looked));
    let mut first = None;
    while let Some(event) = told.recv().await {
        if let Event::Checked { check, .. } = event {
            first = first.or(Some(check));
        }
    }
    assert!(first == Some(Check::Manifests) || first == Some(Check::Blobs), "{first:?}");
    let (all, resumed) = checks(&doctor, Begin::WhereEnded).await;
    assert_eq!((all.len(), resumed), (Check::ALL.len() - 1, false), "the last one had come to its end");
    until(&doctor, Check::Manifests).await;
    let (all, resumed) = checks(&doctor, Begin::Anew).await;
    assert_eq!((all.len(), resumed), (Check::ALL.len() - 1, false));
    let fresh = stage.doctor();
    assert_eq!(fresh.last(Depth::Sizes), None);
    fresh.recall().await.unwrap();
    assert_eq!(fresh.last(Depth::Sizes).unwrap().totals.findings, 1);
}

async fn a_run_that_was_left_alone_for_long_begins_anew(stage: &mut Stage) {
    prepare(stage).await;
    let doctor = stage.doctor();
    until(&doctor, Check::Manifests).await;
    stage.pass(Duration::from_secs(6 * 24 * 60 * 60));
    until(&doctor, Check::Strays).await;
    stage.pass(Duration::from_secs(8 * 24 * 60 * 60));
    let (all, resumed) = checks(&doctor, Begin::WhereEnded).await;
    assert_eq!((all.len(), resumed), (Check::ALL.len() - 1, false), "what it saw then says nothing about today");
    // A restored database speaks of a run over another one.
    until(&doctor, Check::Manifests).await;
    stage.content.metadata.write(ForgetUnfinished).await.unwrap();
    let (all, resumed) = checks(&doctor, Begin::WhereEnded).await;
    assert_eq!((all.len(), resumed), (Check::ALL.len() - 1, false));
}

async fn one_doctor_is_at_work_at_a_time(stage: &mut Stage) {
    let doctor = stage.doctor();
    let (listener, mut told) = mpsc::channel(1);
    let (first, stop) = (doctor.clone(), CancellationToken::new());
    let running = tokio::spawn(async move { first.examine(order(Begin::Aside), listener, &stop).await });
    told.recv().await.unwrap();
    assert!(doctor.is_at_work());
    let (listener, _told) = mpsc::channel(1);
    let second = doctor.examine(order(Begin::Aside), listener, &CancellationToken::new()).await;
    assert!(matches!(second, Err(Error::AtWork)), "{second:?}");
    drop(told);
    assert!(matches!(running.await.unwrap(), Err(Error::Stopped)));
    assert!(!doctor.is_at_work());
}
