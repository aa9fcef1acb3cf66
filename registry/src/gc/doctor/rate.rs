//! How much of the machine a run may take.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::time::sleep;

/// A bound on a run's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So many hundredths of the time are spent working, from 1 to 100.
    Share(u8),
    /// So many bytes are read in a second; what reads none takes [`Rate::DEFAULT`]'s share.
    Bytes(u64),
}

/// The text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a rate is a share of the time from 1% to 100%, or bytes per second: 500K, 20M, 1G")]
pub struct InvalidRate;

impl Rate {
    /// Beside a server that serves.
    pub const DEFAULT: Self = Self::Share(25);
    /// Where nobody else is.
    pub const ALL: Self = Self::Share(100);

    /// How long to rest after working for so long on so many bytes.
    pub(super) fn rest(self, worked: Duration, bytes: u64) -> Duration {
        match self {
            Self::Share(share) => {
                let share = u32::from(share.clamp(1, 100));
                worked * (100 - share) / share
            }
            Self::Bytes(_) if bytes == 0 => Self::DEFAULT.rest(worked, 0),
            Self::Bytes(rate) => {
                let micros = u128::from(bytes) * 1_000_000 / u128::from(rate.max(1));
                Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).saturating_sub(worked)
            }
        }
    }
}

/// After how many bytes whoever reads many of them rests: a large blob must not take all of a disk for minutes.
const REST_EVERY: u64 = 4 << 20;

/// Rests while bytes are read.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    bytes: u64,
    since: Instant,
    rested: Duration,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, bytes: 0, since: Instant::now(), rested: Duration::ZERO }
    }

    /// So many bytes were read.
    pub(super) async fn read(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= REST_EVERY {
            sleep(self.rate.rest(self.since.elapsed(), self.bytes)).await;
            self.rested += self.since.elapsed();
            (self.bytes, self.since) = (0, Instant::now());
        }
    }

    /// How many bytes were read since the last rest.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of the time is settled: the rests, and the work before each.
    pub(super) const fn rested(&self) -> Duration {
        self.rested
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        if let Some(share) = text.strip_suffix('%') {
            let share = share.parse().map_err(|_| InvalidRate)?;
            return if (1..=100).contains(&share) { Ok(Self::Share(share)) } else { Err(InvalidRate) };
        }
        let (digits, unit) = match text.char_indices().next_back() {
            Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
            Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
            Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
            _ => (text, 1),
        };
        let number: u64 = digits.parse().map_err(|_| InvalidRate)?;
        let bytes = number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or(InvalidRate)?;
        Ok(Self::Bytes(bytes))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{share}%"),
            Self::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_has_these_forms() {
        assert_eq!("25%".parse(), Ok(Rate::Share(25)));
        assert_eq!("20M".parse(), Ok(Rate::Bytes(20 << 20)));
        assert_eq!("1000".parse(), Ok(Rate::Bytes(1000)));
        for rubbish in ["", "%", "0%", "101%", "-1%", "0", "M", "1T", "99999999999G", "1 M", "é"] {
            assert_eq!(rubbish.parse::<Rate>(), Err(InvalidRate), "{rubbish}");
        }
    }

    #[tokio::test]
    async fn large_bytes_are_read_in_pieces_with_rests() {
        let mut pace = Pace::new(Rate::Bytes(400 << 20));
        let begun = Instant::now();
        for _ in 0..40 {
            pace.read(1 << 20).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(99), "40 MiB at 400 MiB/s");
        assert_eq!(pace.bytes(), 0);
        assert!(pace.rested() <= begun.elapsed());
    }

    #[test]
    fn whoever_works_rests() {
        let worked = Duration::from_millis(10);
        assert_eq!(Rate::Share(25).rest(worked, 0), Duration::from_millis(30));
        assert_eq!(Rate::ALL.rest(worked, 1 << 30), Duration::ZERO);
        assert_eq!(Rate::Bytes(1 << 20).rest(worked, 1 << 20), Duration::from_millis(990));
        assert_eq!(
            Rate::Bytes(1 << 20).rest(Duration::from_secs(2), 1 << 20),
            Duration::ZERO,
            "a slow disk is no debt"
        );
        assert_eq!(Rate::Bytes(1).rest(worked, 0), Duration::from_millis(30));
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(rate in prop_oneof![(1..=100_u8).prop_map(Rate::Share), (1_u64..).prop_map(Rate::Bytes)]) {
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn a_unit_is_so_many_bytes(number in 1..=u64::MAX >> 30, unit in prop::sample::select(vec![(10, "Kk"), (20, "Mm"), (30, "Gg")])) {
            for letter in unit.1.chars() {
                prop_assert_eq!(format!("{number}{letter}").parse(), Ok(Rate::Bytes(number << unit.0)));
            }
        }

        #[test]
        fn any_text_at_all_is_read_or_refused_without_a_panic(text in "[0-9]{0,21}[%KMGT]?|.{0,8}") {
            if let Ok(rate) = text.parse::<Rate>() {
                prop_assert_eq!(rate.to_string().parse(), Ok(rate));
                prop_assert!(matches!(rate, Rate::Share(1..=100) | Rate::Bytes(1..)));
            }
        }
    }
}
