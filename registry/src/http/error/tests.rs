use axum::body::to_bytes;

use super::*;

/// Status, code and message of an answer.
async fn answered(error: Error) -> (u16, String, String) {
    let response = error.into_response(None);
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = |key: &str| body["errors"][0][key].as_str().unwrap().to_owned();
    (status, text("code"), text("message"))
}

#[tokio::test]
async fn too_many_open_uploads_are_too_many_requests() {
    let response = Error::from(content::Error::TooManyUploads { limit: 20000 }).into_response(None);
    assert_eq!(response.headers()[header::RETRY_AFTER], RETRY_AFTER);
    let (status, code, message) = answered(content::Error::TooManyUploads { limit: 20000 }.into()).await;
    assert_eq!((status, code.as_str()), (429, "TOOMANYREQUESTS"));
    assert!(message.contains("20000 open uploads") && message.contains("finish or cancel"), "{message}");
}
