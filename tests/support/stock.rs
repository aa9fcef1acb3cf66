//! A stranger at the other end: CNCF Distribution, as Debian packs it (2.8.2) and as Go builds its present release.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{net::TcpStream, time::sleep};
use url::Url;

use super::server::{Portreeve, written};

/// Which Distribution it is. They verify tokens with different libraries and know keys by different ids.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edition {
    /// 2.8.2, Debian's `docker-registry`.
    Two,
    /// 3.x, which Debian does not carry.
    Three,
}

impl Edition {
    fn program(self) -> &'static str {
        match self {
            Self::Two => "docker-registry",
            Self::Three => "registry",
        }
    }
}

/// A stock registry on a free port, with a directory of its own. Ends with the test.
pub(crate) struct StockRegistry {
    child: Child,
    url: Url,
    directory: TempDir,
}

impl StockRegistry {
    /// One that asks nobody who they are, with deletes on.
    pub(crate) async fn open_to_all() -> Self {
        Self::start(Edition::Two, "").await
    }

    /// One that trusts tokens of `portreeve`: its bundle, its realm, its names.
    pub(crate) async fn trusting(portreeve: &Portreeve, edition: Edition) -> Self {
        let bundle = portreeve.get("/certs/bundle.pem").await;
        let directory = TempDir::with_prefix("bundle-").expect("a temporary directory can be made");
        let path = written(directory.path(), "bundle.pem", &bundle);
        let auth = format!(
            "auth:\n  token:\n    realm: {}token\n    service: portreeve\n    issuer: portreeve\n    rootcertbundle: {path}\n",
            portreeve.url(),
        );
        // The bundle is read at the start and never again.
        Self::start(edition, &auth).await
    }

    /// `auth` is the configuration's own `auth:` block, or nothing.
    async fn start(edition: Edition, auth: &str) -> Self {
        let directory = TempDir::with_prefix("stock-registry-").expect("a temporary directory can be made");
        let port = free_port();
        let config = directory.path().join("config.yml");
        let storage = directory.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             delete: {{enabled: true}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n{auth}",
            storage.display(),
        );
        fs::write(&config, text).expect("a small file can be written");
        let log = File::create(directory.path().join("log")).expect("a log file can be made");
        let program = edition.program();
        let child = Command::new(program)
            .arg("serve")
            .arg(&config)
            // Release 3 sends traces unless it is told not to.
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a loopback address is a URL");
        let registry = Self { child, url, directory };
        registry.accepting(port).await;
        registry
    }

    /// The image `NAME` of this registry, as clients write it.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.url.authority())
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    async fn accepting(&self, port: u16) {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the stock registry does not start:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for StockRegistry {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the stock registry's log\n{}", self.log());
        }
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on now. For programs that cannot be told to choose one.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
