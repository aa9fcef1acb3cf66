//! Where commands go: the server's socket, or a server built for the command.

use serde_json::Value;
use shared::command::{self, Method};
use url::Url;

use super::CliError;
use crate::server::Auth;

/// The server that a command speaks to.
pub enum Target {
    /// One that runs, by the socket in its data directory.
    Socket(command::Target),
    /// One that was built for this command, because nobody holds the data directory.
    Direct(Box<Auth>, command::Target),
}

impl Target {
    /// The server that listens on this socket.
    #[must_use]
    pub fn socket(socket: std::path::PathBuf) -> Self {
        Self::Socket(command::Target::Socket(socket))
    }

    /// A server in this process.
    #[must_use]
    pub fn direct(auth: Auth) -> Self {
        let routes = command::Target::Direct(auth.socket_router());
        Self::Direct(Box::new(auth), routes)
    }

    /// Asks, and follows a list to its end. What changes something is done once, whatever is answered.
    pub(super) async fn ask(&self, method: &Method, url: &Url, body: Option<&Value>) -> Result<Value, CliError> {
        let mut answer = self.ask_once(method, url, body).await?;
        let next = |answer: &Value| answer.get("next").and_then(Value::as_str).map(str::to_owned);
        while let Some(next) = next(&answer).filter(|_| *method == Method::GET) {
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

    pub(super) async fn ask_once(&self, method: &Method, url: &Url, body: Option<&Value>) -> Result<Value, CliError> {
        let (Self::Socket(target) | Self::Direct(_, target)) = self;
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(target.ask(method, &path, body).await?)
    }

    /// Ends what was begun for this command.
    pub(super) async fn close(&self) {
        if let Self::Direct(auth, _) = self {
            auth.app().accounts.close().await;
        }
    }
}
