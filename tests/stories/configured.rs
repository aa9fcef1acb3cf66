//! `portreeve up` with a configuration instead of nothing.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    protocol::{
        client::{Client, Login},
        samples::word,
    },
    support::server::{Account, Launch, Portreeve, written},
};

/// `up --config FILE`, with everything below `http` as said, and the data where the tests look for it.
fn up(http: impl Fn(&Path) -> String) -> Portreeve {
    Launch::command(|data| {
        let text = format!(
            "version: 0.1\nhttp: {}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n",
            http(data),
            data.display(),
        );
        ["up", "--config", &written(data, "config.yml", &text)].map(str::to_owned).to_vec()
    })
    .start()
}

/// What a file says nothing of comes from where the data lies, and not from a `./data` that happens to be there.
#[tokio::test]
async fn up_believes_its_own_tokens_wherever_the_configuration_puts_the_data() {
    let portreeve = up(|_| "{addr: '127.0.0.1:0'}".to_owned());
    let Account { name: user, secret: password } = portreeve.admin();
    let client = Client::new(portreeve.url().clone(), Login::Account { user, password });
    let answer = client.request(Method::GET, "_catalog").send().await.unwrap_or_else(|failure| panic!("{failure}"));
    answer.status(&[200]).unwrap_or_else(|failure| panic!("{failure}"));
}

/// A socket file has a proxy before it: whoever comes through it is nobody in particular, and no administrator.
#[tokio::test]
async fn passwords_are_throttled_and_networks_count_behind_a_unix_socket_too() {
    let socket = |data: &Path| data.join("web.sock").display().to_string();
    let portreeve = up(|data| format!("{{net: unix, addr: '{}'}}", socket(data)));
    let http = reqwest::Client::builder().unix_socket(socket(portreeve.data())).build().unwrap();
    let catalog = async |user: &str, password: &str| {
        let request = http.get("http://portreeve/v2/_catalog").basic_auth(user, Some(password));
        request.send().await.unwrap().status()
    };
    let admin = portreeve.admin();
    assert_eq!(catalog(&admin.name, &admin.secret).await, StatusCode::OK);
    for (networks, expected) in [(json!(null), StatusCode::OK), (json!(["10.0.0.0/8"]), StatusCode::UNAUTHORIZED)] {
        let token = portreeve.ask("/api/v1/users/admin/tokens", &json!({"name": "t", "networks": networks})).await;
        assert_eq!(catalog("admin", token["secret"].as_str().unwrap()).await, expected, "{networks}");
    }

    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(catalog("nobody", &word()).await);
    }
    assert_eq!(statuses[0], StatusCode::UNAUTHORIZED);
    assert_ne!(statuses[11], StatusCode::UNAUTHORIZED, "the twelfth wrong password was still compared: {statuses:?}");
}
