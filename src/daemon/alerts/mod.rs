//! Messages to a webhook: one when the state of something changes, one when it is over.
//!
//! What is wrong ([`trouble`]) is derived from the same look as `attune status` has; what is due ([`ledger`]) is derived from
//! that and from what was told. So there is no queue, and nothing waits for a message: a task of its own sends one at a time.
//! A message that does not arrive stays due. Told twice is possible, where an answer was lost; never told is not, as long as
//! the state lasts.
//!
//! Must not know: what a pass does, what a system said. Names and sentences of ours only: no keys, no values.

mod ledger;
mod message;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lookout::Lookout;
use super::pulse::{BEAT, Pulse};
use super::vitals::Vitals;
use crate::config::{Alerts, Environment};
use crate::engine::Clock;
use crate::http::{Client, webhook};
use crate::model::{Class, Failure};
use crate::telemetry::metrics::{Measure, MessageOutcome};
use ledger::Ledger;
use trouble::Troubles;

/// How long a look is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks, at least and at most.
const TICK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The delays before a message is tried once more, while it may help.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// After a message that could not be delivered nothing is sent for so long, doubling up to the second.
const REST: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(900));

/// What the task is given.
pub(super) struct Herald {
    pub vitals: Arc<Vitals>,
    pub lookout: Arc<Lookout>,
    pub clock: Arc<dyn Clock>,
    pub client: Client,
    pub environment: Environment,
    /// What is configured now; a reload may change it.
    pub configured: watch::Receiver<Option<Alerts>>,
    pub stop: CancellationToken,
    pub pulse: Pulse,
}

/// Runs until stopped.
pub(super) async fn run(herald: Arc<Herald>) {
    let mut configured = herald.configured.clone();
    let mut turning = Turning { herald, ledger: Ledger::default(), known: Troubles::new(), rest: None };
    loop {
        turning.herald.pulse.beat();
        let alerts = configured.borrow_and_update().clone();
        let wait = match &alerts {
            Some(alerts) => {
                turning.turn(alerts).await;
                (alerts.after / 4).clamp(TICK.0, TICK.1)
            }
            None => BEAT,
        };
        let stop = turning.herald.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            // The sender lives as long as the daemon.
            Ok(()) = configured.changed() => turning.rest = None,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Turning {
    herald: Arc<Herald>,
    ledger: Ledger,
    /// What was wrong with sources and pairs at the last look.
    known: Troubles,
    /// Since messages could not be delivered: until when nothing is sent, and how long the rest was.
    rest: Option<(Instant, Duration)>,
}

impl Turning {
    async fn turn(&mut self, alerts: &Alerts) {
        let herald = Arc::clone(&self.herald);
        let works = herald.vitals.works();
        let looking = herald.lookout.look(&works, PATIENCE);
        let Some(look) = herald.stop.run_until_cancelled(looking).await else { return };
        if let Some(look) = look {
            let failing = |store: &str, crm: &str| {
                let named = works.pairs.iter().find(|pair| pair.plan.store == store && pair.plan.crm == crm);
                named.and_then(|pair| pair.failing())
            };
            self.known = trouble::of_watched(&look.watched, failing);
        }
        let mut troubles = trouble::of_process(&works, &herald.vitals);
        troubles.extend(self.known.clone());
        self.ledger.note(troubles, herald.clock.now());
        if self.rest.is_some_and(|(until, _)| Instant::now() < until) {
            return;
        }
        while let Some(due) = self.ledger.next(herald.clock.now(), alerts.after) {
            let body = message::body(&due, alerts.format, herald.clock.now());
            let Some(sent) = herald.stop.run_until_cancelled(herald.deliver(alerts, body)).await else { return };
            let outcome = if sent.is_ok() { MessageOutcome::Sent } else { MessageOutcome::Failed };
            Measure::Message { outcome }.note();
            match sent {
                Ok(()) => {
                    if self.rest.take().is_some() {
                        tracing::info!(target: "attune", event = "note", "alerts are delivered again");
                    }
                    self.ledger.told(due, herald.clock.now());
                }
                Err(failure) => return self.failed(&failure),
            }
        }
    }

    fn failed(&mut self, failure: &Failure) {
        let asked = failure.retry_after.unwrap_or_default().min(REST.1);
        let rest = match self.rest {
            None => {
                tracing::warn!(
                    target: "attune", event = "note",
                    "alerts cannot be delivered: {failure}; what still stands is sent when they can"
                );
                REST.0
            }
            Some((_, rest)) => {
                tracing::debug!(target: "attune", "alerts still cannot be delivered: {failure}");
                (rest * 2).min(REST.1)
            }
        };
        self.rest = Some((Instant::now() + rest.max(asked), rest));
    }
}

impl Herald {
    /// Sends one message; a few times, where that may help.
    async fn deliver(&self, alerts: &Alerts, body: Vec<u8>) -> Result<(), Failure> {
        let mut delays = AGAIN.into_iter();
        loop {
            // Asked afresh every time: whoever has put another address in place is heard.
            let url = alerts.url.resolve(&self.environment).await;
            let url = url.map_err(|reason| Failure::new(Class::Misconfigured, format!("alerts.url: {reason}")))?;
            let failure = match webhook::post(&self.client, &url, body.clone()).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            match delays.next().filter(|_| failure.class == Class::Retry && failure.status != Some(429)) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }
}
