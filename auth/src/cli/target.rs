//! Where commands go: the server's socket, or a router in this process.

use std::path::{Path, PathBuf};

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header},
    response::Response,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shared::{
    listen::Peer,
    telemetry::{AccessLog, Observe},
};
use tokio::net::UnixStream;
use tower::ServiceExt;
use url::Url;

use super::CliError;
use crate::server::Auth;

/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The server that a command speaks to.
pub enum Target {
    /// One that runs, by the socket in its data directory.
    Socket(PathBuf),
    /// One that was built for this command, because nobody holds the data directory.
    Direct(Box<Auth>),
}

impl Target {
    /// Asks, and follows a list to its end.
    pub(super) async fn ask(&self, method: &Method, url: &Url, body: Option<&Value>) -> Result<Value, CliError> {
        let mut answer = self.ask_once(method, url, body).await?;
        while let Some(next) = answer.get("next").and_then(Value::as_str).map(str::to_owned) {
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("after", &next);
            let mut page = self.ask_once(method, &url, None).await?;
            if let (Some(items), Some(more)) = (answer["items"].as_array_mut(), page["items"].as_array_mut()) {
                items.append(more);
            }
            match page.get("next") {
                Some(next) => answer["next"] = next.clone(),
                None => drop(answer.as_object_mut().and_then(|members| members.remove("next"))),
            }
        }
        Ok(answer)
    }

    async fn ask_once(&self, method: &Method, url: &Url, body: Option<&Value>) -> Result<Value, CliError> {
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let request = Request::builder().method(method.clone()).uri(path).header(header::HOST, "localhost");
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let request = request.map_err(|error| CliError::Argument(error.to_string()))?;
        let response = match self {
            Self::Socket(socket) => over_socket(socket, request).await?,
            Self::Direct(auth) => in_process(auth, request).await,
        };
        self.read(response).await
    }

    async fn read(&self, response: Response) -> Result<Value, CliError> {
        let status = response.status();
        let bytes = to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.map_err(|error| self.unreachable(&error))?;
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let detail = answer["detail"].as_str().map_or_else(|| format!("the server answered {status}"), str::to_owned);
        Err(CliError::Refused { status: status.as_u16(), detail })
    }

    /// Ends what was begun for this command.
    pub(super) async fn close(&self) {
        if let Self::Direct(auth) = self {
            auth.app().accounts.close().await;
        }
    }

    fn unreachable(&self, reason: &impl ToString) -> CliError {
        match self {
            Self::Socket(socket) => unreachable(socket, reason),
            Self::Direct(_) => CliError::Argument(reason.to_string()),
        }
    }
}

async fn over_socket(socket: &Path, request: Request<Body>) -> Result<Response, CliError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(socket, &error))?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| unreachable(socket, &error))?;
    Ok(response.map(Body::new))
}

/// Whoever could take the data directory's lock is who its socket would have let in.
async fn in_process(auth: &Auth, mut request: Request<Body>) -> Response {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    request.extensions_mut().insert(Peer::Unix { uid, gid, pid: None });
    match auth.socket_router().layer(Observe(AccessLog::Off)).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn unreachable(socket: &Path, reason: &impl ToString) -> CliError {
    CliError::Unreachable { socket: socket.to_owned(), reason: reason.to_string() }
}
