//! Servers under load: started on a free port of loopback, ended by their process.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use crate::client::fresh_bytes;

/// A running server and how to get its tokens.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    home: TempDir,
    /// `http://127.0.0.1:<port>`
    pub(crate) address: String,
    /// Where tokens for it come from; Portreeve's own for both, so both verify the same tokens.
    pub(crate) realm: String,
    /// Robot key with push and pull everywhere in `bench/`.
    pub(crate) robot: (String, String),
    /// A local account's password: the remembered-password path.
    pub(crate) admin: (String, String),
    /// A personal access token of the same account, which may administer.
    pub(crate) administrator: String,
    /// Only Portreeve answers tokens, so only there the phase is worth a line.
    pub(crate) issues_tokens: bool,
}

impl Server {
    pub(crate) async fn portreeve(program: &Path) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let data = home.path().join("data");
        let process = Command::new(program)
            .args(["up", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(File::create(home.path().join("log"))?)
            .spawn()
            .with_context(|| format!("{} (cargo build --release?)", program.display()))?;
        let address = wait_for(|| fs::read_to_string(data.join("address")).ok()).await.context("no address")?;
        let run = |words: &[&str]| -> anyhow::Result<serde_json::Value> {
            let output =
                Command::new(program).arg("auth").args(words).args(["--json", "--data"]).arg(&data).output()?;
            if !output.status.success() {
                bail!("{words:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(serde_json::from_slice(&output.stdout)?)
        };
        run(&["namespace", "add", "bench"])?;
        run(&["robot", "add", "bench/load"])?;
        run(&["grant", "add", "robot.bench.load", "bench/**", "pull,push"])?;
        let key = run(&["robot", "key", "add", "robot.bench.load"])?;
        let secret = key["secret"].as_str().context("no secret")?.to_owned();
        let token = run(&["token", "create", "--user", "admin", "--api", "write"])?;
        let password = fs::read_to_string(data.join("admin-password"))?.trim().to_owned();
        Ok(Self {
            realm: format!("{address}/token"),
            robot: ("robot.bench.load".into(), secret),
            admin: ("admin".into(), password),
            administrator: token["secret"].as_str().context("no secret")?.to_owned(),
            issues_tokens: true,
            address,
            process,
            home,
        })
    }

    /// Debian's `docker-registry`, believing the tokens of the Portreeve beside it.
    pub(crate) async fn peer(program: &Path, issuer: &Self) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let bundle = issuer.home.path().join("data/keys/bundle.pem");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  \
             cache: {{blobdescriptor: inmemory}}\n  delete: {{enabled: true}}\nhttp: {{addr: '127.0.0.1:{port}', secret: bench}}\n\
             auth:\n  token: {{realm: '{}', service: portreeve, issuer: portreeve, rootcertbundle: '{}'}}\n",
            home.path().join("blobs").display(),
            issuer.realm,
            bundle.display(),
        );
        fs::write(home.path().join("config.yml"), config)?;
        let process = Command::new(program)
            .arg("serve")
            .arg(home.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(File::create(home.path().join("log"))?)
            .spawn()?;
        Self::beside(issuer, process, home, port).await.context("peer does not listen")
    }

    /// Debian's nginx with sendfile, in one process, over files of the given sizes: `/0`, `/1` and so on.
    pub(crate) async fn nginx(program: &Path, issuer: &Self, files: &[usize]) -> anyhow::Result<Self> {
        let home = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = home.path().join("files");
        fs::create_dir(&root)?;
        for (name, length) in files.iter().enumerate() {
            fs::write(root.join(name.to_string()), fresh_bytes(*length)?)?;
        }
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind}; ", home.path().display()))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {home}/pid; error_log {home}/log; events {{}} http {{ access_log off; sendfile on; \
             tcp_nopush on; keepalive_requests 1000000; {temporary} server {{ listen 127.0.0.1:{port}; root {root}; }} }}",
            home = home.path().display(),
            root = root.display(),
        );
        fs::write(home.path().join("nginx.conf"), config)?;
        let process = Command::new(program)
            .arg("-c")
            .arg(home.path().join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(File::create(home.path().join("errors"))?)
            .spawn()?;
        Self::beside(issuer, process, home, port).await.context("nginx does not listen")
    }

    async fn beside(issuer: &Self, process: Child, home: TempDir, port: u16) -> Option<Self> {
        let server = Self {
            address: format!("http://127.0.0.1:{port}"),
            realm: issuer.realm.clone(),
            robot: issuer.robot.clone(),
            admin: issuer.admin.clone(),
            administrator: issuer.administrator.clone(),
            issues_tokens: false,
            process,
            home,
        };
        wait_for(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok()).await.map(|_| server)
    }

    /// Portreeve's database of the registry.
    pub(crate) fn database(&self) -> PathBuf {
        self.home.path().join("data/registry.db")
    }

    /// Where its files lie.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing to do about a failure here: the process is gone already, or the machine has worse troubles.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    for _ in 0..200 {
        if let Some(found) = look() {
            return Some(found);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}
