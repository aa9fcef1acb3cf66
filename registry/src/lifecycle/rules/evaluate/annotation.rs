//! The annotation by which an image says how long it is to live.

use super::super::age::{Age, InvalidAge};

pub use crate::metadata::manifests::ANNOTATION;

/// Why an annotation is not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLife {
    /// It is no age.
    #[error(transparent)]
    Age(#[from] InvalidAge),
    /// It would end before the push is over.
    #[error("a life is one minute at least")]
    TooShort,
}

/// Reads the annotation: an age from one minute to ten years.
///
/// # Errors
/// It is none.
pub fn life(text: &str) -> Result<Age, InvalidLife> {
    let age: Age = text.parse()?;
    if age < Age::MINUTE { Err(InvalidLife::TooShort) } else { Ok(age) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_minute_to_ten_years() {
        for text in ["1m", "60s", "7d", "3650d"] {
            life(text).unwrap();
        }
        for text in ["", "7", "59s", "0s", "3651d", "7 days", "forever", " 7d"] {
            life(text).unwrap_err();
        }
    }
}
