//! A line on the terminal while long work goes on: calls made, fields sent. In a pipe it says nothing.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::session::Session;
use crate::engine::Source;

const LOOK: Duration = Duration::from_millis(250);

/// Shown for as long as it lives.
pub struct Progress {
    bar: ProgressBar,
    looking: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show that the sources are reached.
    pub fn begin() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden(), looking: None };
        }
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::default_spinner());
        bar.enable_steady_tick(LOOK);
        bar.set_message("reaching stores and CRMs");
        Self { bar, looking: None }
    }

    /// Goes on with what these sources are asked and sent.
    pub fn watch(&mut self, session: &Session, sources: Vec<Arc<Source>>) {
        if self.bar.is_hidden() {
            return;
        }
        let (bar, checkpoint) = (self.bar.clone(), session.engine.checkpoint().clone());
        self.looking = Some(tokio::spawn(async move {
            let mut first = None;
            loop {
                let mut calls: Vec<String> = Vec::new();
                for source in &sources {
                    calls.push(format!("{} {} calls", source.name, source.calls()));
                }
                let Ok(mut transaction) = checkpoint.read().await else { return };
                let Ok(newest) = transaction.newest_attempt().await else { return };
                if transaction.end().await.is_err() {
                    return;
                }
                let sent = newest - *first.get_or_insert(newest);
                bar.set_message(format!("{}; {sent} fields sent", calls.join(", ")));
                tokio::time::sleep(LOOK).await;
            }
        }));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
        self.bar.finish_and_clear();
    }
}
