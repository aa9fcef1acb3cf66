//! What words with a grammar of their own are to a client: texts, with the grammar's name.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
    },
};

use crate::{
    clock::Timestamp,
    digest::Digest,
    pattern::RepositoryPattern,
    repository::RepositoryName,
    tag::{Tag, TagPattern},
};

/// A text that reads like `example`.
#[must_use]
pub fn text(description: &str, example: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    text.examples([example]).build().into()
}

/// One of these words.
#[must_use]
pub fn words<const N: usize>(words: [&str; N]) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build().into()
}

/// What `ToSchema` collects.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A part of a list.
#[must_use]
pub fn page_of<T: ToSchema>() -> RefOr<Schema> {
    let next = ObjectBuilder::new().schema_type(Type::String);
    let next = next.description(Some("What to say as after for the next page; missing on the last"));
    let items = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
    ObjectBuilder::new().property("items", items).property("next", next).required("items").build().into()
}

macro_rules! texts {
    ($($type:ty: $name:literal, $description:literal, $example:literal;)+) => {
        $(impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                text($description, $example)
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        })+
    };
}

texts! {
    Digest: "Digest", "A digest of OCI: sha256 or sha512", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    RepositoryName: "RepositoryName", "A repository, as distribution's grammar has it", "acme/web";
    RepositoryPattern: "RepositoryPattern", "A pattern over whole names of repositories: * and ? stand for characters of a segment, ** for segments, {a,b} for either", "acme/**";
    Tag: "Tag", "A tag, as distribution's grammar has it", "v1.2.0";
    TagPattern: "TagPattern", "A pattern over whole tags: * stands for any characters or none, ? for one", "pr-*";
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let moment = ObjectBuilder::new().schema_type(Type::String);
        moment.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).build().into()
    }
}

impl ToSchema for Timestamp {
    fn name() -> Cow<'static, str> {
        "Timestamp".into()
    }
}
