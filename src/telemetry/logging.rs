//! Where events go: lines on stderr, JSON or text, and what a panic says.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::panic;

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Format {
    /// Text on a terminal, JSON otherwise.
    pub fn for_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// Why nothing can be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotLog {
    /// The level is not one.
    #[error("log.level = {0:?} is not a level: use off, error, warn, info, debug or trace")]
    NotALevel(String),
    /// Logging was set up before in this process.
    #[error("logging was set up twice in one process: this is a defect, please report it")]
    Twice,
}

/// Sends events to stderr from now on, for the whole process, and makes panics one of the lines.
///
/// `level` is `off`, `error`, `warn`, `info`, `debug` or `trace`; it is for our own lines: other crates speak from
/// `warn` on, because their `debug` lines can show headers and statements.
///
/// # Errors
/// When `level` is none of these, or when logging is set up already.
pub fn init(format: Format, level: &str) -> Result<(), CannotLog> {
    let level = parse_level(level)?;
    tracing::subscriber::set_global_default(subscriber(format, level, std::io::stderr))
        .map_err(|_| CannotLog::Twice)?;
    install_panic_hook();
    Ok(())
}

fn parse_level(level: &str) -> Result<LevelFilter, CannotLog> {
    ["off", "error", "warn", "info", "debug", "trace"]
        .contains(&level)
        .then(|| level.parse().ok())
        .flatten()
        .ok_or_else(|| CannotLog::NotALevel(level.to_owned()))
}

/// What turns events into lines.
pub(super) fn subscriber<W>(format: Format, level: LevelFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // What the database's driver says by itself is what a server said (a trigger's notices, a query's error), which can hold
    // values; whoever asked is told anyway.
    let driver = if level >= LevelFilter::DEBUG { LevelFilter::WARN } else { LevelFilter::OFF };
    let others = level.min(LevelFilter::WARN);
    let filter = Targets::new().with_target("attune", level).with_target("sqlx", driver).with_default(others);
    // By default a line that cannot be written is complained about on stderr, which panics if stderr is what is gone.
    let lines = fmt::layer().with_writer(writer).log_internal_errors(false);
    let lines = match format {
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).with_filter(filter).boxed()
        }
        Format::Text => lines
            .with_target(false)
            .with_ansi(false)
            .fmt_fields(
                debug_fn(|line, field, value| match field.name() {
                    "event" => write!(line, "{}", format!("{value:?}").trim_matches('"')),
                    "message" => write!(line, "{}", one_line(&format!("{value:?}"))),
                    name => write!(line, "{name}={value:?}"),
                })
                .delimited("  "),
            )
            .with_filter(filter)
            .boxed(),
    };
    tracing_subscriber::registry().with(lines)
}

/// The message without line breaks and terminal codes: keys come from outside.
fn one_line(quoted: &str) -> String {
    let text = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted);
    text.replace("\\\"", "\"").replace(char::is_control, " ")
}

/// Makes a panic one line at `error`: the place and the thread. What it said may hold values, so that goes to `debug`.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|panic| {
        let mut place = String::from("an unknown place");
        if let Some(location) = panic.location() {
            place.clear();
            let _ = write!(place, "{}:{}", location.file(), location.line());
        }
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::event!(target: "attune", Level::ERROR, {
            event = "note", message = format!("a defect: panicked at {place}; please report it").as_str(), place, thread
        });
        if let Some(payload) = panic.payload_as_str() {
            tracing::event!(target: "attune", Level::DEBUG, {
                message = "what the panic said", place, thread, detail = payload
            });
        }
    }));
}
