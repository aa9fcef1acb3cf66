//! Administering a running server by its command line, as an operator does.

use reqwest::Method;
use serde_json::Value;

use super::{
    leaks::secrets_in,
    server::{Account, Portreeve},
};

impl Portreeve {
    /// `portreeve auth WORDS --json`, and what it printed.
    pub(crate) async fn auth(&self, words: &[&str]) -> Value {
        let outcome = self.command(&[&["auth"], words, &["--json"]].concat()).succeeds().await;
        let answer =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {outcome}"));
        self.keeps_to_itself(secrets_in(&answer));
        answer
    }

    /// What the admin API makes at `path`, asked as root on the data directory's socket.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Value {
        self.sent(Method::POST, path, body).await
    }

    /// What it puts at `path`, in the place of what is there.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Value {
        self.sent(Method::PUT, path, body).await
    }

    async fn sent(&self, method: Method, path: &str, body: &Value) -> Value {
        let socket = self.data().join("portreeve.sock");
        let http = reqwest::Client::builder().unix_socket(socket).build().expect("a plain client can be built");
        self.keeps_to_itself(secrets_in(body));
        let answer = http
            .request(method, format!("http://portreeve{path}"))
            .json(body)
            .send()
            .await
            .expect("the socket answers");
        let answer = answer.error_for_status().expect("root may").json().await.expect("the answer is JSON");
        self.keeps_to_itself(secrets_in(&answer));
        answer
    }

    /// A namespace that only its members reach.
    pub(crate) async fn private_namespace(&self, name: &str) {
        self.auth(&["namespace", "add", name, "--visibility", "private"]).await;
    }

    /// A person with a password of their own.
    pub(crate) async fn person(&self, name: &str) -> Account {
        let made = self.auth(&["user", "add", name]).await;
        Account::new(name, made["password"].as_str().unwrap_or_else(|| panic!("a new user has a password: {made}")))
    }

    /// A robot `robot.NAMESPACE.NAME` with one key.
    pub(crate) async fn robot(&self, namespace: &str, name: &str) -> Account {
        let robot = self.auth(&["robot", "add", &format!("{namespace}/{name}")]).await;
        let handle = robot["name"].as_str().unwrap_or_else(|| panic!("a robot has a name: {robot}"));
        self.robot_key(handle).await.0
    }

    /// Another key for a robot: what it logs in with, and the key's number.
    pub(crate) async fn robot_key(&self, handle: &str) -> (Account, String) {
        let key = self.auth(&["robot", "key", "add", handle]).await;
        let secret = key["secret"].as_str().unwrap_or_else(|| panic!("a new key shows its secret: {key}"));
        (Account::new(handle, secret), key["id"].to_string())
    }

    /// Lets `account` do `actions` in repositories of `pattern`; with `tags`, push and delete only those.
    pub(crate) async fn grant(&self, account: &Account, pattern: &str, actions: &str, tags: Option<&str>) {
        let mut words = vec!["grant", "add", &account.name, pattern, actions];
        words.extend(tags.iter().flat_map(|tags| ["--tags", tags]));
        self.auth(&words).await;
    }
}
