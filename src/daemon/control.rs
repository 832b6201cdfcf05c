//! What a running daemon is told from outside: to stop, to read its configuration again. By signals, or by a test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

/// The handle of a daemon, before, while and after it runs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Control {
    orders: Arc<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    stop: CancellationToken,
    reason: OnceLock<String>,
    reloads: Mutex<Vec<oneshot::Sender<Reloaded>>>,
    reload: Notify,
    address: OnceLock<SocketAddr>,
}

/// What reading the configuration again came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// It is in force.
    Taken,
    /// It says the same about stores, CRMs and mappings; sources that rested are asked again.
    Unchanged,
    /// It is not sound, for this first reason; the one before stays in force.
    Rejected(String),
}

impl Control {
    /// A handle that nobody holds yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that obeys the signals of this process from now on: SIGTERM and SIGINT stop, SIGHUP reads the
    /// configuration again. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn obeying_signals() -> std::io::Result<Self> {
        let control = Self::new();
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let obeying = control.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = terminate.recv() => obeying.stop("SIGTERM"),
                    Some(()) = interrupt.recv() => obeying.stop("SIGINT"),
                    Some(()) = hangup.recv() => drop(obeying.reload()),
                    else => return,
                }
            }
        });
        Ok(control)
    }

    /// Tells the daemon to stop, and why.
    pub fn stop(&self, reason: &str) {
        // The first reason stands.
        let _ = self.orders.reason.set(reason.to_owned());
        self.orders.stop.cancel();
    }

    /// Tells the daemon to read its configuration again. The answer may be left unheard; it does not come from a daemon
    /// that stops.
    pub fn reload(&self) -> oneshot::Receiver<Reloaded> {
        let (sender, receiver) = oneshot::channel();
        self.orders.reloads.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.orders.reload.notify_one();
        receiver
    }

    /// Where the daemon answers `/livez` and `/readyz`, once it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.orders.address.get().copied()
    }

    pub(super) fn listens_on(&self, address: SocketAddr) {
        // A daemon listens once.
        let _ = self.orders.address.set(address);
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.orders.stop
    }

    pub(super) fn reason(&self) -> String {
        self.orders.reason.get().cloned().unwrap_or_else(|| "it was told to".to_owned())
    }

    /// Waits until somebody wants a reload; those who do.
    pub(super) async fn reload_wanted(&self) -> Vec<oneshot::Sender<Reloaded>> {
        self.orders.reload.notified().await;
        std::mem::take(&mut *self.orders.reloads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
