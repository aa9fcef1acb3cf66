//! An object of texts that is looked at and not kept, but for one of them: a manifest can bring hundreds of thousands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::metadata::manifests::ANNOTATION;

/// How much is kept of what an image says of its life. What is longer is no age, and its beginning says so too.
const LIFE_CHARACTERS: usize = 64;

/// An object whose members are all texts.
#[derive(Default)]
pub(super) struct Texts {
    /// What it says of how long it is to live.
    pub(super) life: Option<String>,
}

/// A text.
struct Text;

/// A text of which the beginning is kept.
struct Life(String);

/// A member's name: whether it is the one that is kept.
struct IsLife(bool);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Self, A::Error> {
        while let Some(IsLife(kept)) = members.next_key()? {
            if kept {
                self.life = Some(members.next_value::<Life>()?.0);
            } else {
                members.next_value::<Text>()?;
            }
        }
        Ok(self)
    }
}

/// What both databases hold of an annotation's value.
pub(super) fn life(text: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(printable).take(LIFE_CHARACTERS).collect()
}

impl<'de> Deserialize<'de> for Life {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Beginning;
        impl Visitor<'_> for Beginning {
            type Value = Life;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Life, E> {
                Ok(Life(life(text)))
            }
        }
        deserializer.deserialize_str(Beginning)
    }
}

impl<'de> Deserialize<'de> for IsLife {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = IsLife;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<IsLife, E> {
                Ok(IsLife(text == ANNOTATION))
            }
        }
        deserializer.deserialize_identifier(Name)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl Visitor<'_> for Text {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}
