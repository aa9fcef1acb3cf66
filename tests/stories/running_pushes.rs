//! Whatever is given to whomever: a push that runs goes on to its end under the one token that it began with, and a token that counts goes
//! on counting.

use std::{
    convert::Infallible,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Client as Http, Response, StatusCode, header::LOCATION};
use serde_json::json;
use tokio::{
    sync::mpsc::{Sender, channel},
    task::JoinHandle,
    time::sleep,
};
use url::Url;

use super::apart::{as_account, bearing, believing, bundle, companion, push, registry, text, token};
use crate::{
    protocol::samples::{Algorithm, Blob, media},
    support::server::{Launch, Portreeve, written},
};

/// Far longer than what is taken away needs to be felt (`revocation_reach`).
const FELT: Duration = Duration::from_millis(300);
const IMAGE: &str = "/v2/acme/web/manifests/v1";

/// One grant more, and one that is wider than it is by then.
const SETUP: &str = "version: 1\nnamespaces: [{name: acme, visibility: public, grants: [\
    {subject: 'team:dev', repositories: 'acme/**', actions: contributor}, {subject: alice, repositories: 'acme/**', actions: reader}]}]\n";

/// An auth service with a directory, which nobody has to be able to reach.
fn auth() -> Portreeve {
    let words = |data: &Path| {
        let directory = "{name: corp, urls: ['ldaps://127.0.0.1:1'], bind: {dn: 'cn=reader', password: x}, users: {base: 'dc=corp'}}";
        let file = written(data, "auth.yml", &format!("version: 0.1\nldap: [{directory}]\n"));
        ["auth", "serve", &file, "--listen", "127.0.0.1:0", "--data", &text(data)].map(str::to_owned).to_vec()
    };
    Launch::command(words).start()
}

/// A push under one token, at the steps that a client takes.
struct Push<'p> {
    registry: &'p Portreeve,
    token: String,
}

/// An upload whose bytes are on their way: half of them have been sent, and the request is open.
struct Open {
    blob: Blob,
    rest: Sender<Bytes>,
    patch: JoinHandle<Response>,
}

impl Push<'_> {
    fn at(&self, location: &str) -> Url {
        self.registry.url().join(location).unwrap()
    }

    async fn begun(&self) -> Url {
        let begun = Http::new().post(self.at("/v2/acme/web/blobs/uploads/")).bearer_auth(&self.token);
        self.led_on(&begun.send().await.unwrap(), StatusCode::ACCEPTED)
    }

    fn led_on(&self, answer: &Response, status: StatusCode) -> Url {
        assert_eq!(answer.status(), status, "{}", answer.url());
        self.at(answer.headers()[LOCATION].to_str().unwrap())
    }

    /// A PATCH that has sent half of what it will.
    async fn streams(&self) -> Open {
        let (blob, (rest, received)) = (Blob::random(Algorithm::Sha256, 200_000), channel::<Bytes>(1));
        let body = stream::unfold(received, |mut received| async move {
            let piece = received.recv().await?;
            Some((Ok::<_, Infallible>(piece), received))
        });
        let patch = Http::new().patch(self.begun().await).bearer_auth(&self.token).body(Body::wrap_stream(body));
        let patch = tokio::spawn(async { patch.send().await.unwrap() });
        let half = blob.bytes.len() / 2;
        rest.send(blob.bytes.slice(..half)).await.unwrap();
        Open { blob, rest, patch }
    }

    /// An upload between two chunks.
    async fn has_sent_a_chunk(&self, blob: &Blob) -> Url {
        let half = blob.bytes.len() / 2;
        let patch = Http::new().patch(self.begun().await).bearer_auth(&self.token).body(blob.bytes.slice(..half));
        self.led_on(&patch.send().await.unwrap(), StatusCode::ACCEPTED)
    }

    async fn sends_the_rest(&self, Open { blob, rest, patch }: Open) -> Blob {
        assert!(!patch.is_finished(), "the request was answered before it was whole");
        rest.send(blob.bytes.slice(blob.bytes.len() / 2..)).await.unwrap();
        drop(rest);
        let location = self.led_on(&patch.await.unwrap(), StatusCode::ACCEPTED);
        self.closes(location, &blob, Bytes::new()).await;
        blob
    }

    async fn closes(&self, mut location: Url, blob: &Blob, rest: Bytes) {
        location.query_pairs_mut().append_pair("digest", &blob.digest);
        let closed = Http::new().put(location).bearer_auth(&self.token).body(rest).send().await.unwrap();
        assert_eq!(closed.status(), StatusCode::CREATED);
    }

    /// The image of both layers, and what is read of it.
    async fn ends_with_an_image(&self, layers: [&Blob; 2]) {
        let image = json!({
            "schemaVersion": 2,
            "mediaType": media::IMAGE,
            "config": layers[0].descriptor(media::CONFIG),
            "layers": layers.map(|layer| layer.descriptor(media::LAYER)),
        });
        let put = Http::new().put(self.at("/v2/acme/web/manifests/across")).header("content-type", media::IMAGE);
        let put = put.bearer_auth(&self.token).body(image.to_string()).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::CREATED);
        assert_eq!(bearing(self.registry, &self.token, "/v2/acme/web/manifests/across").await, 200);
    }

    /// Begins uploads and pulls until everything that a change may have caused is long felt.
    async fn goes_on(&self, after: &[&str]) {
        let begun = Instant::now();
        while begun.elapsed() < FELT {
            let begins = Http::new().post(self.at("/v2/acme/web/blobs/uploads/")).bearer_auth(&self.token);
            assert_eq!(begins.send().await.unwrap().status(), StatusCode::ACCEPTED, "after {after:?}");
            assert_eq!(bearing(self.registry, &self.token, IMAGE).await, 200, "after {after:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn what_is_given_interrupts_nobody() {
    let auth = auth();
    let join = companion(&auth).await;
    let trust = format!("rootcertbundle: {}", text(&bundle(&auth)));
    let registry = registry(&format!("{}{join}", believing(&auth, &trust)));
    auth.private_namespace("acme").await;
    assert_eq!(push(&as_account(&registry, &auth.admin()), "acme/web", "v1").await, 201);
    let robot = auth.robot("acme", "ci").await;
    let grant = auth.auth(&["grant", "add", &robot.name, "acme/**", "pull,push"]).await["id"].clone();
    for team in ["acme/dev", "acme/ops"] {
        auth.auth(&["team", "add", team]).await;
    }
    auth.auth(&["grant", "add", "team:ops", "acme/**", "maintainer"]).await;
    auth.person("alice").await;

    let token = token(&auth, &robot, "repository:acme/web:pull,push").await;
    let push = Push { registry: &registry, token };
    let chunked = Blob::random(Algorithm::Sha256, 200_000);
    let (streamed, between) = (push.streams().await, push.has_sent_a_chunk(&chunked).await);
    let changes: [&[&str]; 13] = [
        &["grant", "add", "robot.acme.ci", "acme/**", "pull,delete"],
        &["grant", "add", "everyone", "acme/public/**", "pull"],
        &["grant", "add", "authenticated", "acme/inner/**", "pull"],
        &["grant", "add", "team:dev", "acme/**", "pull"],
        &["team", "join", "acme/dev", "alice"],
        &["team", "join", "acme/ops", "robot.acme.ci"],
        &["team", "map", "acme/ops", "corp", "cn=ops,dc=corp"],
        &["namespace", "visibility", "acme", "public"],
        &["robot", "key", "add", "acme/ci"],
        &["user", "role", "alice", "auditor"],
        &["namespace", "add", "other"],
        &["service", "add", "another.test"],
        &["keys", "rotate"],
    ];
    for change in changes {
        auth.auth(change).await;
        push.goes_on(change).await;
    }
    let wider = json!({"subject": robot.name, "repositories": "acme/**", "actions": "maintainer"});
    auth.put(&format!("/api/v1/namespaces/acme/grants/{grant}"), &wider).await;
    push.goes_on(&["a grant is widened"]).await;
    auth.command(&["auth", "apply", &written(auth.data(), "setup.yml", SETUP)]).succeeds().await.says("Applied");
    push.goes_on(&["a setup is applied"]).await;
    let layer = push.sends_the_rest(streamed).await;
    push.closes(between, &chunked, chunked.bytes.slice(chunked.bytes.len() / 2..)).await;
    push.ends_with_an_image([&layer, &chunked]).await;
}
