//! Values that remember where they stood, for whoever can only judge them later, beside others.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
};

/// Where a value stood in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Counted from one; zero where the text had no lines to name.
    pub line: usize,
    /// Its path, `namespaces[0].grants[2]`.
    pub key: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.key)
    }
}

/// A value with its place. Read from anything but settings it has none; written, it is the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stood.
    pub place: Place,
}

impl<T> Placed<T> {
    /// A value that stood nowhere.
    #[must_use]
    pub fn nowhere(value: T) -> Self {
        Self { value, place: Place::default() }
    }
}

impl<T> std::ops::Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize> Serialize for Placed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// What a placed value calls itself while it is read: settings answer with its line, its path and the value.
pub(super) const NAME: &str = "shared::settings::Placed";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NAME, Reading(PhantomData))
    }
}

struct Reading<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<T> {
    type Value = Placed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Placed<T>, D::Error> {
        T::deserialize(deserializer).map(Placed::nowhere)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Placed<T>, A::Error> {
        let missing = || de::Error::custom("a value without its place");
        let line = parts.next_element()?.ok_or_else(missing)?;
        let key = parts.next_element()?.ok_or_else(missing)?;
        let value = parts.next_element()?.ok_or_else(missing)?;
        Ok(Placed { value, place: Place { line, key } })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Source, *};

    #[derive(Debug, Deserialize)]
    struct Tree {
        people: Vec<Placed<Person>>,
    }

    #[derive(Debug, Deserialize)]
    struct Person {
        name: Placed<String>,
    }

    #[test]
    fn a_value_knows_where_it_stood() {
        let text = "version: 1\npeople:\n  - name: ada\n  - {name: bob}\n\n  -\n    name: eve\n";
        let read = Source::text("team.yml", text).unwrap().version("1").unwrap().read::<Tree>().unwrap();
        let places: Vec<_> = read.value.people.iter().map(|person| person.place.to_string()).collect();
        assert_eq!(places, ["line 3: people[0]", "line 4: people[1]", "line 7: people[2]"]);
        let eve = &read.value.people[2].name;
        assert_eq!((eve.as_str(), eve.place.to_string().as_str()), ("eve", "line 7: people[2].name"));
    }

    #[test]
    fn what_is_wrong_within_is_still_named_by_its_own_place() {
        let error =
            Source::text("team.yml", "people:\n  - name: ada\n  - nam: bob\n").unwrap().read::<Tree>().unwrap_err();
        assert_eq!(error.to_string(), "team.yml, line 3: people[1]: missing field `name`");
    }

    #[test]
    fn json_gives_it_no_place_and_gets_the_value_alone() {
        let placed: Placed<u32> = serde_json::from_str("7").unwrap();
        assert_eq!(placed, Placed::nowhere(7));
        assert_eq!(serde_json::to_string(&placed).unwrap(), "7");
    }
}
