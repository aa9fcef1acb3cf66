//! A client that keeps to no protocol: requests that two programs could read in two ways, heads and bodies without measure,
//! and names that a stranger makes up.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::server::Portreeve;

/// How long an answer may take that the server has every reason to give at once.
const AT_ONCE: Duration = Duration::from_secs(20);

/// The bytes as they stand, and all that comes back until the server ends the connection.
async fn tell(portreeve: &Portreeve, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(portreeve.authority()).await.unwrap();
    // The server may refuse before it has everything, and need not take the rest.
    let _ = stream.write_all(bytes.as_ref()).await;
    let mut answer = Vec::new();
    let ended = timeout(AT_ONCE, stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended.is_ok(), "the connection stays open after {answer:?}");
    answer
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

/// `GET /v2/` with these lines in its head, `Host` not among them.
fn version_check(lines: &str) -> String {
    format!("GET /v2/ HTTP/1.1\r\n{lines}Connection: close\r\n\r\n")
}

/// Whom the listener turns away before a router sees them is told so in the form of what they asked.
#[tokio::test]
async fn what_is_turned_away_at_the_door_is_told_in_the_protocols_form() {
    let portreeve = Portreeve::up();
    let long = format!("Host: a\r\nX-A: {}\r\n", "a".repeat(70 << 10));
    for (lines, status) in [("Host: a\r\nHost: b\r\n", "400"), ("", "400"), (&long, "431")] {
        let answer = tell(&portreeve, version_check(lines)).await;
        assert_eq!(statuses(&answer), [status], "{answer}");
        assert!(answer.contains("docker-distribution-api-version: registry/2.0\r\n"), "{answer}");
        assert!(answer.contains(r#"{"errors":[{"code":"UNSUPPORTED","message":"#), "{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
    }
    for (path, expected) in [
        ("/token?service=portreeve", r#""error":"invalid_request""#),
        ("/auth/token", r#""error":"invalid_request""#),
        ("/api/v1/users", "content-type: application/problem+json"),
        ("/api/v1/registry/garbage", "content-type: application/problem+json"),
    ] {
        for (lines, status) in [("", "400"), (&long, "431")] {
            let head = format!("GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
            let answer = tell(&portreeve, head).await;
            assert_eq!(statuses(&answer), [status], "{path}: {answer}");
            assert!(answer.contains(expected) && answer.contains("x-request-id: "), "{path}: {answer}");
            assert_eq!(answer.contains(r#""errors":[{"#), path.ends_with("oken") || path.contains('?'), "{answer}");
        }
    }
    let elsewhere = tell(&portreeve, "GET /v2x HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(!elsewhere.contains("registry/2.0"), "{elsewhere}");
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let portreeve = Portreeve::up();
    let heads = [
        "Host: a\r\nHost: b\r\n",
        "",
        "Host: a\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n",
        "Host: a\r\nX-A: a\r\n b\r\n",
        "Host: a\r\nAuthorization : Bearer x\r\n",
        "Host: a\r\nX-A: a\0b\r\n",
        "Host: a\r\nX-A: a\rX-B: b\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nContent-Length: 99999999999999999999999\r\n",
        "Host: a\r\nTransfer-Encoding: xchunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, identity\r\n",
    ];
    for lines in heads {
        let answer = tell(&portreeve, version_check(lines)).await;
        assert_eq!(statuses(&answer), ["400"], "{lines:?}: {answer}");
    }
    assert!(!portreeve.log().contains("panicked"), "{}", portreeve.log());
}

/// A request that hides behind a body of two lengths is never answered.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_body() {
    let portreeve = Portreeve::up();
    for lengths in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let hidden = "GET /v2/hidden/tags/list HTTP/1.1\r\nHost: a\r\n\r\n";
        let form = "Content-Type: application/x-www-form-urlencoded";
        let request = format!("POST /token HTTP/1.1\r\nHost: a\r\n{form}\r\n{lengths}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = tell(&portreeve, request).await;
        assert_eq!(statuses(&answer), ["400"], "{lengths}: {answer}");
    }
}

/// What the realm repeats must not send anybody's password elsewhere than the request went.
#[tokio::test]
async fn the_realm_repeats_a_host_only_if_it_is_one() {
    let portreeve = Portreeve::up();
    for host in ["a\"b", "a b", "e@vil", "evil.example/..", "a,b", "[::1"] {
        let answer = tell(&portreeve, version_check(&format!("Host: {host}\r\n"))).await;
        assert!(answer.contains("realm=\"/token\""), "{host}: {answer}");
    }
    let forwarded = "X-Forwarded-Host: evil\r\nForwarded: host=evil;proto=https\r\nX-Forwarded-Proto: https\r\n";
    let answer = tell(&portreeve, version_check(&format!("Host: good.example\r\n{forwarded}"))).await;
    assert!(answer.contains("realm=\"http://good.example/token\""), "{answer}");
    let absolute = "GET http://good.example/v2/ HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n";
    let answer = tell(&portreeve, absolute).await;
    assert!(answer.contains("realm=\"http://good.example/token\""), "{answer}");
}

#[tokio::test]
async fn paths_lead_nowhere_but_where_they_say() {
    let portreeve = Portreeve::up();
    for path in [
        "/v2/../v2/",
        "/v2//acme/web/tags/list",
        "/v2/acme/../other/web/tags/list",
        "/v2/%00/tags/list",
        "/v2/acme/web/manifests/%2e%2e",
        "/v2/acme/web/blobs/uploads/../../tags/list",
        "//v2/",
        "/V2/",
        "/api/v1/..;/users",
        "/%76%32/_catalog",
    ] {
        let answer = tell(&portreeve, format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        assert!(matches!(statuses(&answer)[..], ["400" | "404"]), "{path}: {answer}");
    }
}

#[tokio::test]
async fn heads_have_a_measure() {
    let portreeve = Portreeve::up();
    let head = |bytes: usize| version_check(&format!("Host: a\r\nX-A: {}\r\n", "a".repeat(bytes)));
    assert_eq!(statuses(&tell(&portreeve, head(60_000)).await), ["401"]);
    assert_eq!(statuses(&tell(&portreeve, head(66_000)).await), ["431"]);
    // One that does not end is not waited for until it fills memory.
    let endless = format!("GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: {}", "a".repeat(200_000));
    assert_eq!(statuses(&tell(&portreeve, endless).await), ["431"]);
}

/// The throttle keeps names that were tried. Longer ones than anybody has are refused before they are kept, or hashed.
#[tokio::test]
async fn names_without_measure_are_refused_and_forgotten() {
    let portreeve = Portreeve::up();
    let credentials = STANDARD.encode(format!("{}:guess", "a".repeat(8_000)));
    let login = format!("GET /token?service=portreeve HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {credentials}\r\n");
    for _ in 0..12 {
        let answer = tell(&portreeve, format!("{login}Connection: close\r\n\r\n")).await;
        assert_eq!(statuses(&answer), ["401"], "{answer}");
        assert!(answer.to_ascii_lowercase().contains("www-authenticate: basic"), "{answer}");
    }
}
