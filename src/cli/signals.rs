//! SIGINT and SIGTERM: the first ends the command in good order, the second at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::output;

/// A token that is cancelled when the process is told to stop.
pub fn stop_on_signals() -> CancellationToken {
    let stop = CancellationToken::new();
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Then the system's own way to stop a process stays in place.
        return stop;
    };
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        told.cancel();
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        output::note("stopped at once; nothing is lost, the next pass goes on from here");
        std::process::exit(i32::from(Exit::Attention.code()));
    });
    stop
}
