//! What the type of a handler says about its route.

use axum::{Json, extract::State, http::StatusCode};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

use super::Schemas;

/// A route, as its handler's type tells it.
#[derive(Default)]
pub struct Said {
    /// What the caller has to be; None if anybody is let in.
    pub caller: Option<Caller>,
    /// The body that is read.
    pub body: Option<Entity>,
    /// Whether it makes sure that there is none.
    pub reads_nothing: bool,
    /// Whether `If-Match` says what the caller has seen of what is to change.
    pub has_condition: bool,
    /// The object whose members are the query's parameters.
    pub query: Option<RefOr<Schema>>,
    /// The last names and numbers of the path, in their order.
    pub path: Vec<RefOr<Schema>>,
    /// The status of success and what comes with it.
    pub answer: Option<(StatusCode, Option<Entity>)>,
    /// Whether the answer has an entity tag.
    pub is_tagged: bool,
    /// Every type that is referred to, by its name.
    pub schemas: Schemas,
    /// The handler, as `users.list`.
    pub name: String,
}

/// A body.
pub struct Entity {
    /// What it is written in.
    pub media_type: &'static str,
    /// What it says.
    pub schema: RefOr<Schema>,
    /// Whether it is always there.
    pub is_required: bool,
}

impl Entity {
    /// What most are.
    #[must_use]
    pub fn json(schema: RefOr<Schema>) -> Self {
        Self { media_type: "application/json", schema, is_required: true }
    }
}

/// Who may call a route: what stands in its handler's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Whoever shows a credential with an API level.
    Any,
    /// The same, who only looks, whatever the method.
    Looker,
    /// Whoever shows something, a registry too.
    Inquirer,
    /// Who may pull from the repository.
    Reader,
    /// Who sees the namespace, or administers it.
    Namespace,
    /// Who oversees the system, or administers it.
    System,
    /// Root and the server's own user, on the data directory's socket.
    Local,
}

impl Said {
    /// A reference to a type, which the document then has.
    pub fn refer<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        Ref::from_schema_name(T::name()).into()
    }
}

/// What a handler's type says.
pub fn of<H: Handler<Arguments>, Arguments>(_: &H) -> Said {
    let mut said = Said { name: name::<H>(), ..Said::default() };
    H::tell(&mut said);
    said
}

/// `users.list` of `auth::http::admin::users::list`.
fn name<H>() -> String {
    let mut segments = std::any::type_name::<H>().rsplit("::");
    let (function, module) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    format!("{module}.{function}")
}

/// A handler, by its arguments.
pub trait Handler<Arguments> {
    /// Tells what its arguments and its answer say.
    fn tell(said: &mut Said);
}

/// One of a handler's arguments.
pub trait Argument {
    /// Tells what it reads.
    fn tell(said: &mut Said);
}

/// What a handler answers.
pub trait Answer {
    /// Tells its status and its type.
    fn tell(said: &mut Said);
}

macro_rules! handlers {
    ($(($($argument:ident),*);)+) => {
        $(impl<H, Answered, Output, $($argument: Argument),*> Handler<($($argument,)*)> for H
        where
            H: Fn($($argument),*) -> Answered,
            Answered: Future<Output = Output>,
            Output: Answer,
        {
            fn tell(said: &mut Said) {
                $($argument::tell(said);)*
                Output::tell(said);
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
    (A, B, C, D, E, F);
}

impl<S> Argument for State<S> {
    fn tell(_: &mut Said) {}
}

impl<T: Answer, E> Answer for Result<T, E> {
    fn tell(said: &mut Said) {
        T::tell(said);
    }
}

/// Nothing to tell but that it was done.
impl Answer for StatusCode {
    fn tell(said: &mut Said) {
        said.answer = Some((Self::NO_CONTENT, None));
    }
}

impl<T: ToSchema> Answer for Json<T> {
    fn tell(said: &mut Said) {
        let entity = Entity::json(said.refer::<T>());
        said.answer = Some((StatusCode::OK, Some(entity)));
    }
}

/// Something was made.
impl<T: Answer> Answer for (StatusCode, T) {
    fn tell(said: &mut Said) {
        T::tell(said);
        if let Some((status, _)) = &mut said.answer {
            *status = StatusCode::CREATED;
        }
    }
}

/// What stands in a path.
pub trait Parts {
    /// Tells the types of its names and numbers, in their order.
    fn tell(path: &mut Vec<RefOr<Schema>>);
}

impl Parts for String {
    fn tell(path: &mut Vec<RefOr<Schema>>) {
        path.push(ObjectBuilder::new().schema_type(Type::String).build().into());
    }
}

impl Parts for i64 {
    fn tell(path: &mut Vec<RefOr<Schema>>) {
        path.push(<Self as PartialSchema>::schema());
    }
}

macro_rules! parts {
    ($(($($part:ident),*);)+) => {
        $(impl<$($part: Parts),*> Parts for ($($part,)*) {
            fn tell(path: &mut Vec<RefOr<Schema>>) {
                $($part::tell(path);)*
            }
        })+
    };
}

parts! {
    (A, B);
    (A, B, C);
    (A, B, C, D);
}
