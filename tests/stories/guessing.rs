//! People who guess passwords, at a server that they and others reach from different networks.

use std::net::IpAddr;

use reqwest::StatusCode;

use crate::support::server::{Account, Portreeve};

/// All of 127.0.0.0/8 is this machine: three networks, as a throttle counts them.
const HOME: &str = "127.0.0.1";
const ELSEWHERE: &str = "127.7.7.7";
const AWAY: &str = "127.8.8.8";

/// Somebody at an address.
struct Caller {
    http: reqwest::Client,
}

impl Caller {
    fn at(address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        Self { http: reqwest::Client::builder().local_address(address).build().unwrap() }
    }

    async fn logs_in(&self, server: &Portreeve, account: &Account) -> StatusCode {
        let url = server.url().join("/token?service=portreeve").unwrap();
        let login = self.http.get(url).basic_auth(&account.name, Some(&account.secret));
        login.send().await.unwrap().status()
    }

    /// Guesses until it is told to stop, and says how often it could.
    async fn guesses(&self, server: &Portreeve, name: impl Fn(usize) -> String) -> usize {
        for number in 0..80 {
            let guess = Account::new(&name(number), &format!("guess {number}"));
            match self.logs_in(server, &guess).await {
                StatusCode::UNAUTHORIZED => {}
                StatusCode::TOO_MANY_REQUESTS => return number,
                other => panic!("guess {number}: {other}"),
            }
        }
        panic!("nobody stopped 80 guesses")
    }
}

/// authorization.md, 5.2: strangers lock out themselves, wherever their neighbours are who have signed in before.
#[tokio::test]
async fn strangers_lock_out_nobody_but_themselves() {
    let portreeve = Portreeve::up();
    let (alice, bob) = (portreeve.person("alice").await, portreeve.person("bob").await);
    let (home, elsewhere, away) = (Caller::at(HOME), Caller::at(ELSEWHERE), Caller::at(AWAY));
    for (caller, person) in [(&home, &alice), (&elsewhere, &bob)] {
        assert_eq!(caller.logs_in(&portreeve, person).await, StatusCode::OK);
    }

    // At one account: ten guesses, then none, the right one neither, although the server remembers it of a moment ago; its owner is
    // elsewhere and notices nothing.
    let tries = elsewhere.guesses(&portreeve, |_| "alice".to_owned()).await;
    assert!((8..=14).contains(&tries), "{tries} guesses at one account");
    assert_eq!(elsewhere.logs_in(&portreeve, &alice).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(home.logs_in(&portreeve, &alice).await, StatusCode::OK);
    assert_eq!(away.logs_in(&portreeve, &alice).await, StatusCode::OK, "nor does she on a journey");

    // At every account in turn: the network's own budget ends; for bob, who signs in from there, it is no strange network.
    let tries = elsewhere.guesses(&portreeve, |number| format!("nobody-{number}")).await;
    assert!((35..=60).contains(&tries), "{tries} guesses at many accounts");
    assert_eq!(elsewhere.logs_in(&portreeve, &Account::new("bob", "mistyped")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(elsewhere.logs_in(&portreeve, &bob).await, StatusCode::OK);
    let carol = portreeve.person("carol").await;
    assert_eq!(elsewhere.logs_in(&portreeve, &carol).await, StatusCode::TOO_MANY_REQUESTS, "she never was there");
    assert_eq!(home.logs_in(&portreeve, &carol).await, StatusCode::OK);
}

/// Whoever writes the header alone moves nowhere.
#[tokio::test]
async fn t38_a_forwarded_address_that_nobody_vouches_for_is_not_believed() {
    let portreeve = Portreeve::up();
    let caller = Caller::at(ELSEWHERE);
    let url = portreeve.url().join("/token?service=portreeve").unwrap();
    let mut answers = Vec::new();
    for number in 0..20 {
        let guess = caller.http.get(url.clone()).basic_auth("admin", Some("guess"));
        let guess = guess.header("x-forwarded-for", format!("198.51.{number}.1"));
        answers.push(guess.send().await.unwrap().status());
    }
    assert!(answers.contains(&StatusCode::TOO_MANY_REQUESTS), "{answers:?}");
    portreeve.says(&["is not in trustedproxies"]).await;
}
