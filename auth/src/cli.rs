//! `portreeve auth …`: the admin API as commands. A command is one or more requests to it, sent over the data directory's socket to the
//! server that runs, or to a router in this process when nobody holds the directory: one implementation serves both.

mod arguments;
mod audit;
mod directories;
mod doctor;
mod output;
mod request;
mod setup;
mod target;

use std::{io, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::{
    clock::Clock,
    command::NotAnswered,
    data_directory::{DataDirectory, DataDirectoryError, Holder},
    shutdown, telemetry,
};
use thiserror::Error;

use crate::{
    audit::verify::Break,
    http::error::ApiError,
    server::{self, Auth, StartError},
    settings::{ProcessSettings, Settings, SettingsError},
};
use arguments::{
    AuditCommand, GrantCommand, ImportCommand, KeysCommand, LdapCommand, NamespaceCommand, ProviderCommand,
    RobotCommand, ServiceCommand, TeamCommand, TokenCommand, UserCommand,
};
use request::Request;
pub use target::Target;

/// The status of what is not there.
const NOT_FOUND: u16 = 404;

/// The token server, and what is administered there.
#[derive(Debug, Args)]
pub struct AuthArguments {
    /// The data directory. Without it the settings' `data`, then ./data.
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Auth's own settings, `version: 0.1`, overlaid by PORTREEVE_AUTH_*; commands also take the registry's configuration that
    /// `up` runs with, and need neither while the server runs.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the token server alone.
    Serve {
        /// Auth's own settings; the same as --config.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Where to listen; port 0 takes a free one.
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
        /// Listen beyond loopback without TLS: passwords and tokens can be read on the way.
        #[arg(long)]
        insecure: bool,
    },
    /// People.
    #[command(subcommand)]
    User(UserCommand),
    /// Personal access tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Machines and their keys.
    #[command(subcommand)]
    Robot(RobotCommand),
    /// First segments of repository names.
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Named sets of accounts.
    #[command(subcommand)]
    Team(TeamCommand),
    /// Who may do what.
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Which grant is behind each allowed action, and which is the nearest miss behind each refused one.
    Explain {
        /// An account, or `anonymous`.
        principal: String,
        /// Such as repository:acme/web:pull,push.
        scope: String,
        /// As if this grant were written, in the words of `grant add`: `--with robot.acme.ci "acme/**" pull,push "pr-*"`. Nothing is.
        #[arg(long, num_args = 3..=4, value_names = ["SUBJECT", "REPOSITORIES", "ACTIONS", "TAGS"])]
        with: Option<Vec<String>>,
    },
    /// Print the whole setup as one YAML document, without secrets.
    Export,
    /// Show the difference between a setup and what there is, then make it so, all of it or nothing.
    Apply {
        /// The document, as export prints it; `-` is standard input. Files of secrets lie beside it.
        file: PathBuf,
        /// Show the difference and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Remove what is there and the document does not have, in those lists that the document has.
        #[arg(long)]
        prune: bool,
    },
    /// Take over accounts and rules of other programs.
    #[command(subcommand)]
    Import(ImportCommand),
    /// Examine a live registry: whether it and this server fit, and what to do where they do not.
    Doctor {
        /// Its address, as clients use it, with its scheme.
        registry: url::Url,
        /// Authorities to believe about its certificate, PEM, besides this machine's.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// An issuer that it may expect, to be tried before the usual ones.
        #[arg(long, value_name = "NAME")]
        issuer: Option<String>,
    },
    /// The registries that tokens are made for.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Where identities come from: the htpasswd file and directories.
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// What a directory says about somebody.
    #[command(subcommand)]
    Ldap(LdapCommand),
    /// The keys that sign tokens.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// What happened, who did it, and whether the trail is whole.
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// Why a command did not do what it was told.
#[derive(Debug, Error)]
pub enum CliError {
    /// An argument makes no sense.
    #[error("{0}")]
    Argument(String),
    /// The settings are not valid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The accounts that belong to the data directory lie in a database that the command was not told of.
    #[error("the accounts of {} are not in its auth.db: name the configuration that its server runs with, --config FILE", .0.display())]
    Elsewhere(PathBuf),
    /// The data directory is a registry's alone.
    #[error("{} has no accounts: auth was never started there; name the data directory that it runs with (--data)", .0.display())]
    NoAccounts(PathBuf),
    /// The data directory cannot be had.
    #[error(transparent)]
    Data(#[from] DataDirectoryError),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is no answer to print.
    #[error(transparent)]
    NotAnswered(#[from] NotAnswered),
    /// A document that cannot be taken over, or written.
    #[error("{0}")]
    Document(String),
    /// A registry does not fit.
    #[error("{registry} has {faults} fault(s)")]
    Unwell {
        /// Its address.
        registry: String,
        /// How many.
        faults: usize,
    },
    /// The audit is not what was sealed.
    #[error("the audit is not whole: {0}")]
    AuditBroken(Break),
    /// A directory does not do what its settings expect of it. The steps were printed.
    #[error("the directory does not do what its settings expect, or what the user needs: see the steps that failed")]
    NotWell,
    /// What was to be read or printed was not.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs a command from the command line, on whatever holds the data directory.
///
/// # Errors
/// [`CliError`], to be printed.
pub async fn main(arguments: AuthArguments) -> Result<(), CliError> {
    let AuthArguments { data, config, json, command } = arguments;
    let (config, listen, insecure) = match &command {
        Command::Serve { file, listen, insecure } => (file.clone().or(config), listen.clone(), *insecure),
        _ => (config, None, false),
    };
    if let Command::Audit(AuditCommand::Verify { file: Some(file), key, known, accept }) = command {
        let (keys, whole) = audit::verify_file(&file, key, known, accept)?;
        return audit::told(&whole, &keys, &serde_json::Value::Null, json, &mut io::stdout());
    }
    let serves = matches!(command, Command::Serve { .. });
    let load = if serves { ProcessSettings::load } else { ProcessSettings::for_commands };
    let mut settings = load(config.as_deref(), std::env::vars())?;
    if let Some(data) = data {
        settings.data = data;
    }
    settings.listen_on(listen, insecure);
    if serves {
        return serve(&settings).await;
    }
    let (target, _held) = match DataDirectory::holder(&settings.data)? {
        Holder::Server { socket } => (Target::socket(socket), None),
        Holder::Caller(held) => {
            if !Settings::have_begun(held.path()) {
                return Err(CliError::NoAccounts(held.path().to_owned()));
            }
            if settings.auth.are_elsewhere(held.path()) {
                return Err(CliError::Elsewhere(held.path().to_owned()));
            }
            let auth = Auth::build(&settings.auth, held.path(), Clock::system()).await?;
            (Target::direct(auth), Some(held))
        }
    };
    let done = run(command, &target, json, &mut io::stdout()).await;
    target.close().await;
    done
}

/// Runs a command on a server and prints what it answers.
///
/// # Errors
/// [`CliError`], to be printed.
pub async fn run(command: Command, target: &Target, json: bool, out: &mut impl io::Write) -> Result<(), CliError> {
    let command = match command {
        Command::Audit(command) => return audit::run(command, target, json, out).await,
        Command::Ldap(command) => return directories::run(command, target, json, out).await,
        Command::Doctor { registry, ca, issuer } => {
            let patient = doctor::Patient { registry, authorities: ca, issuer };
            return Box::pin(doctor::examine(&patient, target, json, out)).await;
        }
        Command::Export => return setup::export(target, json, out).await,
        Command::Apply { file, dry_run, prune } => return setup::apply(&file, dry_run, prune, target, json, out).await,
        Command::Import(command) => return setup::import(command, target, json, out).await,
        command => command,
    };
    let request = command.request()?;
    let answer = asked(target, &request).await?;
    output::print(&answer, request.columns, json, out)?;
    if answer["steps"].is_array() && answer["ok"] == false { Err(CliError::NotWell) } else { Ok(()) }
}

/// Sends a request; what is not there is named.
async fn asked(target: &Target, request: &Request) -> Result<Value, CliError> {
    let Request { method, url, body, about, .. } = request;
    target.ask(method, url, body.as_ref()).await.map_err(|error| match (error, about) {
        (CliError::NotAnswered(NotAnswered::Refused { status: NOT_FOUND, detail }), Some(about))
            if detail == ApiError::NotFound.to_string() =>
        {
            NotAnswered::Refused { status: NOT_FOUND, detail: format!("there is no {about}") }.into()
        }
        (error, _) => error,
    })
}

async fn serve(settings: &ProcessSettings) -> Result<(), CliError> {
    // A second beginning is no fault: the program that calls may have begun to log.
    let _ = telemetry::init(settings.format, settings.level);
    let stop = shutdown::on_signal()?;
    let greet = |auth: &Auth, listener: &shared::listen::Listener| {
        let mut out = io::stdout();
        let _ = output::greet(&mut out, listener.address(), auth);
    };
    Ok(server::serve(settings, Clock::system(), stop, greet).await?)
}

/// A question about the rules as they are, or as they would be.
fn explain(principal: &str, scope: &str, with: Option<&[String]>) -> Request {
    let asked = match with {
        None => Request::get(&["explain"]).asking("principal", principal).asking("scope", scope),
        Some(words) => {
            let [subject, repositories, actions, tags] = [0, 1, 2, 3].map(|at| words.get(at));
            let grant = json!({ "subject": subject, "repositories": repositories, "actions": actions, "tags": tags });
            Request::post(&["explain"], json!({ "principal": principal, "scope": scope, "grant": grant }))
        }
    };
    asked.about("account", principal)
}

impl Command {
    fn request(self) -> Result<Request, CliError> {
        match self {
            Self::Serve { .. }
            | Self::Audit(_)
            | Self::Ldap(_)
            | Self::Doctor { .. }
            | Self::Export
            | Self::Apply { .. }
            | Self::Import(_) => Err(CliError::Argument("this is not one request".to_owned())),
            Self::User(command) => command.request(),
            Self::Token(command) => Ok(command.request()),
            Self::Robot(command) => command.request(),
            Self::Namespace(command) => Ok(command.request()),
            Self::Team(command) => Ok(command.request()),
            Self::Grant(command) => Ok(command.request()),
            Self::Explain { principal, scope, with } => Ok(explain(&principal, &scope, with.as_deref())),
            Self::Service(command) => Ok(command.request()),
            Self::Provider(command) => command.request(),
            Self::Keys(command) => Ok(command.request()),
        }
    }
}
