use shared::secret::Secret;

use super::*;

const COST: u32 = 4;

fn line(name: &str, password: &str) -> String {
    format!("{name}:{}\n", bcrypt::hash(password, COST).unwrap())
}

fn open(text: &str) -> (tempfile::NamedTempFile, Htpasswd) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let htpasswd = Htpasswd::open("Registry \"one\"".into(), file.path()).unwrap();
    (file, htpasswd)
}

async fn user(htpasswd: &Htpasswd, name: &str, password: &str) -> Option<String> {
    let credentials = BasicCredentials { username: name.into(), password: Secret::from(password) };
    let caller = htpasswd.authorize(Presented::Basic(credentials)).await.ok()?;
    caller.name().map(str::to_owned)
}

#[test]
fn the_decoy_is_a_hash() {
    assert!(is_bcrypt(DECOY));
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
    assert!(htpasswd.authorize(Presented::Nothing).await.is_err());
    assert!(htpasswd.authorize(Presented::Bearer("token")).await.is_err());
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
