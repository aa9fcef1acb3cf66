//! Half a million annotations fit into a manifest, and thousands of descriptors: the work grows with their number and hardly faster.
//!
//! What is measured is the processor time of the thread, so that a busy machine changes little about it, and the sizes lie so far
//! apart that what it does change does not decide: sixteen times as much may cost sixty-four times as much, and costs two hundred
//! and fifty-six times as much where each member is compared with every other.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::*;

const TIMES_AS_MUCH: usize = 16;
const MAY_COST: u32 = 64;

fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// The least of several, because interrupts are booked on whom they interrupt and caches are shared.
fn cost_of_parsing(payload: &str) -> Duration {
    let once = || {
        let begun = processor_time();
        Manifest::parse(None, payload.as_bytes()).unwrap();
        processor_time().checked_sub(begun).unwrap()
    };
    (0..5).map(|_| once()).min().unwrap()
}

fn assert_grows_gently(count: usize, payload: impl Fn(usize) -> String) {
    let (few, many) = (cost_of_parsing(&payload(count)), cost_of_parsing(&payload(count * TIMES_AS_MUCH)));
    assert!(many < few * MAY_COST, "{count} cost {few:?}, {TIMES_AS_MUCH} times as many {many:?}");
}

/// Written by hand, because a [`Value`] would bring the names into their order.
fn annotated(manifest: Value, count: usize) -> String {
    let annotations: Vec<String> = (0..count).map(|n| format!(r#""{:06}":"""#, n * 7919 % 1_000_000)).collect();
    let empty = with(manifest, "annotations", json!({})).to_string();
    empty.replace(r#""annotations":{}"#, &format!(r#""annotations":{{{}}}"#, annotations.join(",")))
}

fn descriptors(media_type: &str, count: usize) -> Value {
    vec![descriptor(media_type, "content"); count].into()
}

#[test]
fn with_the_annotations() {
    assert_grows_gently(2_500, |count| annotated(image(), count));
}

#[test]
fn with_the_annotations_that_referrers_lists_show() {
    let referrer = with(image(), "subject", descriptor(MediaType::OCI_MANIFEST, "subject"));
    assert_grows_gently(2_500, |count| annotated(referrer.clone(), count));
}

#[test]
fn with_the_layers() {
    assert_grows_gently(500, |count| with(image(), "layers", descriptors("a/b", count)).to_string());
}

#[test]
fn with_the_children() {
    assert_grows_gently(500, |count| {
        with(index(), "manifests", descriptors(MediaType::OCI_MANIFEST, count)).to_string()
    });
}

#[test]
fn with_the_members_that_nobody_asks_for() {
    assert_grows_gently(2_500, |count| {
        let mut manifest = image();
        manifest.as_object_mut().unwrap().extend((0..count).map(|n| (n.to_string(), Value::Null)));
        manifest.to_string()
    });
}
