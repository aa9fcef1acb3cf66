//! What SQLite says when it refuses, in sqlx's words.

use std::{borrow::Cow, error::Error as StdError};

use rusqlite::ffi;
use sqlx_core::error::{DatabaseError, Error, ErrorKind};

/// SQLite's refusal. The code is the extended one (<https://www.sqlite.org/rescode.html>).
#[derive(Debug, thiserror::Error)]
#[error("(code: {code}) {message}")]
struct Refused {
    code: i32,
    message: String,
}

impl DatabaseError for Refused {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}

pub(super) fn translate(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::SqliteFailure(ffi::Error { extended_code, .. }, message) => {
            let message = message.unwrap_or_else(|| ffi::code_to_str(extended_code).to_owned());
            Error::Database(Box::new(Refused { code: extended_code, message }))
        }
        // What is left are mistakes of ours in a text or its values.
        other => Error::Encode(Box::new(other)),
    }
}
