//! The same stories with the facts on PostgreSQL, each registry in a schema of its own.

use std::cell::RefCell;

use serde_json::{Value, json};
use shared::database::{Location, testing::Scratch};

thread_local! {
    /// The schemas of this test, if its registries keep their facts on PostgreSQL.
    static SCHEMAS: RefCell<Option<Vec<Scratch>>> = const { RefCell::new(None) };
}

/// `portreeve.database` for a registry that this test starts; `None` where the default is meant.
pub(crate) fn database() -> Option<Value> {
    SCHEMAS.with_borrow_mut(|schemas| {
        let schemas = schemas.as_mut()?;
        let scratch = Scratch::postgres();
        let Location::Postgres { url, schema } = scratch.location() else { return None };
        let database = json!({"url": url.expose(), "schema": schema.to_string()});
        schemas.push(scratch);
        Some(database)
    })
}

/// Tells a story, and takes its schemas away.
fn told(story: fn()) {
    SCHEMAS.set(Some(Vec::new()));
    story();
    let schemas = SCHEMAS.take().unwrap();
    assert!(!schemas.is_empty(), "the story has no registry");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for scratch in schemas {
            scratch.clear().await;
        }
    });
}

macro_rules! stories {
    ($($module:ident::$story:ident)*) => {
        $(#[test]
        #[ignore = "needs PostgreSQL"]
        fn $story() {
            told(crate::$module::$story);
        })*
    };
}

stories! {
    lists::tags_come_in_pages
    lists::the_catalog_comes_in_pages
    manifests::what_was_pushed_is_served_byte_for_byte_whatever_is_accepted
    manifests::dockers_manifests_and_lists_are_served_byte_for_byte
    manifests::a_push_answers_where_the_manifest_is_and_what_it_is_about
    manifests::what_is_missing_is_named_one_by_one
    manifests::a_tag_moves_only_as_its_condition_says
    manifests::a_deletion_happens_only_as_its_condition_says
    manifests::deleting_a_manifest_takes_its_tags_along
    manifests::a_blob_that_a_manifest_names_is_not_deleted
    blobs::a_pushed_blob_is_read_whole_and_in_parts
    blobs::a_blob_belongs_to_its_repository
    blobs::chunks_go_on_where_the_upload_stands
    blobs::what_hashes_to_something_else_is_refused
    blobs::an_upload_can_be_given_up_in_its_own_repository_only
    access::a_robot_limited_to_pr_tags_cannot_push_latest
    lifecycle::a_preview_that_does_not_count_is_refused
    undelete::a_namespaces_administrators_bring_back_what_was_deleted
    access::the_companion_answers_catalog_and_mounts
    walk::t13_every_registry_route_is_answered_to_those_whom_the_table_names
    walk::t13_what_is_another_namespaces_is_not_found_inside_ones_own
    walk::what_no_body_knows_is_refused_by_name
}
