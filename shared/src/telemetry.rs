//! What the process says about itself: log lines on standard error, and for every request an id that all its lines carry.
//!
//! A line has fields and is written once, at the boundary. Secrets cannot get into one: [`crate::secret::Secret`] prints `[redacted]`, and of a request
//! only method, path and user agent are written, never its query or its headers.

mod fields;
mod request;

use std::{
    fmt,
    io::{self, IsTerminal},
    str::FromStr,
};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt};

use self::fields::WithFields;
pub use self::fields::{Fields, RESERVED};
pub use self::request::{AccessLog, InvalidTraceParent, Observe, Observed, RequestId, TraceParent};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// What is worth a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something is broken and somebody must act.
    Error,
    /// Something is odd and somebody should know.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// Why it happens.
    Debug,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log level; those are error, warn, info and debug")]
pub struct UnknownLevel;

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Case does not matter.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug]
            .into_iter()
            .find(|level| level.as_str().eq_ignore_ascii_case(text))
            .ok_or(UnknownLevel)
    }
}

/// Somebody has already started to write log lines in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log lines are already written in this process")]
pub struct AlreadyStarted;

/// Begins to write log lines to standard error.
///
/// # Errors
/// It was begun before; the first beginning stays.
pub fn init(format: Format, level: Level) -> Result<(), AlreadyStarted> {
    init_with_fields(format, level, &Fields::new())
}

/// As [`init`], with fields that stand on every line; their names are none of [`RESERVED`].
///
/// # Errors
/// It was begun before; the first beginning stays.
pub fn init_with_fields(format: Format, level: Level, fields: &Fields) -> Result<(), AlreadyStarted> {
    let colours = io::stderr().is_terminal();
    subscriber(format, level, fields, colours, io::stderr).try_init().map_err(|_| AlreadyStarted)
}

/// Libraries that explain every frame and statement speak up from `warn` only; with `RUST_LOG` one hears them all the same.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,sqlx=warn,tower=warn";

fn subscriber<W>(
    format: Format,
    level: Level,
    fields: &Fields,
    colours: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let filter = EnvFilter::new(asked.unwrap_or_else(|| format!("{level},{QUIET}")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        Format::Text => {
            let lines = builder.with_ansi(colours);
            Box::new(lines.map_event_format(|inner| WithFields::new(inner, format, fields)).finish())
        }
        Format::Json => {
            let lines = builder.json().flatten_event(true).with_span_list(false);
            Box::new(lines.map_event_format(|inner| WithFields::new(inner, format, fields)).finish())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Where log lines of a test go.
    #[derive(Clone, Default)]
    pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        /// Everything that this thread logs goes there until the guard is dropped.
        pub(super) fn capture(&self, format: Format, level: Level) -> tracing::subscriber::DefaultGuard {
            let lines = self.clone();
            tracing::subscriber::set_default(subscriber(format, level, &Fields::new(), false, move || lines.clone()))
        }

        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn a_level_lets_through_what_is_as_grave_or_graver() {
        let lines = Lines::default();
        let _guard = lines.capture(Format::Text, Level::Info);
        tracing::debug!("why");
        tracing::info!("what");
        tracing::error!("broken");
        tracing::info!(target: "sqlx::query", "SELECT");
        let text = lines.text();
        assert!(text.contains("what") && text.contains("broken"), "{text}");
        assert!(!text.contains("why") && !text.contains("SELECT"), "{text}");
    }

    #[test]
    fn json_has_one_object_a_line_with_the_fields_at_the_top() {
        let lines = Lines::default();
        let _guard = lines.capture(Format::Json, Level::Info);
        tracing::warn!(repository = "acme/web", "push denied");
        let line: serde_json::Value = serde_json::from_str(&lines.text()).unwrap();
        assert_eq!((&line["level"], &line["repository"]), (&"WARN".into(), &"acme/web".into()));
        assert_eq!(line["message"], "push denied");
    }

    #[test]
    fn fields_stand_on_every_line() {
        let fields = Fields::from([("service", "registry"), ("site", "two words")].map(|(n, v)| (n.into(), v.into())));
        let logged = |format| {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = subscriber(format, Level::Info, &fields, false, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(repository = "acme/web", "pushed");
                tracing::info!("pulled");
            });
            lines.text()
        };
        let text = logged(Format::Text);
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            assert!(line.ends_with(" service=registry site=\"two words\""), "{line}");
        }
        for line in logged(Format::Json).lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["service"], &line["site"]), (&"registry".into(), &"two words".into()));
            assert!(line["message"].is_string() && line["level"] == "INFO", "{line}");
        }
    }

    #[test]
    fn levels_are_read_as_distribution_reads_them() {
        assert_eq!("Warn".parse(), Ok(Level::Warn));
        assert_eq!("debug".parse(), Ok(Level::Debug));
        assert_eq!("trace".parse::<Level>(), Err(UnknownLevel));
    }
}
