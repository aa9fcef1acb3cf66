//! A request's id, from the client's hand to the answer, the log and the audit.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::server::{Account, Launch, Portreeve};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

struct Person<'a> {
    server: &'a Portreeve,
    http: reqwest::Client,
}

impl<'a> Person<'a> {
    fn at(server: &'a Portreeve) -> Self {
        Self { server, http: reqwest::Client::new() }
    }

    fn request(&self, method: Method, path: &str, id: &str) -> reqwest::RequestBuilder {
        let url = self.server.url().join(path).unwrap();
        self.http.request(method, url).header("x-request-id", id)
    }

    /// GET under this id, with a name and a password.
    async fn get_as(&self, account: &Account, path: &str, id: &str) -> Response {
        let request = self.request(Method::GET, path, id).basic_auth(&account.name, Some(&account.secret));
        request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01")).send().await.unwrap()
    }
}

fn id(answer: &Response) -> String {
    let ids: Vec<_> = answer.headers().get_all("x-request-id").iter().collect();
    assert_eq!(ids.len(), 1, "{} has one id: {ids:?}", answer.url());
    ids[0].to_str().unwrap().to_owned()
}

/// Every path, once with an id of its own and once with the client's.
async fn every_answer_has_one(server: &Portreeve, paths: &[(&str, u16)]) {
    let person = Person::at(server);
    for (path, status) in paths {
        let own = person.http.get(server.url().join(path).unwrap()).send().await.unwrap();
        assert_eq!(own.status().as_u16(), *status, "{path}");
        assert!(!id(&own).is_empty(), "{path}");
        let given = person.request(Method::GET, path, "a-proxys-7").send().await.unwrap();
        assert_eq!(id(&given), "a-proxys-7", "{path}");
    }
}

const AUTHS: [(&str, u16); 8] = [
    ("/token?service=portreeve", 200),
    ("/token?service=unknown", 400),
    ("/api/v1/me", 401),
    ("/certs/bundle.pem", 200),
    ("/.well-known/jwks.json", 200),
    ("/healthz", 200),
    ("/readyz", 200),
    ("/nowhere", 404),
];

#[tokio::test]
async fn every_answer_of_both_services_names_its_request() {
    let both = Portreeve::up();
    every_answer_has_one(&both, &AUTHS).await;
    every_answer_has_one(&both, &[("/v2/", 401), ("/v2/acme/web/tags/list", 401)]).await;
    let words = ["auth", "serve", "--listen", "127.0.0.1:0", "--data"].map(str::to_owned);
    let auth = Launch::command(|data| [&words[..], &[data.display().to_string()]].concat()).start();
    every_answer_has_one(&auth, &AUTHS).await;
    let address = std::fs::read_to_string(auth.data().join("address")).unwrap();
    assert_eq!(
        format!("{address}/"),
        auth.url().as_str(),
        "a service says where it listens, whoever looks into its directory"
    );
}

#[tokio::test]
async fn tokens_logins_and_changes_are_audited_under_their_requests() {
    let portreeve = Portreeve::up();
    let (person, admin) = (Person::at(&portreeve), portreeve.admin());
    let token = "/token?service=portreeve&scope=repository:acme/web:pull";
    assert_eq!(person.get_as(&admin, token, "a-token").await.status(), 200);
    let issued = portreeve.audited("token.issue", "a-token").await;
    assert_eq!((&issued["actor"]["name"], &issued["address"]), (&json!("admin"), &json!("127.0.0.1")));

    let wrong = Account::new("admin", "wrong");
    for again in ["a-failure", "another-failure"] {
        assert_eq!(person.get_as(&wrong, token, again).await.status(), 401);
    }
    assert_eq!(portreeve.audited("login.fail", "a-failure").await["target"], "admin");
    portreeve.says(&["another-failure", TRACE, "login failed"]).await;

    // What docker keeps, and what curl is given on /v2/ for a password.
    let keeps = format!("{token}&offline_token=true&client_id=docker");
    assert_eq!(person.get_as(&admin, &keeps, "a-login").await.status(), 200);
    assert_eq!(portreeve.audited("credential.create", "a-login").await["actor"]["name"], "admin");
    assert_eq!(person.get_as(&admin, "/v2/_catalog", "an-exchange").await.status(), 200);
    portreeve.audited("token.issue", "an-exchange").await;

    let made = portreeve.auth(&["token", "create", "--user", "admin", "--api", "write"]).await;
    let add = person.request(Method::POST, "/api/v1/namespaces", "a-change").json(&json!({"name": "acme"}));
    let added = add.bearer_auth(made["secret"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(added.status(), 201);
    assert_eq!(portreeve.audited("namespace.create", "a-change").await["target"], "acme");
    // Somebody who writes a header may not write the audit.
    let forged = person.request(Method::POST, "/api/v1/namespaces", "a forged \"id\"").json(&json!({"name": "other"}));
    let added = forged.bearer_auth(made["secret"].as_str().unwrap()).send().await.unwrap();
    let own = id(&added);
    assert_eq!(portreeve.audited("namespace.create", &own).await["target"], "other");
    // A command is a request too, with a number of its own.
    let command = &portreeve.audit("credential.create").await;
    assert!(command.iter().all(|event| event["request"].is_string()), "{command:?}");
}

#[tokio::test]
async fn what_could_not_be_answered_is_found_in_the_log_by_the_number_that_the_client_was_told() {
    let portreeve = Portreeve::up();
    let (person, admin) = (Person::at(&portreeve), portreeve.admin());
    let made = portreeve.auth(&["token", "create", "--user", "admin", "--api", "read"]).await;
    portreeve.lose_accounts().await;

    let failed = person.get_as(&admin, "/token?service=portreeve", "no-token").await;
    assert_eq!(failed.status(), 503);
    let body: Value = failed.json().await.unwrap();
    for message in [&body["errors"][0]["message"], &body["error_description"]] {
        assert!(message.as_str().unwrap().ends_with("(request no-token)"), "{body}");
    }
    let list = person.request(Method::GET, "/api/v1/users", "no-list").bearer_auth(made["secret"].as_str().unwrap());
    let failed = list.send().await.unwrap();
    assert_eq!((failed.status().as_u16(), id(&failed)), (503, "no-list".to_owned()));
    assert_eq!(failed.headers()["content-type"], "application/problem+json");
    let body: Value = failed.json().await.unwrap();
    assert_eq!(body["request"], "no-list");
    assert!(!body.to_string().contains("principal"), "what is broken is nobody's business: {body}");
    for number in ["no-token", "no-list"] {
        portreeve.says(&["ERROR", number, "principal"]).await;
    }
}
