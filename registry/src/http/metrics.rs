//! `/metrics` on the debug listener: what collector and rules have done and what waits for them, in Prometheus' text form.
//!
//! A request reads counters in memory and asks no database: what waits is what the last sweep saw.

mod quotas;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderName, header},
    routing::get,
};
use shared::exposition::{
    Exposition, Histogram,
    Kind::{self, Counter, Gauge},
    MEDIA_TYPE,
};

use crate::{
    gc::{
        Collector, Counted, Queue, Spread,
        doctor::{Depth, Doctor, Last},
    },
    lifecycle::rules::{self, Expiry},
};

/// Metrics of another service in this process, in the same form.
pub type MoreMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What is told of.
type Watched = (Collector, Doctor, Expiry);

/// The metrics at the path of the settings, and behind them those of the service beside this one.
pub fn metrics(path: &str, watched: Watched, beside: Option<MoreMetrics>) -> Router {
    Router::new().route(path, get(exposition)).with_state((watched, beside))
}

async fn exposition(
    State(((collector, doctor, expiry), beside)): State<(Watched, Option<MoreMetrics>)>,
) -> ([(HeaderName, &'static str); 1], String) {
    let mut text = text(&collector.counted());
    transactions(&collector.timings(), &mut text);
    let last = [("sizes", doctor.last(Depth::Sizes)), ("deep", doctor.last(Depth::Deep))];
    examined(&last, doctor.is_at_work(), &mut text);
    text.push_str(&quotas::text(&collector.bounded()));
    text += &of_rules(&expiry.counted());
    if let Some(beside) = beside {
        text += &beside();
    }
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], text)
}

/// What the doctor's last runs came to.
fn examined(last: &[(&'static str, Option<Last>)], at_work: bool, text: &mut String) {
    let of = |value: fn(Last) -> f64| -> Vec<(&'static str, f64)> {
        last.iter().filter_map(|(kind, last)| last.map(|last| (*kind, value(last)))).collect()
    };
    let findings = of(|last| last.totals.findings as f64);
    let left = of(|last| (last.totals.findings - last.totals.repaired) as f64);
    let finished = of(|last| last.finished.micros() as f64 / 1e6);
    for family in [
        Family("findings", Gauge, "What the doctor's last run of each kind found.", &findings),
        Family("unrepaired", Gauge, "What of that it did not put right.", &left),
        Family("finished_timestamp_seconds", Gauge, "When that run came to its end.", &finished),
        Family("at_work", Gauge, "Whether a run is under way.", &[("", f64::from(u8::from(at_work)))]),
    ] {
        family.write("doctor", text);
    }
}

/// One family: its name, its type, what it is, and its samples by kind (`""` where there is one only).
struct Family<'f>(&'f str, Kind, &'f str, &'f [(&'f str, f64)]);

fn of_rules(counted: &rules::Counted) -> String {
    let expired = [("tag", counted.tags as f64), ("untagged_manifest", counted.manifests as f64)];
    let runs = [("done", counted.done as f64), ("failed", counted.failed as f64)];
    let ended: Vec<_> = counted.ended.map(|at| ("", at.micros() as f64 / 1e6)).into_iter().collect();
    let mut text = String::new();
    for family in [
        Family("expired_total", Counter, "What lifecycle rules let go.", &expired),
        Family(
            "moved_total",
            Counter,
            "Tags that moved in front of their expiry, and stayed.",
            &[("", counted.moved as f64)],
        ),
        Family("runs_total", Counter, "Runs of lifecycle rules that ended, by how they did.", &runs),
        Family("run_timestamp_seconds", Gauge, "When the last run of this process ended.", &ended),
    ] {
        family.write("lifecycle", &mut text);
    }
    text
}

fn text(counted: &Counted) -> String {
    let count = |number: u64| number as f64;
    let (looked, waiting) = counted.waiting.map_or_else(Default::default, |(at, waiting)| (Some(at), waiting));
    let seconds = |at: Option<shared::clock::Timestamp>| at.map(|at| at.micros() as f64 / 1e6);
    let queues = [
        ("upload", waiting.uploads),
        ("deleted_repository", waiting.deleted_repositories),
        ("deleted_manifest", waiting.deleted_manifests),
        ("untagged_manifest", waiting.untagged_manifests),
        ("link", waiting.links),
        ("trash", waiting.trash),
    ];
    let sizes = queues.map(|(kind, queue)| (kind, count(queue.count)));
    let oldest = |(kind, queue): (&'static str, Queue)| seconds(queue.oldest).map(|at| (kind, at));
    let oldest: Vec<_> = queues.into_iter().filter_map(oldest).collect();
    let removed = [
        ("upload", count(counted.uploads)),
        ("repository", count(counted.repositories)),
        ("manifest", count(counted.manifests)),
        ("link", count(counted.links)),
        ("file", count(counted.files)),
    ];
    let one = |number: f64| [("", number)];
    let looked: Vec<_> = seconds(looked).map(|at| ("", at)).into_iter().collect();
    let mut text = String::new();
    for family in [
        Family("removed_total", Counter, "What collectors of this process removed.", &removed),
        Family("freed_bytes_total", Counter, "Bytes of the files that were deleted.", &one(count(counted.bytes))),
        Family("sweeps_total", Counter, "Sweeps that came to their end.", &one(count(counted.sweeps))),
        Family("failures_total", Counter, "Sweeps that broke off.", &one(count(counted.failures))),
        Family("waiting", Gauge, "What waits, when it was last looked.", &sizes),
        Family(
            "oldest_timestamp_seconds",
            Gauge,
            "Since when, or for deleted manifests until when, the oldest waits.",
            &oldest,
        ),
        Family(
            "promised_links",
            Gauge,
            "Links that no manifest needs and a running promise keeps.",
            &one(count(waiting.promised_links)),
        ),
        Family("looked_timestamp_seconds", Gauge, "When it was last looked what waits.", &looked),
    ] {
        family.write("gc", &mut text);
    }
    text
}

/// How long transactions that take something away held their locks, by the operation: a histogram, and the longest, which a histogram does not tell.
fn transactions(timings: &[(&'static str, Spread)], text: &mut String) {
    const NAME: &str = "portreeve_gc_transaction_seconds";
    let mut told = Exposition::default();
    let spreads = timings.iter().map(|(operation, spread)| (("operation", *operation), histogram(spread)));
    told.histograms(NAME, "How long a batch held its locks, COMMIT included.", spreads);
    let longest = timings.iter().map(|(operation, spread)| ([("operation", *operation)], spread.longest.as_secs_f64()));
    told.family(&format!("{NAME}_max"), Gauge, "The longest since the process began.", longest);
    text.push_str(&told.into_text());
}

fn histogram(spread: &Spread) -> Histogram {
    Histogram {
        within: spread.within().map(|(bound, count)| (bound.as_secs_f64(), count)).collect(),
        sum: spread.sum.as_secs_f64(),
        count: spread.count,
    }
}

impl Family<'_> {
    fn write(&self, part: &str, text: &mut String) {
        let Self(name, kind, help, samples) = self;
        let (name, mut told) = (format!("portreeve_{part}_{name}"), Exposition::default());
        match samples {
            [("", value)] => told.one(&name, *kind, help, *value),
            samples => {
                told.family(&name, *kind, help, samples.iter().map(|(label, value)| ([("kind", *label)], *value)));
            }
        }
        text.push_str(&told.into_text());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shared::clock::Timestamp;

    use super::*;
    use crate::gc::{Waiting, doctor::Totals};

    #[test]
    fn a_run_is_told_by_its_kind() {
        let totals = Totals { depth: Depth::Deep, looked: 9, findings: 3, repaired: 2, resumed: false };
        let last = Last { finished: Timestamp::from_seconds(1_767_225_600), totals };
        let mut text = String::new();
        examined(&[("sizes", None), ("deep", Some(last))], true, &mut text);
        for line in [
            "# TYPE portreeve_doctor_findings gauge",
            "portreeve_doctor_findings{kind=\"deep\"} 3",
            "portreeve_doctor_unrepaired{kind=\"deep\"} 1",
            "portreeve_doctor_finished_timestamp_seconds{kind=\"deep\"} 1767225600",
            "portreeve_doctor_at_work 1",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert!(!text.contains("sizes"), "what never ran has found nothing, not zero: {text}");
    }

    #[test]
    fn rules_tell_what_they_let_go() {
        let counted =
            rules::Counted { tags: 3, failed: 1, ended: Some(Timestamp::from_seconds(7)), ..Default::default() };
        let text = of_rules(&counted);
        for line in [
            "# TYPE portreeve_lifecycle_expired_total counter",
            "portreeve_lifecycle_expired_total{kind=\"tag\"} 3",
            "portreeve_lifecycle_runs_total{kind=\"failed\"} 1",
            "portreeve_lifecycle_moved_total 0",
            "portreeve_lifecycle_run_timestamp_seconds 7",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert!(!of_rules(&rules::Counted::default()).contains("run_timestamp"), "never is no time");
    }

    #[test]
    fn transactions_are_told_by_their_operation() {
        let mut text = String::new();
        transactions(&[], &mut text);
        assert_eq!(text, "", "nothing was collected");
        let spread = [Duration::from_millis(4), Duration::from_millis(60)].into_iter().collect::<Spread>();
        transactions(&[("collect_links", spread), ("forget_trash", Spread::default())], &mut text);
        for line in [
            "# TYPE portreeve_gc_transaction_seconds histogram",
            "portreeve_gc_transaction_seconds_bucket{operation=\"collect_links\",le=\"0.005\"} 1",
            "portreeve_gc_transaction_seconds_bucket{operation=\"collect_links\",le=\"0.05\"} 1",
            "portreeve_gc_transaction_seconds_bucket{operation=\"collect_links\",le=\"0.1\"} 2",
            "portreeve_gc_transaction_seconds_bucket{operation=\"collect_links\",le=\"+Inf\"} 2",
            "portreeve_gc_transaction_seconds_sum{operation=\"collect_links\"} 0.064",
            "portreeve_gc_transaction_seconds_count{operation=\"collect_links\"} 2",
            "portreeve_gc_transaction_seconds_max{operation=\"collect_links\"} 0.06",
            "portreeve_gc_transaction_seconds_max{operation=\"forget_trash\"} 0",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 2, "each family once");
    }

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let trash = Queue { count: 3, oldest: Some(Timestamp::from_seconds(1_767_225_600)) };
        let waiting = Waiting { trash, promised_links: 7, ..Waiting::default() };
        let counted = Counted {
            links: 5,
            bytes: 1 << 40,
            waiting: Some((Timestamp::from_seconds(1_767_225_660), waiting)),
            ..Counted::default()
        };
        let text = text(&counted);
        for line in [
            "# TYPE portreeve_gc_removed_total counter",
            "portreeve_gc_removed_total{kind=\"link\"} 5",
            "portreeve_gc_freed_bytes_total 1099511627776",
            "portreeve_gc_waiting{kind=\"trash\"} 3",
            "portreeve_gc_oldest_timestamp_seconds{kind=\"trash\"} 1767225600",
            "portreeve_gc_promised_links 7",
            "portreeve_gc_looked_timestamp_seconds 1767225660",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert!(!text.contains("{kind=\"link\"} 1767"), "an empty queue has no oldest: {text}");
        let names = text.lines().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(names, text.lines().filter(|line| line.starts_with("# TYPE")).count());
    }
}
