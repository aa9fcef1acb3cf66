//! `log`: how much, and in which form.

use shared::telemetry::{AccessLog, Fields, Format, Level, RESERVED};

use super::{SettingsError, raw::RawLog};

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// How grave a line must be.
    pub level: Level,
    /// How lines look.
    pub format: Format,
    /// What stands on every line.
    pub fields: Fields,
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
        let fields: Fields = raw.fields.into_iter().map(|(name, value)| (name, text(value))).collect();
        if let Some(name) = fields.keys().find(|name| !is_free(name)) {
            let reason = "is no name for a field: letters, digits, `_`, `-` and `.`, and none that every line has";
            return Err(SettingsError::new(&format!("log.fields.{name}"), reason));
        }
        let requests = if raw.accesslog.disabled == Some(true) { AccessLog::Off } else { AccessLog::On };
        Ok(Self { level, format, fields, requests })
    }
}

/// Whether a line can carry a field of the name without hiding one of its own.
fn is_free(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    plain && !name.is_empty() && !RESERVED.contains(&name)
}
