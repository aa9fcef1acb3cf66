//! Requests to `/v2/`, as strangers send them: a method, and on the next line path and query.
//! Nothing panics, and what is an operation prints to a request that is the same operation.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use registry::http::operation::Operation;

fuzz_target!(|text: &str| {
    let Some((method, target)) = text.split_once('\n') else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let Ok(operation) = parse(&method, target) else { return };
    let printed = operation.to_string();
    assert_eq!(parse(&operation.method(), &printed).as_ref(), Ok(&operation), "{printed}");
    let _ = operation.required_access();
});

fn parse(method: &Method, target: &str) -> Result<Operation, registry::http::operation::ParseError> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Operation::parse(method, path, query)
}
