//! The document as it is checked in, and answers held against it.

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

/// Set, the document is written where it would be compared.
const WRITE: &str = "PORTREEVE_WRITE_OPENAPI";

/// Compares a document with the one that is checked in.
///
/// # Errors
/// It is another, and what to do about it.
pub fn compare(document: &OpenApi, checked_in: &Path) -> Result<(), String> {
    let text = document.to_pretty_json().map_err(|error| error.to_string())? + "\n";
    if env::var_os(WRITE).is_some() {
        return fs::write(checked_in, text).map_err(|error| error.to_string());
    }
    match fs::read_to_string(checked_in) {
        Ok(old) if old == text => Ok(()),
        Ok(_) => Err(format!("{} is not what the routes are now: make openapi", checked_in.display())),
        Err(error) => Err(format!("{}: {error}", checked_in.display())),
    }
}

/// Holds an answer against what a document says of its route. A path or a method that it does not have is refused, or it is not as it says.
///
/// # Errors
/// The first thing that is not as it says.
pub fn conforms(document: &Value, method: &str, path: &str, status: u16, body: &[u8]) -> Result<(), String> {
    let refused = |with: u16| if status == with { Ok(()) } else { Err(format!("{method} {path} is not documented")) };
    let Some(route) = route(document, path) else { return refused(404) };
    let Some(operation) = document["paths"][route].get(method.to_lowercase()) else { return refused(405) };
    let answers = &operation["responses"];
    let answer = answers.get(status.to_string()).or_else(|| answers.get("default").filter(|_| status >= 400));
    let answer = answer.ok_or_else(|| format!("{method} {route} answers {status}, which is not documented"))?;
    let Some((media_type, content)) = answer["content"].as_object().and_then(|content| content.iter().next()) else {
        return if body.is_empty() {
            Ok(())
        } else {
            Err(format!("{method} {route}: a body where none is documented"))
        };
    };
    let schema = json!({ "$ref": content["schema"]["$ref"], "components": document["components"] });
    let validator = jsonschema::draft202012::new(&schema).map_err(|error| error.to_string())?;
    let documents =
        if media_type == "application/x-ndjson" { body.split(|byte| *byte == b'\n').collect() } else { vec![body] };
    for text in documents.into_iter().filter(|text| !text.is_empty()) {
        let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        validator
            .validate(&value)
            .map_err(|error| format!("{method} {route} {status}: {error} (at {}): {value}", error.instance_path()))?;
    }
    Ok(())
}

/// The path of the document that a request's path is one of: the one with the fewest names.
fn route<'a>(document: &'a Value, path: &str) -> Option<&'a str> {
    let paths = document["paths"].as_object()?.keys();
    let path = path.split('?').next().unwrap_or_default();
    let fits = |route: &&String| {
        let (mut ours, mut theirs) = (route.split('/'), path.split('/'));
        ours.by_ref().zip(theirs.by_ref()).all(|(our, their)| our == their || our.starts_with('{'))
            && route.split('/').count() == path.split('/').count()
    };
    paths.filter(fits).min_by_key(|route| route.matches('{').count()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({
            "paths": {
                "/a/{b}": { "get": { "responses": {
                    "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/A" } } } },
                    "default": { "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/P" } } } },
                } } },
                "/a/c": { "delete": { "responses": { "204": { "description": "No Content" } } } },
            },
            "components": { "schemas": {
                "A": { "type": "object", "required": ["id"], "properties": { "id": { "type": "integer" } }, "additionalProperties": false },
                "P": { "type": "object", "required": ["status"] },
            } },
        })
    }

    #[test]
    fn an_answer_is_as_the_document_says_or_it_is_told() {
        let told = |method, path, status, body: &str| conforms(&document(), method, path, status, body.as_bytes());
        told("GET", "/a/x?limit=1", 200, r#"{"id":1}"#).unwrap();
        told("GET", "/a/x", 404, r#"{"status":404}"#).unwrap();
        told("DELETE", "/a/c", 204, "").unwrap();
        told("GET", "/b/x", 404, "").unwrap();
        told("PUT", "/a/c", 405, "").unwrap();
        for (method, path, status, body) in [
            ("GET", "/a/x", 200, r#"{"id":"1"}"#),
            ("GET", "/a/x", 200, r#"{"id":1,"more":1}"#),
            ("GET", "/a/x", 201, r#"{"id":1}"#),
            ("GET", "/a/x", 404, "{}"),
            ("GET", "/b/x", 200, r#"{"id":1}"#),
            ("DELETE", "/a/c", 204, "{}"),
        ] {
            told(method, path, status, body).unwrap_err();
        }
    }
}
