//! `log`: how much, and in which form.

use std::collections::BTreeMap;

use super::{SettingsError, raw::RawLog};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, also for `logstash`.
    Json,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `error`, `warn`, `info` or `debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// What stands on every line.
    pub fields: BTreeMap<String, String>,
    /// Whether every request is logged.
    pub requests: bool,
}

impl LogSettings {
    pub(super) fn read(raw: RawLog, loglevel: Option<String>) -> Result<Self, SettingsError> {
        // Our lines name their module in any case.
        let _ = raw.reportcaller;
        let level = raw.level.or(loglevel).unwrap_or_else(|| "info".to_owned()).to_ascii_lowercase();
        if !["error", "warn", "info", "debug"].contains(&level.as_str()) {
            return Err(SettingsError::new("log.level", "must be error, warn, info or debug"));
        }
        let format = match raw.formatter.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json" | "logstash") => LogFormat::Json,
            Some(_) => return Err(SettingsError::new("log.formatter", "must be text, json or logstash")),
        };
        let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = raw.fields.into_iter().map(|(name, value)| (name, text(value))).collect();
        Ok(Self { level, format, fields, requests: !raw.accesslog.disabled.unwrap_or(false) })
    }
}
