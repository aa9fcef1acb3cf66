//! Values as they go in and come out.

use std::borrow::Cow;

use rusqlite::types::Value as Stored;
use sqlx_core::{
    decode::Decode,
    encode::{Encode, IsNull},
    error::BoxDynError,
    type_info::TypeInfo,
    types::Type,
};

use super::InPlace;

/// The storage class of a value (<https://www.sqlite.org/datatype3.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value.
    Null,
    /// A signed integer of 64 bits.
    Integer,
    /// A floating point number.
    Real,
    /// UTF-8.
    Text,
    /// Bytes.
    Blob,
}

impl TypeInfo for Kind {
    fn is_null(&self) -> bool {
        *self == Self::Null
    }

    fn name(&self) -> &str {
        match self {
            Self::Null => "NULL",
            Self::Integer => "INTEGER",
            Self::Real => "REAL",
            Self::Text => "TEXT",
            Self::Blob => "BLOB",
        }
    }
}

/// A value of a row.
#[derive(Debug)]
pub struct Value(Stored);

impl Value {
    pub(super) fn new(stored: Stored) -> Self {
        Self(stored)
    }

    pub(super) fn by_ref(&self) -> ValueRef<'_> {
        ValueRef(&self.0)
    }
}

/// A value of a row, looked at.
#[derive(Clone, Copy, Debug)]
pub struct ValueRef<'r>(&'r Stored);

impl ValueRef<'_> {
    fn kind(&self) -> Kind {
        match self.0 {
            Stored::Null => Kind::Null,
            Stored::Integer(_) => Kind::Integer,
            Stored::Real(_) => Kind::Real,
            Stored::Text(_) => Kind::Text,
            Stored::Blob(_) => Kind::Blob,
        }
    }

    fn is_not(&self, wanted: Kind) -> BoxDynError {
        format!("{wanted} was expected, {} was found", self.kind()).into()
    }
}

impl sqlx_core::value::Value for Value {
    type Database = InPlace;

    fn as_ref(&self) -> ValueRef<'_> {
        self.by_ref()
    }

    fn type_info(&self) -> Cow<'_, Kind> {
        Cow::Owned(self.by_ref().kind())
    }

    fn is_null(&self) -> bool {
        self.0 == Stored::Null
    }
}

impl<'r> sqlx_core::value::ValueRef<'r> for ValueRef<'r> {
    type Database = InPlace;

    fn to_owned(&self) -> Value {
        Value(self.0.clone())
    }

    fn type_info(&self) -> Cow<'_, Kind> {
        Cow::Owned(self.kind())
    }

    fn is_null(&self) -> bool {
        *self.0 == Stored::Null
    }
}

/// How a Rust type is stored and read back.
macro_rules! stored {
    ($type:ty, $kind:ident, $value:ident => $store:expr, $found:ident => $read:expr) => {
        impl Type<InPlace> for $type {
            fn type_info() -> Kind {
                Kind::$kind
            }
        }

        impl<'q> Encode<'q, InPlace> for $type {
            fn encode_by_ref(&self, values: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
                let $value = self;
                values.push($store);
                Ok(IsNull::No)
            }
        }

        impl<'r> Decode<'r, InPlace> for $type {
            fn decode(value: ValueRef<'r>) -> Result<Self, BoxDynError> {
                match value.0 {
                    Stored::$kind($found) => Ok($read),
                    _ => Err(value.is_not(Kind::$kind)),
                }
            }
        }
    };
}

stored!(i64, Integer, value => Stored::Integer(*value), found => *found);
stored!(i32, Integer, value => Stored::Integer((*value).into()), found => (*found).try_into()?);
stored!(bool, Integer, value => Stored::Integer((*value).into()), found => *found != 0);
stored!(f64, Real, value => Stored::Real(*value), found => *found);
stored!(String, Text, value => Stored::Text(value.clone()), found => found.clone());
stored!(Vec<u8>, Blob, value => Stored::Blob(value.clone()), found => found.clone());

impl Type<InPlace> for str {
    fn type_info() -> Kind {
        Kind::Text
    }
}

impl<'q> Encode<'q, InPlace> for &'q str {
    fn encode_by_ref(&self, values: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
        values.push(Stored::Text((*self).to_owned()));
        Ok(IsNull::No)
    }
}

impl Type<InPlace> for [u8] {
    fn type_info() -> Kind {
        Kind::Blob
    }
}

impl<'q> Encode<'q, InPlace> for &'q [u8] {
    fn encode_by_ref(&self, values: &mut Vec<Stored>) -> Result<IsNull, BoxDynError> {
        values.push(Stored::Blob(self.to_vec()));
        Ok(IsNull::No)
    }
}

sqlx_core::impl_encode_for_option!(InPlace);
