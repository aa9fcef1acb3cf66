//! Amounts of bytes as people write and read them: `10GiB`, `1.5 GB`, `950.2 MiB`.

use std::{fmt, str::FromStr};

/// An amount of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// The text is no amount of bytes, or one above 63 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an amount of bytes; write it like 500MB (powers of 1000), 10GiB (powers of 1024) or 1048576")]
pub struct NotASize;

/// Units by what they stand for. Binary ones last and largest last: that is how a unit to print is found.
const UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// Where the binary units begin.
const BINARY: usize = 6;

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        // A letter alone means powers of 1000 to some and of 1024 to others.
        let (_, bytes) = match unit.trim_start() {
            "" => UNITS[0],
            unit => *UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(NotASize)?,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let scale = u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 6).ok_or(NotASize)?;
        let parse = |digits: &str| digits.parse::<u64>().map_err(|_| NotASize);
        let (whole, fraction) = (parse(whole)?, parse(fraction)?);
        // Half a byte is a slip.
        let part = fraction.checked_mul(bytes).ok_or(NotASize)?;
        let part = part.is_multiple_of(10_u64.pow(scale)).then(|| part / 10_u64.pow(scale)).ok_or(NotASize)?;
        let sum = whole.checked_mul(bytes).and_then(|whole| whole.checked_add(part));
        sum.filter(|sum| i64::try_from(*sum).is_ok()).map(Self).ok_or(NotASize)
    }
}

/// Whole where it is, else with one decimal, cut off: what is printed is never more than there is.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = UNITS[BINARY..].iter().rev().find(|(_, bytes)| self.0 >= *bytes);
        let Some((unit, bytes)) = fits else { return write!(f, "{} B", self.0) };
        let (whole, rest) = (self.0 / bytes, self.0 % bytes);
        if rest == 0 { write!(f, "{whole} {unit}") } else { write!(f, "{whole}.{} {unit}", tenths(rest, *bytes)) }
    }
}

const fn tenths(part: u64, of: u64) -> u128 {
    part as u128 * 10 / of as u128
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<u64> {
        text.parse().ok().map(|Size(bytes)| bytes)
    }

    #[test]
    fn people_write_sizes_in_many_ways() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("17B", 17),
            ("500MB", 500_000_000),
            ("500mb", 500_000_000),
            ("10GiB", 10 << 30),
            ("10 GiB", 10 << 30),
            ("1.5kB", 1_500),
            ("0.5KiB", 512),
            ("2TiB", 2 << 40),
            ("9223372036854775807", i64::MAX.unsigned_abs()),
        ] {
            assert_eq!(read(text), Some(bytes), "{text}");
        }
        for text in [
            "",
            " ",
            "GiB",
            "10G",
            "10K",
            "ten",
            "-1",
            "+1",
            "1e3",
            "1.2.3 kB",
            ".5kB",
            "1.kB",
            "1.5",
            "0.1KiB",
            "1 GiB ",
            " 1GiB",
            "9223372036854775808",
            "9000000PiB",
            "1.0000001MB",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_printed_is_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1 << 10, "1 KiB"),
            (10 << 30, "10 GiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (3 << 29, "1.5 GiB"),
            ((1 << 30) + 1, "1.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn whole_amounts_are_read_again_as_the_same(number in 0..1_u64 << 10, unit in BINARY..UNITS.len()) {
            let size = Size(number.saturating_mul(UNITS[unit].1));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,30}|[0-9.]{0,40}[kKMGTPiB ]{0,4}") {
            let _ = text.parse::<Size>();
        }
    }
}
