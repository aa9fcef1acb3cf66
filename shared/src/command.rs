//! The command's end of the data directory's socket: a command is a request to the server that runs, or to a router in its own process where nobody
//! holds the directory. One implementation serves both.

use std::{
    io,
    path::{Path, PathBuf},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;
use tower::ServiceExt;

pub use axum::http::Method;

use crate::{
    listen::Peer,
    telemetry::{AccessLog, Observe},
};

/// Largest answer that is read whole, and longest line of one that comes line by line, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// Whom a command speaks to.
pub enum Target {
    /// The server that runs, by the socket in its data directory.
    Socket(PathBuf),
    /// The routes of the socket, made for this command because nobody holds the data directory.
    Direct(Router),
}

/// Why there is no answer to print.
#[derive(Debug, Error)]
pub enum NotAnswered {
    /// The request cannot be written.
    #[error("{0}")]
    Invalid(String),
    /// The server answered no.
    #[error("{detail}")]
    Refused {
        /// The status it answered with.
        status: u16,
        /// Why.
        detail: String,
    },
    /// The server cannot be reached, or its answer not read.
    #[error("the server at {} did not answer: {reason}", socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The answer cannot be read, or what was read not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Target {
    /// Asks, and reads the whole answer: JSON, null where there is none.
    ///
    /// # Errors
    /// [`NotAnswered`]
    pub async fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Value, NotAnswered> {
        let response = self.send(method, path, body).await?;
        let nothing = response.status() == StatusCode::NO_CONTENT;
        let bytes = to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.map_err(|error| self.cut(&error))?;
        if nothing { Ok(Value::Null) } else { Ok(serde_json::from_slice(&bytes).unwrap_or_default()) }
    }

    /// Asks for an answer that comes line by line, a JSON value each, and hands on every line when it comes.
    ///
    /// # Errors
    /// [`NotAnswered`], from `each` too.
    pub async fn ask_for_lines(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        mut each: impl FnMut(Value) -> io::Result<()>,
    ) -> Result<(), NotAnswered> {
        let mut pieces = self.send(method, path, body).await?.into_body().into_data_stream();
        let mut waiting = Vec::new();
        while let Some(piece) = pieces.next().await {
            waiting.extend_from_slice(&piece.map_err(|error| self.cut(&error))?);
            let Some(end) = waiting.iter().rposition(|byte| *byte == b'\n') else {
                if waiting.len() > MAX_ANSWER_BYTES {
                    return Err(self.cut(&"a line has no end"));
                }
                continue;
            };
            for line in waiting[..end].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                each(serde_json::from_slice(line).map_err(|error| self.cut(&error))?)?;
            }
            waiting.drain(..=end);
        }
        if waiting.is_empty() { Ok(()) } else { Err(self.cut(&"it breaks off in a line")) }
    }

    /// Sends a request; an answer that is no success is read for its reason.
    async fn send(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Response, NotAnswered> {
        let request = Request::builder().method(method.clone()).uri(path).header(header::HOST, "localhost");
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let request = request.map_err(|error| NotAnswered::Invalid(error.to_string()))?;
        let response = match self {
            Self::Socket(socket) => over_socket(socket, request).await?,
            Self::Direct(router) => in_process(router, request).await,
        };
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    async fn refusal(&self, response: Response) -> NotAnswered {
        let status = response.status();
        let bytes = to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.unwrap_or_default();
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let detail = answer["detail"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
        NotAnswered::Refused { status: status.as_u16(), detail }
    }

    fn cut(&self, reason: &impl ToString) -> NotAnswered {
        match self {
            Self::Socket(socket) => unreachable(socket, reason),
            Self::Direct(_) => NotAnswered::Io(io::Error::other(reason.to_string())),
        }
    }
}

async fn over_socket(socket: &Path, request: Request<Body>) -> Result<Response, NotAnswered> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(socket, &error))?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| unreachable(socket, &error))?;
    Ok(response.map(Body::new))
}

/// Whoever could take the data directory's lock is who its socket would have let in.
async fn in_process(router: &Router, mut request: Request<Body>) -> Response {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    request.extensions_mut().insert(Peer::Unix { uid, gid, pid: None });
    match router.clone().layer(Observe(AccessLog::Off)).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn unreachable(socket: &Path, reason: &impl ToString) -> NotAnswered {
    NotAnswered::Unreachable { socket: socket.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures_util::stream;
    use serde_json::json;

    use super::*;

    async fn lines(text: &'static str) -> Result<Vec<Value>, NotAnswered> {
        let target = Target::Direct(Router::new().route("/lines", get(async move || text)));
        let mut heard = Vec::new();
        let each = |value| {
            heard.push(value);
            Ok(())
        };
        target.ask_for_lines(&Method::GET, "/lines", None, each).await.map(|()| heard)
    }

    #[tokio::test]
    async fn lines_are_heard_one_by_one() {
        assert_eq!(lines("{\"a\":1}\n\n2\n").await.unwrap(), [json!({"a": 1}), json!(2)]);
        assert_eq!(lines("").await.unwrap(), Vec::<Value>::new());
        assert!(lines("1\n{\"a\":").await.unwrap_err().to_string().contains("breaks off"));
        lines("rubbish\n").await.unwrap_err();
    }

    #[tokio::test]
    async fn an_answer_has_as_many_bytes_as_the_limit_says_and_no_more() {
        let answer = async |bytes: usize| {
            let text = format!("\"{}\"", "x".repeat(bytes - 2));
            let target = Target::Direct(Router::new().route("/text", get(async move || text)));
            target.ask(&Method::GET, "/text", None).await
        };
        let whole = answer(MAX_ANSWER_BYTES).await.unwrap();
        assert_eq!(whole.as_str().map(str::len), Some(MAX_ANSWER_BYTES - 2));
        assert!(matches!(answer(MAX_ANSWER_BYTES + 1).await, Err(NotAnswered::Io(_))));
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_read_as_far_as_the_limit_and_no_further() {
        let heard = async |bytes: usize| {
            let line = format!("\"{}\"", "x".repeat(bytes - 2));
            let body = move || Body::from_stream(stream::iter([line, "\n".to_owned()].map(Ok::<_, io::Error>)));
            let target = Target::Direct(Router::new().route("/lines", get(async move || body())));
            let mut heard = Vec::new();
            let each = |value: Value| {
                heard.push(value.as_str().map(str::len));
                Ok(())
            };
            target.ask_for_lines(&Method::GET, "/lines", None, each).await.map(|()| heard)
        };
        assert_eq!(heard(MAX_ANSWER_BYTES).await.unwrap(), [Some(MAX_ANSWER_BYTES - 2)]);
        let refused = heard(MAX_ANSWER_BYTES + 1).await.unwrap_err();
        assert!(refused.to_string().contains("a line has no end"), "{refused}");
    }

    #[tokio::test]
    async fn a_refusal_says_why() {
        let router = Router::new().route("/no", get(async || (StatusCode::CONFLICT, "{\"detail\":\"taken\"}")));
        let target = Target::Direct(router);
        let refused = target.ask(&Method::GET, "/no", None).await.unwrap_err();
        assert!(matches!(&refused, NotAnswered::Refused { status: 409, detail } if detail == "taken"), "{refused}");
        let missing = target.ask(&Method::GET, "/missing", None).await.unwrap_err();
        assert_eq!(missing.to_string(), "the server answered 404 Not Found");
    }

    #[tokio::test]
    async fn a_socket_without_a_server_is_named() {
        let target = Target::Socket("/nowhere/portreeve.sock".into());
        let unreachable = target.ask(&Method::GET, "/", None).await.unwrap_err();
        assert!(unreachable.to_string().starts_with("the server at /nowhere/portreeve.sock did not answer: "));
    }
}
