//! `portreeve`: both services in one process (`portreeve`, `portreeve up`), or each alone (`portreeve registry …`,
//! `portreeve auth …`). Called under the name `registry`, `auth` or `htpasswd` it behaves as that program.

mod htpasswd;
mod up;

use std::{env, ffi::OsString, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

/// A container registry paired with its own token authorization server.
#[derive(Debug, Parser)]
#[command(name = "portreeve", version, about, args_conflicts_with_subcommands = true)]
struct Portreeve {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: up::Up,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run both services in one process (the default).
    Up(up::Up),
    /// The registry service alone.
    #[command(subcommand)]
    Registry(registry::cli::Command),
    /// The token authorization service: run it alone, or administer it.
    Auth(auth::cli::AuthArguments),
}

/// `registry serve CONFIG`, as the images of other registries call it.
#[derive(Debug, Parser)]
#[command(name = "registry", version)]
struct Registry {
    #[command(subcommand)]
    command: registry::cli::Command,
}

/// `auth serve`, `auth user add …`.
#[derive(Debug, Parser)]
#[command(name = "auth", version)]
struct Auth {
    #[command(flatten)]
    arguments: auth::cli::AuthArguments,
}

#[tokio::main]
async fn main() -> ExitCode {
    shared::crypto::install();
    match Box::pin(run(env::args_os().collect())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", env!("CARGO_PKG_NAME"), told(&error));
            ExitCode::from(
                error.downcast_ref::<registry::cli::CommandError>().map_or(1, registry::cli::CommandError::exit_status),
            )
        }
    }
}

/// An error with its causes, each said once: many say their cause in their own words already.
fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told.push_str(": ");
            told.push_str(&cause);
        }
    }
    told
}

async fn run(arguments: Vec<OsString>) -> anyhow::Result<()> {
    let called = arguments.first().and_then(|name| Path::new(name).file_name()).and_then(|name| name.to_str());
    match called {
        Some("registry") => Ok(registry::cli::run(Registry::parse_from(arguments).command).await?),
        Some("auth") => Ok(auth::cli::main(Auth::parse_from(arguments).arguments).await?),
        Some("htpasswd") => Ok(htpasswd::run(arguments.into_iter())?),
        _ => {
            let portreeve = Portreeve::parse_from(arguments);
            match portreeve.command.unwrap_or(Command::Up(portreeve.up)) {
                Command::Up(up) => Ok(Box::pin(up::run(up)).await?),
                Command::Registry(command) => Ok(registry::cli::run(command).await?),
                Command::Auth(arguments) => Ok(auth::cli::main(arguments).await?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let said = anyhow::anyhow!("disk full").context("the file cannot be written: disk full").context("start");
        assert_eq!(told(&said), "start: the file cannot be written: disk full");
        let unsaid = anyhow::anyhow!("disk full").context("the file cannot be written");
        assert_eq!(told(&unsaid), "the file cannot be written: disk full");
    }
}
