//! Values that must not be seen: passwords, keys, tokens.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de::Visitor};
use zeroize::Zeroize;

/// Holds a value that is never printed and is wiped from memory when dropped.
///
/// Reading it takes a call of [`Secret::expose`], which is what to look for in a review. It cannot be serialised: whoever writes a secret down does so
/// on purpose. It has no `==`: compare a keyed digest of it, or compare in constant time.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value into custody.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself.
    #[must_use]
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

/// What a secret calls itself while it is read, so that settings take its text literally.
pub(crate) const NAME: &str = "shared::secret::Secret";

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, Custody(PhantomData))
    }
}

/// Reads the value itself.
struct Custody<T>(PhantomData<T>);

impl<'de, T: Zeroize + Deserialize<'de>> Visitor<'de> for Custody<T> {
    type Value = Secret<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Secret<T>, D::Error> {
        T::deserialize(deserializer).map(Secret)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    #[derive(Debug)]
    struct Login {
        #[expect(dead_code, reason = "read by Debug")]
        password: Secret<String>,
    }

    #[test]
    fn is_redacted_wherever_it_is_printed() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(format!("{:?}", Login { password: secret }), "Login { password: [redacted] }");
    }

    #[test]
    fn is_read_from_settings_as_the_plain_value() {
        let secret: Secret<String> = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn is_wiped_when_dropped() {
        struct Witness(Rc<Cell<bool>>);
        impl Zeroize for Witness {
            fn zeroize(&mut self) {
                self.0.set(true);
            }
        }
        let wiped = Rc::new(Cell::new(false));
        drop(Secret::new(Witness(Rc::clone(&wiped))));
        assert!(wiped.get());
    }
}
