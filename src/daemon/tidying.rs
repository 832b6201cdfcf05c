//! Once an hour history is cut to what is to be kept.

use std::sync::Arc;
use std::time::Duration;

use super::works::Works;
use crate::engine::Error;

/// How often.
const EVERY: Duration = Duration::from_secs(3600);

/// Runs until stopped.
pub(super) async fn run(works: Arc<Works>) {
    loop {
        match works.engine.tidy(&works.config.state.keep).await {
            Ok(0) => {}
            Ok(writes) => {
                tracing::info!(target: "attune", event = "note", writes, "{writes} writes left history: `keep` of [state]");
            }
            Err(Error::Checkpoint(error)) => works.note_checkpoint(Some(&error.to_string())),
            // Told to stop.
            Err(_) => return,
        }
        if works.stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
