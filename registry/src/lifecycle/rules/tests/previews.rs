use super::*;
use crate::metadata::rules::previews::PREVIEW_LIFE;

on_both! {
    a_preview_says_what_becomes_of_every_tag
    other_rules_can_be_looked_at_before_they_are_set
    a_run_can_be_confined_to_a_preview
    a_token_that_does_not_count_is_refused
    old_previews_are_forgotten
    only_so_many_previews_count
    a_newer_preview_ends_one_that_is_being_made
}

async fn a_preview_says_what_becomes_of_every_tag(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["latest", "pr-1", "pr-keep"]).await;
    fixture.pass(8 * DAY);
    push(fixture, "acme/web", &["pr-2"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    let told = previewed(&expiry, Previewed::Stored).await;
    let said: Vec<(&str, &str, &str)> = told
        .iter()
        .filter(|line| line["event"] == "item")
        .map(|line| {
            (line["tag"].as_str().unwrap(), line["verdict"].as_str().unwrap(), line["rule"].as_str().unwrap_or("-"))
        })
        .collect();
    let expected = [
        ("latest", "untouched", "-"),
        ("pr-1", "expires", "pull requests"),
        ("pr-2", "later", "pull requests"),
        ("pr-keep", "kept", "keep pr-keep"),
    ];
    assert_eq!(said, expected);
    assert!(told[1]["reason"].as_str().unwrap().starts_with("pushed at "), "{}", told[1]);
    assert_eq!((&told[1]["repository"], &told[1]["of"]), (&json!("acme/web"), &json!("acme")));
    let done = told.last().unwrap();
    assert_eq!(done["verdicts"], json!({"expires": 1, "kept": 1, "later": 1, "untouched": 1}));
    assert_eq!(left(fixture).await.len(), 4, "nothing happens");
}

async fn other_rules_can_be_looked_at_before_they_are_set(fixture: &Fixture) {
    let expiry = expiry(fixture);
    let candidate = || Previewed::Candidate(document(closed_pull_requests()));
    assert_eq!(previewed(&expiry, candidate()).await.len(), 1, "nobody has pushed anything");
    push(fixture, "acme/web", &["pr-1"]).await;
    fixture.pass(8 * DAY);
    let told = previewed(&expiry, candidate()).await;
    assert_eq!((&told[0]["verdict"], told[1].get("token")), (&json!("expires"), None));
    assert_eq!(expiry.overview(&name("acme")).await.unwrap().own.rules, Some(vec![]));
    let wrong = Previewed::Candidate(document(json!([{}])));
    assert!(matches!(expiry.preview(&name("acme"), wrong).await, Err(Error::Invalid(_))));
    assert_eq!(fixture.count("SELECT count(*) FROM lifecycle_preview").await, 0);
}

async fn a_run_can_be_confined_to_a_preview(fixture: &Fixture) {
    let expiry = expiry(fixture);
    set(&expiry, &acme(), json!([{"expire": {"tags": "*", "not_pushed_for": "7d"}}])).await;
    push(fixture, "acme/web", &["moved", "shown"]).await;
    fixture.pass(DAY / 48);
    push(fixture, "acme/web", &["came-due"]).await;
    fixture.pass(7 * DAY - DAY / 96);
    let told = previewed(&expiry, Previewed::Stored).await;
    assert_eq!(told.last().unwrap()["verdicts"], json!({"expires": 2, "later": 1}));
    // A quarter of an hour later one more is due, and one that was shown points elsewhere.
    fixture.push_image("acme/web", "moved", "another").await;
    fixture.pass(DAY / 96 + DAY / 1000);
    let begun = expiry.begin(&name("acme"), "ada", Some(&token(&told))).await.unwrap();
    assert_eq!(begun.go(&CancellationToken::new()).await.unwrap().expired, 1);
    assert_eq!(left(fixture).await, ["acme/web:came-due", "acme/web:moved"]);
    assert_eq!(run(&expiry).await.expired, 1, "a run that is confined to nothing takes what is due");
}

async fn a_token_that_does_not_count_is_refused(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1"]).await;
    push(fixture, "other/web", &["pr-1"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    set(&expiry, &About::Namespace(name("other")), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    let token = token(&previewed(&expiry, Previewed::Stored).await);
    let refused =
        async |namespace: &str, token: &str| expiry.begin(&name(namespace), "ada", Some(token)).await.err().unwrap();
    assert!(matches!(refused("other", &token).await, Error::ForeignPreview(_)));
    for rubbish in ["", "nonsense", "' OR 1=1", &token[1..], &format!("{token}0")] {
        assert!(matches!(refused("acme", rubbish).await, Error::ForeignPreview(_)), "{rubbish}");
    }
    set(&expiry, &acme(), closed_pull_requests()).await;
    assert!(matches!(refused("acme", &token).await, Error::RulesChanged));
    let newer = super::token(&previewed(&expiry, Previewed::Stored).await);
    fixture.pass(PREVIEW_LIFE + Duration::from_secs(1));
    assert!(matches!(refused("acme", &newer).await, Error::ExpiredPreview));
    // One whose telling broke off shows less than there is: it is never sealed.
    let (sender, told) = mpsc::channel(1);
    let preview = expiry.preview(&name("acme"), Previewed::Stored).await.unwrap();
    drop(told);
    assert!(matches!(preview.tell(&sender, &CancellationToken::new()).await, Err(Error::Stopped)));
    let unsealed = fixture.texts("SELECT token FROM lifecycle_preview WHERE expires_at = 0").await;
    assert!(matches!(refused("acme", &unsealed[0]).await, Error::ExpiredPreview));
    assert_eq!(left(fixture).await.len(), 2);
    assert!(expiry.overview(&name("acme")).await.unwrap().run.is_none(), "no run was begun");
}

async fn old_previews_are_forgotten(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1", "pr-2"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    previewed(&expiry, Previewed::Stored).await;
    let rows = "SELECT (SELECT count(*) FROM lifecycle_preview) + (SELECT count(*) FROM lifecycle_preview_item)";
    let people = Settings { every: None, ..Settings::default() };
    let expiry = Expiry::new(fixture.content.metadata.clone(), fixture.clock.clone(), people);
    expiry.look(&CancellationToken::new()).await.unwrap();
    assert_eq!(fixture.count(rows).await, 3);
    fixture.pass(2 * DAY);
    expiry.look(&CancellationToken::new()).await.unwrap();
    assert_eq!(fixture.count(rows).await, 0);
}

async fn only_so_many_previews_count(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    let first = token(&previewed(&expiry, Previewed::Stored).await);
    for _ in 0..8 {
        previewed(&expiry, Previewed::Stored).await;
    }
    let refused = expiry.begin(&name("acme"), "ada", Some(&first)).await.err().unwrap();
    assert!(matches!(refused, Error::ExpiredPreview), "{refused}");
    let look = Settings { every: None, ..Settings::default() };
    let look = Expiry::new(fixture.content.metadata.clone(), fixture.clock.clone(), look);
    look.look(&CancellationToken::new()).await.unwrap();
    assert_eq!(fixture.count("SELECT count(*) FROM lifecycle_preview").await, 8);
}

async fn a_newer_preview_ends_one_that_is_being_made(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1", "pr-2"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    let older = expiry.preview(&name("acme"), Previewed::Stored).await.unwrap();
    let whole = token(&previewed(&expiry, Previewed::Stored).await);
    let (sender, _told) = mpsc::channel(16);
    let refused = older.tell(&sender, &CancellationToken::new()).await;
    assert!(matches!(refused, Err(Error::ExpiredPreview)), "{refused:?}");
    assert_eq!(fixture.count("SELECT count(*) FROM lifecycle_preview_item").await, 2, "it wrote nothing more");
    // One that is forgotten while it is being made leaves nothing that no preview knows.
    let older = expiry.preview(&name("acme"), Previewed::Stored).await.unwrap();
    fixture.pass(2 * DAY);
    let look = Settings { every: None, ..Settings::default() };
    let look = Expiry::new(fixture.content.metadata.clone(), fixture.clock.clone(), look);
    look.look(&CancellationToken::new()).await.unwrap();
    let (sender, _told) = mpsc::channel(16);
    older.tell(&sender, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(fixture.count("SELECT count(*) FROM lifecycle_preview_item").await, 0);
    let refused = expiry.begin(&name("acme"), "ada", Some(&whole)).await.err().unwrap();
    assert!(matches!(refused, Error::ForeignPreview(_)), "{refused}");
}
