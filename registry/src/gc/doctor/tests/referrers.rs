//! Answers about referrers: of those that say what they are about, and of those that only a list of OCI 1.0 speaks of.

use serde_json::{Value, json};

use super::{broken::found, dry::examine, healthy::push_image};
use crate::{
    content::{
        fixture::{descriptor, digest_of, image, index, push, tag},
        manifest::MediaType,
    },
    gc::doctor::{Begin, Depth, Mode},
    stories::stage::{Stage, on_both},
};

on_both! {
    answers_about_referrers_are_compared_with_what_is_said
}

/// `acme/web`: a signature of `v1` that says so, one that does not and stands in the list of `v1` beside it, and a list of `v2` with another such.
async fn prepare(stage: &Stage) {
    let first = push_image(stage, "acme/web", "v1", "config 1").await;
    let second = push_image(stage, "acme/web", "v2", "config 2").await;
    let attach = async |number: usize, subject: Option<&Value>| {
        let mut signature = image("config 1", &[]);
        signature["annotations"] = json!({"number": number.to_string()});
        if let Some(subject) = subject {
            signature["subject"] = descriptor(MediaType::OCI_MANIFEST, subject.to_string().as_bytes());
        }
        stage.content.put_manifest(push("acme/web", digest_of(&signature), &signature)).await.unwrap();
        signature
    };
    let (naming, silent, other) = (attach(1, Some(&first)).await, attach(2, None).await, attach(3, None).await);
    for (subject, list) in [(&first, index(&[&naming, &silent])), (&second, index(&[&other]))] {
        let under = digest_of(subject).to_string().replace(':', "-");
        stage.content.put_manifest(push("acme/web", tag(&under), &list)).await.unwrap();
    }
}

async fn answers_about_referrers_are_compared_with_what_is_said(stage: &mut Stage) {
    prepare(stage).await;
    stage.is_healthy().await;
    let unlisted = [
        // What nothing holds any more,
        ("manifest_expiry", 2),
        // the entries of both lists,
        ("reference_unrecorded", 3),
        // and what both answers leave out.
        ("referrers_wrong", 2),
    ];
    let described = [("referrers_wrong", 1), ("subject_wrong", 1)];
    for (sql, finds) in [
        ("DELETE FROM manifest_child", &unlisted[..]),
        ("UPDATE manifest SET artifact_type = 'a/b' WHERE subject_digest IS NOT NULL", &described),
        ("UPDATE manifest SET annotations = '{}' WHERE subject_digest IS NOT NULL", &described),
        // The list still has it, and so does the answer.
        ("UPDATE manifest SET subject_digest = NULL WHERE subject_digest IS NOT NULL", &[("subject_wrong", 1)]),
    ] {
        stage.tamper_behind(sql).await;
        let finds: Vec<&str> = finds.iter().flat_map(|(name, times)| vec![*name; *times]).collect();
        assert_eq!(found(stage, Depth::Sizes).await, finds, "{sql}");
        // What is recorded is put right with the manifests; the answers follow.
        let (findings, totals) = examine(stage, Depth::Sizes, Mode::Repair, Begin::Aside).await;
        assert_eq!(totals.findings, totals.repaired, "{findings:#?}");
        stage.is_healthy().await;
    }
}
