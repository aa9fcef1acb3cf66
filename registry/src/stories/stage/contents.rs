//! All that a registry holds, to be compared with what it held before: every row and every byte.

use std::{collections::BTreeMap, fs, path::Path};

use shared::{
    database::Dialect,
    digest::{Algorithm, Digest},
};

use super::Stage;

impl Stage {
    /// Every table but the one that says how far the doctor has come, and that of the migrations.
    pub(crate) async fn tables(&self) -> Vec<String> {
        let select = match self.content.metadata.dialect() {
            Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
            Dialect::Postgres => "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
        };
        let all = self.texts(select).await;
        all.into_iter().filter(|name| name != "examination" && !name.starts_with("_sqlx")).collect()
    }

    /// What every table holds.
    pub(crate) async fn rows(&self) -> BTreeMap<String, Vec<String>> {
        let mut rows = BTreeMap::new();
        for table in self.tables().await {
            let row = match self.content.metadata.dialect() {
                Dialect::Postgres => "t::text".to_owned(),
                Dialect::Sqlite => {
                    let columns = format!("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('{table}')");
                    self.texts(columns.leak()).await.join(" || ',' || ")
                }
            };
            let select = format!("SELECT {row} FROM {table} AS t ORDER BY 1");
            rows.insert(table, self.texts(select.leak()).await);
        }
        rows
    }

    /// What every file of the store hashes to.
    pub(crate) fn bytes(&self) -> BTreeMap<String, String> {
        hashes(&self.store_path())
    }
}

fn hashes(directory: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(hashes(&path));
        } else {
            let digest = Digest::of(Algorithm::Sha256, &fs::read(&path).unwrap());
            files.insert(path.display().to_string(), digest.to_string());
        }
    }
    files
}
