//! Access as it stands in a token (design: "Verifying", rules 5 and 6).

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap};
use serde_json::{Map, Value};
use thiserror::Error;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::{Access, Action, Limit, Resource, ResourceKind};
use crate::{openapi::Schemas, strict_json, tag::TagPattern};

/// Why a JSON value is no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AccessError {
    /// The entry is null, or anything else that is not an object.
    #[error("an access entry is not an object")]
    NotAnObject,
    /// A member has a value of another type than the token specification gives it.
    #[error("{0} of an access entry has a value of the wrong type")]
    WrongType(&'static str),
    /// The type or the name is missing, or one that no resource can have. Such an entry allows nothing.
    #[error("an access entry names no resource")]
    Unnameable,
}

impl Access {
    /// Reads one entry of a token's `access`. Members that are unknown here, `class` among them, are passed over.
    ///
    /// # Errors
    /// [`AccessError::Unnameable`] if the entry is well-formed, but can match nothing; else the entry is malformed.
    pub fn from_json(entry: &Value) -> Result<Self, AccessError> {
        let members = entry.as_object().ok_or(AccessError::NotAnObject)?;
        let kind = text(members, "type")?;
        let name = text(members, "name")?;
        let actions = actions(members).ok_or(AccessError::WrongType("actions"))?;
        let limited = match members.get("limited") {
            None => Vec::new(),
            Some(Value::Array(limits)) => limits.iter().filter_map(limit).collect(),
            Some(_) => return Err(AccessError::WrongType("limited")),
        };
        if !is_kind(kind) {
            return Err(AccessError::Unnameable);
        }
        let name = name.parse().map_err(|_| AccessError::Unnameable)?;
        Ok(Self { resource: Resource { kind: ResourceKind::from(kind), name }, actions, limited })
    }
}

/// `[a-z0-9]+`: the kinds that can be asked for.
fn is_kind(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn text<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, AccessError> {
    match members.get(name) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(AccessError::WrongType(name)),
    }
}

fn actions(members: &Map<String, Value>) -> Option<BTreeSet<Action>> {
    match members.get("actions") {
        None | Some(Value::Null) => Some(BTreeSet::new()),
        Some(Value::Array(actions)) => actions.iter().map(|action| action.as_str().map(Action::from)).collect(),
        Some(_) => None,
    }
}

/// An element that is not understood whole is void, and allows nothing: so is one with a member that this version does
/// not know, since that may be the limit that matters.
fn limit(element: &Value) -> Option<Limit> {
    let members = element.as_object()?;
    if members.keys().any(|name| !matches!(name.as_str(), "actions" | "tags" | "readable")) {
        return None;
    }
    let tags = match members.get("tags") {
        None => Vec::new(),
        Some(tags) => tags.as_array()?.iter().map(|tag| tag.as_str()?.parse().ok()).collect::<Option<_>>()?,
    };
    let readable = match members.get("readable") {
        None => false,
        Some(readable) => readable.as_bool()?,
    };
    Some(Limit { actions: actions(members)?, tags, readable })
}

/// What an access is to a client.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is a description of what is written by hand below")]
struct AccessWritten {
    /// repository, registry, system or namespace.
    r#type: String,
    name: String,
    /// What is allowed without a limit.
    actions: Vec<String>,
    /// What is allowed within limits.
    limited: Option<Vec<LimitWritten>>,
}

/// Actions that are allowed within limits; every limit given must hold.
#[derive(ToSchema)]
#[schema(as = Limit)]
#[expect(dead_code, reason = "it is a description of what is written by hand below")]
struct LimitWritten {
    actions: Vec<String>,
    /// Tags, by patterns.
    tags: Option<Vec<TagPattern>>,
    /// Only what its bearer may read.
    readable: Option<bool>,
}

impl PartialSchema for Access {
    fn schema() -> RefOr<Schema> {
        AccessWritten::schema()
    }
}

impl ToSchema for Access {
    fn schemas(schemas: &mut Schemas) {
        AccessWritten::schemas(schemas);
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = strict_json::deserialize(deserializer)?;
        Self::from_json(&entry).map_err(D::Error::custom)
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("type", self.resource.kind.as_str())?;
        members.serialize_entry("name", self.resource.name.as_str())?;
        members.serialize_entry("actions", &self.actions)?;
        if !self.limited.is_empty() {
            members.serialize_entry("limited", &self.limited)?;
        }
        members.end()
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("actions", &self.actions)?;
        if !self.tags.is_empty() || !self.readable {
            members.serialize_entry::<_, [TagPattern]>("tags", &self.tags)?;
        }
        if self.readable {
            members.serialize_entry("readable", &true)?;
        }
        members.end()
    }
}
