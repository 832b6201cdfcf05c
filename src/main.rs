//! Parses the arguments, runs the command, and turns its outcome into an exit code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use attune::cli::arguments::Arguments;
use attune::cli::exit::Exit;
use attune::cli::session::Trouble;
use attune::cli::{self, output};

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&arguments))).unwrap_or_else(|_| {
        let what = "a defect of ours ended this; nothing is lost: what was sent is in `attune history`, and the next pass \
                    goes on from there; please report the line above";
        Err(Trouble::new(Exit::Defect, what))
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            output::note(&trouble.message);
            trouble.exit.into()
        }
    }
}

fn run(arguments: &Arguments) -> Result<Exit, Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::new(Exit::Defect, format!("the runtime cannot start: {error}")))?;
    let outcome = runtime.block_on(cli::run(arguments));
    // What is left (a command that prints a secret, a look-up of a name) must not keep the process.
    runtime.shutdown_background();
    outcome
}
