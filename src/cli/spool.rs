//! Lines that must wait their turn: in memory while they are few, in a nameless file when they are many, so that a plan
//! of any length costs the same memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

/// So many bytes stay in memory.
const MEMORY_MAX_BYTES: usize = 4 << 20;

/// What waits.
#[derive(Default)]
pub struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    pieces: u64,
    failed: Option<io::Error>,
}

impl Spool {
    /// Adds a piece. A failure is told by [`Spool::pour`].
    pub fn add(&mut self, piece: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.pieces += 1;
        self.memory.extend_from_slice(piece);
        if self.memory.len() > MEMORY_MAX_BYTES
            && let Err(error) = self.spill()
        {
            self.failed = Some(error);
        }
    }

    /// How many pieces wait.
    pub const fn pieces(&self) -> u64 {
        self.pieces
    }

    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nameless()?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }

    /// Writes all of it, in the order in which it came, and is empty.
    ///
    /// # Errors
    /// When the file or `to` fails.
    pub fn pour(&mut self, to: &mut impl Write) -> io::Result<()> {
        let spool = std::mem::take(self);
        if let Some(error) = spool.failed {
            return Err(error);
        }
        if let Some(mut file) = spool.file {
            file.rewind()?;
            io::copy(&mut BufReader::new(file).by_ref(), to)?;
        }
        to.write_all(&spool.memory)
    }
}

/// A file that only we can read, gone with the process: it holds personal data.
fn nameless() -> io::Result<File> {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
    let path = std::env::temp_dir().join(format!("attune-{}-{nanos}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back_in_order() {
        let mut spool = Spool::default();
        let piece = [b'x'; 1000];
        let count = MEMORY_MAX_BYTES / 1000 * 3;
        for number in 0..count {
            spool.add(&piece);
            spool.add(format!("{number};").as_bytes());
        }
        assert!(spool.file.is_some(), "it never left memory");
        assert!(spool.memory.len() <= MEMORY_MAX_BYTES);
        assert_eq!(spool.pieces(), 2 * count as u64);
        let mut poured = Vec::new();
        spool.pour(&mut poured).unwrap();
        let expected: Vec<u8> =
            (0..count).flat_map(|number| [piece.to_vec(), format!("{number};").into_bytes()].concat()).collect();
        assert!(poured == expected);
        assert_eq!(spool.pieces(), 0);
    }
}
