//! Why rereading the configuration changed nothing.

use std::fmt;

use crate::config::Report;

/// A reload that was refused. Nothing was changed.
#[derive(Debug)]
pub enum ReloadError {
    /// The file is not valid.
    Invalid(Report),
    /// The file is valid and cannot be taken over while running; a sentence.
    Refused(String),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(report) => write!(f, "{report}"),
            Self::Refused(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ReloadError {}
