//! What the type of a handler says about its route: who may call it, and what it reads. Nobody writes that down a second time, so it cannot
//! be said wrong.

use axum::extract::State;

use super::{
    Needs,
    access::{ApiCaller, Inquirer, Looker, NamespaceAdmin, SystemAdmin},
};
use crate::http::{
    App, Peer,
    input::{Asked, Body, Form, IfMatch, Named, Nothing},
};

/// A route, as its handler's type tells it.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// What the caller has to be; None if anybody is let in.
    pub(super) caller: Option<Caller>,
    /// The media type of the body, if there is one to read.
    pub(super) body: Option<&'static str>,
    /// Whether it makes sure that there is none.
    pub(super) reads_nothing: bool,
    /// Whether it asks what the caller has seen of what is to change.
    pub(super) has_condition: bool,
}

/// The proof that a handler takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Any,
    Looker,
    Inquirer,
    Namespace,
    System,
}

impl Caller {
    /// Whether a route that says it needs that has a handler that takes this.
    pub(super) fn fits(self, needs: Needs) -> bool {
        match needs {
            Needs::Oneself => self == Self::Any,
            Needs::View => matches!(self, Self::Any | Self::Looker),
            Needs::Inquiry => self == Self::Inquirer,
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

impl Argument for Looker {
    fn tell(described: &mut Described) {
        described.caller = Some(Caller::Looker);
    }
}

impl Argument for Inquirer {
    fn tell(described: &mut Described) {
        described.caller = Some(Caller::Inquirer);
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

impl<T, const LIMIT: usize> Argument for Body<T, LIMIT> {
    fn tell(described: &mut Described) {
        described.body = Some("application/json");
    }
}

impl<T> Argument for Form<T> {
    fn tell(described: &mut Described) {
        described.body = Some("application/x-www-form-urlencoded");
    }
}

impl Argument for Nothing {
    fn tell(described: &mut Described) {
        described.reads_nothing = true;
    }
}

impl Argument for IfMatch {
    fn tell(described: &mut Described) {
        described.has_condition = true;
    }
}

impl<T> Argument for Asked<T> {
    fn tell(_: &mut Described) {}
}

impl<T> Argument for Named<T> {
    fn tell(_: &mut Described) {}
}
