//! Who takes more than a share: of connections, and of an answer's time.

use axum::body::{Body, Bytes};
use futures_util::stream;

use super::*;

/// An answer far larger than what the kernel holds.
const LARGE: usize = 64 << 20;

fn large() -> Router {
    let piece = Bytes::from(vec![b'x'; 1 << 18]);
    let pieces = std::iter::repeat_n(piece, LARGE >> 18).map(Ok::<_, std::convert::Infallible>);
    Router::new().route("/large", get(move || async move { Body::from_stream(stream::iter(pieces)) }))
}

fn hasty(least: usize, within: u64) -> Limits {
    Limits { progress: Progress { least, within: Duration::from_millis(within) }, ..Limits::default() }
}

async fn asking_for_large(served: &Served) -> TcpStream {
    let mut stream = served.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    stream
}

/// What can be read until the connection ends, one way or the other.
async fn rest(stream: &mut TcpStream) -> usize {
    let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
    while let Ok(Ok(read @ 1..)) = timeout(Duration::from_secs(20), stream.read(&mut buffer)).await {
        total += read;
    }
    total
}

#[tokio::test]
async fn who_does_not_read_an_answer_is_not_waited_for() {
    let served = Served::plain(hasty(1, 300), large()).await;
    let mut stalled = asking_for_large(&served).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(rest(&mut stalled).await < LARGE, "the connection ended in the middle");
    served.stop().await;
}

#[tokio::test]
async fn who_reads_slowly_but_steadily_gets_everything() {
    let served = Served::plain(hasty(64 << 10, 1000), large()).await;
    let mut steady = asking_for_large(&served).await;
    let (begun, mut total, mut buffer) = (Instant::now(), 0, vec![0; 2 << 20]);
    while let Ok(read @ 1..) = steady.read(&mut buffer).await {
        total += read;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(total > LARGE, "{total}");
    assert!(begun.elapsed() > Duration::from_millis(1000), "longer than a span: {:?}", begun.elapsed());
    served.stop().await;
}

/// The first answer leaves part of a span behind; by the time of the second that span is over, and must not count.
#[tokio::test]
async fn a_connection_that_waited_once_may_rest_before_its_next_answer() {
    let served = Served::plain(hasty(LARGE * 2, 1500), large()).await;
    let mut stream = served.connect().await;
    for _ in 0..2 {
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let (mut last, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
        while !last.ends_with(b"\r\n0\r\n\r\n") {
            let read = timeout(Duration::from_secs(20), stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(read > 0, "the connection ended");
            last.extend_from_slice(&buffer[..read]);
            last.drain(..last.len().saturating_sub(7));
        }
        tokio::time::sleep(Duration::from_millis(1700)).await;
    }
    served.stop().await;
}

/// The kernel accepts a connection before we do: what was refused shows as its end.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(timeout(Duration::from_secs(20), stream.read(&mut [0])).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_peer_with_all_its_connections_is_refused_more_until_one_ends() {
    let served = Served::plain(Limits { connections_each: 2, ..Limits::default() }, who()).await;
    let (first, _second) = (served.connect().await, served.connect().await);
    assert!(is_closed(&mut served.connect().await).await);
    drop(first);
    for _ in 0..100 {
        let mut next = served.connect().await;
        next.write_all(b"GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        if next.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.1 200 ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test]
async fn a_trusted_proxy_has_as_many_as_it_likes() {
    let place = Place::Tcp("127.0.0.1:0".to_owned());
    let limits = Limits { connections_each: 1, ..Limits::default() };
    let listener = Listener::bind(&place, None, limits).await.unwrap().exempting(|address| address.is_loopback());
    let (address, stop) = (listener.address().tcp().unwrap(), CancellationToken::new());
    let serving = tokio::spawn(listener.serve(who(), stop.clone()));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    let answer = ask(TcpStream::connect(address).await.unwrap(), "/who").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(held);
    stop.cancel();
    serving.await.unwrap();
}
