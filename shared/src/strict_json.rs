//! JSON as a token must carry it (design: "Verifying", rule 4): UTF-8, no member twice, nothing behind it, not too deep.
//!
//! Two readers that disagree about one text are how tokens get forged; what can be read in two ways is refused.

use std::{cell::Cell, fmt, str};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use thiserror::Error;

/// How many arrays and objects may stand within each other.
pub const MAX_DEPTH: usize = 32;

/// Why a text is not taken for JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StrictJsonError {
    /// The bytes are not UTF-8.
    #[error("the JSON text is not UTF-8")]
    NotUtf8,
    /// The text is not exactly one JSON value.
    #[error("the text is not one JSON value (line {line}, column {column})")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
    },
    /// An object has two members of one name.
    #[error("a JSON object has two members of the same name")]
    DuplicateMember,
    /// Arrays and objects stand more than [`MAX_DEPTH`] deep.
    #[error("the JSON text is more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

/// Reads one JSON value.
///
/// # Errors
/// See [`StrictJsonError`].
pub fn parse(text: &[u8]) -> Result<Value, StrictJsonError> {
    let text = str::from_utf8(text).map_err(|_| StrictJsonError::NotUtf8)?;
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0, fault: &fault }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        fault.get().unwrap_or(StrictJsonError::Malformed { line: error.line(), column: error.column() })
    })
}

/// Reads one value with a deserializer that somebody else holds, by the same rules.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Strict { depth: 0, fault: &Cell::new(None) }.deserialize(deserializer)
}

/// Reads a value that stands `depth` levels deep. serde's errors are texts, so the kind of fault is left in `fault`.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    fault: &'a Cell<Option<StrictJsonError>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, fault: StrictJsonError) -> E {
        self.fault.set(Some(fault));
        E::custom(fault)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(StrictJsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(StrictJsonError::DuplicateMember));
            }
            let value = members.next_value_seed(inside)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_read() {
        let value = parse(br#" {"a":[null,true,-1,18446744073709551615,1.5,"\u00e9"],"":{}} "#).unwrap();
        assert_eq!(value, json!({"a": [null, true, -1, u64::MAX, 1.5, "é"], "": {}}));
    }

    #[test]
    fn a_member_named_twice_is_refused_wherever_it_stands() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#, r#"{"exp":1,"\u0065xp":2}"#, r#"{"":1,"":2}"#]
        {
            assert_eq!(parse(text.as_bytes()), Err(StrictJsonError::DuplicateMember), "{text}");
        }
        assert!(parse(br#"{"a":{"a":{}},"A":1}"#).is_ok(), "in different objects, or another name");
    }

    #[test]
    fn the_thirty_third_level_is_refused() {
        assert_eq!(MAX_DEPTH, 32);
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(parse(nested(32).as_bytes()).is_ok());
            assert_eq!(parse(nested(33).as_bytes()), Err(StrictJsonError::TooDeep));
            assert_eq!(parse(nested(100_000).as_bytes()), Err(StrictJsonError::TooDeep));
        }
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        let texts: [&[u8]; 16] = [
            b"",
            b" ",
            b"{} {}",
            b"{}x",
            b"{}\0",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"[1,]",
            b"01",
            b"+1",
            b"NaN",
            b"1e999",
            b"\"\\ud800\"",
            b"\"\t\"",
            b"// c\n1",
            b"{\"a\"",
        ];
        for text in texts {
            let refused = parse(text);
            assert!(matches!(refused, Err(StrictJsonError::Malformed { .. })), "{refused:?} {}", text.escape_ascii());
        }
        assert!(matches!(parse("\u{feff}{}".as_bytes()), Err(StrictJsonError::Malformed { .. })), "byte order mark");
        for text in [&b"\"\xff\""[..], b"\xff", b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"", b"\xff\xfe{\0}\0"] {
            assert_eq!(parse(text), Err(StrictJsonError::NotUtf8));
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| json!(number)),
            any::<u64>().prop_map(|number| json!(number)),
            ".{0,8}".prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                prop::collection::btree_map(".{0,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(value in values()) {
            prop_assert_eq!(parse(value.to_string().as_bytes()), Ok(value));
        }

        #[test]
        fn whatever_is_accepted_reads_as_any_reader_reads_it(text in r#"[\[\]{}:,"0-9a-c\\ue. -]{0,16}"#) {
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }

        #[test]
        fn no_bytes_make_parsing_panic(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&text);
        }
    }
}
