//! `attune backup FILE`: a copy of the checkpoint, made while others work on it, and read to its end before it is called one.

use std::path::Path;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::arguments::{Backup, Common};
use super::exit::Exit;
use super::output::{self, plain};
use super::session::{Access, Session, Trouble};

/// Runs the command.
///
/// # Errors
/// When there is no checkpoint, there is such a file already, or the copy cannot be made.
pub async fn run(common: &Common, options: &Backup, stop: &CancellationToken) -> Result<Exit, Trouble> {
    let session = Session::open(common, Access::Read, stop).await?;
    let checkpoint = session.engine.checkpoint();
    let Some(original) = checkpoint.path() else {
        let what = "there is no checkpoint yet: `attune sync` or `attune run` makes it";
        return Err(Trouble::new(Exit::Unreachable, what));
    };
    let file = &options.file;
    if file.symlink_metadata().is_ok() {
        let what = format!("{} is there already, and no copy is written over a file: name another", shown(file));
        return Err(Trouble::new(Exit::Usage, what));
    }
    let size_bytes = checkpoint.back_up(file).await?;
    let original = shown(original);
    if options.json {
        let document = json!({ "file": file.display().to_string(), "size_bytes": size_bytes, "checkpoint": original });
        output::document(&document)?;
        return Ok(Exit::Done);
    }
    output::show(&format!(
        "{} holds all that is remembered now: {}, read to its end and whole\n\
         To restore it: stop attune, delete {original}-wal and {original}-shm, put it in place of {original}, owned by the\n\
         user that attune runs as, and leave {original}.mark where it is",
        shown(file),
        size(size_bytes),
    ))?;
    Ok(Exit::Done)
}

fn shown(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    let (mut rest, mut unit) = (bytes as f64, "bytes");
    for larger in ["kB", "MB", "GB", "TB"] {
        if rest < 1000.0 {
            break;
        }
        (rest, unit) = (rest / 1000.0, larger);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{rest:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_by_people() {
        let sizes =
            [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (73_728, "73.7 kB"), (2_500_000_000, "2.5 GB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }
}
