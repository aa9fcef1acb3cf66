//! The counters, in Prometheus' text form.

use std::sync::{PoisonError, atomic::Ordering::Relaxed};

use shared::{
    clock::Timestamp,
    exposition::{
        Exposition,
        Kind::{Counter, Gauge},
    },
    logins::queue::Times,
};

use super::{Answer, Cause, Ended, Metrics, Reading, Route, Shown};
use crate::accounts::census::Census;

impl Metrics {
    /// Everything that is known.
    #[must_use]
    pub fn text(&self, hashing: Times) -> String {
        let mut told = Exposition::default();
        self.tokens(&mut told);
        told.one(
            "portreeve_auth_password_hashes_total",
            Counter,
            "Passwords that were hashed or compared.",
            hashing.hashes as f64,
        );
        told.one(
            "portreeve_auth_password_hash_seconds_total",
            Counter,
            "How long a core was at it.",
            hashing.took.as_secs_f64(),
        );
        told.one(
            "portreeve_auth_passwords_waiting",
            Gauge,
            "Passwords that are being hashed, or wait for it.",
            hashing.waiting as f64,
        );
        self.requests(&mut told);
        self.of_directories(&mut told);
        let read = Some(self.0.feed_read.load(Relaxed)).filter(|at| *at > 0).map(Timestamp::from_micros);
        told.known(
            "portreeve_auth_revocations_read_timestamp_seconds",
            Gauge,
            "When a registry last read the revocation feed.",
            read.map(seconds),
        );
        if let Some(census) = self.0.census.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            counted(census, &mut told);
        }
        told.into_text()
    }

    fn tokens(&self, told: &mut Exposition) {
        let counts = &self.0;
        let labelled = |label: &'static str| move |(word, count): (&'static str, f64)| ([(label, word)], count);
        told.family(
            "portreeve_auth_tokens_total",
            Counter,
            "Tokens that were made, by what was shown for them.",
            counts.tokens.with(Shown::WORDS).map(labelled("kind")),
        );
        told.one(
            "portreeve_auth_tokens_reduced_total",
            Counter,
            "Tokens among them that grant less than was asked for.",
            counts.reduced.load(Relaxed) as f64,
        );
        told.one(
            "portreeve_auth_identity_tokens_total",
            Counter,
            "Identity tokens that were made for docker login to keep.",
            counts.kept.load(Relaxed) as f64,
        );
        told.family(
            "portreeve_auth_tokens_refused_total",
            Counter,
            "Requests for a token that got none, by cause.",
            counts.refused.with(Cause::WORDS).map(labelled("cause")),
        );
        told.family(
            "portreeve_auth_logins_failed_total",
            Counter,
            "Secrets that let nobody in, for tokens and for the admin API, by cause.",
            counts.failed_logins.with(Cause::WORDS).map(labelled("cause")),
        );
    }

    fn requests(&self, told: &mut Exposition) {
        let by_route = Route::WORDS.iter().zip(&self.0.requests);
        let samples = by_route.flat_map(|(route, ended)| {
            ended.with(Ended::WORDS).map(move |(ended, count)| ([("route", *route), ("ended", ended)], count))
        });
        told.family("portreeve_auth_requests_total", Counter, "Requests that were answered.", samples);
        let times =
            self.0.request_microseconds.with(Route::WORDS).map(|(route, micros)| ([("route", route)], micros / 1e6));
        told.family(
            "portreeve_auth_request_seconds_total",
            Counter,
            "How long answering them took; the feed waits for news.",
            times,
        );
    }

    fn of_directories(&self, told: &mut Exposition) {
        let directories = self.directories();
        let answers = directories.iter().flat_map(|(name, known)| {
            let answers = known.answers.with(Answer::WORDS);
            answers.map(move |(answer, count)| ([("provider", name.as_str()), ("answer", answer)], count))
        });
        told.family(
            "portreeve_auth_directory_answers_total",
            Counter,
            "What directories were asked, by what they answered.",
            answers,
        );
        let of = |value: fn(&super::Directory) -> Option<f64>| {
            directories.iter().filter_map(move |(name, known)| Some(([("provider", name.as_str())], value(known)?)))
        };
        told.family(
            "portreeve_auth_directory_seconds_total",
            Counter,
            "How long their answers took.",
            of(|known| Some(known.microseconds as f64 / 1e6)),
        );
        let readings = directories.iter().flat_map(|(name, known)| {
            let readings = known.readings.with(Reading::WORDS);
            readings.map(move |(outcome, count)| ([("provider", name.as_str()), ("outcome", outcome)], count))
        });
        told.family(
            "portreeve_auth_directory_syncs_total",
            Counter,
            "Readings of all users of a directory, by what became of them.",
            readings,
        );
        told.family(
            "portreeve_auth_directory_synced_timestamp_seconds",
            Gauge,
            "When all users of a directory were last read; told by the process that reads them.",
            of(|known| known.synced.map(seconds)),
        );
        told.family(
            "portreeve_auth_directory_sync_stopped",
            Gauge,
            "1 if the last reading would have taken too much away, and nothing was changed.",
            of(|known| Some(f64::from(u8::from(known.stopped)))),
        );
        if !directories.is_empty() {
            told.one(
                "portreeve_auth_directory_leader",
                Gauge,
                "1 if this process reads all users of directories.",
                self.0.leads.load(Relaxed) as f64,
            );
        }
    }
}

/// What was seen in the database.
fn counted(census: &Census, told: &mut Exposition) {
    let kinds = || census.credentials.iter();
    told.family(
        "portreeve_auth_credentials",
        Gauge,
        "Credentials that count.",
        kinds().map(|of| ([("kind", of.kind.word())], of.live as f64)),
    );
    told.family(
        "portreeve_auth_credentials_ending",
        Gauge,
        "Those among them that end within a week.",
        kinds().map(|of| ([("kind", of.kind.word())], of.ending as f64)),
    );
    told.one(
        "portreeve_auth_audit_unsealed",
        Gauge,
        "Events of the audit that are not sealed yet.",
        census.unsealed as f64,
    );
    told.one(
        "portreeve_auth_audit_unsealed_age_seconds",
        Gauge,
        "How long the oldest of them has waited.",
        census.unsealed_for.as_secs_f64(),
    );
    told.one("portreeve_auth_audit_head", Gauge, "The number of the last event that is sealed.", census.head as f64);
    told.family(
        "portreeve_auth_signing_keys",
        Gauge,
        "Keys that sign tokens, by state.",
        census.keys.iter().map(|(state, count)| ([("state", state.word())], *count as f64)),
    );
    told.known(
        "portreeve_auth_signing_key_active_timestamp_seconds",
        Gauge,
        "Since when the key of today signs.",
        census.signing_since.map(seconds),
    );
    told.known(
        "portreeve_auth_signing_key_expiry_timestamp_seconds",
        Gauge,
        "When its certificate ends.",
        census.signing_until.map(seconds),
    );
    told.one(
        "portreeve_auth_revocations_head",
        Gauge,
        "The number of the last row of the revocation feed.",
        census.revocations as f64,
    );
    told.one(
        "portreeve_auth_looked_timestamp_seconds",
        Gauge,
        "When the database was last looked at for the numbers above.",
        seconds(census.at),
    );
}

fn seconds(at: Timestamp) -> f64 {
    at.micros() as f64 / 1e6
}
