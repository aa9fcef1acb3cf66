//! Bodies that nobody reads, and what stands behind them on the connection.

use axum::{http::StatusCode, routing::put};

use super::*;

/// Answers 401 without a look at the body.
fn refusing() -> Router {
    Router::new().route("/", put(|| async { StatusCode::UNAUTHORIZED }))
}

async fn head_of_next(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        let read = timeout(Duration::from_secs(20), stream.read(&mut byte)).await.unwrap().unwrap();
        assert_eq!(read, 1, "the connection ended after {:?}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn a_short_body_that_nobody_read_leaves_the_connection_as_it_was() {
    let served = Served::plain(Limits::default(), refusing()).await;
    let mut stream = served.connect().await;
    for _ in 0..3 {
        for body in ["Content-Length: 5\r\n\r\nshort", "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n\r\n"] {
            stream.write_all(format!("PUT / HTTP/1.1\r\nHost: localhost\r\n{body}").as_bytes()).await.unwrap();
            let head = head_of_next(&mut stream).await;
            assert!(head.starts_with("http/1.1 401") && !head.contains("connection: close"), "{head}");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn before_a_long_or_a_late_body_that_nobody_reads_the_answer_says_close() {
    let served = Served::plain(Limits::default(), refusing()).await;
    let late = "Transfer-Encoding: chunked\r\n\r\n";
    let waiting = "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for rest in ["Content-Length: 300000\r\n\r\n", late, waiting] {
        let mut stream = served.connect().await;
        stream.write_all(format!("PUT / HTTP/1.1\r\nHost: localhost\r\n{rest}").as_bytes()).await.unwrap();
        let head = head_of_next(&mut stream).await;
        assert!(head.starts_with("http/1.1 401") && head.contains("connection: close"), "{rest}: {head}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_body_that_was_read_leaves_the_connection_as_it_was() {
    let echo = Router::new().route("/", put(|body: String| async move { body }));
    let served = Served::plain(Limits::default(), echo).await;
    let mut stream = served.connect().await;
    for _ in 0..2 {
        stream.write_all(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
        let head = head_of_next(&mut stream).await;
        assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        assert_eq!(&body, b"hi");
    }
    served.stop().await;
}
