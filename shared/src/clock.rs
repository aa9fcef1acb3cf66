//! Time as both services keep it: microseconds since the Unix epoch, in UTC, told by a [`Clock`] that comes in from outside.
//!
//! Nothing else in the program asks the operating system for the time of day. So a test can stand at the second after a token expired, or a day past a
//! collector's grace, without sleeping.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A moment: microseconds since 1970-01-01T00:00:00Z, negative before it.
///
/// Arithmetic saturates. The far ends of an `i64` are 292,000 years away, so a sum that reaches them is a mistake in a duration, and a moment that never
/// comes is the harmless reading of it.
///
/// Serialised as RFC 3339 text in UTC; stored in SQL as a 64-bit integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The moment `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment `seconds` seconds after the epoch.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// As RFC 3339 text in UTC, `2026-11-21T13:12:01Z`, with a fraction only where there is one.
    ///
    /// A moment outside the years 0 to 9999, which RFC 3339 cannot write, is printed as the nearest one it can.
    #[must_use]
    pub fn rfc3339(self) -> String {
        const YEAR_0: i64 = -62_167_219_200;
        const YEAR_10000: i64 = 253_402_300_800;
        let micros = self.0.clamp(YEAR_0 * MICROS_PER_SECOND, YEAR_10000 * MICROS_PER_SECOND - 1);
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok())
            .unwrap_or_default()
    }

    fn shifted(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// The duration in microseconds, saturating.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.shifted(micros(duration))
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        self.shifted(-micros(duration))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self::EPOCH + after,
            Err(before) => Self::EPOCH - before.duration(),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// The text is not a moment in RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time in RFC 3339, like 2026-11-21T13:12:01Z: {0:?}")]
pub struct InvalidTimestamp(String);

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Any offset is accepted; what is finer than a microsecond is dropped.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let invalid = || InvalidTimestamp(text.chars().take(64).collect());
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| invalid())?;
        i64::try_from(moment.unix_timestamp_nanos().div_euclid(1000)).map(Self).map_err(|_| invalid())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Tells the time. Clones tell the same time, and moving one moves them all.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Face>);

#[derive(Debug)]
struct Face {
    /// Where a fixed clock stands; `None` follows the operating system.
    fixed: Option<Timestamp>,
    /// Microseconds by which the clock was moved forward.
    offset: AtomicI64,
}

impl Clock {
    /// The operating system's time.
    #[must_use]
    pub fn system() -> Self {
        Self::starting(None)
    }

    /// A clock that stands at `now` until it is moved by [`Clock::advance`].
    #[must_use]
    pub fn fixed(now: Timestamp) -> Self {
        Self::starting(Some(now))
    }

    fn starting(fixed: Option<Timestamp>) -> Self {
        Self(Arc::new(Face { fixed, offset: AtomicI64::new(0) }))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.relative_to(SystemTime::now().into())
    }

    /// The time, for someone who asks another machine's clock instead of this one's: `theirs`, moved forward as far as this clock was. A fixed clock
    /// shows its own time all the same.
    ///
    /// Times that one process writes and another compares come from the database they share, so that clocks which disagree never meet.
    #[must_use]
    pub fn relative_to(&self, theirs: Timestamp) -> Timestamp {
        self.0.fixed.unwrap_or(theirs).shifted(self.0.offset.load(Ordering::Relaxed))
    }

    /// Whether this clock stands still between calls of [`Clock::advance`], so that no other clock needs to be asked.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.0.fixed.is_some()
    }

    /// Moves the clock forward, a fixed one and a running one alike.
    pub fn advance(&self, by: Duration) {
        self.0.offset.fetch_add(micros(by), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_told_and_all_clones_move_together() {
        let clock = Clock::fixed(Timestamp::from_seconds(1_000));
        let clone = clock.clone();
        clone.advance(Duration::from_secs(61));
        assert_eq!(clock.now(), Timestamp::from_seconds(1_061));
        assert_eq!(clock.now(), clock.now());
        assert_eq!(clock.relative_to(Timestamp::EPOCH), Timestamp::from_seconds(1_061));
    }

    #[test]
    fn a_running_clock_can_be_moved_forward() {
        let clock = Clock::system();
        let before = Timestamp::from(SystemTime::now());
        clock.advance(Duration::from_secs(3_600));
        let ahead = clock.now().since(before);
        assert!(ahead >= Duration::from_secs(3_600) && ahead < Duration::from_secs(3_660), "{ahead:?}");
        assert_eq!(clock.relative_to(Timestamp::from_seconds(5)), Timestamp::from_seconds(3_605));
    }

    #[test]
    fn arithmetic_saturates_at_the_ends_of_time() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Timestamp::from_seconds(i64::MAX), end);
        assert_eq!(Timestamp::EPOCH.since(end), Duration::ZERO);
        assert_eq!(Timestamp::from_micros(i64::MIN) - Duration::from_secs(1), Timestamp::from_micros(i64::MIN));
    }

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(Timestamp::from_micros(1_999_999).seconds(), 1);
        assert_eq!(Timestamp::from_micros(-1).seconds(), -1);
    }

    #[test]
    fn prints_as_rfc_3339_in_utc() {
        assert_eq!(Timestamp::from_seconds(1_795_266_721).rfc3339(), "2026-11-21T13:12:01Z");
        assert_eq!(Timestamp::from_micros(1_795_266_721_000_250).rfc3339(), "2026-11-21T13:12:01.00025Z");
        assert_eq!(Timestamp::from_micros(i64::MAX).rfc3339(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::from_micros(i64::MIN).rfc3339(), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn reads_any_offset_and_refuses_what_is_no_time() {
        assert_eq!("2026-11-21T15:12:01+02:00".parse(), Ok(Timestamp::from_seconds(1_795_266_721)));
        assert!("2026-11-21".parse::<Timestamp>().is_err());
        assert!(serde_json::from_str::<Timestamp>("1795266721").is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(micros in -62_167_219_200_000_000_i64..253_402_300_800_000_000) {
            let moment = Timestamp::from_micros(micros);
            prop_assert_eq!(moment.rfc3339().parse(), Ok(moment));
            let json = serde_json::to_string(&moment).unwrap();
            prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
        }
    }
}
