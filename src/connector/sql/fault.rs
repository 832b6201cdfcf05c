//! What went wrong with a database, as the model's classes and sentences. The sentences hold names of the configuration
//! and of the schema only: what the database said, which can hold values, goes to [`Failure::detail`].

use std::fmt;

use super::dialect::Dialect;
use crate::model::{Class, Failure};

/// The longest text of a database that is kept, in characters.
const DETAIL_CHARS_MAX: usize = 500;

/// Which source a sentence is about.
#[derive(Clone, Debug)]
pub(super) struct Label {
    /// Its name in the configuration.
    pub(super) name: String,
    /// Its table, as configured.
    pub(super) table: String,
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "crm `{}`", self.name)
    }
}

/// What a database's own error means: its class, why (no values), and what to do.
pub(super) struct Meaning {
    pub(super) class: Class,
    pub(super) why: String,
    pub(super) next: &'static str,
}

impl Meaning {
    pub(super) fn new(class: Class, why: impl Into<String>, next: &'static str) -> Self {
        Self { class, why: why.into(), next }
    }
}

/// The failure that an error of the driver amounts to. The URL is never part of it.
pub(super) fn failure(label: &Label, dialect: &dyn Dialect, error: &sqlx::Error) -> Failure {
    let database = dialect.name();
    let (meaning, detail) = match error {
        sqlx::Error::Database(error) => (dialect.meaning(error.as_ref()), Some(error.message())),
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            (Meaning::new(Class::Retry, "it did not answer in time", "see whether it is overloaded or locked"), None)
        }
        sqlx::Error::Io(error) => (
            Meaning::new(
                Class::Retry,
                format!("the connection failed ({})", error.kind()),
                "see whether it runs and can be reached from here",
            ),
            None,
        ),
        sqlx::Error::PoolTimedOut => (
            Meaning::new(
                Class::Retry,
                "no connection could be made in time",
                "see whether it runs and is not overloaded",
            ),
            None,
        ),
        sqlx::Error::Tls(_) => (
            Meaning::new(
                Class::Retry,
                "no encrypted connection could be made",
                "see its certificate, and `sslmode` in the URL",
            ),
            None,
        ),
        sqlx::Error::Configuration(_) => {
            (Meaning::new(Class::Misconfigured, "`url` asks for what this machine cannot do", "correct it"), None)
        }
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
            (Meaning::new(Class::Retry, "the connection broke", "see the database's own log"), None)
        }
        _ => {
            (Meaning::new(Class::Broken, "its answer could not be understood", "please report this as a defect"), None)
        }
    };
    let Meaning { class, why, next } = meaning;
    let mut failure = Failure::new(class, format!("{label}: {database}, table `{}`: {why}; {next}", label.table));
    failure.detail = detail.map(|text| text.chars().take(DETAIL_CHARS_MAX).collect());
    failure
}
