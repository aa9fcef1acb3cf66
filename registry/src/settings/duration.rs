//! Durations as Go writes them: `168h`, `1m30s`, `250ms`; a bare number counts nanoseconds.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A duration of the settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

/// The text is no duration, or a negative one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write it like 168h, 1m30s or 250ms")]
pub struct NotADuration;

/// The units, in nanoseconds; `m` last, because `ms` begins with it.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
];

impl FromStr for GoDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(NotADuration)?;
            let (number, behind) = rest.split_at(end);
            let (unit, nanoseconds) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit)).ok_or(NotADuration)?;
            total = total.checked_add(amount(number, *nanoseconds)?).ok_or(NotADuration)?;
            rest = &behind[unit.len()..];
        }
        if text.is_empty() { Err(NotADuration) } else { Ok(Self(total)) }
    }
}

/// `number` may have a fraction: `1.5h`.
fn amount(number: &str, nanoseconds: u64) -> Result<Duration, NotADuration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = fraction.chars().all(|digit| digit.is_ascii_digit()) && fraction.len() <= 9;
    if !digits || (whole.is_empty() && fraction.is_empty()) {
        return Err(NotADuration);
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| NotADuration)? };
    let scale = 10_u64.pow(u32::try_from(fraction.len()).map_err(|_| NotADuration)?);
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| NotADuration)? };
    let whole = whole.checked_mul(nanoseconds).ok_or(NotADuration)?;
    let part = u128::from(fraction) * u128::from(nanoseconds) / u128::from(scale);
    let part = u64::try_from(part).map_err(|_| NotADuration)?;
    Ok(Duration::from_nanos(whole.checked_add(part).ok_or(NotADuration)?))
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like 168h")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, nanoseconds: u64) -> Result<GoDuration, E> {
                Ok(GoDuration(Duration::from_nanos(nanoseconds)))
            }

            fn visit_i64<E: de::Error>(self, nanoseconds: i64) -> Result<GoDuration, E> {
                let nanoseconds = u64::try_from(nanoseconds).map_err(|_| E::custom(NotADuration))?;
                self.visit_u64(nanoseconds)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As Go's `time.Duration.String` writes it, the longest forms included: `2562047h47m16.854775807s`.
    fn as_go_writes(duration: Duration) -> String {
        let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
        let fraction = |text: String| text.trim_end_matches('0').trim_end_matches('.').to_owned();
        match (seconds, nanoseconds) {
            (0, 0) => "0s".to_owned(),
            (0, 1..1_000) => format!("{nanoseconds}ns"),
            (0, 1_000..1_000_000) => fraction(format!("{}.{:03}", nanoseconds / 1_000, nanoseconds % 1_000)) + "µs",
            (0, _) => fraction(format!("{}.{:06}", nanoseconds / 1_000_000, nanoseconds % 1_000_000)) + "ms",
            _ => {
                let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
                let end = fraction(format!("{}.{nanoseconds:09}", seconds % 60)) + "s";
                match (hours, minutes) {
                    (0, 0) => end,
                    (0, _) => format!("{minutes}m{end}"),
                    _ => format!("{hours}h{minutes}m{end}"),
                }
            }
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let seconds = |text: &str| text.parse::<GoDuration>().map(|duration| duration.0.as_secs_f64());
        for (text, expected) in [
            ("0", 0.0),
            ("0s", 0.0),
            ("168h", 604_800.0),
            ("1m30s", 90.0),
            ("1.5h", 5400.0),
            ("250ms", 0.25),
            (".5s", 0.5),
            ("1h2m3s4ms", 3723.004),
            ("10us", 0.000_01),
            ("10µs", 0.000_01),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "5", "s", "-1s", "1d", "1 h", "1.2.3s", ".s", "99999999999h", "1h2"] {
            assert_eq!(seconds(text), Err(NotADuration), "{text}");
        }
    }

    #[test]
    fn a_bare_number_counts_nanoseconds() {
        let read = |text: &str| serde_json::from_str::<GoDuration>(text).map(|duration| duration.0).ok();
        assert_eq!(read("1500"), Some(Duration::from_nanos(1500)));
        assert_eq!(read("\"2s\""), Some(Duration::from_secs(2)));
        assert_eq!(read("-1"), None);
        assert_eq!(read("true"), None);
    }

    proptest! {
        #[test]
        fn what_go_writes_is_read(nanoseconds in prop_oneof![0..10_000_u64, 0..10_000_000_000_u64, 0..=i64::MAX.cast_unsigned()]) {
            let duration = Duration::from_nanos(nanoseconds);
            let text = as_go_writes(duration);
            prop_assert_eq!(text.parse(), Ok(GoDuration(duration)), "{}", text);
        }

        #[test]
        fn parts_add_up_in_any_order(mut parts in prop::collection::vec((0..1_000_000_u64, prop::sample::select(UNITS.to_vec())), 1..6)) {
            let total = |parts: &[(u64, (&str, u64))]| {
                let text: String = parts.iter().map(|(number, (unit, _))| format!("{number}{unit}")).collect();
                text.parse::<GoDuration>()
            };
            let sum = parts.iter().map(|(number, (_, nanoseconds))| number * nanoseconds).sum();
            prop_assert_eq!(total(&parts), Ok(GoDuration(Duration::from_nanos(sum))));
            parts.reverse();
            prop_assert_eq!(total(&parts), Ok(GoDuration(Duration::from_nanos(sum))));
        }

        #[test]
        fn any_text_at_all_is_read_or_refused_without_a_panic(text in "([0-9.]{0,22}(ns|us|µs|ms|s|m|h)){0,4}|.{0,12}") {
            if let Ok(GoDuration(duration)) = text.parse() {
                let again = format!("{}ns", duration.as_nanos()).parse::<GoDuration>();
                prop_assert!(again == Ok(GoDuration(duration)) || duration.as_nanos() > u128::from(u64::MAX));
            }
        }
    }
}
