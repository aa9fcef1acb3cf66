//! Uploads under bad circumstances: two writers, clients that go away in the middle.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::{
    protocol::{
        answer::Failure,
        client::{Client, Login},
        samples::{Algorithm, Blob},
    },
    support::server::Portreeve,
};

const UPLOADS: &str = "acme/uploads/blobs/uploads/";

fn client(portreeve: &Portreeve) -> Client {
    let admin = portreeve.admin();
    Client::new(portreeve.url().clone(), Login::Account { user: admin.name, password: admin.secret })
}

/// A client that believes its connection lost takes its upload over while the old connection still sends. The old one
/// is ended, and nothing of what it sends from then on (other bytes, here) gets into the blob.
#[tokio::test]
async fn of_two_writers_on_one_upload_the_later_wins_and_nothing_is_mixed() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let client = client(&portreeve);
    let blob = Blob::random(Algorithm::Sha256, 1_000_000);
    let half = blob.bytes.len() / 2;
    let astray = Bytes::from([&blob.bytes[..half], &vec![0; half]].concat());
    let session = open(&client).await?;

    let former = client.follow(Method::PATCH, session.clone()).trickled(&astray, Duration::from_millis(20)).send();
    let later = async {
        sleep(Duration::from_millis(400)).await;
        take_over(&client, session.clone(), &blob).await
    };
    let (former, session) = tokio::join!(former, later);

    // The former writer may also find its connection closed.
    if let Ok(answer) = former {
        answer.status(&[416])?;
    }
    finish(&client, session?, &blob, &Bytes::new()).await
}

/// Asks where the upload stands and goes on from there, until nobody else has moved it in between.
async fn take_over(client: &Client, mut session: Url, blob: &Blob) -> Result<Url, Failure> {
    for _ in 0..10 {
        let (location, received) = standing(client, session).await?;
        assert!(received < blob.bytes.len() / 2, "the former writer is too fast for this test: {received}");
        let range = format!("{received}-{}", blob.bytes.len() - 1);
        let patch = client.follow(Method::PATCH, location.clone()).header("content-range", range);
        let answer = patch.body(&blob.bytes.slice(received..)).send().await?;
        if answer.status(&[202, 416])?.status == 202 {
            return answer.location();
        }
        session = location;
    }
    Err(Failure::new("the later writer was never let in"))
}

/// A client that hangs up during a PATCH finds what arrived, and goes on from there.
#[tokio::test]
async fn a_client_that_hangs_up_in_a_patch_resumes_where_it_was_heard() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let client = client(&portreeve);
    let blob = Blob::random(Algorithm::Sha256, 2_000_000);
    let session = open(&client).await?;
    let patch = client.follow(Method::PATCH, session.clone()).trickled(&blob.bytes, Duration::from_millis(10)).send();
    assert!(timeout(Duration::from_millis(400), patch).await.is_err(), "the patch should have taken a second");

    let (location, received) = settled(&client, session).await?;
    assert!(received > 0, "nothing of what had been sent was kept");
    let rest = blob.bytes.slice(received..);
    let range = format!("{received}-{}", blob.bytes.len() - 1);
    let patch = client.follow(Method::PATCH, location).header("content-range", range).body(&rest).send().await?;
    finish(&client, patch.status(&[202])?.location()?, &blob, &Bytes::new()).await
}

/// A client that hangs up during the closing PUT can close again, whether or not the first PUT was carried out.
#[tokio::test]
async fn a_client_that_hangs_up_in_a_put_closes_again() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let client = client(&portreeve);
    for patience in [0, 1, 2, 5, 10, 20, 50].map(Duration::from_millis) {
        let blob = Blob::random(Algorithm::Sha256, 300_000);
        let session = open(&client).await?;
        let patched = client.follow(Method::PATCH, session).streamed(&blob.bytes).send().await?;
        let session = patched.status(&[202])?.location()?;
        let put = client.follow(Method::PUT, session.clone()).query("digest", &blob.digest).send();
        // Hung up, or answered in time: both must leave a registry in which closing again succeeds.
        let _ = timeout(patience, put).await;
        finish(&client, session, &blob, &Bytes::new()).await?;
    }
    Ok(())
}

/// A client that opens uploads and goes away leaves nothing that anybody else could read.
#[tokio::test]
async fn an_upload_answers_only_under_its_own_repository() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let client = client(&portreeve);
    let session = open(&client).await?;
    let elsewhere = session.as_str().replace("acme/uploads", "acme/elsewhere");
    let elsewhere = Url::parse(&elsewhere).unwrap();
    assert_ne!(session, elsewhere);
    for method in [Method::GET, Method::PATCH, Method::PUT, Method::DELETE] {
        let request =
            client.follow(method, elsewhere.clone()).query("digest", &Blob::random(Algorithm::Sha256, 1).digest);
        request.send().await?.status(&[404])?;
    }
    client.follow(Method::GET, session).send().await?.status(&[204])?;
    Ok(())
}

async fn open(client: &Client) -> Result<Url, Failure> {
    client.request(Method::POST, UPLOADS).send().await?.status(&[202])?.location()
}

/// Where the upload stands. `0-0` is also how an upload without a byte answers.
async fn standing(client: &Client, session: Url) -> Result<(Url, usize), Failure> {
    let status = client.follow(Method::GET, session).send().await?;
    let last = status.status(&[204])?.header("range").and_then(|range| range.strip_prefix("0-"));
    let last: usize = last.and_then(|last| last.parse().ok()).ok_or_else(|| status.instead_of("Range: 0-<n>"))?;
    Ok((status.location()?, if last == 0 { 0 } else { last + 1 }))
}

/// Where the upload stands once the server has noticed that its client is gone.
async fn settled(client: &Client, session: Url) -> Result<(Url, usize), Failure> {
    let mut former = 0;
    loop {
        let (location, received) = standing(client, session.clone()).await?;
        if received > 0 && received == former {
            return Ok((location, received));
        }
        former = received;
        sleep(Duration::from_millis(300)).await;
    }
}

async fn finish(client: &Client, session: Url, blob: &Blob, body: &Bytes) -> Result<(), Failure> {
    let closed = client.follow(Method::PUT, session).query("digest", &blob.digest).body(body).send().await?;
    let stored = client.follow(Method::GET, closed.status(&[201])?.location()?).send().await?;
    stored.status(&[200])?.body_is(&blob.bytes)?;
    Ok(())
}
