//! What the types of the handlers say of their routes: for the document in `docs/openapi`, and for the table.

use axum::http::StatusCode;
use shared::openapi::{Answer, Argument, Caller, Entity, Said};
use utoipa::ToSchema;

use super::{
    Needs,
    access::{LocalAdmin, NamespaceAdmin, RepositoryAdmin, RepositoryReader, SystemAdmin},
    input,
    lines::{self, Lines},
};

impl Needs {
    /// Whether a route that says it needs this has a handler that takes that.
    pub(super) fn fits(self, caller: Option<Caller>) -> bool {
        let taken = match self {
            Self::Local => Caller::Local,
            Self::System => Caller::System,
            Self::Namespace => Caller::Namespace,
            Self::Reader => Caller::Reader,
        };
        caller == Some(taken)
    }
}

macro_rules! callers {
    ($($proof:ty => $caller:ident;)+) => {
        $(impl Argument for $proof {
            fn tell(said: &mut Said) {
                said.caller = Some(Caller::$caller);
            }
        })+
    };
}

callers! {
    LocalAdmin => Local;
    SystemAdmin => System;
    NamespaceAdmin => Namespace;
    RepositoryAdmin => Namespace;
    RepositoryReader => Reader;
}

impl Argument for input::Namespace {
    fn tell(_: &mut Said) {}
}

impl<T: ToSchema> Argument for input::Asked<T> {
    fn tell(said: &mut Said) {
        T::schemas(&mut said.schemas);
        said.query = Some(T::schema());
    }
}

/// None at all is an empty object, so a body is needed where a member of it is.
impl<T: ToSchema + serde::de::DeserializeOwned> Argument for input::Body<T> {
    fn tell(said: &mut Said) {
        let needed = serde_json::from_str::<T>("{}").is_err();
        said.body = Some(Entity { is_required: needed, ..Entity::json(said.refer::<T>()) });
    }
}

impl<E: ToSchema> Answer for Lines<E> {
    fn tell(said: &mut Said) {
        let line = Entity { media_type: lines::TYPE, ..Entity::json(said.refer::<E>()) };
        said.answer = Some((StatusCode::OK, Some(line)));
    }
}
