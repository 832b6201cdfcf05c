//! What every command starts from: the configuration, the checkpoint, the lock or the knowledge that somebody has it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::arguments::Common;
use super::exit::Exit;
use super::output;
use crate::checkpoint::{self, Checkpoint, Lock};
use crate::config::{self, Config, Environment, LogFormat};
use crate::daemon::{Blueprint, Surroundings};
use crate::engine::{self, Answer, Engine, Request, SystemClock};
use crate::http::{Client, Timeouts};
use crate::model::{Class, Failure};
use crate::telemetry::{self, CannotLog, Format};

/// How the holder of the lock names itself when it is the daemon.
pub const DAEMON: &str = "attune run";

/// How often the answer to a request is looked for.
const ANSWER_POLL: Duration = Duration::from_millis(100);

/// However short somebody's patience is: a call to a system that works well takes up to this long.
const ANSWER_MIN: Duration = Duration::from_secs(1);

/// How often somebody who waits for the daemon looks whether it is still there.
const ALIVE_POLL: Duration = Duration::from_secs(2);

/// Why a command ends early: a sentence on stderr (none if it is empty), and the exit code.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The exit code.
    pub exit: Exit,
    /// What, where, why, what to do.
    pub message: String,
}

impl Trouble {
    /// A trouble of a kind.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// The command was told to stop before it was done.
    pub fn stopped() -> Self {
        engine::Error::Stopped.into()
    }
}

impl From<checkpoint::Error> for Trouble {
    fn from(error: checkpoint::Error) -> Self {
        Self::new(exit_of_checkpoint(&error), error.to_string())
    }
}

/// The exit code that the checkpoint's failure leads to.
pub fn exit_of_checkpoint(error: &checkpoint::Error) -> Exit {
    match error {
        checkpoint::Error::Locked { .. }
        | checkpoint::Error::Unwritable(_)
        | checkpoint::Error::Missing { .. }
        | checkpoint::Error::Backup { .. } => Exit::Unreachable,
        other if other.is_configuration() => Exit::Misconfigured,
        _ => Exit::Defect,
    }
}

impl From<engine::Error> for Trouble {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Source { side, name, failure } => Self::new(exit_of(&failure), said(side, &name, &failure)),
            engine::Error::Checkpoint(error) => error.into(),
            other @ engine::Error::Stopped => Self::new(Exit::Attention, other.to_string()),
            other @ engine::Error::PlanMoved { .. } => Self::new(Exit::Attention, other.to_string()),
        }
    }
}

/// A failure as a line for a person's own terminal; elsewhere, where it may be kept, without the e-mails in what the
/// system said.
pub fn said(side: crate::model::Side, name: &str, failure: &Failure) -> String {
    let detail = failure.detail.as_deref().map(|detail| {
        let detail =
            if std::io::stderr().is_terminal() { detail.to_owned() } else { output::without_addresses(detail) };
        format!("\n  it said: {detail}")
    });
    format!("{side} {name}: {failure}{}", detail.unwrap_or_default())
}

/// The exit code that a source's failure leads to.
pub fn exit_of(failure: &Failure) -> Exit {
    exit_of_class(failure.class, failure.status)
}

/// The same by its class and HTTP status alone.
pub fn exit_of_class(class: Class, status: Option<u16>) -> Exit {
    match class {
        Class::Retry => Exit::Unreachable,
        Class::Auth => Exit::Unauthorized,
        Class::Misconfigured => Exit::Misconfigured,
        // An answer that nobody can read is the system's trouble, not ours.
        Class::Broken if status.is_none_or(|status| (200..300).contains(&status)) => Exit::Unreachable,
        Class::Broken | Class::Rejected => Exit::Defect,
    }
}

/// What a command means to do with the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Work on it, or ask whoever works on it.
    Act,
    /// Read it, whoever works on it.
    Read,
}

/// A command at work.
pub struct Session {
    /// The configuration, narrowed to `--store`.
    pub config: Config,
    /// The engine on the checkpoint.
    pub engine: Engine,
    /// What connectors need.
    pub surroundings: Surroundings,
    /// Whether another process holds the lock: then this one may only read, and leave requests.
    pub beside: bool,
    lock: Option<Lock>,
    path: PathBuf,
}

/// Loads the configuration that the common options name, narrowed to `--store`, and logs as it says from then on.
///
/// # Errors
/// With every problem there is.
pub fn load(common: &Common) -> Result<Config, Trouble> {
    load_whole(common)?.narrowed(&common.store).map_err(|message| Trouble::new(Exit::Usage, message))
}

/// The same, with all stores.
///
/// # Errors
/// As [`load`].
pub fn load_whole(common: &Common) -> Result<Config, Trouble> {
    let config = config::load(&common.config, std::env::vars_os())
        .map_err(|problems| Trouble::new(Exit::Misconfigured, problems.to_string()))?;
    log_as(&config)?;
    Ok(config)
}

/// Sends events to stderr as the configuration says.
fn log_as(config: &Config) -> Result<(), Trouble> {
    let format = config.log.format.map_or_else(Format::for_stderr, |format| match format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    });
    match telemetry::init(format, config.log.level.as_str()) {
        // A command that looks again and again (`status --watch`) sets it up once.
        Ok(()) | Err(CannotLog::Twice) => Ok(()),
        Err(error) => Err(Trouble::new(Exit::Misconfigured, error.to_string())),
    }
}

/// The file of the checkpoint.
///
/// # Errors
/// When its URL cannot be read or is no SQLite file.
pub async fn checkpoint_path(config: &Config, environment: &Environment) -> Result<PathBuf, Trouble> {
    let refused = |why: String| Trouble::new(Exit::Misconfigured, format!("state.url: {why}"));
    let url = config.state.url.resolve(environment).await.map_err(refused)?;
    let Some(path) = url.expose_secret().strip_prefix("sqlite:") else {
        return Err(refused("a checkpoint is a SQLite file for now: sqlite:attune.db".to_owned()));
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    // What others need to be told, and what is done anyway.
    let path = path.strip_suffix("?mode=rwc").unwrap_or(path);
    if path.contains('?') {
        return Err(refused("a checkpoint takes no options: remove everything from the `?` on".to_owned()));
    }
    if path.is_empty() || path == ":memory:" {
        return Err(refused("name a file: what is only in memory is forgotten with the process".to_owned()));
    }
    Ok(Path::new(path).to_owned())
}

impl Session {
    /// Opens everything a command needs. Nothing is reached yet.
    ///
    /// # Errors
    /// When the configuration or the checkpoint is not usable.
    pub async fn open(common: &Common, access: Access, stop: &CancellationToken) -> Result<Self, Trouble> {
        let config = load(common)?;
        let environment: Environment = std::env::vars_os().collect();
        let path = checkpoint_path(&config, &environment).await?;
        let opening = open_checkpoint(&path, access, common.patience);
        let (checkpoint, lock, beside) =
            stop.run_until_cancelled(opening).await.unwrap_or_else(|| Err(Trouble::stopped()))?;
        let engine = Engine::new(checkpoint, Arc::new(SystemClock::default()), stop.clone());
        if lock.is_some() {
            engine.recognise_restored_checkpoint().await?;
        }
        let surroundings = Surroundings {
            environment: Arc::new(environment),
            patience: common.patience,
            stop: stop.clone(),
            client: Client::new(timeouts(common.patience)),
        };
        Ok(Self { config, engine, surroundings, beside, lock, path })
    }

    /// The sources and pairs of the configuration.
    pub async fn blueprint(&self) -> Blueprint {
        Blueprint::draw(&self.config, &self.surroundings).await
    }

    /// Whether this process holds the lock.
    pub const fn is_alone(&self) -> bool {
        self.lock.is_some()
    }

    /// Ends when the process is told to stop.
    pub const fn stop(&self) -> &CancellationToken {
        &self.surroundings.stop
    }

    /// Does what a person asks for, or has the daemon do it.
    ///
    /// # Errors
    /// When the checkpoint fails, or the daemon does not answer in time (where there is no time, as long as it lives).
    pub async fn ask(&self, request: &Request, patience: Option<Duration>) -> Result<Answer, Trouble> {
        if !self.beside {
            return Ok(self.engine.operate(request).await?);
        }
        let text = serde_json::to_string(request).map_err(|error| Trouble::new(Exit::Defect, error.to_string()))?;
        let mut transaction = self.engine.checkpoint().begin().await?;
        let id = transaction.leave_request(self.engine.clock().now(), &text).await?;
        transaction.commit().await?;
        tokio::select! {
            answer = self.answer_to(id) => answer,
            () = self.stop().cancelled() => {
                Err(Trouble::new(Exit::Attention, "stopped waiting; the daemon has the request and carries it out"))
            }
            () = sleep_or_for_ever(patience) => {
                let what = "the daemon did not answer in time; the request stays, and it takes it before its next batch";
                Err(Trouble::new(Exit::Unreachable, what))
            }
        }
    }

    async fn answer_to(&self, id: i64) -> Result<Answer, Trouble> {
        let mut looked = tokio::time::Instant::now();
        loop {
            let mut transaction = self.engine.checkpoint().read().await?;
            let answer = transaction.answer_to(id).await?;
            transaction.end().await?;
            if let Some(answer) = answer {
                return serde_json::from_str(&answer).map_err(|error| {
                    Trouble::new(Exit::Defect, format!("the daemon's answer is unreadable: {error}"))
                });
            }
            if looked.elapsed() >= ALIVE_POLL {
                looked = tokio::time::Instant::now();
                if Lock::take(&self.path, "a look at who is there").is_ok() {
                    let what = "the daemon ended before it answered; try again, it is done here then";
                    return Err(Trouble::new(Exit::Unreachable, what));
                }
            }
            tokio::time::sleep(ANSWER_POLL).await;
        }
    }
}

/// A call may take as long as the command waits for a system that does not answer.
fn timeouts(patience: Duration) -> Timeouts {
    let most = patience.max(ANSWER_MIN);
    Timeouts { connect: most.min(Timeouts::default().connect), total: most, read: most }
}

async fn sleep_or_for_ever(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn open_checkpoint(
    path: &Path,
    access: Access,
    patience: Duration,
) -> Result<(Checkpoint, Option<Lock>, bool), Trouble> {
    if access == Access::Read {
        return Ok((open_to_read(path).await?, None, true));
    }
    let until = tokio::time::Instant::now() + patience;
    loop {
        if let Ok(lock) = take_lock(path, "attune", patience).await? {
            return Ok((Checkpoint::open(path).await?, Some(lock), false));
        }
        match Checkpoint::open_to_read(path).await {
            // A daemon that has just begun takes the lock first, and makes the checkpoint then.
            Err(checkpoint::Error::Missing { .. }) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(ANSWER_POLL).await;
            }
            other => return Ok((other?, None, true)),
        }
    }
}

/// Takes the lock, or says which daemon has it. Another command that has it ends soon: it is waited for.
///
/// # Errors
/// When the file cannot be made, or a command holds the lock for longer than `patience`.
pub async fn take_lock(
    path: &Path,
    who: &str,
    patience: Duration,
) -> Result<Result<Lock, checkpoint::Error>, checkpoint::Error> {
    let until = tokio::time::Instant::now() + patience;
    let who = format!("{who}, process {}", std::process::id());
    loop {
        match Lock::take(path, &who) {
            Ok(lock) => return Ok(Ok(lock)),
            Err(checkpoint::Error::Locked { holder }) if holder.starts_with(DAEMON) => {
                return Ok(Err(checkpoint::Error::Locked { holder }));
            }
            Err(error @ checkpoint::Error::Locked { .. }) if tokio::time::Instant::now() >= until => return Err(error),
            Err(checkpoint::Error::Locked { .. }) => tokio::time::sleep(ANSWER_POLL).await,
            Err(error) => return Err(error),
        }
    }
}

/// The checkpoint for reading; where there is none yet, an empty one that is never written to disk.
async fn open_to_read(path: &Path) -> Result<Checkpoint, Trouble> {
    match Checkpoint::open_to_read(path).await {
        Err(checkpoint::Error::Missing { .. }) => Ok(Checkpoint::empty().await?),
        other => Ok(other?),
    }
}
