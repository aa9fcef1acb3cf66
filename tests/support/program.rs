//! Running a foreign program (docker, skopeo, openssl …) and looking at what it printed.

use std::{
    ffi::{OsStr, OsString},
    fmt::Write as _,
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// No client of these tests works longer on a healthy machine; one that hangs must not hang the run.
const PATIENCE: Duration = Duration::from_secs(180);

/// A command line under construction.
pub(crate) struct Program {
    command: Command,
    shown: String,
    input: Vec<u8>,
}

impl Program {
    pub(crate) fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&name);
        command.stdin(Stdio::null()).kill_on_drop(true);
        Self { command, shown: name.as_ref().to_string_lossy().into_owned(), input: Vec::new() }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        write!(self.shown, " {}", arg.as_ref().to_string_lossy()).expect("a string takes text");
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<I: AsRef<OsStr>>(self, args: impl IntoIterator<Item = I>) -> Self {
        args.into_iter().fold(self, Program::arg)
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    pub(crate) fn directory(mut self, directory: &std::path::Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// What the program reads on its standard input.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = bytes.into();
        self
    }

    /// Runs it to its end, whatever that is.
    pub(crate) async fn run(mut self) -> Outcome {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{} does not start: {error}", self.shown));
        let stdin = child.stdin.take();
        let input = self.input;
        // Written beside reading: a program that prints before it has read everything must not stop both.
        let feeding = tokio::spawn(async move {
            if let Some(mut stdin) = stdin {
                // A program may refuse before it has read its input; its exit status tells.
                let _ = stdin.write_all(&input).await;
            }
        });
        let output = timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("{} did not end within {PATIENCE:?}", self.shown));
        feeding.await.expect("feeding a program does not panic");
        let output = output.expect("the output of a program can be read");
        Outcome {
            shown: self.shown,
            success: output.status.success(),
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs it and insists on success.
    pub(crate) async fn succeeds(self) -> Outcome {
        let outcome = self.run().await;
        assert!(outcome.success, "failed: {outcome}");
        outcome
    }

    /// Runs it and insists on failure.
    pub(crate) async fn fails(self) -> Outcome {
        let outcome = self.run().await;
        assert!(!outcome.success, "should have failed: {outcome}");
        outcome
    }
}

/// How a program ended and what it printed.
pub(crate) struct Outcome {
    shown: String,
    pub(crate) success: bool,
    /// What it ended with; None if a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Insists that `text` was printed, on either stream.
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "nothing said {text:?}: {self}");
        self
    }

    /// Insists that `text` (a secret, say) was printed nowhere.
    pub(crate) fn never_says(&self, text: &str) -> &Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "something said {text:?}: {self}");
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ending = if self.success { "success" } else { "failure" };
        write!(f, "`{}` ended in {ending}\n--- stdout\n{}--- stderr\n{}", self.shown, self.stdout, self.stderr)
    }
}
