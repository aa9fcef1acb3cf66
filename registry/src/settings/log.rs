//! `log`: how much, and in which form.

use std::collections::BTreeMap;

use shared::telemetry::{AccessLog, Format, Level};

use super::{SettingsError, raw::RawLog};

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How grave a line must be.
    pub level: Level,
    /// How lines look.
    pub format: Format,
    /// What stands on every line.
    pub fields: BTreeMap<String, String>,
    /// Whether every request is logged.
    pub requests: AccessLog,
}

impl LogSettings {
    pub(super) fn read(raw: RawLog, loglevel: Option<String>) -> Result<Self, SettingsError> {
        // Our lines name their module in any case.
        let _ = raw.reportcaller;
        let level = raw.level.or(loglevel).unwrap_or_else(|| "info".to_owned());
        let level = level.parse().map_err(|error| SettingsError::new("log.level", error))?;
        let format = match raw.formatter.as_deref() {
            None | Some("text") => Format::Text,
            Some("json" | "logstash") => Format::Json,
            Some(_) => return Err(SettingsError::new("log.formatter", "must be text, json or logstash")),
        };
        let text = |value: serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let fields = raw.fields.into_iter().map(|(name, value)| (name, text(value))).collect();
        let requests = if raw.accesslog.disabled == Some(true) { AccessLog::Off } else { AccessLog::On };
        Ok(Self { level, format, fields, requests })
    }
}
