//! What systemd is told (`Type=notify`); nothing where it did not start us.

use std::time::Duration;

use sd_notify::NotifyState;

/// A status is at most this long.
const STATUS_CHARS_MAX: usize = 200;

/// How often systemd wants to hear from us: half of `WatchdogSec`.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|every| every / 2)
}

/// We do our work.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// We read our configuration again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// We end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Our loops turn.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// One line about us.
pub(super) fn status(line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(STATUS_CHARS_MAX).collect();
    tell(&[NotifyState::Status(&line)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(target: "attune", "systemd could not be told: {error}");
    }
}
