//! What whoever runs a registry asks of it, over the data directory's socket.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{protocol::answer::Failure, support::server::Portreeve};

/// Tags that the rules of `acme` let go an hour after their push.
pub(super) const OLD: &str = "old-";

/// The faults of what stories break.
const BROKEN: [&str; 2] = ["usage_wrong", "stray_bytes"];

pub(super) struct Office(reqwest::Client);

impl Office {
    /// The office of a server that runs, or will again: the socket keeps its place.
    pub(super) fn of(portreeve: &Portreeve) -> Self {
        let socket = portreeve.data().join("root/portreeve.sock");
        Self(reqwest::Client::builder().unix_socket(socket).build().expect("a plain client can be built"))
    }

    /// A quota that nothing here comes near, and rules that something here comes near.
    pub(super) async fn furnish(&self) -> Result<(), Failure> {
        self.order(Method::PUT, "namespaces/bounded/quota", &json!({"bytes": 1 << 30})).await?;
        let old = json!({"expire": {"tags": format!("{OLD}*"), "not_pushed_for": "1h"}});
        let rules = json!({"rules": [old, {"expire_untagged": {"after": "0s"}}]});
        self.order(Method::PUT, "namespaces/acme/lifecycle", &rules).await.map(drop)
    }

    /// Has something done, and insists that it was.
    pub(super) async fn order(&self, method: Method, path: &str, body: &Value) -> Result<String, Failure> {
        let what = format!("{method} {path}");
        let lost = |error: reqwest::Error| Failure::new(format!("{what}: {error:?}"));
        let url = format!("http://localhost/api/v1/registry/{path}");
        let ask = self.0.request(method, url).header("content-type", "application/json").body(body.to_string());
        let answer = ask.send().await.map_err(lost)?;
        let status = answer.status();
        let told = answer.text().await.map_err(lost)?;
        if status.is_success() { Ok(told) } else { Err(Failure::new(format!("{what} answered {status}: {told}"))) }
    }

    /// The same of something that is told as it goes: it came to its end. What was told.
    async fn order_to_the_end(&self, path: &str, body: &Value) -> Result<String, Failure> {
        let told = self.order(Method::POST, path, body).await?;
        match told.lines().last().map(serde_json::from_str::<Value>) {
            Some(Ok(last)) if last["event"] == "done" => Ok(told),
            _ => Err(Failure::new(format!("{path} answered 5xx, in its way: {told}"))),
        }
    }

    /// Collects by hand: what was deleted is gone for good.
    pub(super) async fn collect(&self) -> Result<(), Failure> {
        self.order_to_the_end("garbage-collect", &json!({})).await.map(drop)
    }

    /// The same, but what can come back stays.
    pub(super) async fn collect_beside(&self) -> Result<(), Failure> {
        self.order_to_the_end("garbage-collect", &json!({"keep_deleted": true})).await.map(drop)
    }

    /// Runs the rules of `acme`, or goes on with a run that was left lying.
    pub(super) async fn run_rules(&self) -> Result<(), Failure> {
        self.order_to_the_end("namespaces/acme/lifecycle/run", &json!({})).await.map(drop)
    }

    /// Has the rules of `acme` previewed.
    pub(super) async fn preview_rules(&self) -> Result<(), Failure> {
        self.order_to_the_end("namespaces/acme/lifecycle/preview", &json!({})).await.map(drop)
    }

    /// Has the doctor put right what he finds, which is what was broken on purpose and nothing else.
    pub(super) async fn repair(&self) -> Result<(), Failure> {
        let told = self.order_to_the_end("doctor", &json!({"repair": true, "restart": true, "rate": "100%"})).await?;
        let findings = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let others = findings
            .filter(|event| event["event"] == "finding" && !BROKEN.iter().any(|fault| event["fault"] == *fault));
        match others.map(|finding| finding.to_string()).next() {
            None => Ok(()),
            Some(finding) => Err(Failure::new(format!("the doctor found something else: {finding}"))),
        }
    }
}
