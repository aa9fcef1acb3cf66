//! Ranges, of bodies asked for (`Range`) and of chunks sent (`Content-Range`).

use std::ops::Range;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: no range, several, or one in a unit that is not ours.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing that exists: 416.
    Unsatisfiable,
}

impl Wanted {
    /// Reads the field for a body of `size` bytes.
    ///
    /// Where RFC 9110 lets a server choose, this does what the stock registry does: a range that begins behind its
    /// end is 416, not ignored, and an empty body is served whole. Several ranges are answered with everything,
    /// which the RFC allows and no client minds.
    pub(super) fn read(field: Option<&str>, size: u64) -> Self {
        let Some((unit, ranges)) = field.and_then(|field| field.split_once('=')) else {
            return if field.is_some() { Self::Unsatisfiable } else { Self::Whole };
        };
        if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') || size == 0 {
            return Self::Whole;
        }
        Self::one(ranges.trim(), size).map_or(Self::Unsatisfiable, Self::Part)
    }

    fn one(range: &str, size: u64) -> Option<Range<u64>> {
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        if first.is_empty() {
            let suffix = number(last)?.min(size);
            return (suffix > 0).then(|| size - suffix..size);
        }
        let start = number(first)?;
        let end = if last.is_empty() { size } else { number(last)?.saturating_add(1).min(size) };
        (start < end).then_some(start..end)
    }
}

/// What a `Content-Range` field says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkRange {
    /// Where the chunk begins.
    pub(super) start: u64,
    /// How long it is.
    pub(super) length: u64,
}

impl ChunkRange {
    /// `0-99`, as the specification writes it, and `bytes 0-99/*`, as RFC 9110 does.
    pub(super) fn read(field: &str) -> Option<Self> {
        let field = field.trim();
        let range = field.strip_prefix("bytes ").unwrap_or(field);
        let range = range.split_once('/').map_or(range, |(range, _)| range);
        let (start, end) = range.split_once('-')?;
        let (start, end) = (number(start)?, number(end)?);
        let length = end.checked_sub(start)?.checked_add(1)?;
        Some(Self { start, length })
    }
}

/// Digits alone: no sign, no blank.
fn number(text: &str) -> Option<u64> {
    Some(text).filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_asked_for_is_what_is_meant(start: u64, length in 1_u64.., size in 1_u64..) {
            let last = start.saturating_add(length - 1);
            let asked = format!("bytes={start}-{last}");
            let end = last.saturating_add(1).min(size);
            let expected = if start < end { Wanted::Part(start..end) } else { Wanted::Unsatisfiable };
            prop_assert_eq!(Wanted::read(Some(&asked), size), expected);
            let from = if start < size { Wanted::Part(start..size) } else { Wanted::Unsatisfiable };
            prop_assert_eq!(Wanted::read(Some(&format!("bytes={start}-")), size), from);
            let suffix = Wanted::read(Some(&format!("bytes=-{length}")), size);
            prop_assert_eq!(suffix, Wanted::Part(size - length.min(size)..size));
        }

        #[test]
        fn a_part_always_lies_within_its_body(field in "bytes=[0-9 -]{0,24}|\\PC{0,24}", size: u64) {
            if let Wanted::Part(part) = Wanted::read(Some(&field), size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn a_chunk_is_where_it_says(start in 0..u64::MAX / 2, length in 1..u64::MAX / 2) {
            let last = start + length - 1;
            let expected = Some(ChunkRange { start, length });
            prop_assert_eq!(ChunkRange::read(&format!("{start}-{last}")), expected);
            prop_assert_eq!(ChunkRange::read(&format!("bytes {start}-{last}/*")), expected);
        }
    }

    #[test]
    fn ranges_are_read_as_the_stock_registry_reads_them() {
        let read = |field| Wanted::read(Some(field), 2048);
        assert_eq!(Wanted::read(None, 2048), Wanted::Whole);
        assert_eq!(read("bytes=500-1499"), Wanted::Part(500..1500));
        assert_eq!(read("bytes=500-"), Wanted::Part(500..2048));
        assert_eq!(read("bytes=-500"), Wanted::Part(1548..2048));
        assert_eq!(read("bytes=-5000"), Wanted::Part(0..2048));
        assert_eq!(read("bytes=2000-5000"), Wanted::Part(2000..2048));
        assert_eq!(read("bytes=0-18446744073709551615"), Wanted::Part(0..2048));
        assert_eq!(read("Bytes=0-0"), Wanted::Part(0..1));
        for nothing in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0", "bytes=-", "bytes=a-b", "bytes=1"]
        {
            assert_eq!(read(nothing), Wanted::Unsatisfiable, "{nothing}");
        }
        assert_eq!(read("bytes=99999999999999999999-"), Wanted::Unsatisfiable);
        assert_eq!(read("bytes=+1-2"), Wanted::Unsatisfiable);
        assert_eq!(read("nonsense"), Wanted::Unsatisfiable);
        assert_eq!(read("bytes=0-1,5-6"), Wanted::Whole);
        assert_eq!(read("lines=0-1"), Wanted::Whole);
        assert_eq!(Wanted::read(Some("bytes=0-5"), 0), Wanted::Whole);
    }

    #[test]
    fn chunk_ranges_have_two_spellings() {
        let chunk = |start, length| Some(ChunkRange { start, length });
        assert_eq!(ChunkRange::read("0-99"), chunk(0, 100));
        assert_eq!(ChunkRange::read("bytes 100-199/*"), chunk(100, 100));
        assert_eq!(ChunkRange::read("bytes 0-0/1"), chunk(0, 1));
        for wrong in ["", "5", "9-1", "a-b", "-5", "5-", "0-18446744073709551615", "-1-5", "bytes=0-5"] {
            assert_eq!(ChunkRange::read(wrong), None, "{wrong}");
        }
    }
}
