//! How long a rule waits: `7d`, `36h`, `1d12h`.

use std::{fmt, str::FromStr, time::Duration};

use shared::clock::Timestamp;

const DAY: u64 = 24 * 60 * 60;

/// Ten years: what is to stay longer is to stay.
const MOST_SECONDS: u64 = 3650 * DAY;

/// More than any age needs. An annotation may hold anything.
const MOST_BYTES: usize = 32;

/// Each unit at most once, in this order.
const UNITS: [(char, u64); 5] = [('w', 7 * DAY), ('d', DAY), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// A length of time in whole seconds, ten years at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age(u64);

/// Why a text is no age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAge {
    /// Something that cannot stand there.
    #[error(
        "character {position} makes it no age: write numbers with units in this order, like 7d, 36h or 1w2d12h30m10s"
    )]
    Malformed {
        /// Counted from 1; one behind the end where something is missing.
        position: usize,
    },
    /// More than ages go up to.
    #[error("an age is ten years (3650d) at most")]
    TooLong,
}

impl Age {
    /// 60 s.
    pub const MINUTE: Self = Self(60);

    /// The moment that is this long after `since`.
    #[must_use]
    pub fn after(self, since: Timestamp) -> Timestamp {
        since + Duration::from_secs(self.0)
    }

    /// Whether it is no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl FromStr for Age {
    type Err = InvalidAge;

    fn from_str(text: &str) -> Result<Self, InvalidAge> {
        let malformed = |index: usize| InvalidAge::Malformed { position: text[..index].chars().count() + 1 };
        if text.is_empty() || text.len() > MOST_BYTES {
            return Err(malformed(0));
        }
        let (mut total, mut at, mut units) = (0_u64, 0, UNITS.as_slice());
        while at < text.len() {
            let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return Err(malformed(at));
            }
            let unit = text[at + digits..].chars().next();
            let place = units.iter().position(|(name, _)| Some(*name) == unit);
            let place = place.ok_or_else(|| malformed(at + digits))?;
            let number: u64 = text[at..at + digits].parse().map_err(|_| InvalidAge::TooLong)?;
            let seconds = number.checked_mul(units[place].1).and_then(|seconds| total.checked_add(seconds));
            total = seconds.filter(|total| *total <= MOST_SECONDS).ok_or(InvalidAge::TooLong)?;
            units = &units[place + 1..];
            at += digits + 1;
        }
        Ok(Self(total))
    }
}

/// In days, hours, minutes and seconds, as people say it: a fortnight is `14d`.
impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, seconds) in &UNITS[1..] {
            if rest >= *seconds {
                write!(f, "{}{unit}", rest / seconds)?;
                rest %= seconds;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ages_are_numbers_with_units() {
        for (text, seconds) in [
            ("0s", 0),
            ("7d", 7 * DAY),
            ("2w", 14 * DAY),
            ("36h", 36 * 3600),
            ("1w2d12h30m10s", 9 * DAY + 12 * 3600 + 30 * 60 + 10),
            ("3650d", MOST_SECONDS),
            ("007d", 7 * DAY),
        ] {
            assert_eq!(text.parse(), Ok(Age(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_none_says_where() {
        for (text, position) in [
            ("", 1),
            ("7", 2),
            ("d", 1),
            ("7 d", 2),
            ("-7d", 1),
            ("1.5d", 2),
            ("7days", 3),
            ("1h1d", 4),
            ("1d1d", 4),
            ("7ä", 2),
            ("ää", 1),
            ("1d ", 3),
        ] {
            assert_eq!(text.parse::<Age>(), Err(InvalidAge::Malformed { position }), "{text:?}");
        }
        for text in ["3651d", "3650d1s", "99999999999999999999d", "18446744073709551615w"] {
            assert_eq!(text.parse::<Age>(), Err(InvalidAge::TooLong), "{text}");
        }
        assert!("1".repeat(40).parse::<Age>().is_err());
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(seconds in 0..=MOST_SECONDS) {
            prop_assert_eq!(Age(seconds).to_string().parse(), Ok(Age(seconds)));
        }

        #[test]
        fn any_text_is_an_age_or_is_not(text in ".{0,12}") {
            let _ = text.parse::<Age>();
        }
    }
}
