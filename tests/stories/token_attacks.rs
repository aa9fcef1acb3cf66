//! Tokens and requests made to deceive. Each names the flaw of another server that it comes from.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::apart::push;
use crate::{
    protocol::{
        answer::{Answer, Failure},
        client::{Client, Login},
        samples::media,
    },
    support::{
        issuer::{Office, claims, hs256, libtrust_id, now, signed},
        server::{Account, Portreeve},
    },
};

/// Most that a server may need at any moment of an attack beyond what it had before, in KiB: of this are requests and their answers.
const FLAT_KIB: u64 = 8 * 1024;

/// How many make the same attack at once.
const ATTACKERS: usize = 32;

/// Insists that the server's memory stays what it was, while many do this at once, over and over.
async fn costs_no_memory(portreeve: &Portreeve, attack: impl AsyncFn()) {
    let all_at_once = async || _ = join_all((0..ATTACKERS).map(|_| attack())).await;
    // Connections, their buffers and the allocator's arenas come once and stay.
    all_at_once().await;
    portreeve.forget_peak();
    let before = portreeve.memory("VmRSS");
    for _ in 0..4 {
        all_at_once().await;
    }
    let more = portreeve.memory("VmHWM").saturating_sub(before);
    assert!(more < FLAT_KIB, "{more} KiB more than before");
}

async fn begin_push(registry: &Portreeve, token: &str) -> Result<Answer, Failure> {
    let client = Client::new(registry.url().clone(), Login::Token(token.to_owned()));
    client.request(Method::POST, "acme/web/blobs/uploads/").send().await
}

/// Insists on 401 with `invalid_token` for every one of these tokens.
async fn all_refused(registry: &Portreeve, tokens: &[(&str, String)]) {
    for (what, token) in tokens {
        let answer = begin_push(registry, token).await.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        let refused = answer.status == 401 && challenge.contains("error=\"invalid_token\"");
        assert!(refused, "{what}: {}", answer.instead_of("401 and invalid_token"));
    }
}

/// A key in the token itself is the sender's word for itself (CVE-2025-24976: only its `kid` was compared).
#[tokio::test]
#[ignore = "needs openssl"]
async fn keys_that_a_token_brings_along_are_not_believed() {
    let office = Office::open();
    office.authority("trusted").await;
    office.authority("attacker").await;
    let registry = office.registry("trusted.pem");
    let kid = libtrust_id(&office.public_key("trusted.key").await);
    let key = office.public_key("attacker.key").await;
    // The point is the last 64 bytes of a P-256 SubjectPublicKeyInfo.
    let point = &key[key.len() - 64..];
    let (x, y) = (URL_SAFE_NO_PAD.encode(&point[..32]), URL_SAFE_NO_PAD.encode(&point[32..]));
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid});
    let forged = |header: Value| office.es256("attacker.key", &header, &claims());
    let sound = office.es256("trusted.key", &json!({"alg": "ES256", "kid": kid}), &claims());
    assert_eq!(begin_push(&registry, &sound).await.unwrap().status, 202);
    all_refused(
        &registry,
        &[
            ("a key under the trusted id", forged(json!({"alg": "ES256", "kid": kid, "jwk": jwk}))),
            ("a key and no id", forged(json!({"alg": "ES256", "jwk": jwk}))),
            ("an address of keys", forged(json!({"alg": "ES256", "kid": kid, "jku": "http://127.0.0.1:1/keys"}))),
            ("an address of certificates", forged(json!({"alg": "ES256", "kid": kid, "x5u": "http://127.0.0.1:1/x"}))),
            ("an empty chain beside a trusted id", forged(json!({"alg": "ES256", "kid": kid, "x5c": []}))),
            ("another's signature", forged(json!({"alg": "ES256", "kid": kid}))),
        ],
    )
    .await;
}

/// The algorithm belongs to the key, not to the sender (CVE-2026-11800 and its many elders).
#[tokio::test]
#[ignore = "needs openssl"]
async fn algorithms_that_do_not_fit_the_key_are_refused() {
    let office = Office::open();
    office.authority("trusted").await;
    let registry = office.registry("trusted.pem");
    let public = office.public_key("trusted.key").await;
    let pem = office.openssl("pkey -in trusted.key -pubout").await;
    let kid = libtrust_id(&public);
    let header = |algorithm: &str| json!({"alg": algorithm, "kid": kid});
    let es256 = |header: &Value| office.es256("trusted.key", header, &claims());
    all_refused(
        &registry,
        &[
            ("no signature", signed(&header("none"), &claims(), |_| Vec::new())),
            ("none, in other letters", signed(&header("nOnE"), &claims(), |_| Vec::new())),
            ("the public key as an HMAC secret, PEM", hs256(pem.as_bytes(), &header("HS256"), &claims())),
            ("the public key as an HMAC secret, DER", hs256(&public, &header("HS256"), &claims())),
            ("an EC signature called RS256", es256(&header("RS256"))),
            ("an EC signature called ES384", es256(&header("ES384"))),
            (
                "an extension that must be understood",
                es256(&json!({"alg": "ES256", "kid": kid, "crit": ["b64"], "b64": false})),
            ),
            ("an empty list of them", es256(&json!({"alg": "ES256", "kid": kid, "crit": []}))),
        ],
    )
    .await;
}

/// A wrong type is not a missing member (CVE-2026-25537: a text as `exp` was no `exp`, and never expired).
#[tokio::test]
#[ignore = "needs openssl"]
async fn times_that_are_no_whole_numbers_are_refused() {
    let office = Office::open();
    office.authority("trusted").await;
    let registry = office.registry("trusted.pem");
    let header = json!({"alg": "ES256", "kid": libtrust_id(&office.public_key("trusted.key").await)});
    let with = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        office.es256("trusted.key", &header, &claims)
    };
    let mut without = claims();
    without.as_object_mut().unwrap().remove("exp");
    let later = now() + 300;
    all_refused(
        &registry,
        &[
            ("no exp", office.es256("trusted.key", &header, &without)),
            ("exp as text", with("exp", json!(later.to_string()))),
            ("exp in fractions", with("exp", json!(9_999_999_999.5))),
            ("exp beyond all numbers", with("exp", json!(1e300))),
            ("exp in a list", with("exp", json!([later]))),
            ("exp before 1970", with("exp", json!(-1))),
            ("exp beyond the year 9999", with("exp", json!(253_402_300_800_i64))),
            ("nbf as text", with("nbf", json!("x"))),
            ("iat as text", with("iat", json!("x"))),
            ("iat in fractions", with("iat", json!(1.5))),
            ("access as text", with("access", json!("repository:acme/web:push"))),
            ("a null among the access", with("access", json!([null]))),
        ],
    )
    .await;
}

/// Chains that do not lead from the leaf to the bundle.
#[tokio::test]
#[ignore = "needs openssl"]
async fn broken_chains_are_refused() {
    let office = Office::open();
    for name in ["root", "other"] {
        office.authority(name).await;
    }
    office.leaf("leaf", "root").await;
    office.leaf("stray", "other").await;
    // A leaf (CA:FALSE) that signs as if it were an authority.
    office.leaf("usurped", "leaf").await;
    office.expired_leaf("expired", "root").await;
    let registry = office.registry("root.pem");
    let token = |key: &str, chain: &[&str]| {
        let chain: Vec<String> = chain.iter().map(|name| office.der(&format!("{name}.pem"))).collect();
        office.es256(&format!("{key}.key"), &json!({"alg": "ES256", "x5c": chain}), &claims())
    };
    assert_eq!(begin_push(&registry, &token("leaf", &["leaf"])).await.unwrap().status, 202);
    let with_breaks = json!({"alg": "ES256", "x5c": [office.der("leaf.pem").replacen('A', "\nA", 1)]});
    all_refused(
        &registry,
        &[
            ("another authority's leaf", token("stray", &["stray"])),
            ("with that authority itself", token("stray", &["stray", "other"])),
            ("the right chain over another's signature", token("stray", &["leaf"])),
            ("signed by a leaf", token("usurped", &["usurped", "leaf"])),
            ("an expired leaf", token("expired", &["expired"])),
            ("more certificates than are read", token("leaf", &["leaf", "other", "stray", "usurped", "expired"])),
            ("line breaks in a certificate", office.es256("leaf.key", &with_breaks, &claims())),
        ],
    )
    .await;
}

/// Memory and time per request are bounded before anything is decoded (CVE-2025-30204). These tokens are sound but for their
/// length: what a limit does not refuse is let in.
#[tokio::test]
#[ignore = "needs openssl"]
async fn a_sound_token_is_refused_for_its_length_alone() {
    const MOST: usize = 16 * 1024;
    let office = Office::open();
    office.authority("trusted").await;
    let registry = office.registry("trusted.pem");
    let kid = libtrust_id(&office.public_key("trusted.key").await);
    let padded = |bytes: usize| {
        let mut claims = claims();
        claims["padding"] = "x".repeat(bytes).into();
        office.es256("trusted.key", &json!({"alg": "ES256", "kid": kid}), &claims)
    };
    // Three bytes are four characters.
    let room = (MOST - padded(0).len()) / 4 * 3;
    let (fits, long) = (padded(room - 3), padded(room + 6));
    assert!((MOST - 16..=MOST).contains(&fits.len()) && long.len() > MOST, "{} {}", fits.len(), long.len());
    assert_eq!(begin_push(&registry, &fits).await.unwrap().status, 202);
    all_refused(&registry, &[("a byte or so too long", long), ("far too long", padded(40 * 1024))]).await;
}

/// Whatever it looks like, a token that is too long costs next to nothing.
#[tokio::test]
async fn oversized_tokens_are_refused_at_once() {
    let portreeve = Portreeve::up();
    let tokens = [".".repeat(48 * 1024), "x".repeat(48 * 1024), format!("{}.e30.", "A".repeat(48 * 1024))];
    for token in &tokens {
        let begun = Instant::now();
        all_refused(&portreeve, &[("an oversized token", token.clone())]).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "refusing took {:?}", begun.elapsed());
    }
    let attackers = tokens.map(|token| Client::new(portreeve.url().clone(), Login::Token(token)));
    costs_no_memory(&portreeve, async || {
        for attacker in &attackers {
            let answer = attacker.request(Method::POST, "acme/web/blobs/uploads/").send().await;
            assert_eq!(answer.unwrap_or_else(|failure| panic!("{failure}")).status, 401);
        }
    })
    .await;
}

/// Unauthenticated work is bounded (CVE-2026-4634). What just fits gets its token: it is the limit that refuses the rest.
#[tokio::test]
async fn oversized_scopes_are_refused_at_once() {
    let portreeve = Portreeve::up();
    let admin = portreeve.admin();
    let many = |count: usize| (0..count).map(|n| format!("repository:acme/r{n}:pull")).collect::<Vec<_>>().join(" ");
    let actions = |count: usize| {
        let actions: Vec<String> = (0..count).map(|number| format!("a{}", "x".repeat(number))).collect();
        format!("repository:acme/web:{}", actions.join(","))
    };
    for (fits, refused) in [(many(64), many(65)), (actions(32), actions(33))] {
        let answer = token(&portreeve, Some(&admin), &[&fits]).await;
        assert_eq!(answer.status, 200, "{}", answer.instead_of("200"));
        refused_at_once(&portreeve, &refused, &[400]).await;
    }
    refused_at_once(&portreeve, &format!("repository:acme/{}:pull", "x".repeat(9 * 1024)), &[400]).await;
    // As much as an address can hold.
    refused_at_once(&portreeve, &"repository:acme/web:pull ".repeat(1_500), &[400]).await;

    let form = Bytes::from(format!("grant_type=password&service=portreeve&scope={}", "x".repeat(1 << 20)));
    let client = Client::new(portreeve.url().clone(), Login::Open);
    let begun = Instant::now();
    let post = client.follow(Method::POST, portreeve.url().join("token").unwrap());
    let post = post.header("content-type", "application/x-www-form-urlencoded").streamed(&form).send().await;
    // The server need not take what it refuses, and may hang up on it.
    if let Ok(answer) = post {
        assert!([400, 413].contains(&answer.status), "{}", answer.instead_of("400 or 413"));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "refusing took {:?}", begun.elapsed());
    assert_eq!(token(&portreeve, None, &[]).await.status, 200, "others are answered still");

    let attacks = [many(65), "repository:acme/web:pull ".repeat(1_500), actions(200)];
    costs_no_memory(&portreeve, async || {
        for scope in &attacks {
            let answer = token_for(&client, &portreeve, None, &[scope]).await;
            assert_eq!(answer.status, 400, "{}", answer.instead_of("400"));
        }
    })
    .await;
}

async fn refused_at_once(portreeve: &Portreeve, scope: &str, expected: &[u16]) {
    let begun = Instant::now();
    let answer = token(portreeve, None, &[scope]).await;
    assert!(expected.contains(&answer.status), "{}", answer.instead_of(format_args!("{expected:?}")));
    assert!(begun.elapsed() < Duration::from_secs(1), "refusing took {:?}", begun.elapsed());
}

/// CVE-2017-11468: a manifest of any size was read into memory.
#[tokio::test]
async fn a_manifest_above_the_limit_is_413() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let client = admin_client(&portreeve);
    // As clients do, which ask for a token before they send anything large.
    client.request(Method::POST, "acme/web/blobs/uploads/").send().await?.status(&[202])?;
    let manifest = Bytes::from(vec![b' '; 8 * 1024 * 1024 + 1]);
    let put = || client.request(Method::PUT, "acme/web/manifests/1").header("content-type", media::IMAGE);
    put().streamed(&manifest).send().await?.status(&[413])?;
    Ok(())
}

/// CVE-2023-2253: the page's size was allocated before anybody looked at it. What is allocated and never touched is not resident,
/// so the address space is looked at, too: a milliard of the smallest entries would be twenty-four times what is allowed here.
#[tokio::test]
async fn page_sizes_are_bounded() -> Result<(), Failure> {
    const ADDRESSES_KIB: u64 = 1024 * 1024;
    let portreeve = Portreeve::up();
    let client = admin_client(&portreeve);
    for n in ["1000000000", "-1", "many"] {
        client.request(Method::GET, "_catalog").query("n", n).send().await?.status(&[400])?;
    }
    client.request(Method::GET, "_catalog").query("n", "10").send().await?.status(&[200])?;

    assert_eq!(push(&client, "acme/web", "v1").await, 201);
    let status = async |list: &str| {
        let answer = client.request(Method::GET, list).query("n", "1000000000").send().await;
        answer.unwrap_or_else(|failure| panic!("{failure}")).status
    };
    let before = portreeve.memory("VmPeak");
    costs_no_memory(&portreeve, async || {
        assert_eq!(status("acme/web/tags/list").await, 200, "a page of what there is");
        assert_eq!(status("_catalog").await, 400);
    })
    .await;
    let more = portreeve.memory("VmPeak") - before;
    assert!(more < ADDRESSES_KIB, "{more} KiB more of address space");
    Ok(())
}

/// Harbor #20930: wrong credentials were answered with 200 and a token for nobody.
#[tokio::test]
async fn t27_wrong_credentials_get_no_token() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    for account in [Account::new("admin", "wrong"), Account::new("nobody", "wrong"), Account::new("admin", "")] {
        let answer = token(&portreeve, Some(&account), &["repository:acme/web:pull"]).await;
        let challenge = answer.status(&[401])?.header("www-authenticate").unwrap_or_default();
        assert!(challenge.starts_with("Basic "), "{}", answer.instead_of("a Basic challenge"));
        let body = answer.json()?;
        assert!(body["errors"][0]["message"].is_string() && body["error"].is_string(), "{body}");
        assert!(answer.header("set-cookie").is_none() && body["token"].is_null(), "{body}");
    }
    Ok(())
}

/// Whatever is asked for, the token has no more than that.
#[tokio::test]
async fn t28_a_token_has_nothing_that_was_not_asked_for() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let admin = portreeve.admin();
    // With how many actions there are to be had: a token that has nothing would pass for one that has no more.
    let asked = [
        (vec![], 0),
        (vec!["repository:acme/web:pull"], 1),
        (vec!["repository:acme/web:pull,push repository:acme/base:pull"], 3),
        (vec!["repository:acme/web:pull", "repository:acme/base:pull,delete"], 3),
        (vec!["repository:acme/web:*"], 3),
        (vec!["repository:acme/web:pull", "repository:acme/web:push"], 2),
        (vec!["repository(plugin):acme/web:pull"], 1),
        (vec!["repository:localhost:5000/acme/web:pull"], 0),
        (vec!["thing:acme/web:pull"], 0),
        (vec!["registry:catalog:*"], 1),
    ];
    for (scopes, expected) in asked {
        let mut given = 0;
        let answer = token(&portreeve, Some(&admin), &scopes).await;
        let token = answer.status(&[200])?.json()?["token"].as_str().unwrap_or_default().to_owned();
        let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Value = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).expect("a token holds claims");
        for access in claims["access"].as_array().into_iter().flatten() {
            let (kind, name) = (access["type"].as_str().unwrap(), access["name"].as_str().unwrap());
            let words: Vec<String> = scopes.join(" ").split(' ').map(|scope| scope.replace("(plugin)", "")).collect();
            let prefix = format!("{kind}:{name}:");
            let allowed: Vec<&str> =
                words.iter().filter_map(|s| s.strip_prefix(&prefix)).flat_map(|a| a.split(',')).collect();
            for action in access["actions"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()) {
                let meant = allowed.contains(&action)
                    || (allowed.contains(&"*") && ["pull", "push", "delete"].contains(&action));
                assert!(meant, "asked for {scopes:?}, given {access}");
                given += 1;
            }
        }
        assert_eq!(given, expected, "asked for {scopes:?}: {claims}");
    }
    Ok(())
}

/// Names that other parsers cut in the wrong place.
#[tokio::test]
async fn t50_odd_scopes_open_nothing() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let admin = portreeve.admin();
    let odd = [
        "repository:ACME/web:pull",
        "repository:acme/../web:pull",
        "repository:acme%2fweb:pull",
        "repository:acme/web\u{0}:pull",
        "repository::pull",
        "repository:acme/web",
        ":::",
        "repository:a:b:c:pull",
    ];
    for scope in odd {
        let answer = token(&portreeve, Some(&admin), &[scope]).await;
        if answer.status(&[200, 400])?.status == 400 {
            continue;
        }
        let token = answer.json()?["token"].as_str().unwrap_or_default().to_owned();
        let client = Client::new(portreeve.url().clone(), Login::Token(token));
        client.request(Method::POST, "acme/web/blobs/uploads/").send().await?.status(&[401])?;
    }
    Ok(())
}

/// The text of a token in the address or in a cookie counts for nothing; two Authorization fields are one too many.
#[tokio::test]
async fn t21_a_token_counts_only_in_its_one_header() -> Result<(), Failure> {
    let portreeve = Portreeve::up();
    let answer = token(&portreeve, Some(&portreeve.admin()), &["repository:acme/web:pull,push"]).await;
    let token = answer.status(&[200])?.json()?["token"].as_str().unwrap_or_default().to_owned();
    let client = Client::new(portreeve.url().clone(), Login::Open);
    let uploads = || client.request(Method::POST, "acme/web/blobs/uploads/");
    uploads().query("access_token", &token).send().await?.status(&[401])?;
    uploads().header("cookie", format!("token={token}")).send().await?.status(&[401])?;
    let sound = Client::new(portreeve.url().clone(), Login::Token(token.clone()));
    let two = sound.request(Method::POST, "acme/web/blobs/uploads/").header("authorization", format!("Bearer {token}"));
    two.send().await?.status(&[400])?;
    Ok(())
}

fn admin_client(portreeve: &Portreeve) -> Client {
    let admin = portreeve.admin();
    Client::new(portreeve.url().clone(), Login::Account { user: admin.name, password: admin.secret })
}

/// `GET /token` with these scopes, one parameter each.
async fn token(portreeve: &Portreeve, account: Option<&Account>, scopes: &[&str]) -> Answer {
    let client = Client::new(portreeve.url().clone(), Login::Open);
    token_for(&client, portreeve, account, scopes).await
}

/// The same by a client that there is already.
async fn token_for(client: &Client, portreeve: &Portreeve, account: Option<&Account>, scopes: &[&str]) -> Answer {
    let mut request = client.follow(Method::GET, portreeve.url().join("token").unwrap()).query("service", "portreeve");
    if let Some(Account { name, secret }) = account {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{secret}"));
        request = request.header("authorization", format!("Basic {basic}"));
    }
    for scope in scopes {
        request = request.query("scope", scope);
    }
    request.send().await.unwrap_or_else(|failure| panic!("{failure}"))
}
