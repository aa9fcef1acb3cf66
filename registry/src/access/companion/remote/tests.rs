//! An auth service that answers what it is told to.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// A companion whose every answer is `document`, for one question.
async fn answering(document: String) -> RemoteCompanion {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let length = document.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{document}");
        // Who has heard enough hangs up.
        let _ = stream.write_all(answer.as_bytes()).await;
    });
    RemoteCompanion::new(&base, "service".to_owned(), Secret::new("credential".to_owned())).unwrap()
}

#[tokio::test]
async fn an_answer_may_be_as_long_as_the_limit_says_and_no_longer() {
    let feed = r#"{"revocations":[]}"#;
    let padded = |length: usize| feed.to_owned() + &" ".repeat(length - feed.len());
    let feed = answering(padded(MAX_ANSWER_BYTES)).await.revocations(0).await;
    assert!(feed.is_ok_and(|rows| rows.is_empty()));
    let error = answering(padded(MAX_ANSWER_BYTES + 1)).await.revocations(0).await.unwrap_err();
    assert_eq!(error.0, format!("its answer is longer than {MAX_ANSWER_BYTES} bytes"));
}
