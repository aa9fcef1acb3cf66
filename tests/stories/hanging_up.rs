//! Clients that hang up, at each step of a login, a push and a pull: nothing half-written is seen afterwards, and the next attempt
//! succeeds.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use url::Url;

use crate::{
    protocol::{
        answer::{Answer, Failure},
        client::{Client, Login},
        samples::{Algorithm, Blob, media, word},
    },
    support::server::Portreeve,
};

const UPLOADS: &str = "acme/cut/blobs/uploads/";

/// How far a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    HalfTheHead,
    HalfTheBody,
    /// All of it was sent; nobody waits for the answer.
    TheAnswer,
}

const EVERY: [Until; 3] = [Until::HalfTheHead, Until::HalfTheBody, Until::TheAnswer];

struct Story {
    portreeve: Portreeve,
    client: Client,
    token: String,
}

impl Story {
    async fn begin() -> Result<Self, Failure> {
        let portreeve = Portreeve::up();
        let admin = portreeve.admin();
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", admin.name, admin.secret)));
        let client = Client::new(portreeve.url().clone(), Login::Account { user: admin.name, password: admin.secret });
        let asked = client.follow(Method::GET, portreeve.url().join("token").unwrap()).header("authorization", basic);
        let asked = asked.query("service", "portreeve").query("scope", "repository:acme/cut:pull,push").send().await?;
        let token = asked.status(&[200])?.json()?["token"].as_str().unwrap_or_default().to_owned();
        Ok(Self { portreeve, client, token })
    }

    /// Sends a request as far as that, and hangs up.
    async fn hang_up(&self, request: &str, headers: &str, body: &[u8], until: Until) {
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n{headers}\r\n",
            self.portreeve.authority(),
            self.token,
            body.len()
        );
        let (head, body) = match until {
            Until::HalfTheHead => (&head[..head.len() / 2], &body[..0]),
            Until::HalfTheBody => (&head[..], &body[..body.len() / 2]),
            Until::TheAnswer => (&head[..], body),
        };
        let mut stream = TcpStream::connect(self.portreeve.authority()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may refuse before it has everything.
        let _ = stream.write_all(body).await;
        // It has begun with what it has.
        sleep(Duration::from_millis(100)).await;
    }

    /// The path and query of an upload that has just begun.
    async fn session(&self) -> Result<Url, Failure> {
        self.client.request(Method::POST, UPLOADS).send().await?.status(&[202])?.location()
    }

    /// A blob in one request, as a client that begins again.
    async fn push(&self, blob: &Blob) -> Result<(), Failure> {
        let post = self.client.request(Method::POST, UPLOADS).query("digest", &blob.digest).body(&blob.bytes);
        post.send().await?.status(&[201])?;
        self.pull(&format!("blobs/{}", blob.digest)).await?.status(&[200])?.body_is(&blob.bytes)?;
        Ok(())
    }

    async fn pull(&self, path: &str) -> Result<Answer, Failure> {
        self.client.request(Method::GET, &format!("acme/cut/{path}")).send().await
    }

    /// What was sent in part only is not there, now and when the server has noticed.
    async fn is_absent(&self, path: &str) -> Result<(), Failure> {
        for _ in 0..3 {
            self.pull(path).await?.status(&[404])?;
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// No fault of ours was found, and nothing is left waiting for whoever hung up.
    fn ends_well(mut self) {
        let log = self.portreeve.log();
        assert!(!log.contains("panicked") && !log.contains("could not be answered"), "{log}");
        assert!(self.portreeve.stop().success(), "{}", self.portreeve.log());
    }
}

fn target(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

#[tokio::test]
async fn a_manifest_is_there_whole_or_not_at_all() -> Result<(), Failure> {
    let story = Story::begin().await?;
    let config = Blob::of(Algorithm::Sha256, "{}");
    story.push(&config).await?;
    for until in EVERY {
        let tag = word();
        let document = json!({
            "schemaVersion": 2,
            "mediaType": media::IMAGE,
            "config": config.descriptor(media::CONFIG),
            "layers": [],
            "annotations": {"text": "x".repeat(100_000), "tag": tag},
        });
        let document = Bytes::from(document.to_string());
        let (path, kind) = (format!("manifests/{tag}"), format!("Content-Type: {}\r\n", media::IMAGE));
        story.hang_up(&format!("PUT /v2/acme/cut/{path}"), &kind, &document, until).await;
        if until != Until::TheAnswer {
            story.is_absent(&path).await?;
            story.is_absent(&format!("manifests/{}", Algorithm::Sha256.digest(&document))).await?;
        }
        let put = story.client.request(Method::PUT, &format!("acme/cut/{path}")).header("content-type", media::IMAGE);
        put.streamed(&document).send().await?.status(&[201])?;
        story.pull(&path).await?.status(&[200])?.body_is(&document)?;
    }
    story.ends_well();
    Ok(())
}

#[tokio::test]
async fn an_upload_that_nobody_heard_of_is_in_nobodys_way() -> Result<(), Failure> {
    let story = Story::begin().await?;
    for until in EVERY {
        story.hang_up(&format!("POST /v2/{UPLOADS}"), "", b"", until).await;
        story.push(&Blob::random(Algorithm::Sha256, 1000)).await?;
    }
    story.ends_well();
    Ok(())
}

#[tokio::test]
async fn a_blob_in_one_request_is_there_whole_or_not_at_all() -> Result<(), Failure> {
    let story = Story::begin().await?;
    for until in EVERY {
        let blob = Blob::random(Algorithm::Sha256, 300_000);
        let post = format!("POST /v2/{UPLOADS}?digest={}", blob.digest);
        story.hang_up(&post, "", &blob.bytes, until).await;
        if until != Until::TheAnswer {
            story.is_absent(&format!("blobs/{}", blob.digest)).await?;
        }
        story.push(&blob).await?;
    }
    story.ends_well();
    Ok(())
}

#[tokio::test]
async fn a_chunk_that_was_cut_is_gone_on_with_or_begun_again() -> Result<(), Failure> {
    let story = Story::begin().await?;
    for until in EVERY {
        for closing in [false, true] {
            let blob = Blob::random(Algorithm::Sha256, 300_000);
            let mut session = story.session().await?;
            if closing {
                session.query_pairs_mut().append_pair("digest", &blob.digest);
            }
            let method = if closing { "PUT" } else { "PATCH" };
            story.hang_up(&format!("{method} {}", target(&session)), "", &blob.bytes, until).await;
            if until != Until::TheAnswer {
                story.is_absent(&format!("blobs/{}", blob.digest)).await?;
            }
            session.set_query(None);
            go_on(&story, session, &blob).await?;
            story.pull(&format!("blobs/{}", blob.digest)).await?.status(&[200])?.body_is(&blob.bytes)?;
            story.push(&blob).await?;
        }
    }
    story.ends_well();
    Ok(())
}

/// Sends what is missing, from where the upload says it stands; one that was finished already needs nothing.
async fn go_on(story: &Story, session: Url, blob: &Blob) -> Result<(), Failure> {
    for _ in 0..20 {
        let status = story.client.follow(Method::GET, session.clone()).send().await?;
        if status.status(&[204, 404])?.status == 404 {
            return Ok(());
        }
        let last: usize = status.header("range").and_then(|r| r.strip_prefix("0-")?.parse().ok()).unwrap_or_default();
        let received = if last == 0 { 0 } else { last + 1 };
        let rest = blob.bytes.slice(received..);
        let put = story.client.follow(Method::PUT, status.location()?).query("digest", &blob.digest).body(&rest);
        let put = if rest.is_empty() {
            put
        } else {
            put.header("content-range", format!("{received}-{}", blob.bytes.len() - 1))
        };
        // Until the server has noticed that nobody sends any more, the upload may stand elsewhere than it said.
        if put.send().await?.status(&[201, 416])?.status == 201 {
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::new("the upload never let anybody go on"))
}

#[tokio::test]
async fn whoever_stops_listening_to_a_blob_hears_all_of_it_the_next_time() -> Result<(), Failure> {
    let story = Story::begin().await?;
    // Clients ask for a token before they send anything large.
    story.push(&Blob::random(Algorithm::Sha256, 1000)).await?;
    let blob = Blob::random(Algorithm::Sha256, 20_000_000);
    story.push(&blob).await?;
    for heard in [0, 1, 100_000] {
        let mut stream = TcpStream::connect(story.portreeve.authority()).await.unwrap();
        let head = format!(
            "GET /v2/acme/cut/blobs/{} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            blob.digest,
            story.portreeve.authority(),
            story.token
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.read_exact(&mut vec![0; heard]).await.unwrap();
        drop(stream);
        story.pull(&format!("blobs/{}", blob.digest)).await?.status(&[200])?.body_is(&blob.bytes)?;
    }
    story.ends_well();
    Ok(())
}

#[tokio::test]
async fn a_login_that_was_cut_succeeds_when_it_is_tried_again() -> Result<(), Failure> {
    let story = Story::begin().await?;
    let admin = story.portreeve.admin();
    let form = format!(
        "grant_type=password&service=portreeve&client_id=test&username=admin&password={}&scope=repository:acme/cut:pull",
        admin.secret
    );
    let realm = story.portreeve.url().join("token").unwrap();
    for until in EVERY {
        story.hang_up("GET /token?service=portreeve&scope=repository:acme/cut:pull", "", b"", until).await;
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        story.hang_up("POST /token", kind, form.as_bytes(), until).await;
        let again = story.client.follow(Method::POST, realm.clone());
        let again = again.header("content-type", "application/x-www-form-urlencoded");
        let answer = again.streamed(&Bytes::from(form.clone())).send().await?;
        assert!(answer.status(&[200])?.json()?["access_token"].is_string());
    }
    assert!(!story.portreeve.log().contains(&admin.secret));
    story.ends_well();
    Ok(())
}
