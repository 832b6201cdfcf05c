//! The binary: the process that everything is done to, and the commands that ask what it knows.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::clock::OurClock;
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::simulated::TOKEN;

/// No command takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Attune {
    folder: PathBuf,
    ledger: Arc<Ledger>,
    pub clock: OurClock,
    pub disk: Arc<Disk>,
    child: Mutex<Option<Child>>,
    /// Counts the lives of the process: what comes from one is told from what comes from the next.
    generation: AtomicU64,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
}

impl Attune {
    pub fn new(folder: &Path, ledger: Arc<Ledger>, clock: OurClock, disk: Arc<Disk>) -> Self {
        let child = Mutex::new(None);
        Self { folder: folder.to_owned(), ledger, clock, disk, child, generation: AtomicU64::new(0) }
    }

    fn command(&self, line: &str) -> Command {
        let (program, before) = self.disk.program(env!("CARGO_BIN_EXE_attune"));
        let mut command = Command::new(program);
        command
            .args(before)
            .args(line.split_whitespace())
            .current_dir(&self.folder)
            .env_clear()
            .env("TOKEN", TOKEN)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        self.clock.apply(&mut command);
        command
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.join("events.log")
    }

    fn log(&self) -> std::fs::File {
        std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Starts the process that faults strike.
    pub async fn start(&self, line: &str) {
        let mut child = self.child.lock().await;
        assert!(child.is_none(), "one at a time");
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.ledger.tell(format!("attune {line} (life {generation})"));
        let mut command = self.command(line);
        command.stdout(Stdio::null()).stderr(self.log());
        *child = Some(command.spawn().unwrap());
    }

    /// `kill -9`, and the end of the process; false if it does not run.
    pub async fn kill(&self, why: &str) -> bool {
        let mut held = self.child.lock().await;
        let Some(mut child) = held.take() else { return false };
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        drop(held);
        self.ledger.tell(format!("kill -9 {why}"));
        self.ledger.meet("killed");
        true
    }

    /// Whether it is there; how it ended, if it did so by itself.
    pub async fn look(&self) -> Life {
        let mut held = self.child.lock().await;
        let Some(child) = held.as_mut() else { return Life::Absent };
        match child.try_wait().unwrap() {
            None => Life::Running,
            Some(status) => {
                *held = None;
                Life::Ended(status)
            }
        }
    }

    /// Waits for its end by itself or by a kill.
    pub async fn end(&self) -> Option<ExitStatus> {
        let began = Instant::now();
        loop {
            match self.look().await {
                Life::Running => {}
                Life::Absent => return None,
                Life::Ended(status) => return Some(status),
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a signal, if it runs.
    pub async fn signal(&self, name: &str) -> bool {
        let held = self.child.lock().await;
        let Some(id) = held.as_ref().and_then(Child::id) else { return false };
        Command::new("kill").args(["-s", name, &id.to_string()]).status().await.unwrap().success()
    }

    /// Runs a command beside the process, to its end.
    pub async fn run(&self, line: &str) -> Said {
        let mut command = self.command(line);
        let child = command.stdout(Stdio::piped()).stderr(self.log()).spawn().unwrap();
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("`attune {line}` does not end")).unwrap();
        Said { code: output.status.code(), stdout: String::from_utf8(output.stdout).unwrap() }
    }

    /// What a command that only reads says.
    pub async fn json(&self, line: &str) -> Json {
        let said = self.run(line).await;
        assert_eq!(said.code, Some(0), "attune {line}: {said:?}");
        serde_json::from_str(&said.stdout).unwrap()
    }
}

/// How the process stands.
#[derive(Clone, Copy, Debug)]
pub enum Life {
    Absent,
    Running,
    Ended(ExitStatus),
}
