//! Looks at how everything stands, beside the loops: on a connection of its own that only reads, one look at a time, kept
//! for some seconds. Whoever asks waits a moment for a fresh look and is given the last one otherwise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::watched::Watched;
use super::works::Works;
use crate::checkpoint::Checkpoint;
use crate::engine::{Engine, Error};

/// A look is as good as a new one for so long; one that took long for longer, up to the second.
const FRESH: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(600));

/// A look at very much that waits takes seconds of work: this many times as long passes before the next one.
const REST: u32 = 9;

/// A look that takes longer is given up.
const LOOK_TIME_MAX: Duration = Duration::from_secs(120);

/// One look.
pub(super) struct Look {
    pub watched: Watched,
    pub at: Instant,
    took: Duration,
    /// At whom: after a reload they are others.
    works: Weak<Works>,
}

/// Who looks.
#[derive(Default)]
pub(super) struct Lookout {
    checkpoint: tokio::sync::Mutex<Option<Checkpoint>>,
    last: Mutex<Option<Arc<Look>>>,
    looking: AtomicBool,
    looked: Notify,
}

/// While it is held, somebody looks; however that ends, those who wait go on.
struct Looking(Arc<Lookout>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::SeqCst);
        self.0.looked.notify_waiters();
    }
}

impl Lookout {
    /// How these works stand: a look that is fresh, or becomes so within `patience`; otherwise the last one there was.
    pub async fn look(self: &Arc<Self>, works: &Arc<Works>, patience: Duration) -> Option<Arc<Look>> {
        let last = self.last_of(works);
        if last.as_ref().is_some_and(|look| look.at.elapsed() < fresh_for(look.took)) {
            return last;
        }
        let looked = self.looked.notified();
        tokio::pin!(looked);
        looked.as_mut().enable();
        if !self.looking.swap(true, Ordering::SeqCst) {
            let (looking, works) = (Looking(Arc::clone(self)), Arc::clone(works));
            tokio::spawn(async move { looking.0.look_now(&works).await });
        }
        // Without a fresh one the last is told, with its age.
        let _ = tokio::time::timeout(patience, looked).await;
        self.last_of(works)
    }

    fn last_of(&self, works: &Arc<Works>) -> Option<Arc<Look>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.filter(|look| Weak::ptr_eq(&look.works, &Arc::downgrade(works)))
    }

    async fn look_now(&self, works: &Arc<Works>) {
        let began = Instant::now();
        let looking = tokio::time::timeout(LOOK_TIME_MAX, self.read(works));
        let Some(looked) = works.stop.run_until_cancelled(looking).await else { return };
        match looked {
            Ok(Ok(watched)) => {
                let look = Look { watched, at: Instant::now(), took: began.elapsed(), works: Arc::downgrade(works) };
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(look));
            }
            // The loops meet the same failure, and tell it.
            Ok(Err(error)) => tracing::debug!(target: "attune", "how things stand could not be read: {error}"),
            Err(_) => tracing::debug!(target: "attune", "how things stand could not be read in time"),
        }
    }

    async fn read(&self, works: &Works) -> Result<Watched, Error> {
        let checkpoint = {
            let mut opened = self.checkpoint.lock().await;
            match &*opened {
                Some(checkpoint) => checkpoint.clone(),
                None => {
                    let written = works.engine.checkpoint();
                    let own = match written.path() {
                        Some(path) => Checkpoint::open_to_read(path).await?,
                        None => written.clone(),
                    };
                    opened.insert(own).clone()
                }
            }
        };
        let engine = Engine::new(checkpoint, works.engine.shared_clock(), works.stop.clone());
        Watched::of(&engine, works).await
    }
}

/// How long a look is as good as a new one.
fn fresh_for(took: Duration) -> Duration {
    (took * REST).clamp(FRESH.0, FRESH.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_take_at_most_a_tenth_of_the_time() {
        let seconds = [0, 1, 10, 120].map(|took| fresh_for(Duration::from_secs(took)).as_secs());
        assert_eq!(seconds, [3, 9, 90, 600]);
    }
}
