//! Callers who log in nowhere, where everybody may push: mounts find what everybody may read, and nothing else.

use reqwest::Method;

use super::apart::{as_account, auth, believing, bundle, companion, push, registry, text};
use crate::{
    protocol::{
        client::{Client, Login},
        samples::{Algorithm, Blob},
    },
    support::server::Portreeve,
};

/// `base` is public, `hidden` is not, and anybody may push to `inbox`.
async fn furnish(auth: &Portreeve) {
    for (name, visibility) in [("base", "public"), ("hidden", "private"), ("inbox", "public")] {
        auth.auth(&["namespace", "add", name, "--visibility", visibility]).await;
    }
    auth.auth(&["grant", "add", "everyone", "inbox/**", "pull,push"]).await;
}

async fn put(client: &Client, repository: &str, blob: &Blob) {
    let upload = client.request(Method::POST, &format!("{repository}/blobs/uploads/")).query("digest", &blob.digest);
    assert_eq!(upload.body(&blob.bytes).send().await.unwrap().status, 201);
}

/// What a guest's mount into `inbox/web` is answered with.
async fn mount(guest: &Client, blob: &Blob, from: Option<&str>) -> u16 {
    let request = guest.request(Method::POST, "inbox/web/blobs/uploads/").query("mount", &blob.digest);
    let request = match from {
        Some(from) => request.query("from", from),
        None => request,
    };
    request.send().await.unwrap().status
}

async fn tell(auth: &Portreeve, registry: &Portreeve) {
    furnish(auth).await;
    let owner = as_account(registry, &auth.admin());
    let open: Vec<Blob> = ["one", "two"].map(|text| Blob::of(Algorithm::Sha256, text)).into();
    let secret = Blob::of(Algorithm::Sha256, "secret");
    for blob in &open {
        put(&owner, "base/debian", blob).await;
    }
    put(&owner, "hidden/web", &secret).await;
    assert_eq!(push(&owner, "base/debian", "v1").await, 201);

    let guest = Client::new(registry.url().clone(), Login::Anonymous);
    assert_eq!(mount(&guest, &open[0], None).await, 201, "a public repository holds it");
    assert_eq!(mount(&guest, &open[1], Some("base/debian")).await, 201);
    assert_eq!(mount(&guest, &secret, None).await, 202, "nobody else's business that somebody holds it");
    // Asked for by name, it is a right that the guest lacks: the same for what is hidden as for what is not there.
    for from in ["hidden/web", "hidden/nothing"] {
        assert_eq!(mount(&guest, &secret, Some(from)).await, 401, "{from}");
    }
    for (blob, expected) in [(&open[0], 200), (&open[1], 200), (&secret, 404)] {
        let held = guest.request(Method::HEAD, &format!("inbox/web/blobs/{}", blob.digest)).send().await.unwrap();
        assert_eq!(held.status, expected);
    }
    // Only where everybody may push.
    let other = guest.request(Method::POST, "base/debian/blobs/uploads/").query("mount", &open[0].digest);
    assert_eq!(other.send().await.unwrap().status, 401);
}

#[tokio::test]
async fn a_guests_mount_finds_what_everybody_may_read() {
    let portreeve = Portreeve::up();
    tell(&portreeve, &portreeve).await;
}

#[tokio::test]
async fn a_guests_mount_finds_it_through_a_companion_elsewhere_too() {
    let auth = auth();
    let join = companion(&auth).await;
    let registry =
        registry(&format!("{}{join}", believing(&auth, &format!("rootcertbundle: {}", text(&bundle(&auth))))));
    tell(&auth, &registry).await;
}
