//! Whether the process is alive and ready: for `/livez`, `/readyz` and systemd's watchdog.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::works::Works;
use crate::web::{Condition, Health};

/// The checkpoint must begin a transaction within this time.
const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(5);

/// More are only counted.
const NAMED_MAX: usize = 100;

/// Looks at the works of the moment.
pub(super) struct Vitals {
    works: RwLock<Arc<Works>>,
    /// The last reading of the configuration was rejected: one before is in force.
    rejected: AtomicBool,
}

impl Vitals {
    pub fn new(works: Arc<Works>) -> Self {
        Self { works: RwLock::new(works), rejected: AtomicBool::new(false) }
    }

    /// From now on these works are looked at.
    pub fn look_at(&self, works: Arc<Works>) {
        *self.works.write().unwrap_or_else(PoisonError::into_inner) = works;
    }

    /// Notes whether the configuration, read again, was rejected.
    pub fn note_rejected(&self, rejected: bool) {
        self.rejected.store(rejected, Ordering::Relaxed);
    }

    /// Whether the configuration in force is not the last one that was read.
    pub fn is_rejected(&self) -> bool {
        self.rejected.load(Ordering::Relaxed)
    }

    /// The works of the moment.
    pub fn works(&self) -> Arc<Works> {
        Arc::clone(&self.works.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Loops that hang, by what they are for; and how many loops there are.
    fn hanging(&self) -> (Vec<String>, usize) {
        let works = self.works();
        let sources = works.sources.iter().map(|source| (format!("{} {}", source.side, source.name), &source.pulse));
        let pairs = works.pairs.iter().map(|pair| (format!("{} with {}", pair.plan.store, pair.plan.crm), &pair.pulse));
        let requests = std::iter::once(("requests".to_owned(), &works.requests_pulse));
        let hanging = sources.chain(pairs).chain(requests).filter(|(_, pulse)| !pulse.is_alive());
        (hanging.map(|(name, _)| name).collect(), works.sources.len() + works.pairs.len() + 1)
    }

    /// How many loops hang, and how many there are.
    pub fn loops(&self) -> (usize, usize) {
        let (hanging, loops) = self.hanging();
        (hanging.len(), loops)
    }

    /// Whether every loop turns.
    pub fn is_alive(&self) -> bool {
        self.hanging().0.is_empty()
    }

    /// The pairs that have not passed yet and those that fail, each with a reason.
    fn pairs(&self) -> (Vec<String>, Vec<String>) {
        let (mut waiting, mut failing) = (Vec::new(), Vec::new());
        for pair in &self.works().pairs {
            let name = format!("{} with {}", pair.plan.store, pair.plan.crm);
            match pair.obstacle() {
                Some(reason) => failing.push(format!("{name}: {reason}")),
                None if !pair.has_passed() => waiting.push(format!("{name}: its first pass is under way")),
                None => {}
            }
        }
        (waiting, failing)
    }

    /// One line for `systemctl status`.
    pub fn summary(&self) -> String {
        let (waiting, failing) = self.pairs();
        let all = self.works().pairs.len();
        let fine = all.saturating_sub(waiting.len() + failing.len());
        let mut line = format!("{fine} of {all} pairs in order");
        if !waiting.is_empty() {
            line += &format!(", {} in their first pass", waiting.len());
        }
        if let Some(first) = failing.first() {
            line += &format!(", {} failing; {first}", failing.len());
        }
        line
    }

    /// Why the checkpoint cannot be written.
    async fn unwritable(&self) -> Option<String> {
        let works = self.works();
        if let Some(reason) = works.checkpoint_failure() {
            return Some(reason);
        }
        let begun = async { works.engine.checkpoint().begin().await?.end().await };
        match tokio::time::timeout(CHECKPOINT_PATIENCE, begun).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("the checkpoint was busy for {} s", CHECKPOINT_PATIENCE.as_secs())),
        }
    }
}

#[async_trait]
impl Health for Vitals {
    fn live(&self) -> Condition {
        let (mut hanging, loops) = self.hanging();
        let panics = self.works().panics.load(Ordering::Relaxed);
        let well = hanging.is_empty();
        hanging.truncate(NAMED_MAX);
        let status = if well { "alive" } else { "stuck" };
        Condition { well, about: json!({ "status": status, "loops": loops, "stuck": hanging, "panics": panics }) }
    }

    async fn ready(&self) -> Condition {
        let checkpoint = self.unwritable().await;
        let (mut waiting, mut failing) = self.pairs();
        let well = checkpoint.is_none() && waiting.is_empty();
        waiting.truncate(NAMED_MAX);
        failing.truncate(NAMED_MAX);
        let status = if well { "ready" } else { "not ready" };
        let pairs = self.works().pairs.len();
        // It works by the one before, which is sound: no reason to take it out of service.
        let configuration =
            self.is_rejected().then_some("the last one that was read was rejected, the one before is in force");
        Condition {
            well,
            about: json!({
                "status": status, "pairs": pairs, "waiting": waiting, "failing": failing, "checkpoint": checkpoint,
                "configuration": configuration,
            }),
        }
    }
}
