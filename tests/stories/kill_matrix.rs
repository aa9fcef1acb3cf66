//! The server dies, fails or waits at every boundary between two steps of a push, a mount, a deletion, an expiry, a restoration, a repair and a collection, one
//! after the other. Whatever it acknowledged is there afterwards, whatever was deleted stays deleted, cut uploads go on, a run of rules that was left lying is gone
//! on with, and `portreeve registry doctor --deep` finds nothing.
//!
//! The points are `registry::failpoints::Point`; programs without debug assertions have none.

mod ledger;
mod office;
mod story;

use std::{fs, path::PathBuf, time::Duration};

use registry::failpoints::Point;
use serde_json::{Value, json};

use self::{
    ledger::Ledger,
    office::{OLD, Office},
    story::Story,
};
use super::facts::{self, Facts};
use crate::{
    protocol::{
        answer::Failure,
        client::{Client, Login},
    },
    support::{
        announce,
        postgres::Schemas,
        program::Program,
        server::{Launch, Portreeve, program, written},
    },
};

/// Points that are come to while no server runs.
const OFFLINE: [Point; 2] = [Point::BytesIndexed, Point::BytesFound];

/// How long a point holds what came to it, in milliseconds.
const WAIT: u64 = 150;

/// What happens at the points of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    Death,
    Failure,
    /// The step is held while others push and collect.
    Delay,
}

const ROUNDS: &[Accident] = &[Accident::Death, Accident::Failure, Accident::Delay];

/// All of them in `make test`, which sets the time for what takes its time; else the first, which takes half a minute.
fn rounds() -> &'static [Accident] {
    if std::env::var_os("PORTREEVE_STRESS_SECONDS").is_some() { ROUNDS } else { &ROUNDS[..1] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_at_any_point_on_sqlite() {
    let launch = launch();
    let facts = Facts::Sqlite(launch.data().join("root/registry.db"));
    Matrix::begin(launch, facts).run("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn nothing_that_was_acknowledged_is_lost_at_any_point_on_postgres() {
    let schemas = Schemas::new();
    let (url, schema) = schemas.registry();
    Matrix::begin(schemas.for_registry(launch()), Facts::Postgres { url, schema }).run("postgres").await;
}

/// A registry that asks nobody who they are, with an undelete window, that collects when it is told to.
fn launch() -> Launch {
    let words = |data: &std::path::Path| {
        let config = json!({
            "version": "0.1",
            "http": {"addr": "127.0.0.1:0"},
            "storage": {"filesystem": {"rootdirectory": data.join("root")}, "delete": {"enabled": true}},
            "portreeve": {"collect": "24h", "undelete": "1h"},
        });
        ["registry", "serve", &written(data, "config.yml", &config.to_string())].map(str::to_owned).to_vec()
    };
    let launch = Launch::command(words).quiet();
    let order = order_file(launch.data());
    launch.env("PORTREEVE_FAILPOINT", &order.display().to_string())
}

fn order_file(data: &std::path::Path) -> PathBuf {
    data.join("order")
}

struct Matrix {
    portreeve: Portreeve,
    client: Client,
    office: Office,
    facts: Facts,
    ledger: Ledger,
    /// How often the story was told.
    told: usize,
    violations: Vec<String>,
}

impl Matrix {
    fn begin(launch: Launch, facts: Facts) -> Self {
        let portreeve = launch.start();
        let (client, office) = (client(&portreeve), Office::of(&portreeve));
        Self { portreeve, client, office, facts, ledger: Ledger::default(), told: 0, violations: Vec::new() }
    }

    async fn run(mut self, database: &str) {
        self.office.furnish().await.unwrap_or_else(|failure| panic!("at the beginning: {failure}"));
        for (round, accident) in rounds().iter().copied().enumerate() {
            // Every round meets what the one before left behind in another order.
            let first = round * Point::ALL.len() / rounds().len();
            for point in [&Point::ALL[first..], &Point::ALL[..first]].concat() {
                match OFFLINE.contains(&point) {
                    true => self.reindex(accident, point).await,
                    false => self.meet(accident, point).await,
                }
            }
        }
        self.ledger.everything_is_there(&self.client).await.unwrap_or_else(|failure| panic!("at the end: {failure}"));
        announce(&format!(
            "kill matrix ({database}): {} points × {} rounds, {} violations",
            Point::ALL.len(),
            rounds().len(),
            self.violations.len()
        ));
        assert!(self.violations.is_empty(), "{}", self.violations.join("\n"));
    }

    /// Tells the story with an accident at `point`, and looks at what is left.
    async fn meet(&mut self, accident: Accident, point: Point) {
        let (file, order) = self.order(accident, point);
        let ended = match accident {
            Accident::Delay => self.tell_beside_others(point).await,
            Accident::Death | Accident::Failure => self.tell(point).await,
        };
        assert!(!file.exists(), "the story never came to {point:?}: {ended:?}");
        match (accident, ended) {
            (Accident::Death, _) => {
                self.portreeve.dies();
                self.portreeve.start_again();
                self.client = client(&self.portreeve);
                self.office = Office::of(&self.portreeve);
            }
            (Accident::Failure, Err(failure)) if !failure.to_string().contains("answered 5") => {
                self.violation(&order, &format!("a client was told something else than a failure: {failure}"));
            }
            (Accident::Delay, Err(failure)) => self.violation(&order, &failure.to_string()),
            (Accident::Failure | Accident::Delay, _) => {}
        }
        // After a failed sync nobody knows what reached the disk: the upload has ended, and its client begins anew.
        let synced = [Point::FileTrimmed, Point::FileSynced, Point::DirectorySynced];
        if accident == Accident::Failure && synced.contains(&point) {
            self.ledger.begin_anew(&self.client).await.unwrap_or_else(|failure| panic!("{order}: {failure}"));
        }
        self.look(&order).await;
    }

    /// Writes down what is to happen, and says where and in which words.
    fn order(&self, accident: Accident, point: Point) -> (PathBuf, String) {
        let order = match accident {
            Accident::Death => format!("{point:?} die"),
            Accident::Failure => format!("{point:?} fail"),
            Accident::Delay => format!("{point:?} wait {WAIT}"),
        };
        let file = order_file(self.portreeve.data());
        // Whole or not at all: the server reads it at any moment.
        fs::write(file.with_extension("new"), &order).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
        (file, order)
    }

    /// What is done while no server runs: found bytes are indexed, with an accident at `point`, and again without.
    async fn reindex(&mut self, accident: Accident, point: Point) {
        self.told += 1;
        story::lay_a_stray(self.portreeve.data(), self.told);
        assert!(self.portreeve.stop().success());
        let (file, order) = self.order(accident, point);
        let reindex = || {
            let command = Program::new(program()).args(["registry", "reindex", "--json"]);
            let command = command.arg(self.portreeve.data().join("config.yml"));
            let told = self.portreeve.environment().iter().filter(|(name, _)| name != "PORTREEVE_FAILPOINT");
            told.fold(command, |command, (name, value)| command.env(name, value))
        };
        let met = reindex().env("PORTREEVE_FAILPOINT", file.as_os_str()).run().await;
        assert!(!file.exists(), "it never came to {point:?}: {met}");
        assert_eq!(met.success, accident == Accident::Delay, "{order}: {met}");
        let again: Value = serde_json::from_str(&reindex().succeeds().await.stdout).unwrap();
        let indexed = again["reindexed"]["blobs"].as_u64();
        let committed = accident == Accident::Delay || point == Point::BytesFound;
        if indexed != Some(u64::from(!committed)) {
            self.violation(&order, &format!("the next run indexed {again}"));
        }
        self.portreeve.start_again();
        (self.client, self.office) = (client(&self.portreeve), Office::of(&self.portreeve));
        self.look(&order).await;
    }

    async fn tell(&mut self, point: Point) -> Result<(), Failure> {
        self.told += 1;
        let Self { portreeve, client, office, facts, ledger, told, .. } = self;
        Story { portreeve, client, office, facts, ledger, number: *told, point }.tell().await
    }

    /// The story, and beside it somebody who pushes the same layer elsewhere and collects all the time.
    async fn tell_beside_others(&mut self, point: Point) -> Result<(), Failure> {
        let (other, office, number) = (client(&self.portreeve), Office::of(&self.portreeve), self.told + 1);
        let beside = async {
            loop {
                story::push_layer(&other, "other/beside", number).await?;
                office.collect_beside().await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            ended = self.tell(point) => ended,
            failed = beside => failed,
        }
    }

    /// Whatever is not as it should be becomes a violation.
    async fn look(&mut self, order: &str) {
        if let Err(failure) = self.finish_a_run_of_rules().await {
            self.violation(order, &failure.to_string());
        }
        if let Err(failure) = self.ledger.recover(&self.client).await {
            self.violation(order, &failure.to_string());
        }
        if self.ledger.broken {
            match self.office.repair().await {
                Ok(()) => self.ledger.broken = false,
                Err(failure) => self.violation(order, &failure.to_string()),
            }
        }
        for found in facts::findings(&self.portreeve.data().join("root")).await {
            self.violation(order, &found);
        }
    }

    /// A minute later somebody goes on with a run that was left lying.
    async fn finish_a_run_of_rules(&mut self) -> Result<(), Failure> {
        let minute = "UPDATE lifecycle SET leased_until = 0 WHERE state = 'running'";
        if self.facts.change(minute).await == 0 {
            return Ok(());
        }
        self.ledger.lets_go_all(OLD);
        self.office.run_rules().await
    }

    /// Said at once: a run that hangs later has said it too.
    fn violation(&mut self, order: &str, what: &str) {
        let violation = format!("{order}: {what}");
        eprintln!("violation at {violation}");
        self.violations.push(violation);
    }
}

fn client(portreeve: &Portreeve) -> Client {
    Client::new(portreeve.url().clone(), Login::Open)
}
