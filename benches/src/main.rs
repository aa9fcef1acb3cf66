//! Loads Portreeve and, where it is installed, Debian's `docker-registry`, one after the other in one run, and prints
//! the *server's* processor time per operation and its peak memory, both read from `/proc`.
//!
//! Wall-clock time on a shared machine says more about the neighbours than about the server; processor time and the
//! ratio of two servers within one run are what can be compared. Traffic goes to loopback only, and every phase is
//! bounded by a count.

mod client;
mod measure;
mod phases;
mod server;

use std::path::PathBuf;

use clap::Parser;

use crate::{measure::Figures, server::Server};

/// Prints the processor time that servers spend per operation.
#[derive(Debug, Parser)]
struct Arguments {
    /// The `portreeve` program, built with `--release`.
    #[arg(long, default_value = "target/release/portreeve")]
    portreeve: PathBuf,
    /// The peer; left out of the run where the file does not exist.
    #[arg(long, default_value = "/usr/bin/docker-registry")]
    peer: PathBuf,
    /// Divides the number of operations, for a quick look.
    #[arg(long, default_value_t = 1)]
    divide: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::crypto::install();
    let arguments = Arguments::parse();
    let portreeve = Server::portreeve(&arguments.portreeve).await?;
    let ours = phases::run(&portreeve, arguments.divide).await?;
    let peer = if arguments.peer.exists() {
        let peer = Server::peer(&arguments.peer, &portreeve).await?;
        Some(phases::run(&peer, arguments.divide).await?)
    } else {
        None
    };
    report(&ours, peer.as_deref());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn report(ours: &[Figures], peer: Option<&[Figures]>) {
    println!("\n{:<44} {:>12} {:>16} {:>7}", "operation", "portreeve", "docker-registry", "ratio");
    for figures in ours {
        let other = peer.and_then(|all| all.iter().find(|other| other.operation == figures.operation));
        let (theirs, ratio) = match other {
            Some(other) => (other.print(), format!("{:.2}", figures.value / other.value)),
            None => ("–".into(), "–".into()),
        };
        println!("{:<44} {:>12} {:>16} {:>7}", figures.operation, figures.print(), theirs, ratio);
    }
}
