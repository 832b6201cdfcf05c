//! `attune run`: the daemon.

use std::sync::Arc;
use std::time::Duration;

use super::arguments::Common;
use super::exit::Exit;
use super::session::{self, Trouble};
use crate::checkpoint::Checkpoint;
use crate::config::{self, Environment};
use crate::daemon::{self, Control, Error, RunSettings};

/// The daemon never gives up; after so long it says that a system fails, and goes on asking at longer intervals.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start: a wrong configuration, a checkpoint that cannot be used, or a daemon that runs already.
pub async fn run(common: &Common) -> Result<Exit, Trouble> {
    let config = session::load_whole(common)?;
    // A name that no store has is wrong usage here; later, when the files have changed, it is not.
    config.clone().narrowed(&common.store).map_err(|message| Trouble::new(Exit::Usage, message))?;
    let environment: Environment = std::env::vars_os().collect();
    let path = session::checkpoint_path(&config, &environment).await?;
    let lock = session::take_lock(&path, session::DAEMON, common.patience).await??;
    let checkpoint = Checkpoint::open(&path).await?;
    let control = Control::obeying_signals()
        .map_err(|error| Trouble::new(Exit::Defect, format!("signals cannot be heard: {error}")))?;
    let files = common.config.clone();
    let loader = Arc::new(move || config::load(&files, std::env::vars_os()));
    let mut settings = RunSettings::new(config, loader, environment, checkpoint, lock, control);
    settings.stores.clone_from(&common.store);
    settings.patience = common.patience.min(TURN_PATIENCE);
    match daemon::run(settings).await {
        Ok(_) => Ok(Exit::Done),
        Err(Error::Engine(error)) => Err(error.into()),
        Err(error) => {
            let exit = if error.is_configuration() { Exit::Misconfigured } else { Exit::Defect };
            Err(Trouble::new(exit, error.to_string()))
        }
    }
}
