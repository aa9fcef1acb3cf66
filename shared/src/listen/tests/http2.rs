//! HTTP/2, frame by frame: what no well-behaved client sends.

use axum::body::{Body, Bytes};
use futures_util::stream;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// One field, written out (RFC 7541, section 6.2.2); values up to 16 KiB.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut length = value.len();
    let mut prefix = Vec::new();
    if length < 127 {
        prefix.push(u8::try_from(length).unwrap());
    } else {
        prefix.push(127);
        length -= 127;
        while length >= 128 {
            prefix.push(u8::try_from(length % 128 + 128).unwrap());
            length /= 128;
        }
        prefix.push(u8::try_from(length).unwrap());
    }
    [&[0, u8::try_from(name.len()).unwrap()], name.as_bytes(), &prefix, value.as_bytes()].concat()
}

fn get_of(path: &str) -> Vec<u8> {
    [field(":method", "GET"), field(":scheme", "http"), field(":path", path), field(":authority", "a")].concat()
}

async fn connection(served: &Served, settings: &[u8]) -> TcpStream {
    let mut stream = served.connect().await;
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat()).await.unwrap();
    stream
}

/// The next frame: kind, stream, payload.
async fn next(stream: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    timeout(Duration::from_secs(20), stream.read_exact(&mut head)).await.unwrap().ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

/// The reason of the GOAWAY that ends the connection.
async fn farewell(stream: &mut TcpStream) -> Option<u32> {
    while let Some((kind, _, payload)) = next(stream).await {
        if kind == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    None
}

fn clear() -> Limits {
    Limits { h2c: true, ..Limits::default() }
}

#[tokio::test]
async fn what_a_connection_may_hold_is_said_at_its_beginning() {
    let served = Served::plain(clear(), who()).await;
    let (kind, _, settings) = next(&mut connection(&served, &[]).await).await.unwrap();
    assert_eq!(kind, SETTINGS);
    let said = |id: u8| settings.chunks(6).find(|setting| setting[1] == id).map(|setting| setting[2..].to_vec());
    assert_eq!(said(3), Some(100_u32.to_be_bytes().to_vec()), "concurrent streams");
    assert_eq!(said(6), Some((64_u32 << 10).to_be_bytes().to_vec()), "the length of a head");
    served.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_and_one_without_an_end_ends_the_connection() {
    let limits = Limits { head_bytes: 8192, ..clear() };
    let served = Served::plain(limits, who()).await;
    let mut stream = connection(&served, &[]).await;
    let large = [get_of("/who"), field("x-a", &"a".repeat(9000))].concat();
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &large)).await.unwrap();
    let answer = loop {
        let (kind, _, payload) = next(&mut stream).await.unwrap();
        if kind == HEADERS {
            break payload;
        }
    };
    assert!(answer.windows(3).any(|bytes| bytes == b"431") || answer.len() < 40, "{answer:?}");

    stream.write_all(&frame(HEADERS, END_STREAM, 3, &get_of("/who"))).await.unwrap();
    let more = frame(CONTINUATION, 0, 3, &field("x-a", &"a".repeat(8000)));
    for _ in 0..1000 {
        if stream.write_all(&more).await.is_err() {
            break;
        }
    }
    assert!(is_over(&mut stream).await);
    served.stop().await;
}

async fn is_over(stream: &mut TcpStream) -> bool {
    for _ in 0..10_000 {
        if next(stream).await.is_none() {
            return true;
        }
    }
    false
}

/// CVE-2023-44487: to ask and take it back costs the client nothing.
#[tokio::test]
async fn who_asks_and_takes_it_back_again_and_again_is_sent_away() {
    let served = Served::plain(clear(), who()).await;
    let mut stream = connection(&served, &[]).await;
    let mut flood = Vec::new();
    for id in (1..4001).step_by(2) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, id, &get_of("/who")));
        flood.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&flood).await;
    assert_eq!(farewell(&mut stream).await, Some(ENHANCE_YOUR_CALM));
    served.stop().await;
}

/// The socket is free, but the stream's own window never opens.
#[tokio::test]
async fn an_answer_whose_window_stays_shut_is_given_up_and_the_connection_goes_on() {
    let piece = Bytes::from(vec![b'x'; 1 << 16]);
    let pieces = std::iter::repeat_n(piece, 64).map(Ok::<_, std::convert::Infallible>);
    let router = who().route("/large", get(move || async move { Body::from_stream(stream::iter(pieces)) }));
    let progress = Progress { least: 1, within: Duration::from_millis(200) };
    let served = Served::plain(Limits { progress, ..clear() }, router).await;
    // SETTINGS_INITIAL_WINDOW_SIZE, for a kilobyte.
    let mut stream = connection(&served, &[0, 4, 0, 0, 4, 0]).await;
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &get_of("/large"))).await.unwrap();
    loop {
        let (kind, id, payload) = next(&mut stream).await.unwrap();
        if kind == DATA && !payload.is_empty() {
            assert_eq!(id, 1);
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Now it opens, too late; another request is answered.
    for id in [0, 1] {
        stream.write_all(&frame(WINDOW_UPDATE, 0, id, &(1_u32 << 20).to_be_bytes())).await.unwrap();
    }
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &get_of("/who"))).await.unwrap();
    let (mut reset, mut answered) = (false, false);
    while !(reset && answered) {
        let (kind, id, _) = next(&mut stream).await.unwrap();
        reset |= kind == RST_STREAM && id == 1;
        answered |= kind == DATA && id == 3;
    }
    drop(stream);
    served.stop().await;
}
