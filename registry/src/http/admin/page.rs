//! Lists, a page at a time: `{"items": […], "next": …}`.

use std::borrow::Cow;

use serde::Serialize;
use shared::openapi::{Schemas, page_of};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::error::ApiError;

/// How many entries a page has where nobody says.
const DEFAULT: u32 = 100;

/// How many it has at most.
const MOST: u32 = 500;

/// How many entries are asked for.
pub(super) fn limit(given: Option<u32>) -> Result<u32, ApiError> {
    match given {
        None => Ok(DEFAULT),
        Some(limit @ 1..=MOST) => Ok(limit),
        Some(_) => Err(ApiError::Invalid(format!("limit: from 1 to {MOST}"))),
    }
}

/// A part of a list.
#[derive(Debug, Serialize)]
pub(super) struct PageOf<T> {
    pub(super) items: Vec<T>,
    /// What to say as `after` for the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl<T: ToSchema> PartialSchema for PageOf<T> {
    fn schema() -> RefOr<Schema> {
        page_of::<T>()
    }
}

impl<T: ToSchema> ToSchema for PageOf<T> {
    fn name() -> Cow<'static, str> {
        format!("PageOf{}", T::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
}

impl<T> PageOf<T> {
    /// Rows as they are served; a page that is full may have a next one.
    pub(super) fn new<R>(rows: Vec<R>, limit: u32, cursor: impl Fn(&R) -> String, serve: impl Fn(R) -> T) -> Self {
        let next = rows.last().filter(|_| rows.len() >= limit as usize).map(cursor);
        Self { items: rows.into_iter().map(serve).collect(), next }
    }
}
