//! Asking a person. No answer, and anything but yes, is no.

use std::io::{BufRead, IsTerminal, Write};

use tokio_util::sync::CancellationToken;

/// Asks on stderr and reads a line from stdin; its end, or being told to stop, is a no.
pub async fn confirmed(question: &str, stop: &CancellationToken) -> bool {
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let (answer, answered) = tokio::sync::oneshot::channel();
    // A thread of its own: a blocking read cannot be ended, and must not keep the process from ending.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line).unwrap_or(0);
        // Whoever asked may be gone.
        let _ = answer.send(read > 0 && is_yes(&line));
    });
    let yes = stop.run_until_cancelled(answered).await.is_some_and(|answer| answer == Ok(true));
    // Who types an answer ends the line as well; what follows begins a line of its own in any case.
    if !yes || !std::io::stdin().is_terminal() {
        let _ = writeln!(stderr);
    }
    yes
}

fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for line in ["y\n", "Y", " yes \n", "YES"] {
            assert!(is_yes(line), "{line:?}");
        }
        for line in ["", "\n", "n", "no", "yess", "ja"] {
            assert!(!is_yes(line), "{line:?}");
        }
    }
}
