//! Loads Portreeve and, where they are installed, Debian's `docker-registry` and nginx, one after the other in one run, and prints
//! the *server's* processor time per operation and its peak memory, both read from `/proc`.
//!
//! Wall-clock time on a shared machine says more about the neighbours than about the server; processor time and the
//! ratio of two servers within one run are what can be compared. Traffic goes to loopback only, and every phase is
//! bounded by a count.

mod catalog;
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
    /// The peer for large blobs; left out of the run where the file does not exist.
    #[arg(long, default_value = "/usr/sbin/nginx")]
    nginx: PathBuf,
    /// Divides the number of operations, for a quick look.
    #[arg(long, default_value_t = 1)]
    divide: u32,
    /// Measures this part alone, and no peer.
    #[arg(long)]
    only: Option<phases::Part>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::crypto::install();
    let arguments = Arguments::parse();
    let portreeve = Server::portreeve(&arguments.portreeve).await?;
    if let Some(part) = arguments.only {
        print(&report(&phases::run_part(&portreeve, arguments.divide, part).await?, &[]));
        return Ok(());
    }
    let ours = phases::run(&portreeve, arguments.divide).await?;
    let mut others = Vec::new();
    if arguments.peer.exists() {
        let peer = Server::peer(&arguments.peer, &portreeve).await?;
        others.push(("docker-registry", phases::run(&peer, arguments.divide).await?));
    }
    if arguments.nginx.exists() {
        let nginx = Server::nginx(&arguments.nginx, &portreeve, &phases::large(arguments.divide)).await?;
        others.push(("nginx", phases::run_files(&nginx, arguments.divide).await?));
    }
    print(&report(&ours, &others));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn print(report: &str) {
    println!("\n{report}");
}

/// One line for each operation: our figure, and of each other server that does it its own and how many times that ours is.
fn report(ours: &[Figures], others: &[(&str, Vec<Figures>)]) -> String {
    let headings: String = others.iter().map(|(name, _)| format!(" {name:>16} {:>7}", "ratio")).collect();
    let mut lines = vec![format!("{:<44} {:>12}{headings}", "operation", "portreeve")];
    for figures in ours {
        let beside: String = others.iter().map(|(_, all)| beside(figures, all)).collect();
        lines.push(format!("{:<44} {:>12}{beside}", figures.operation, figures.print()));
    }
    lines.join("\n")
}

fn beside(ours: &Figures, theirs: &[Figures]) -> String {
    match theirs.iter().find(|theirs| theirs.operation == ours.operation) {
        Some(theirs) => format!(" {:>16} {:>7.2}", theirs.print(), ours.value / theirs.value),
        None => format!(" {:>16} {:>7}", "–", "–"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Unit;

    #[test]
    fn a_line_has_our_figure_and_of_each_other_its_own_and_the_ratio() {
        let figure = |operation, value| Figures { operation, value, unit: Unit::PerOperation };
        let ours = [figure("push", 4_000.0), figure("token", 80.0)];
        let others = [("peer", vec![figure("push", 16_000.0)]), ("files", Vec::new())];
        let words: Vec<Vec<String>> =
            report(&ours, &others).lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        assert_eq!(words[0], ["operation", "portreeve", "peer", "ratio", "files", "ratio"]);
        assert_eq!(words[1], ["push", "4.00", "ms", "16.00", "ms", "0.25", "–", "–"]);
        assert_eq!(words[2], ["token", "80", "µs", "–", "–", "–", "–"]);
    }
}
