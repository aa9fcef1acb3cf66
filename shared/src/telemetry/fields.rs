//! Fields that an operator wants on every line: which registry of several it was, say.

use std::{collections::BTreeMap, fmt};

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format::Writer};
use tracing_subscriber::registry::LookupSpan;

use super::Format;

/// Fields by their names.
pub type Fields = BTreeMap<String, String>;

/// What a line of JSON has anyway; a second member of the name would hide the first.
pub const RESERVED: [&str; 5] = ["timestamp", "level", "message", "target", "span"];

/// Writes lines as `inner` does, with the fields at their end.
pub(super) struct WithFields<E> {
    inner: E,
    /// As they stand on the line; empty if there are none.
    written: String,
    /// What stands behind them.
    end: &'static str,
}

impl<E> WithFields<E> {
    pub(super) fn new(inner: E, format: Format, fields: &Fields) -> Self {
        let (written, end) = match format {
            Format::Text => (fields.iter().map(text).collect(), "\n"),
            Format::Json => (fields.iter().map(json).collect(), "}\n"),
        };
        Self { inner, written, end }
    }
}

/// A value that is one plain word stands as it is.
fn text((name, value): (&String, &String)) -> String {
    let plain = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'=');
    if plain { format!(" {name}={value}") } else { format!(" {name}={value:?}") }
}

fn json((name, value): (&String, &String)) -> String {
    format!(",{}:{}", serde_json::Value::from(name.as_str()), serde_json::Value::from(value.as_str()))
}

impl<S, N, E> FormatEvent<S, N> for WithFields<E>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    E: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if self.written.is_empty() {
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        writer.write_str(line.strip_suffix(self.end).unwrap_or(&line))?;
        writer.write_str(&self.written)?;
        writer.write_str(self.end)
    }
}
