//! What the type of a handler says about its route: who may call it, and what it reads. Nobody writes that down a second time, so it cannot
//! be said wrong.

use axum::Json;
use shared::openapi::{Answer, Argument, Caller, Entity, Parts, Said};
use utoipa::ToSchema;

use super::{
    Needs,
    access::{ApiCaller, Inquirer, Looker, NamespaceAdmin, SystemAdmin},
    output::Tagged,
};
use crate::http::{
    Peer,
    input::{Asked, Body, Form, IfMatch, Named, Nothing},
};

impl Needs {
    /// Whether a route that says it needs this has a handler that takes that.
    pub(super) fn fits(self, caller: Option<Caller>) -> bool {
        let taken: &[Caller] = match self {
            Self::Oneself => &[Caller::Any],
            Self::View => &[Caller::Any, Caller::Looker],
            Self::Inquiry => &[Caller::Inquirer],
            Self::Namespace => &[Caller::Namespace],
            Self::System => &[Caller::System],
        };
        caller.is_some_and(|caller| taken.contains(&caller))
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
    ApiCaller => Any;
    Looker => Looker;
    Inquirer => Inquirer;
    NamespaceAdmin => Namespace;
    SystemAdmin => System;
}

impl Argument for Peer {
    fn tell(_: &mut Said) {}
}

impl<T: ToSchema, const LIMIT: usize> Argument for Body<T, LIMIT> {
    fn tell(said: &mut Said) {
        said.body = Some(Entity::json(said.refer::<T>()));
    }
}

impl<T: ToSchema> Argument for Form<T> {
    fn tell(said: &mut Said) {
        let media_type = "application/x-www-form-urlencoded";
        said.body = Some(Entity { media_type, ..Entity::json(said.refer::<T>()) });
    }
}

impl Argument for Nothing {
    fn tell(said: &mut Said) {
        said.reads_nothing = true;
    }
}

impl Argument for IfMatch {
    fn tell(said: &mut Said) {
        said.has_condition = true;
    }
}

impl<T: ToSchema> Argument for Asked<T> {
    fn tell(said: &mut Said) {
        T::schemas(&mut said.schemas);
        said.query = Some(T::schema());
    }
}

impl<T: Parts> Argument for Named<T> {
    fn tell(said: &mut Said) {
        T::tell(&mut said.path);
    }
}

impl<T: ToSchema> Answer for Tagged<T> {
    fn tell(said: &mut Said) {
        Json::<T>::tell(said);
        said.is_tagged = true;
    }
}
