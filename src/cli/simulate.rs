//! `attune simulate`: a BigCommerce on loopback, until it is told to stop.

use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::session::Trouble;
use crate::simulator::Error;
use crate::simulator::flags::{self, Flags};

/// Runs the command.
///
/// # Errors
/// When the flags do not fit together, the address is taken, or calls cannot be recorded.
pub async fn run(flags: &Flags, stop: &CancellationToken) -> Result<Exit, Trouble> {
    match flags::run(flags.clone(), stop.clone()).await {
        Ok(()) => Ok(Exit::Done),
        Err(error @ (Error::Settings(_) | Error::Record { .. })) => Err(Trouble::new(Exit::Usage, error.to_string())),
        Err(error @ Error::Listen { .. }) => Err(Trouble::new(Exit::Unreachable, error.to_string())),
    }
}
