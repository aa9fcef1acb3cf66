//! A place in the tree as serde sees it.

use std::vec;

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, StringDeserializer},
    },
};

use super::{Cursor, Error};
use crate::{
    secret,
    settings::{
        placed,
        scalar::{self, Meaning},
        yaml::{Node, Value},
    },
};

impl<'de> Deserializer<'de> for Cursor<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        let this = self.replaced().map_err(|error| error.at(&place))?;
        let indices = this.variables.iter().all(|variable| variable.rest[0].parse::<usize>().is_ok());
        let deeper = !this.variables.is_empty();
        match this.node.as_ref().map(|node| &node.value) {
            Some(Value::List(_)) => this.deserialize_seq(visitor),
            None | Some(Value::Null) if deeper && indices => this.deserialize_seq(visitor),
            Some(Value::Map(_)) => this.deserialize_map(visitor),
            _ if deeper => Self { node: None, ..this }.deserialize_map(visitor),
            None | Some(Value::Null) => visitor.visit_unit(),
            Some(Value::Scalar { text, plain }) => visit_scalar(text, *plain, visitor),
        }
        .map_err(|error| error.at(&place))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.boolean().and_then(|value| visitor.visit_bool(value)).map_err(|error| error.at(&place))
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.integer().and_then(|value| visitor.visit_i64(value)).map_err(|error| error.at(&place))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.integer().and_then(|value| visitor.visit_u64(value)).map_err(|error| error.at(&place))
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_i64(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.float().and_then(|value| visitor.visit_f64(value)).map_err(|error| error.at(&place))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    /// Null is the empty text, as it is for Distribution.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.text().and_then(|text| visitor.visit_string(text.unwrap_or_default())).map_err(|error| error.at(&place))
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.text()
            .and_then(|text| visitor.visit_byte_buf(text.unwrap_or_default().into_bytes()))
            .map_err(|error| error.at(&place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_nothing() {
            return visitor.visit_none();
        }
        let place = self.place();
        visitor.visit_some(self).map_err(|error| error.at(&place))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    /// `Secret` and `Placed` announce themselves by their names.
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        if name == placed::NAME {
            return visitor.visit_seq(WithPlace::of(self)).map_err(|error| error.at(&place));
        }
        let literally = self.secret || name == secret::NAME;
        visitor.visit_newtype_struct(Self { secret: literally, ..self }).map_err(|error| error.at(&place))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.items().and_then(|items| visitor.visit_seq(Items(items.into_iter()))).map_err(|error| error.at(&place))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let place = self.place();
        self.free_entries()
            .and_then(|entries| visitor.visit_map(Entries::of(entries)))
            .map_err(|error| error.at(&place))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let place = self.place();
        self.fields(fields)
            .and_then(|entries| visitor.visit_map(Entries::of(entries)))
            .map_err(|error| error.at(&place))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let place = self.place();
        let map = matches!(&self.node, Some(Node { value: Value::Map(_), .. }));
        let here = self.variables.iter().any(|variable| variable.is_here() || variable.names_a_file());
        if (map || !self.variables.is_empty()) && !here {
            let entries = self.fields(variants).map_err(|error| error.at(&place))?;
            return visitor
                .visit_enum(MapAccessDeserializer::new(Entries::of(entries)))
                .map_err(|error| error.at(&place));
        }
        self.needed("a word")
            .and_then(|word| visitor.visit_enum(StringDeserializer::new(word)))
            .map_err(|error| error.at(&place))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// A scalar where nothing says what it should be.
fn visit_scalar<'de, V: Visitor<'de>>(text: &str, plain: bool, visitor: V) -> Result<V::Value, Error> {
    match scalar::meaning(text) {
        Meaning::Bool(value) if plain => visitor.visit_bool(value),
        Meaning::Unsigned(value) if plain => visitor.visit_u64(value),
        Meaning::Signed(value) if plain => visitor.visit_i64(value),
        Meaning::Float(value) if plain => visitor.visit_f64(value),
        _ => visitor.visit_str(text),
    }
}

/// A value behind its line and its path, one after the other.
enum WithPlace<'c> {
    Line(usize, Cursor<'c>),
    Path(Cursor<'c>),
    Value(Cursor<'c>),
    End,
}

impl<'c> WithPlace<'c> {
    fn of(cursor: Cursor<'c>) -> Self {
        Self::Line(cursor.node.as_ref().map_or(0, |node| node.line), cursor)
    }
}

impl<'de> SeqAccess<'de> for WithPlace<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        match std::mem::replace(self, Self::End) {
            Self::Line(line, cursor) => {
                *self = Self::Path(cursor);
                seed.deserialize(line.into_deserializer()).map(Some)
            }
            Self::Path(cursor) => {
                let path: StringDeserializer<Error> = cursor.path.clone().into_deserializer();
                *self = Self::Value(cursor);
                seed.deserialize(path).map(Some)
            }
            Self::Value(cursor) => seed.deserialize(cursor).map(Some),
            Self::End => Ok(None),
        }
    }
}

struct Items<'c>(vec::IntoIter<Cursor<'c>>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Entries<'c> {
    entries: vec::IntoIter<(String, Cursor<'c>)>,
    value: Option<Cursor<'c>>,
}

impl<'c> Entries<'c> {
    fn of(entries: Vec<(String, Cursor<'c>)>) -> Self {
        Self { entries: entries.into_iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let place = value.place();
        self.value = Some(value);
        let key: StringDeserializer<Error> = key.into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at(&place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::new("a value was asked for before its key"))?;
        let place = value.place();
        seed.deserialize(value).map_err(|error| error.at(&place))
    }
}
