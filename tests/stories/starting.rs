//! How soon it is there.

use std::time::{Duration, Instant};

use crate::support::{
    announce,
    server::{Launch, Portreeve, written},
};

/// The promise is a second, of a release build on a machine that does nothing else. Here others test beside it, on a build without
/// optimization: the figure is printed, and only what no load explains is a failure.
const GENEROUS: Duration = Duration::from_secs(8);

#[tokio::test]
async fn it_is_ready_soon_after_it_was_started() {
    let begun = Instant::now();
    let mut portreeve = Portreeve::up();
    portreeve.get("/readyz").await;
    let first = begun.elapsed();
    portreeve.kill();
    let begun = Instant::now();
    portreeve.start_again();
    portreeve.get("/readyz").await;
    let (first, again) = (first.as_millis(), begun.elapsed().as_millis());
    announce(&format!("ready after {first} ms with a new data directory, after {again} ms with an old one"));
    assert!(first.max(again) < GENEROUS.as_millis(), "{first} ms, {again} ms");
}

/// One configuration for several registries: where each keeps its data is said beside it.
#[tokio::test]
async fn a_registry_keeps_its_data_where_the_command_line_says() {
    let words = |home: &std::path::Path| {
        let elsewhere = home.join("elsewhere").display().to_string();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {elsewhere}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n"
        );
        let config = written(home, "config.yml", &config);
        ["registry", "serve", &config, "--data", &home.join("here").display().to_string()].map(str::to_owned).to_vec()
    };
    let registry = Launch::command(words).start();
    registry.get("/readyz").await;
    assert!(registry.data().join("here/registry.db").exists());
    assert!(!registry.data().join("elsewhere").exists());
}
