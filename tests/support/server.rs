//! The real program, started on a free port with a data directory of its own.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use url::Url;

use super::{leaks, program::Program};
use crate::protocol::client::{Client, Login};

const ANY_PORT: &str = "127.0.0.1:0";

/// How long a start may take. The promise is one second; eight builds on two cores are not its fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program of this workspace that has not been started yet.
pub(crate) struct Launch {
    /// A program that starts the program, with its arguments.
    wrapper: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    loudness: Loudness,
    data: Arc<TempDir>,
}

/// How much a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loudness {
    /// Every frame and statement: what it says is searched for secrets ([`leaks`]).
    Loudest,
    /// What its settings say.
    AsSet,
}

impl Launch {
    /// `portreeve up` on a free loopback port, in a new data directory.
    pub(crate) fn up() -> Self {
        let data = Arc::new(TempDir::with_prefix("portreeve-").expect("a temporary directory can be made"));
        let arguments = ["up", "--listen", ANY_PORT, "--data"].map(str::to_owned).to_vec();
        Self::new(arguments, data).arg(&|data| data.display().to_string())
    }

    fn new(arguments: Vec<String>, data: Arc<TempDir>) -> Self {
        Self { wrapper: Vec::new(), arguments, environment: Vec::new(), loudness: Loudness::Loudest, data }
    }

    /// Another command line (`registry serve FILE`, `auth serve`), written once the data directory is known.
    pub(crate) fn command(arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let data = Arc::new(TempDir::with_prefix("portreeve-").expect("a temporary directory can be made"));
        Self::new(arguments(data.path()), data)
    }

    /// Adds an argument, which may depend on the data directory.
    pub(crate) fn arg(mut self, argument: &dyn Fn(&Path) -> String) -> Self {
        self.arguments.push(argument(self.data.path()));
        self
    }

    /// The data directory that it will have.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Sets a variable of the program's environment (`REGISTRY_…`, `PORTREEVE_AUTH_…`).
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets it say no more than it is set to: where megabytes go through it, where its time is taken, and where what it says at its
    /// level is what the story is about.
    pub(crate) fn quiet(mut self) -> Self {
        self.loudness = Loudness::AsSet;
        self
    }

    /// Has another program start it: `strace …`.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it and waits until it accepts connections.
    pub(crate) fn start(self) -> Portreeve {
        self.try_start().unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// The same where it may well be that it does not start.
    pub(crate) fn try_start(self) -> Result<Portreeve, String> {
        // Whoever starts a server goes on to speak to it.
        shared::crypto::install();
        let log = Log::default();
        let (child, url) = spawn(&self, &log)?;
        Ok(Portreeve { launch: self, child, url, log, secrets: Mutex::default() })
    }
}

/// A name and what proves it.
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) secret: String,
}

impl Account {
    pub(crate) fn new(name: &str, secret: &str) -> Self {
        Self { name: name.to_owned(), secret: secret.to_owned() }
    }
}

/// A running server. Ends with the test, by its process id.
pub(crate) struct Portreeve {
    launch: Launch,
    child: Child,
    url: Url,
    log: Log,
    /// What its log may not have.
    secrets: Mutex<Vec<String>>,
}

impl Portreeve {
    /// `portreeve up` with nothing configured.
    pub(crate) fn up() -> Self {
        Launch::up().start()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// `127.0.0.1:PORT`, as clients write it before a repository name.
    pub(crate) fn authority(&self) -> String {
        self.url.authority().to_owned()
    }

    pub(crate) fn data(&self) -> &Path {
        self.launch.data.path()
    }

    /// What its environment was told besides: a command that is to reach the same database needs it too.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        &self.launch.environment
    }

    /// The account of the first start, with the password that was written down.
    pub(crate) fn admin(&self) -> Account {
        let file = self.data().join("admin-password");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.keeps_to_itself([text.trim().to_owned()]);
        Account::new("admin", text.trim())
    }

    /// Has its log searched for these at the end.
    pub(crate) fn keeps_to_itself(&self, secrets: impl IntoIterator<Item = String>) {
        self.secrets.lock().expect("no holder panics").extend(secrets);
    }

    /// Insists that it has written no secret down. It is called at the end of every server's life.
    fn has_kept_its_secrets(&mut self) {
        let mut known = self.secrets.lock().expect("no holder panics").clone();
        known.extend(leaks::master_key(self.data()));
        if let Some((what, line)) = leaks::leak(&self.log.whole(), &known) {
            panic!("{what:?} stands in the log of {}: {line}", self.url);
        }
    }

    /// The image `NAME` of this registry, as clients write it.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.authority())
    }

    /// The text at a path that anybody may read.
    pub(crate) async fn get(&self, path: &str) -> String {
        let client = Client::new(self.url.clone(), Login::Anonymous);
        let url = self.url.join(path).expect("paths of tests are valid");
        let answer = client.follow(Method::GET, url).send().await.unwrap_or_else(|failure| panic!("{failure}"));
        answer.status(&[200]).unwrap_or_else(|failure| panic!("{failure}"));
        String::from_utf8(answer.body.to_vec()).expect("the answer is text")
    }

    /// `portreeve ARGUMENTS --data DIR`, against this server's data directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Program {
        Program::new(program()).args(arguments).arg("--data").arg(self.data())
    }

    /// Everything the program has printed so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Waits for a line with all of these words, and returns it: what a server prints arrives a moment after what it answers.
    pub(crate) async fn says(&self, words: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "no line says {words:?}:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it as power loss of the process would, without a chance to finish anything, and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Stops its clockwork: connections stay open and nobody answers. Lasts until [`Portreeve::go_on`].
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`Portreeve::freeze`].
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child can be signalled");
    }

    /// A line of the kernel's about its memory (`VmRSS`, `VmHWM`), in KiB.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a running process has a status");
        let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let number = found.and_then(|text| text.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {line} in\n{status}"))
    }

    /// Lets the peak of its memory (`VmHWM`) begin anew, at what is resident now.
    pub(crate) fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(path, "5").expect("the peak of a child can be reset");
    }

    /// Asks it to stop (SIGTERM) and returns how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits until it has died by itself.
    pub(crate) fn dies(&mut self) {
        let status = self.ended();
        assert!(!status.success(), "the server ended well:\n{}", self.log());
    }

    /// Waits for its end and returns how it ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not stop within {PATIENCE:?}:\n{}", self.log());
    }

    /// Starts it again on the same data directory and the same port.
    pub(crate) fn start_again(&mut self) {
        let address = self.authority();
        for argument in self.launch.arguments.iter_mut().filter(|argument| *argument == ANY_PORT) {
            argument.clone_from(&address);
        }
        (self.child, self.url) = spawn(&self.launch, &self.log).unwrap_or_else(|reason| panic!("{reason}"));
    }
}

impl Drop for Portreeve {
    fn drop(&mut self) {
        if thread::panicking() {
            // Shown by the test runner beside the failure.
            eprintln!("--- the server's last words ({})\n{}", self.url, self.log.tail(60));
        }
        // Already ended (killed by the test) is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !thread::panicking() {
            self.has_kept_its_secrets();
        }
    }
}

/// The program that Cargo built for this test run.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_portreeve"))
}

fn spawn(launch: &Launch, log: &Log) -> Result<(Child, Url), String> {
    let mut command = match launch.wrapper.split_first() {
        Some((wrapper, arguments)) => {
            let mut command = Command::new(wrapper);
            command.args(arguments).arg(program());
            command
        }
        None => Command::new(program()),
    };
    if launch.loudness == Loudness::Loudest {
        command.env("RUST_LOG", "trace");
    }
    command.args(&launch.arguments).envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let (found, address) = mpsc::channel();
    log.follow(child.stdout.take().expect("stdout is piped"), found.clone());
    log.follow(child.stderr.take().expect("stderr is piped"), found);
    match address.recv_timeout(PATIENCE) {
        Ok(url) => Ok((child, url)),
        Err(reason) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("portreeve {} said no address ({reason}):\n{}", launch.arguments.join(" "), log.text()))
        }
    }
}

/// The address in the line that says that connections are accepted: `listening on http://…` of `up`, or the log line of
/// a service that runs alone (`serving address=127.0.0.1:…`).
fn address_in(line: &str) -> Option<Url> {
    if let Some((_, url)) = line.split_once("listening on ") {
        return Url::parse(url).ok();
    }
    let (before, address) = line.split_once("address=")?;
    let says_so = before.contains(" serving ") || before.contains("is listening");
    let address = address.split_whitespace().next()?;
    // Port 0 is what was asked for, not what was had.
    (says_so && !address.ends_with(":0")).then(|| Url::parse(&format!("http://{address}")).ok())?
}

#[test]
fn the_address_is_found_where_servers_say_it() {
    let found = |line: &str| address_in(line).map(|url| url.to_string());
    let table = [
        ("listening on http://127.0.0.1:5000", Some("http://127.0.0.1:5000/")),
        ("listening on https://localhost:5000", Some("https://localhost:5000/")),
        ("listening on unix:/tmp/web.sock", Some("unix:/tmp/web.sock")),
        ("2026 INFO registry::cli: serving address=127.0.0.1:41 configuration=x", Some("http://127.0.0.1:41/")),
        ("2026 INFO auth is listening address=127.0.0.1:42", Some("http://127.0.0.1:42/")),
        ("2026 WARN serving without TLS address=127.0.0.1:0", None),
        ("docker login 127.0.0.1:5000", None),
    ];
    for (line, expected) in table {
        assert_eq!(found(line).as_deref(), expected, "{line}");
    }
}

/// Everything a server prints, over all its lives.
#[derive(Clone, Default)]
struct Log {
    said: Arc<Mutex<String>>,
    /// Who reads it; each ends with its stream.
    readers: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Log {
    /// Reads `stream` to its end in a thread of its own, and sends the address when it is printed.
    fn follow(&self, stream: impl Read + Send + 'static, found: Sender<Url>) {
        let log = self.said.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let Some(url) = address_in(&line) {
                    // A second address (or a test that has gone) has no reader, and needs none.
                    let _ = found.send(url);
                }
                let mut text = log.lock().expect("no reader panics");
                text.push_str(&line);
                text.push('\n');
            }
        });
        self.readers.lock().expect("no reader panics").push(reader);
    }

    fn text(&self) -> String {
        self.said.lock().expect("no reader panics").clone()
    }

    /// The same once the server has ended and all of it is read. What a wrapper of the server has left running may hold a stream open.
    fn whole(&self) -> String {
        let begun = Instant::now();
        let all_ended = || self.readers.lock().expect("no reader panics").iter().all(JoinHandle::is_finished);
        while !all_ended() && begun.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(5));
        }
        self.text()
    }

    fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let skipped = text.lines().count().saturating_sub(lines);
        text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

/// Writes `text` into a file of `directory` and returns its path as text, for command lines.
pub(crate) fn written(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    let mut file = File::create(&path).expect("a file can be made in a temporary directory");
    file.write_all(text.as_bytes()).expect("a small file can be written");
    path.display().to_string()
}
