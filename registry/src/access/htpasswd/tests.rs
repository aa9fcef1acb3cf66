use shared::{
    clock::Timestamp,
    logins::throttle::{PER_ACCOUNT, PER_NETWORK},
    secret::Secret,
};

use super::*;

const COST: u32 = 4;

fn line(name: &str, password: &str) -> String {
    format!("{name}:{}\n", bcrypt::hash(password, COST).unwrap())
}

fn open(text: &str) -> (tempfile::NamedTempFile, Htpasswd) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let clock = Clock::fixed(Timestamp::from_seconds(1_767_225_600));
    let htpasswd = Htpasswd::open("Registry \"one\"".into(), file.path(), clock).unwrap();
    (file, htpasswd)
}

async fn user(htpasswd: &Htpasswd, name: &str, password: &str) -> Option<String> {
    let caller = ask(htpasswd, name, password, HOME).await.ok()?;
    caller.name().map(str::to_owned)
}

const HOME: &str = "192.0.2.1";

async fn ask(htpasswd: &Htpasswd, name: &str, password: &str, from: &str) -> Result<Caller, Refusal> {
    let credentials = BasicCredentials { username: name.into(), password: Secret::from(password) };
    htpasswd.authorize(Presented::Basic(credentials), from.parse().ok()).await
}

/// In how many seconds another try is worth it.
fn throttled(asked: &Result<Caller, Refusal>) -> Option<u64> {
    match asked {
        Err(Refusal::Throttled { retry_after, .. }) => Some(retry_after.as_secs()),
        _ => None,
    }
}

#[test]
fn unknown_names_cost_what_most_known_ones_do() {
    let hash = |cost: u32| decoy(cost).to_string();
    assert_eq!(bcrypt_cost(&hash(DEFAULT_COST)), Some(DEFAULT_COST));
    for (costs, usual) in [(&[4, 12, 12, 4, 12, 5][..], 12), (&[5, 4, 4], 4), (&[4, 5, 5, 4], 5), (&[], DEFAULT_COST)] {
        let lines = costs.iter().enumerate().map(|(n, cost)| format!("user-{n}:{}\n", hash(*cost)));
        let users = Users::read(lines.collect::<String>().as_bytes()).unwrap();
        assert_eq!(users.decoy, decoy(usual), "{costs:?}");
    }
}

#[test]
fn a_hash_that_takes_too_long_is_refused_with_its_line() {
    let read = |cost: u32| Users::read(format!("# users\nalice:{}\n", decoy(cost)).as_bytes()).map(drop);
    assert_eq!(read(17), Ok(()));
    for cost in [18, 31] {
        assert_eq!(read(cost), Err(HtpasswdError::Cost { line: 2, cost }));
    }
}

#[tokio::test]
async fn failed_passwords_are_throttled_and_strangers_lock_nobody_out() {
    let (_file, htpasswd) = open(&format!("{}{}", line("alice", "right"), line("bob", "right")));
    let elsewhere = "198.51.100.7";
    assert!(ask(&htpasswd, "alice", "right", HOME).await.is_ok());
    for n in 0..PER_ACCOUNT.burst {
        let asked = ask(&htpasswd, "alice", &format!("guess {n}"), elsewhere).await;
        assert_eq!(throttled(&asked), None, "try {n}");
    }
    let (again, right) =
        (ask(&htpasswd, "alice", "guess", elsewhere).await, ask(&htpasswd, "alice", "right", elsewhere).await);
    assert_eq!(
        (throttled(&again), throttled(&right)),
        (Some(30), Some(30)),
        "not even a remembered one is told from others"
    );
    assert!(ask(&htpasswd, "alice", "right", HOME).await.is_ok());
    assert!(ask(&htpasswd, "bob", "right", elsewhere).await.is_ok());
    // Names that nobody has count too; and who came from a network before is not made to pay for what others do there.
    for n in 0..PER_NETWORK.burst {
        let _ = ask(&htpasswd, &format!("user-{n}"), "guess", elsewhere).await;
    }
    assert!(throttled(&ask(&htpasswd, "carol", "guess", elsewhere).await).is_some());
    assert!(ask(&htpasswd, "bob", "right", elsewhere).await.is_ok());
}

#[tokio::test]
async fn who_comes_through_a_socket_file_is_throttled_too() {
    let (_file, htpasswd) = open(&line("alice", "right"));
    for n in 0..=PER_ACCOUNT.burst {
        let asked = ask(&htpasswd, "alice", &format!("guess {n}"), "nowhere").await;
        assert_eq!(throttled(&asked).is_some(), n == PER_ACCOUNT.burst, "try {n}");
    }
}

#[tokio::test]
async fn the_same_at_once_is_one_try() {
    let (_file, htpasswd) = open(&line("alice", "right"));
    let many = || (0..PER_ACCOUNT.burst * 3).map(|_| ask(&htpasswd, "alice", "right", HOME));
    let all = futures_util::future::join_all(many()).await;
    assert!(all.iter().all(Result::is_ok), "a push that is let in is not throttled: {all:?}");
}

#[tokio::test]
async fn beyond_the_queue_it_is_said_at_once() {
    let (_file, mut htpasswd) = open(&line("alice", "right"));
    htpasswd.queue = Queue::new(1, 0);
    let (release, hold) = std::sync::mpsc::channel::<()>();
    let working = tokio::spawn({
        let queue = htpasswd.queue.clone();
        async move { queue.run(move || hold.recv()).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert_eq!(throttled(&ask(&htpasswd, "alice", "right", HOME).await), Some(Busy::RETRY_AFTER.as_secs()));
    release.send(()).unwrap();
    working.await.unwrap().unwrap();
    assert!(ask(&htpasswd, "alice", "right", HOME).await.is_ok(), "and no failure of hers");
}

#[tokio::test]
async fn a_name_longer_than_any_is_not_kept() {
    let (_file, htpasswd) = open(&line("alice", "right"));
    for _ in 0..=PER_NETWORK.burst {
        let asked = ask(&htpasswd, &"x".repeat(MAX_NAME_BYTES + 1), "guess", HOME).await;
        assert!(matches!(asked, Err(Refusal::Unauthorized { .. })), "{asked:?}");
    }
}

#[tokio::test]
async fn right_passwords_let_in_and_others_do_not() {
    let (_file, htpasswd) = open(&format!("# people\n\n{}{}", line("alice", "open sesame"), line("bob", "")));
    for _ in 0..2 {
        assert_eq!(user(&htpasswd, "alice", "open sesame").await.as_deref(), Some("alice"));
    }
    for (name, password) in [("alice", "wrong"), ("bob", "open sesame"), ("carol", "open sesame"), ("", "")] {
        assert_eq!(user(&htpasswd, name, password).await, None, "{name}");
    }
    assert!(htpasswd.authorize(Presented::Nothing, None).await.is_err());
    assert!(htpasswd.authorize(Presented::Bearer("token"), None).await.is_err());
    assert_eq!(htpasswd.challenge(), "Basic realm=\"Registry one\"");
}

#[tokio::test]
async fn a_password_longer_than_bcrypt_reads_is_refused() {
    let longest = "x".repeat(MAX_PASSWORD_BYTES);
    let (_file, htpasswd) = open(&line("alice", &longest));
    assert!(user(&htpasswd, "alice", &longest).await.is_some());
    assert!(user(&htpasswd, "alice", &format!("{longest}y")).await.is_none());
}

#[tokio::test]
async fn a_changed_file_counts_also_for_who_was_let_in_before() {
    let (file, htpasswd) = open(&line("alice", "old"));
    assert!(user(&htpasswd, "alice", "old").await.is_some());
    std::fs::write(file.path(), line("alice", "new")).unwrap();
    htpasswd.refresh();
    assert!(user(&htpasswd, "alice", "old").await.is_none());
    assert!(user(&htpasswd, "alice", "new").await.is_some());
    // A file that cannot be used changes nothing.
    std::fs::write(file.path(), "alice").unwrap();
    htpasswd.refresh();
    assert!(user(&htpasswd, "alice", "new").await.is_some());
}

#[test]
fn bad_files_are_refused_with_their_line() {
    let read = |text: &str| Users::read(text.as_bytes()).err();
    assert_eq!(read("a:$2y$04$short"), Some(HtpasswdError::Hash { line: 1 }));
    assert_eq!(read("\n# x\na:$apr1$x$y"), Some(HtpasswdError::Hash { line: 3 }));
    assert_eq!(read("alice"), Some(HtpasswdError::Line { line: 1 }));
    assert_eq!(read(":hash"), Some(HtpasswdError::Line { line: 1 }));
    assert_eq!(Users::read(b"\xff").err(), Some(HtpasswdError::NotText));
    assert!(Users::read(b"").is_ok());
}

#[test]
fn a_file_may_have_what_the_limit_says_and_no_more() {
    let file = vec![b'#'; MAX_FILE_BYTES + 1];
    assert!(Users::read(&file[1..]).is_ok());
    assert_eq!(Users::read(&file).err(), Some(HtpasswdError::TooLarge));
}
