//! What the type of a handler says about its route: who may call it, and what it reads. Nobody writes that down a second time, so it cannot
//! be said wrong.

use axum::extract::State;

use super::{
    Needs,
    access::{ApiCaller, NamespaceAdmin, SystemAdmin},
};
use crate::http::{
    App, Peer,
    input::{Asked, Body, Named},
};

/// A route, as its handler's type tells it.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// What the caller has to be; None if anybody is let in.
    pub(super) caller: Option<Caller>,
    /// Whether there is a body to read.
    pub(super) has_body: bool,
}

/// The proof that a handler takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Any,
    Namespace,
    System,
}

impl Caller {
    /// Whether a route that says it needs that has a handler that takes this.
    pub(super) fn fits(self, needs: Needs) -> bool {
        match needs {
            Needs::Oneself | Needs::View => self == Self::Any,
            Needs::Namespace => self == Self::Namespace,
            Needs::System => self == Self::System,
        }
    }
}

/// What a handler's type says.
pub(super) fn of<H: Handler<Arguments>, Arguments>(_: &H) -> Described {
    let mut described = Described::default();
    H::tell(&mut described);
    described
}

/// A handler, by its arguments.
pub(super) trait Handler<Arguments> {
    fn tell(described: &mut Described);
}

/// One of a handler's arguments.
pub(super) trait Argument {
    fn tell(described: &mut Described);
}

macro_rules! handlers {
    ($(($($argument:ident),*);)+) => {
        $(impl<H, Answer, $($argument: Argument),*> Handler<($($argument,)*)> for H
        where
            H: Fn($($argument),*) -> Answer,
            Answer: Future,
        {
            fn tell(described: &mut Described) {
                $($argument::tell(described);)*
            }
        })+
    };
}

handlers! {
    (A);
    (A, B);
    (A, B, C);
    (A, B, C, D);
    (A, B, C, D, E);
}

impl Argument for State<App> {
    fn tell(_: &mut Described) {}
}

impl Argument for Peer {
    fn tell(_: &mut Described) {}
}

impl Argument for ApiCaller {
    fn tell(described: &mut Described) {
        described.caller = Some(Caller::Any);
    }
}

impl Argument for NamespaceAdmin {
    fn tell(described: &mut Described) {
        described.caller = Some(Caller::Namespace);
    }
}

impl Argument for SystemAdmin {
    fn tell(described: &mut Described) {
        described.caller = Some(Caller::System);
    }
}

impl<T> Argument for Body<T> {
    fn tell(described: &mut Described) {
        described.has_body = true;
    }
}

impl<T> Argument for Asked<T> {
    fn tell(_: &mut Described) {}
}

impl<T> Argument for Named<T> {
    fn tell(_: &mut Described) {}
}
