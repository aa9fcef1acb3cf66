//! The whole document, from what every handler says.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, Header, HttpMethod, Info, License, OpenApi, PathItem, Paths, Ref, RefOr, Required,
        ResponseBuilder, Responses,
        path::{Operation, Parameter, ParameterIn},
        request_body::RequestBody,
        schema::{ObjectBuilder, Schema, SchemaType, Type},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    handler::{Entity, Said},
    rows::Row,
};

const BEARER: &str = "credential";

/// A route and what its handler says of it.
pub struct Route {
    /// The path, with `{…}` where names and numbers stand.
    pub path: &'static str,
    /// The method, small.
    pub method: &'static str,
    /// The rest.
    pub said: Said,
}

/// What went wrong, RFC 9457.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is a description of what errors are made of")]
struct Problem {
    /// Always about:blank: the status says which kind it is.
    r#type: String,
    title: String,
    status: u16,
    /// One sentence for whoever asked.
    detail: String,
    /// What the log calls the request, where the server failed.
    request: Option<String>,
}

/// The document of these routes.
///
/// # Errors
/// A route has no row or a method that nobody knows; two types have one name.
pub fn document(title: &str, routes: Vec<Route>, rows: &BTreeMap<(String, String), Row>) -> Result<OpenApi, String> {
    let mut schemas = BTreeMap::from([("Problem".to_owned(), Problem::schema())]);
    let mut paths = Paths::builder();
    for route in routes {
        let method = method(route.method)?;
        let row = rows.get(&(route.path.to_owned(), route.method.to_owned()));
        let row = row.ok_or_else(|| format!("docs/api.md has no row of {} {}", route.method, route.path))?;
        let mut said = route.said;
        for (name, schema) in said.schemas.drain(..) {
            insert(&mut schemas, name, schema)?;
        }
        paths = paths.path(route.path, PathItem::new(method, operation(route.path, said, row)));
    }
    let credential = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = Components::builder().schemas_from_iter(schemas).security_scheme(BEARER, credential).build();
    let info = Info::builder().title(title).version(env!("CARGO_PKG_VERSION"));
    let info = info.license(Some(License::builder().name("Apache-2.0").identifier(Some("Apache-2.0")).build()));
    let document = OpenApi::builder().info(info.build()).paths(paths.build()).components(Some(components));
    Ok(document.security(Some([SecurityRequirement::new(BEARER, Vec::<String>::new())])).build())
}

fn insert(schemas: &mut BTreeMap<String, RefOr<Schema>>, name: String, schema: RefOr<Schema>) -> Result<(), String> {
    match schemas.get(&name) {
        Some(other) if *other != schema => Err(format!("two types are called {name}: let one say #[schema(as = …)]")),
        Some(_) => Ok(()),
        None => {
            schemas.insert(name, schema);
            Ok(())
        }
    }
}

fn method(method: &str) -> Result<HttpMethod, String> {
    match method {
        "get" => Ok(HttpMethod::Get),
        "put" => Ok(HttpMethod::Put),
        "post" => Ok(HttpMethod::Post),
        "patch" => Ok(HttpMethod::Patch),
        "delete" => Ok(HttpMethod::Delete),
        other => Err(format!("there is no method {other}")),
    }
}

fn operation(path: &str, said: Said, row: &Row) -> Operation {
    let tag = said.name.split('.').next().unwrap_or_default().to_owned();
    let mut operation = Operation::builder()
        .tag(tag)
        .operation_id(Some(said.name))
        .summary(Some(&row.what))
        .description(Some(format!("Who may: {}.", row.who)))
        .responses(responses(said.answer, said.is_tagged));
    let condition = said.has_condition.then(if_match);
    for parameter in named(path, said.path).into_iter().chain(asked(said.query)).chain(condition) {
        operation = operation.parameter(parameter);
    }
    if let Some(Entity { media_type, schema, is_required }) = said.body {
        let required = if is_required { Required::True } else { Required::False };
        let body = RequestBody::builder().content(media_type, Content::new(Some(schema)));
        operation = operation.request_body(Some(body.required(Some(required)).build()));
    }
    operation.build()
}

fn if_match() -> Parameter {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let tags = Parameter::builder().name("If-Match").parameter_in(ParameterIn::Header).schema(Some(text));
    tags.description(Some("The entity tag, or the version, of what was seen; where it is another by now: 412")).build()
}

/// The names and numbers of a path; the handler tells the types of the last ones, and the others were read with its caller.
fn named(path: &str, types: Vec<RefOr<Schema>>) -> Vec<Parameter> {
    let names: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    let before = names.len().saturating_sub(types.len());
    let text = || ObjectBuilder::new().schema_type(Type::String).build().into();
    let types = std::iter::repeat_with(text).take(before).chain(types);
    let parameter = |(name, schema): (&str, RefOr<Schema>)| {
        let parameter = Parameter::builder().name(name).parameter_in(ParameterIn::Path);
        parameter.required(Required::True).schema(Some(schema)).build()
    };
    names.into_iter().zip(types).map(parameter).collect()
}

/// A query's parameters: the members of its object.
fn asked(query: Option<RefOr<Schema>>) -> Vec<Parameter> {
    let Some(RefOr::T(Schema::Object(query))) = query else { return Vec::new() };
    let required = query.required;
    let parameter = |(name, schema): (String, RefOr<Schema>)| {
        let needed = if required.contains(&name) { Required::True } else { Required::False };
        let (schema, description) = described(schema);
        let parameter = Parameter::builder().name(name).parameter_in(ParameterIn::Query);
        parameter.required(needed).description(description).schema(Some(schema)).build()
    };
    query.properties.into_iter().map(parameter).collect()
}

/// A member's schema as a parameter has it: its description stands beside it, and there is no null in a query.
fn described(schema: RefOr<Schema>) -> (RefOr<Schema>, Option<String>) {
    match schema {
        RefOr::T(Schema::Object(mut object)) => {
            let description = object.description.take();
            if let SchemaType::Array(types) = &object.schema_type {
                let one = types.iter().find(|one| **one != Type::Null).cloned();
                object.schema_type = one.map_or(SchemaType::AnyValue, SchemaType::Type);
            }
            (object.into(), description)
        }
        RefOr::T(Schema::OneOf(one_of)) => match one_of.items.into_iter().find_map(referred) {
            Some(named) => described(RefOr::Ref(named)),
            None => (RefOr::T(Schema::default()), None),
        },
        RefOr::Ref(mut named) => {
            let description = Some(std::mem::take(&mut named.description)).filter(|text| !text.is_empty());
            (named.into(), description)
        }
        other => (other, None),
    }
}

fn referred(schema: RefOr<Schema>) -> Option<Ref> {
    match schema {
        RefOr::Ref(named) => Some(named),
        RefOr::T(_) => None,
    }
}

fn responses(answer: Option<(StatusCode, Option<Entity>)>, is_tagged: bool) -> Responses {
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    let problem = ResponseBuilder::new().description("What went wrong").content("application/problem+json", problem);
    let mut responses = Responses::builder().response("default", problem.build());
    if let Some((status, content)) = answer {
        let mut response = ResponseBuilder::new().description(status.canonical_reason().unwrap_or_default());
        if let Some(Entity { media_type, schema, .. }) = content {
            response = response.content(media_type, Content::new(Some(schema)));
        }
        if is_tagged {
            let text = ObjectBuilder::new().schema_type(Type::String);
            response = response.header("ETag", Header::builder().schema(Some(text)).build());
        }
        responses = responses.response(status.as_str(), response.build());
    }
    responses.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_types_of_one_name_are_told() {
        let mut schemas = BTreeMap::new();
        insert(&mut schemas, "One".to_owned(), String::schema()).unwrap();
        insert(&mut schemas, "One".to_owned(), String::schema()).unwrap();
        let told = insert(&mut schemas, "One".to_owned(), i64::schema()).unwrap_err();
        assert!(told.starts_with("two types are called One"), "{told}");
    }

    #[test]
    fn what_a_path_names_is_typed_from_its_end() {
        let named = named("/namespaces/{namespace}/grants/{grant}", vec![i64::schema()]);
        let told: Vec<String> = named
            .iter()
            .map(|one| serde_json::to_value(one).unwrap())
            .map(|one| format!("{} {}", one["name"], one["schema"]["type"]))
            .collect();
        assert_eq!(told, [r#""namespace" "string""#, r#""grant" "integer""#]);
    }
}
