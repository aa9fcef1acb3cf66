//! Pages are found by indexes: a doctor that reads all of a table for each page never comes to its end.

use super::*;
use crate::{metadata::fixture::plan, stories::stage::Stage};

const TABLES: [Table; 11] = [
    Table::Blobs,
    Table::Links,
    Table::Manifests,
    Table::NamedBlobs,
    Table::NamedChildren,
    Table::Subjects,
    Table::Tags,
    Table::Histories,
    Table::Uploads,
    Table::Namespaces,
    Table::Shares,
];

#[tokio::test]
async fn pages_are_found_by_their_keys() {
    let stage = Stage::sqlite().await;
    for table in TABLES {
        let plan = plan(&stage.content.metadata, table.last()).await;
        // The page itself is read from its first row to its last.
        let is_page = |step: &&str| step.starts_with("SCAN (subquery") || *step == "SCAN page";
        let scans = plan.lines().filter(|step| step.starts_with("SCAN") && !is_page(step));
        assert_eq!(scans.collect::<Vec<_>>(), [""; 0], "{table:?}: {plan}");
        assert!(plan.contains("SEARCH "), "{table:?}: {plan}");
    }
}
