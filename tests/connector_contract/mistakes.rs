//! What `attune check` says of the mistakes that people make when they set a system up: a table for each kind, in a file each.
//!
//! A row asks a connector what `check` asks it, and wants an exit code and the essential words. What `check` itself makes of shapes
//! and choices is tested with the command (`tests/cli/mistakes.rs`); here they stand as `read only: FIELD` and `choices of FIELD: …`.

use attune::cli::session::exit_of;
use attune::connector::Connector;
use attune::model::{Class, DefinitionState, Failure};

/// What no sentence may hold: every secret of these tests has it.
pub const SECRET_PART: &str = "hunter2";

/// The rows of a kind, as they come, and what is not as it must be.
#[derive(Default)]
pub struct Table {
    wrong: Vec<String>,
}

impl Table {
    /// A mistake: how it is made, the exit code, and words that must be said.
    pub async fn row<C: Connector>(&mut self, mistake: &str, made: Result<C, Failure>, exit: u8, words: &[&str]) {
        let (found, text) = match made {
            Ok(connector) => said(&connector).await,
            Err(failure) => (exit_of(&failure).code(), failure.to_string()),
        };
        self.note(mistake, (found, &text), exit, words);
    }

    /// What is configured well: nothing is said.
    pub async fn quiet<C: Connector>(&mut self, what: &str, made: Result<C, Failure>) {
        let (exit, text) = said(&made.expect("the settings are sound")).await;
        if exit != 0 || !text.is_empty() {
            self.wrong.push(format!("{what}: nothing is wrong, yet exit {exit}: {text}"));
        }
    }

    /// A mistake that the files alone show.
    pub fn offline(&mut self, mistake: &str, text: &str, words: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("attune.toml");
        std::fs::write(&file, text).expect("the file is written");
        let said =
            attune::config::load(&[file], Vec::new()).map_or_else(|problems| problems.to_string(), |_| String::new());
        let exit = if said.is_empty() { 0 } else { 78 };
        self.note(mistake, (exit, &said), 78, words);
    }

    fn note(&mut self, mistake: &str, (found, text): (u8, &str), exit: u8, words: &[&str]) {
        let missing: Vec<&&str> = words.iter().filter(|word| !text.contains(**word)).collect();
        if found != exit || !missing.is_empty() || text.contains(SECRET_PART) {
            self.wrong.push(format!("{mistake}: exit {found} instead of {exit}, without {missing:?}: {text}"));
        }
    }

    /// Fails with every row that is not as it must be.
    #[track_caller]
    pub fn holds(self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

async fn said(connector: &dyn Connector) -> (u8, String) {
    let names = connector.fields();
    let prepared = match connector.prepare(&vec![None; names.len()], false).await {
        Ok(prepared) => prepared,
        Err(failure) => return (exit_of(&failure).code(), failure.to_string()),
    };
    let (mut exit, mut sentences) = (0, prepared.warnings);
    for (name, definition) in names.iter().zip(&prepared.definitions) {
        match &definition.state {
            DefinitionState::Unusable(why) => {
                exit = exit_of(&Failure::new(Class::Misconfigured, why.clone())).code();
                sentences.push(why.clone());
            }
            DefinitionState::Usable(shape) if !shape.writable => sentences.push(format!("read only: {name}")),
            _ => {}
        }
    }
    sentences
        .extend(prepared.choices.iter().map(|(at, words)| format!("choices of {}: {}", names[*at], words.join(", "))));
    (exit, sentences.join("\n"))
}
