use shared::reference::Reference;

use super::*;
use crate::{
    content::{
        Promise, TagLimits,
        fixture::{image, push as put, tag},
        manifests::DeleteManifest,
    },
    lifecycle::rules::{evaluate::Effective, run::Listener},
    metadata::{
        fixture::Tamper,
        rules::runs::{LEASE, State},
    },
};

on_both! {
    what_is_old_goes_and_says_by_which_rule
    pulls_are_counted
    a_push_of_the_same_begins_anew
    an_image_says_how_long_it_lives
    untagged_manifests_go_the_ordinary_way
    untagged_manifests_are_purged_where_there_is_no_window
    what_is_unreadable_deletes_nothing
    one_repository_that_is_unreadable_is_left_alone
    one_run_at_a_time
    a_run_that_was_left_lying_is_gone_on_with
    a_run_that_only_looks_keeps_its_namespace
    rules_that_are_set_during_a_run_count_from_then_on
    runs_come_at_their_times
    a_tag_that_is_not_there_any_more_is_forgotten_by_readers
    immutable_tags_do_not_expire
}

async fn what_is_old_goes_and_says_by_which_rule(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["latest", "pr-1", "pr-keep"]).await;
    push(fixture, "acme/api", &["pr-1"]).await;
    push(fixture, "other/web", &["pr-1"]).await;
    push(fixture, "acme-too/web", &["pr-1"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    fixture.pass(6 * DAY);
    push(fixture, "acme/web", &["pr-2"]).await;
    assert_eq!(run(&expiry).await.expired, 0);
    fixture.pass(2 * DAY);
    let progress = run(&expiry).await;
    assert_eq!((progress.repositories, progress.looked, progress.expired, progress.moved), (2, 5, 2, 0));
    let expected = ["acme-too/web:pr-1", "acme/web:latest", "acme/web:pr-2", "acme/web:pr-keep", "other/web:pr-1"];
    assert_eq!(left(fixture).await, expected);
    let actors = fixture.texts("SELECT actor FROM tag_history WHERE digest IS NULL").await;
    assert_eq!(actors, ["lifecycle: pull requests (acme)", "lifecycle: pull requests (acme)"]);
    let events = fixture.texts("SELECT body FROM event WHERE kind = 'tag_deleted' ORDER BY id").await;
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    assert_eq!((&event["repository"], &event["tag"]), (&json!("acme/api"), &json!("pr-1")));
    assert_eq!(event["actor"], "lifecycle: pull requests (acme)");
    assert_eq!(
        fixture.count("SELECT count(*) FROM manifest WHERE expires_at IS NOT NULL").await,
        2,
        "what they pointed at stays a while"
    );
    let run = expiry.overview(&name("acme")).await.unwrap().run.unwrap();
    assert_eq!((run.number, run.state, run.actor.as_str(), run.progress.expired), (2, State::Done, "ada", 2));
    assert!(run.ended_at.unwrap() >= run.started_at);
    let counted = expiry.counted();
    assert_eq!((counted.tags, counted.done, counted.failed), (2, 2, 0));
}

async fn pulls_are_counted(fixture: &Fixture) {
    let expiry = expiry(fixture);
    set(&expiry, &acme(), json!([{"expire": {"tags": "*", "not_pulled_for": "7d"}}])).await;
    push(fixture, "acme/web", &["by-tag", "unused"]).await;
    let digest = manifest_of(fixture, "acme/web", "by-digest").await;
    let used = manifest_of(fixture, "acme/web", "by-tag").await;
    fixture.pass(6 * DAY);
    let repository = name("acme/web");
    fixture.content.pulled(&repository, &Reference::Tag(tag("by-tag")), used);
    // containerd asks for the tag, and pulls by what it was told.
    fixture.content.pulled(&repository, &Reference::Digest(digest), digest);
    fixture.content.write_pulls().await.unwrap();
    fixture.pass(2 * DAY);
    run(&expiry).await;
    assert_eq!(left(fixture).await, ["acme/web:by-digest", "acme/web:by-tag"]);
    fixture.pass(6 * DAY);
    run(&expiry).await;
    assert_eq!(left(fixture).await, Vec::<String>::new());
}

/// A reproducible build gives the same digest every night; its tag is not old.
async fn a_push_of_the_same_begins_anew(fixture: &Fixture) {
    let expiry = expiry(fixture);
    let rules = json!([{"expire": {"tags": "nightly", "not_pushed_for": "7d"}}, {"expire_annotated": {}}]);
    set(&expiry, &acme(), rules).await;
    for _ in 0..3 {
        push(fixture, "acme/web", &["nightly"]).await;
        annotated(fixture, "short", "5d").await;
        fixture.pass(4 * DAY);
        assert_eq!(run(&expiry).await.expired, 0);
    }
    assert_eq!(fixture.count("SELECT count(*) FROM tag_history").await, 2, "it has not moved");
    fixture.pass(4 * DAY);
    assert_eq!(run(&expiry).await.expired, 2);
}

/// Pushes an image that says how long it is to live.
async fn annotated(fixture: &Fixture, name: &str, life: &str) {
    fixture.hold("acme/web", &[name, "layer"]).await;
    let mut manifest = image(name, &["layer"]);
    manifest["annotations"] = json!({"portreeve.expires-after": life, "other": "\u{0}"});
    fixture.put(put("acme/web", tag(name), &manifest)).await.unwrap();
}

async fn an_image_says_how_long_it_lives(fixture: &Fixture) {
    let expiry = expiry(fixture);
    annotated(fixture, "a-week", "7d").await;
    annotated(fixture, "odd", "seven\u{0}days").await;
    annotated(fixture, "long", &"9".repeat(5000)).await;
    push(fixture, "acme/web", &["silent"]).await;
    set(&expiry, &acme(), json!([{"expire_annotated": {}}])).await;
    fixture.pass(8 * DAY);
    let told = previewed(&expiry, Previewed::Stored).await;
    let ignored: Vec<_> = told.iter().map(|line| line["ignored_annotation"].as_str().map(str::to_owned)).collect();
    assert_eq!(ignored[0], None, "{told:?}");
    assert_eq!(ignored[1].as_deref(), Some("9".repeat(64).as_str()), "its beginning");
    assert_eq!(ignored[2].as_deref(), Some("seven\u{fffd}days"));
    assert_eq!(run(&expiry).await.expired, 1);
    assert_eq!(left(fixture).await, ["acme/web:long", "acme/web:odd", "acme/web:silent"]);
    // Nothing holds it any more: after the grace its annotation is heeded again.
    fixture.pass(2 * DAY);
    assert_eq!(run(&expiry).await.manifests, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM manifest WHERE deleted_at IS NOT NULL").await, 1);
}

async fn untagged_manifests_go_the_ordinary_way(fixture: &Fixture) {
    let expiry = expiry(fixture);
    set(&expiry, &acme(), json!([{"expire_untagged": {"after": "3d"}}])).await;
    let (gone, kept) = (manifest_of(fixture, "acme/web", "v1").await, manifest_of(fixture, "acme/web", "v2").await);
    let used = manifest_of(fixture, "acme/web", "v3").await;
    for tag in ["v1", "v3"] {
        let order = expiry.delete_tags(&super::by_pattern::order(tag, None)).await.unwrap();
        assert_eq!(order.deleted, 1);
    }
    fixture.pass(2 * DAY);
    let by_digest = Reference::Digest(used);
    let pusher = crate::content::fixture::pusher();
    fixture.content.manifest(&name("acme/web"), &by_digest, Promise::To(&pusher)).await.unwrap();
    fixture.pass(DAY + DAY / 2);
    let told = previewed(&expiry, Previewed::Stored).await;
    let shown: Vec<(&str, &str)> = told
        .iter()
        .filter(|line| line["event"] == "item" && line["tag"].is_null())
        .map(|line| (line["digest"].as_str().unwrap(), line["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [(gone.to_string().as_str(), "expires"), (used.to_string().as_str(), "later")],
        "who asked in order to push may still need it"
    );
    let progress = run(&expiry).await;
    assert_eq!((progress.manifests, progress.expired), (1, 0));
    let hidden = fixture.texts("SELECT digest FROM manifest WHERE deleted_at IS NOT NULL").await;
    assert_eq!(hidden, [gone.to_string()]);
    let waiting =
        "SELECT count(*) FROM manifest WHERE deleted_at IS NOT NULL AND expires_at - deleted_at = 604800000000";
    assert_eq!(fixture.count(waiting).await, 1, "it can be brought back");
    fixture.content.manifest(&name("acme/web"), &Reference::Digest(kept), Promise::Nothing).await.unwrap();
    fixture.content.manifest(&name("acme/web"), &Reference::Digest(gone), Promise::Nothing).await.unwrap_err();
    let events = fixture.texts("SELECT body FROM event WHERE kind = 'manifest_deleted'").await;
    assert!(events.len() == 1 && events[0].contains("lifecycle: expire untagged after 3d (acme)"), "{events:?}");
}

async fn untagged_manifests_are_purged_where_there_is_no_window(fixture: &Fixture) {
    let expiry = Expiry::new(fixture.content.metadata.clone(), fixture.clock.clone(), Settings::default());
    set(&expiry, &acme(), json!([{"expire_untagged": {"after": "0s"}}])).await;
    push(fixture, "acme/web", &["v1", "v2"]).await;
    expiry.delete_tags(&super::by_pattern::order("v1", None)).await.unwrap();
    assert_eq!(run(&expiry).await.manifests, 0, "in its grace");
    fixture.pass(DAY + DAY / 24);
    assert_eq!(run(&expiry).await.manifests, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM manifest").await, 1);
    let used = fixture.count("SELECT CAST(sum(size) AS BIGINT) FROM manifest").await;
    let delete = DeleteManifest {
        repository: name("acme/web"),
        digest: manifest_of(fixture, "acme/web", "v2").await,
        condition: None,
        limits: TagLimits::Everything,
        actor: "ada".to_owned(),
        undelete_window: Duration::ZERO,
    };
    fixture.content.delete_manifest(delete).await.unwrap();
    assert!(used > 0 && fixture.count("SELECT count(*) FROM manifest").await == 0);
}

async fn what_is_unreadable_deletes_nothing(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    // A rule of a later release beside one that this release knows.
    let tamper = Tamper(
        "UPDATE namespace SET policy = '{\"rules\": [{\"expire\": {\"tags\": \"pr-*\", \"not_pushed_for\": \"7d\"}}, {\"keep\": {\"label\": \"a\"}}]}'",
    );
    fixture.content.metadata.write(tamper).await.unwrap();
    fixture.pass(9 * DAY);
    assert!(matches!(expiry.begin(&name("acme"), "ada", None).await, Err(Error::Unreadable { .. })));
    assert!(matches!(expiry.preview(&name("acme"), Previewed::Stored).await, Err(Error::Unreadable { .. })));
    expiry.look(&CancellationToken::new()).await.unwrap();
    assert_eq!(left(fixture).await, ["acme/web:pr-1"]);
    let run = expiry.overview(&name("acme")).await.unwrap().run.unwrap();
    assert_eq!(run.state, State::Failed);
    assert!(run.progress.failure.unwrap().contains("nothing is deleted by them"));
    assert_eq!((expiry.counted().failed, expiry.counted().done), (1, 0));
}

async fn one_repository_that_is_unreadable_is_left_alone(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/api", &["pr-1"]).await;
    push(fixture, "acme/web", &["pr-1"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    let tamper = Tamper("UPDATE repository SET policy = 'rubbish' WHERE name = 'acme/api'");
    fixture.content.metadata.write(tamper).await.unwrap();
    fixture.pass(9 * DAY);
    let told = previewed(&expiry, Previewed::Stored).await;
    assert_eq!((&told[0]["event"], &told[0]["repository"]), (&json!("skipped"), &json!("acme/api")));
    let progress = run(&expiry).await;
    assert_eq!(progress.expired, 1);
    assert!(progress.failure.unwrap().contains("acme/api"));
    assert_eq!(left(fixture).await, ["acme/api:pr-1"]);
    assert_eq!(expiry.overview(&name("acme")).await.unwrap().run.unwrap().state, State::Failed);
}

async fn one_run_at_a_time(fixture: &Fixture) {
    let (here, there) = (expiry(fixture), {
        let replica = fixture.replica().await;
        Expiry::new(replica.metadata.clone(), fixture.clock.clone(), Settings::default())
    });
    push(fixture, "acme/web", &["pr-1"]).await;
    assert!(matches!(here.begin(&name("nobody"), "ada", None).await, Err(Error::NoRules(_))));
    set(&here, &acme(), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    let first = here.begin(&name("acme"), "ada", None).await.unwrap();
    let refused = there.begin(&name("acme"), "bob", None).await.err().unwrap();
    assert!(matches!(&refused, Error::Running { actor, .. } if actor == "ada"), "{refused}");
    there.look(&CancellationToken::new()).await.unwrap();
    assert_eq!(left(fixture).await.len(), 1, "nor does the schedule");
    // Away for longer than its lease: the other goes on, and the first finds that out before it deletes anything.
    fixture.pass(LEASE + Duration::from_secs(1));
    let second = there.begin(&name("acme"), "bob", None).await.unwrap();
    assert!(matches!(first.go(&CancellationToken::new()).await, Err(Error::Stopped)));
    assert_eq!(left(fixture).await.len(), 1);
    assert_eq!(second.go(&CancellationToken::new()).await.unwrap().expired, 1);
    assert_eq!(here.overview(&name("acme")).await.unwrap().run.unwrap().number, 1, "it was one run");
}

async fn a_run_that_was_left_lying_is_gone_on_with(fixture: &Fixture) {
    let expiry = expiry(fixture);
    let tags: Vec<String> = (0..5).map(|n| format!("pr-{n}")).collect();
    for repository in ["acme/a", "acme/b", "acme/c"] {
        push(fixture, repository, &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    set(&expiry, &acme(), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    let stop = CancellationToken::new();
    let (sender, mut told) = mpsc::channel(16);
    let running = expiry.begin(&name("acme"), "ada", None).await.unwrap().told_to(Listener::new(sender));
    // Stopped as soon as it tells of its first repository; where it stops from there on is its affair.
    let watching = async {
        while let Some(line) = told.recv().await {
            if matches!(line, crate::lifecycle::rules::run::Told::Repository { .. }) {
                stop.cancel();
            }
        }
    };
    let (ended, ()) = tokio::join!(running.go(&stop), watching);
    assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    let halfway = expiry.overview(&name("acme")).await.unwrap().run.unwrap();
    assert_eq!(halfway.state, State::Running);
    assert!(halfway.progress.expired >= 5 && halfway.progress.expired < 15, "{halfway:?}");
    expiry.look(&stop).await.err();
    fixture.pass(LEASE + Duration::from_secs(1));
    expiry.look(&CancellationToken::new()).await.unwrap();
    let run = expiry.overview(&name("acme")).await.unwrap().run.unwrap();
    assert_eq!((run.number, run.state, run.progress.expired, run.progress.repositories), (1, State::Done, 15, 3));
    assert_eq!(run.progress.looked, 15, "nothing was looked at twice");
    assert!(left(fixture).await.is_empty());
}

async fn rules_that_are_set_during_a_run_count_from_then_on(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1", "pr-2"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    let begun = expiry.begin(&name("acme"), "ada", None).await.unwrap();
    // A person sees the mistake, and is answered: from then on nothing goes by the old rules.
    let mut rules = closed_pull_requests();
    rules[1] = json!({"keep": {"tags": "pr-1"}});
    set(&expiry, &acme(), rules).await;
    assert_eq!(begun.go(&CancellationToken::new()).await.unwrap().expired, 1);
    assert_eq!(left(fixture).await, ["acme/web:pr-1"]);
}

async fn runs_come_at_their_times(fixture: &Fixture) {
    let expiry = expiry(fixture);
    let look = async || expiry.look(&CancellationToken::new()).await.unwrap();
    let runs = async || expiry.overview(&name("acme")).await.unwrap().run.map_or(0, |run| run.number);
    look().await;
    push(fixture, "acme/web", &["pr-1"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    look().await;
    assert_eq!(runs().await, 0, "there is time to look at a preview");
    fixture.pass(Duration::from_secs(3601));
    look().await;
    look().await;
    assert_eq!(runs().await, 1);
    fixture.pass(8 * DAY);
    look().await;
    assert_eq!((runs().await, left(fixture).await.len()), (2, 0));
    let by_people = Settings { every: None, ..Settings::default() };
    let silent = Expiry::new(fixture.content.metadata.clone(), fixture.clock.clone(), by_people);
    fixture.pass(8 * DAY);
    silent.look(&CancellationToken::new()).await.unwrap();
    assert_eq!(runs().await, 2);
    assert_eq!(expiry.overview(&name("acme")).await.unwrap().run.unwrap().actor, "schedule");
}

async fn immutable_tags_do_not_expire(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1", "pr-2"]).await;
    set(&expiry, &acme(), closed_pull_requests()).await;
    immutable(fixture, "pr-1").await;
    fixture.pass(9 * DAY);
    let told = previewed(&expiry, Previewed::Stored).await;
    assert_eq!((&told[0]["verdict"], &told[0]["rule"]), (&json!("kept"), &json!("immutable \"held\" (pr-1)")));
    // Made immutable when it was decided already: the operation looks again.
    let begun = expiry.begin(&name("acme"), "ada", None).await.unwrap();
    immutable(fixture, "pr-*").await;
    let progress = begun.go(&CancellationToken::new()).await.unwrap();
    assert_eq!((progress.expired, progress.moved, left(fixture).await.len()), (0, 1, 2));
    immutable(fixture, "pr-1").await;
    assert_eq!(run(&expiry).await.expired, 1);
    assert_eq!(left(fixture).await, ["acme/web:pr-1"]);
}

/// What this process remembers of a tag goes with it.
async fn a_tag_that_is_not_there_any_more_is_forgotten_by_readers(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["pr-1"]).await;
    let pull = async || fixture.content.manifest(&name("acme/web"), &tag("pr-1").into(), Promise::Nothing).await;
    pull().await.unwrap();
    set(&expiry, &acme(), closed_pull_requests()).await;
    fixture.pass(9 * DAY);
    run(&expiry).await;
    pull().await.unwrap_err();
}

/// To find out who the newest are may take longer than a lease.
async fn a_run_that_only_looks_keeps_its_namespace(fixture: &Fixture) {
    let expiry = expiry(fixture);
    push(fixture, "acme/web", &["v1"]).await;
    set(
        &expiry,
        &acme(),
        json!([{"expire": {"tags": "*", "not_pushed_for": "1d"}}, {"keep": {"tags": "*", "newest": 9}}]),
    )
    .await;
    let mut begun = expiry.begin(&name("acme"), "ada", None).await.unwrap();
    let loaded = expiry.load(&name("acme")).await.unwrap();
    let [web] = &expiry.repositories(&loaded, &name("acme"), "").await.unwrap()[..] else { panic!("one repository") };
    let effective = Effective::of([&loaded.rules], &web.name);
    for _ in 0..3 {
        fixture.pass(LEASE - Duration::from_secs(1));
        assert!(begun.rank(&effective, web, &CancellationToken::new()).await.is_ok());
    }
    let another = expiry.begin(&name("acme"), "grace", None).await.err().unwrap();
    assert!(matches!(&another, Error::Running { actor, .. } if actor == "ada"), "{another}");
    begun.go(&CancellationToken::new()).await.unwrap();
}
