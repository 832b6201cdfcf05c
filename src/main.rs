//! Parses the arguments, runs the command, and turns its outcome into an exit code.

use std::process::ExitCode;

use attune::cli;
use attune::cli::arguments::Arguments;
use attune::cli::exit::Exit;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("attune: the runtime cannot start: {error}");
            return Exit::Defect.into();
        }
    };
    match runtime.block_on(cli::run(&arguments)) {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            eprintln!("attune: {}", trouble.message);
            trouble.exit.into()
        }
    }
}
