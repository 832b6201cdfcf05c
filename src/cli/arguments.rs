//! The command line as clap reads it: commands, options, their help. Nothing is done here.

use std::ffi::OsString;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config;
use crate::model::{HeldReason, Side, Timestamp};
use crate::simulator;

/// Keep BigCommerce customer data and a CRM in agreement, both ways
#[derive(Clone, Debug, PartialEq, Parser)]
#[command(name = "attune", version, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    /// Options that every command takes.
    #[command(flatten)]
    pub common: Common,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Common {
    /// Read this file, or every *.toml of this folder; may be repeated [default: ./attune.toml, then /etc/attune/]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Vec<PathBuf>,

    /// Narrow the command to this store; may be repeated
    // The id is that of the simulator's own `--store`: clap then leaves the latter alone instead of adding this one.
    #[arg(long = "store", id = "stores", global = true, value_name = "NAME")]
    pub store: Vec<String>,

    /// Give up on a system that fails or does not answer after this time
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = config::parse_duration)]
    pub patience: Duration,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Show it all at work: a simulated store, a SQLite CRM, a conflict, an outage
    Demo,
    /// Read the configuration, reach every system, compare fields and types
    Check(Check),
    /// Show how records pair, or pair them by hand
    Link(Link),
    /// Show what a pass would write, and what it costs
    Plan(Plan),
    /// Make one pass over every pair, then exit
    Sync(Sync),
    /// Run the daemon
    Run,
    /// Show the state of each store and CRM
    Status(Status),
    /// Show what waits for a person, and settle it
    Held(Held),
    /// Explain one record: link, values, last changes, why it is not synced
    Explain(Explain),
    /// Show every write: when, where, old, new, why
    History(History),
    /// Put back what past writes replaced, where nothing changed since
    Undo(Undo),
    /// Let through what a rail stopped
    Approve(Approve),
    /// Pause a store or a CRM
    Pause(Named),
    /// Resume a store or a CRM
    Resume(Named),
    /// Drop what is remembered of a system, or of a person
    Forget(Forget),
    /// Print the configuration's JSON Schema, for editors
    Schema,
    /// Copy the checkpoint into a new file, while the daemon runs or not
    Backup(Backup),
    /// Simulate a BigCommerce on loopback
    Simulate(Box<simulator::flags::Flags>),
    /// Ask the daemon of this machine whether its loops turn
    Healthcheck(Healthcheck),
    /// Print what completes this command line in a shell
    Completions(Completions),
    /// Print the manual page, or write one for each command into a folder
    #[command(hide = true)] // For who makes packages.
    Man(Man),
}

/// `check`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Check {
    /// Check the files alone, reach nothing
    #[arg(long)]
    pub offline: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `link`: a list, or an action.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Link {
    /// Print each record as CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// What to change; none: list.
    #[command(subcommand)]
    pub action: Option<LinkAction>,
}

/// What to change about links.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum LinkAction {
    /// Pair a customer with a contact, or those of a file, for good
    Add(LinkAdd),
    /// Take a pair apart, and remember that it was
    Remove {
        /// The store's name
        #[arg(value_name = "STORE")]
        of: String,
        /// The customer's id
        customer: String,
    },
}

/// `link add`: two records, or those of a file.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct LinkAdd {
    /// The store's name
    #[arg(value_name = "STORE", required_unless_present = "file", requires_all = ["customer", "contact"])]
    pub of: Option<String>,
    /// The customer's id
    pub customer: Option<String>,
    /// The contact's key
    pub contact: Option<String>,
    /// The CRM's name, where the store has several
    #[arg(long, value_name = "NAME")]
    pub crm: Option<String>,
    /// Pair those of a file with the columns store, store_key, crm_key, and crm where a store has several
    #[arg(long = "csv", id = "file", value_name = "FILE", conflicts_with_all = ["of", "crm"])]
    pub file: Option<PathBuf>,
}

/// `plan`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Plan {
    /// Show every line, not 20 of each kind
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// End with 1 if there is something to write
    #[arg(long)]
    pub exit_code: bool,
}

/// `sync`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Sync {
    /// Read everything, not only what changed
    #[arg(long)]
    pub sweep: bool,
    /// Write this many records at most, and read them back
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroU64>,
    /// Write nothing if the plan is no longer the one with this digest
    #[arg(long, value_name = "DIGEST")]
    pub expect: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `status`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Status {
    /// Show it again every few seconds
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `held`: a list, or an action.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Held {
    /// Which of it.
    #[command(flatten)]
    pub filter: HeldFilter,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// What to do with it; none: list.
    #[command(subcommand)]
    pub action: Option<HeldAction>,
}

/// What is meant; all of it must be true. `--store` narrows it further.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct HeldFilter {
    /// Take only this field, by its store name; may be repeated
    #[arg(long, global = true, value_name = "FIELD")]
    pub field: Vec<String>,
    /// Take only what is held for this reason; may be repeated
    #[arg(long, global = true, value_name = "REASON", value_parser = parse_reason)]
    pub reason: Vec<HeldReason>,
    /// Take only what is held since this time or later: RFC 3339, a day, or so long ago (24h)
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
}

impl HeldFilter {
    fn is_empty(&self) -> bool {
        self.field.is_empty() && self.reason.is_empty() && self.since.is_none()
    }
}

/// What to do with what is held.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum HeldAction {
    /// Look at it again in the next pass
    Retry(HeldSelection),
    /// Take one side's value for both
    Resolve {
        /// Whose value to take
        #[arg(long, value_name = "SIDE")]
        take: TakenSide,
        /// Which of it.
        #[command(flatten)]
        selection: HeldSelection,
    },
    /// Leave both sides as they are until either changes
    Drop(HeldSelection),
}

impl HeldAction {
    /// The ids and whether to ask.
    pub const fn selection(&self) -> &HeldSelection {
        match self {
            Self::Retry(selection) | Self::Resolve { selection, .. } | Self::Drop(selection) => selection,
        }
    }
}

/// What an action is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct HeldSelection {
    /// Ids, as `attune held` shows them; none: whatever the filters leave
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// A side that a person chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TakenSide {
    /// The store's value
    Store,
    /// The CRM's value
    Crm,
}

impl From<TakenSide> for Side {
    fn from(side: TakenSide) -> Self {
        match side {
            TakenSide::Store => Self::Store,
            TakenSide::Crm => Self::Crm,
        }
    }
}

/// `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Explain {
    /// A customer's id, a contact's key, or an e-mail
    #[arg(value_name = "KEY-OR-EMAIL")]
    pub record: String,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `history`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct History {
    /// Show this many of the newest at most
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroU64>,
    /// Show what was written at this time or later: RFC 3339, a day, or so long ago (24h)
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Show what was written before this time
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub until: Option<Since>,
    /// Show only this field, by its store name; may be repeated
    #[arg(long, value_name = "FIELD")]
    pub field: Vec<String>,
    /// Show only writes to this side
    #[arg(long, value_name = "SIDE")]
    pub side: Option<TakenSide>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `undo`: all that is given must fit. `--store` narrows it further.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Undo {
    /// Undo what this pass wrote, by its number in `attune history`
    #[arg(long, value_name = "N")]
    pub pass: Option<NonZeroU64>,
    /// Undo what was written at this time or later: RFC 3339, a day, or so long ago (24h)
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Since>,
    /// Undo what was written before this time
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub until: Option<Since>,
    /// Undo only writes to this side
    #[arg(long, value_name = "SIDE")]
    pub side: Option<TakenSide>,
    /// Undo only writes to this field, by its store name; may be repeated
    #[arg(long, value_name = "FIELD")]
    pub field: Vec<String>,
    /// Show every line, not 20 of each kind
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document; it asks nothing, and does it only with --yes
    #[arg(long)]
    pub json: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `approve`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Approve {
    /// The store's name
    #[arg(value_name = "STORE")]
    pub name: String,
    /// For scripts that say so everywhere: it never asks
    #[arg(long, hide = true)]
    pub yes: bool,
}

/// `pause`, `resume`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Named {
    /// The name of a store or a CRM
    pub name: String,
}

/// `forget`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Forget {
    /// The name of a store or a CRM
    pub name: String,
    /// A customer's id, or a contact's key: forget this person only
    pub key: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

/// `healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Healthcheck {
    /// Ask whether it has done its first passes and can write its checkpoint
    #[arg(long)]
    pub ready: bool,
}

/// `completions`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `man`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Man {
    /// A folder that is there
    #[arg(value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// `backup`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Backup {
    /// The file to make; one that is there already is never overwritten
    pub file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A moment that a person named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// This moment.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl Since {
    /// The moment itself, when it is `now`.
    pub fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(moment) => moment,
            Self::Ago(duration) => now - duration,
        }
    }
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Some(moment) = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z"))) {
        return Ok(Since::At(moment));
    }
    config::parse_duration(text).map(Since::Ago).map_err(|_| {
        "expected a time such as 2026-01-02T03:04:05Z, a day such as 2026-01-02, or how long ago, such as 24h"
            .to_owned()
    })
}

fn parse_reason(word: &str) -> Result<HeldReason, String> {
    let words = HeldReason::ALL.map(HeldReason::as_str);
    HeldReason::parse(word).ok_or_else(|| {
        let near = config::nearest(word, words).map_or_else(String::new, |near| format!("did you mean \"{near}\"? "));
        format!("{near}reasons are: {}", words.join(", "))
    })
}

impl Arguments {
    /// Reads a command line, the program's name first.
    ///
    /// # Errors
    /// For wrong usage (exit code 2), and for `--help` and `--version` (exit code 0): `error.exit()` prints and ends.
    pub fn read(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let arguments = Self::try_parse_from(&line)?;
        arguments.check_occurrences(&line)?;
        arguments.check()?;
        Ok(arguments)
    }

    /// Where an option stands both before and after a command, clap keeps the last without a word.
    fn check_occurrences(&self, line: &[OsString]) -> Result<(), clap::Error> {
        let common = &self.common;
        let mut kept = vec![("--config", common.config.len()), ("--store", common.store.len()), ("--patience", 1)];
        match &self.command {
            Command::Simulate(_) => return Ok(()),
            Command::Held(Held { filter, .. }) => {
                kept.extend([("--field", filter.field.len()), ("--reason", filter.reason.len()), ("--since", 1)]);
            }
            _ => {}
        }
        let options = line.iter().skip(1).map(|word| word.to_string_lossy()).take_while(|word| word != "--");
        let names: Vec<String> = options.map(|word| word.split('=').next().unwrap_or_default().to_owned()).collect();
        for (option, kept) in kept {
            if names.iter().filter(|name| *name == option).count() > kept {
                return Err(Self::command().error(
                    ErrorKind::ArgumentConflict,
                    format!("{option} stands both before and after a command: put all of them in one place"),
                ));
            }
        }
        Ok(())
    }

    /// What clap cannot be told: options that would have no effect, and actions on everything by mistake.
    fn check(&self) -> Result<(), clap::Error> {
        let refuse = |kind, message: &str| Err(Self::command().error(kind, message));
        match &self.command {
            Command::Link(Link { csv, json, action: Some(_) }) if *csv || *json => refuse(
                ErrorKind::ArgumentConflict,
                "--csv and --json are for the list: `link add` and `link remove` print none",
            ),
            Command::Held(Held { json: true, action: Some(_), .. }) => refuse(
                ErrorKind::ArgumentConflict,
                "--json is for the list: `held retry`, `resolve` and `drop` print none",
            ),
            Command::Held(Held { filter, action: Some(action), .. }) => {
                let ids = !action.selection().ids.is_empty();
                match (ids, filter.is_empty() && self.common.store.is_empty()) {
                    (true, false) => refuse(
                        ErrorKind::ArgumentConflict,
                        "give ids or filters (--field, --reason, --since, --store), not both",
                    ),
                    (false, true) => refuse(
                        ErrorKind::MissingRequiredArgument,
                        "say which: ids as `attune held` shows them, or --field, --reason, --since or --store",
                    ),
                    _ => Ok(()),
                }
            }
            Command::Undo(Undo { pass: None, since: None, until: None, .. }) => refuse(
                ErrorKind::MissingRequiredArgument,
                "say which writes: --pass, --since or --until; --side, --field and --store narrow it",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(std::iter::once("attune").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn helps_are_short_imperative_and_end_without_a_stop() {
        fn look(command: &clap::Command) {
            let arguments = command.get_arguments().filter_map(|argument| argument.get_help());
            if command.get_name() == "simulate" {
                return; // Its flags are the simulator's own.
            }
            for help in command.get_about().into_iter().chain(arguments) {
                let help = help.to_string();
                assert!(!help.ends_with('.') && help.len() <= 110, "{}: {help}", command.get_name());
            }
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            command.get_subcommands().for_each(look);
        }
        look(&Arguments::command());
    }

    #[test]
    fn common_options_stand_before_or_after_the_command() {
        for line in ["--config a --store x --patience 5s sync", "sync --config a --store x --patience 5s"] {
            let common = read(line).unwrap().common;
            assert_eq!(common.config, [PathBuf::from("a")], "{line}");
            assert_eq!(common.store, ["x"], "{line}");
            assert_eq!(common.patience, Duration::from_secs(5), "{line}");
        }
        let common = read("run").unwrap().common;
        assert_eq!((common.config.len(), common.patience), (0, Duration::from_secs(30)));
    }

    #[test]
    fn the_simulator_s_stores_are_its_own() {
        let Command::Simulate(flags) = read("simulate --customers 5").unwrap().command else { panic!("not simulate") };
        assert_eq!(flags.stores, ["abc123"]);
        let line = "simulate --store one --store two";
        let Command::Simulate(flags) = read(line).unwrap().command else { panic!("not simulate") };
        assert_eq!(flags.stores, ["one", "two"]);
    }

    #[test]
    fn repeated_options_add_up() {
        assert_eq!(read("plan --store a --store b").unwrap().common.store, ["a", "b"]);
        assert_eq!(read("--config a --config=b plan").unwrap().common.config, [PathBuf::from("a"), PathBuf::from("b")]);
        let Command::Held(held) = read("held resolve --take crm --field a --field b").unwrap().command else {
            panic!("not held")
        };
        assert_eq!(held.filter.field, ["a", "b"]);
    }

    #[test]
    fn no_option_is_dropped_without_a_word() {
        for line in [
            "--store a plan --store b",
            "--config=a plan --config b",
            "--patience 1s plan --patience 2s",
            "--store a held --store b retry --store c",
            "held --field a drop --field b",
            "held --since 1d drop --since 2d",
        ] {
            let error = read(line).unwrap_err();
            assert!(error.to_string().contains("put all of them in one place"), "{line}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn every_command_of_the_contract_is_there() {
        for line in [
            "demo",
            "check --offline --json",
            "link --csv",
            "link --json",
            "link add acme 1 c1",
            "link remove acme 1",
            "plan --all --json --exit-code",
            "sync --sweep --limit 5 --expect abc --json",
            "run",
            "status --watch",
            "status --json",
            "held --json --field attribute:A --reason conflict --since 24h",
            "held retry 1 2",
            "held resolve --take store 1 --yes",
            "held resolve --take crm --reason conflict",
            "held drop --since 2026-01-02",
            "explain someone@example.com --json",
            "history --limit 5 --store acme --json --since 2026-01-02T03:04:05Z --field attribute:A",
            "undo --pass 3 --yes",
            "undo --since 1h --until 2026-01-02 --side crm --field attribute:A --field attribute:B --store acme --all --json",
            "approve acme --yes",
            "pause acme",
            "resume acme",
            "forget acme --yes",
            "forget acme 41 --yes",
            "backup copy.db --json",
            "link add acme 1 c1 --crm erp",
            "link add --csv links.csv",
            "schema",
            "simulate --customers 5",
            "healthcheck --ready",
            "completions zsh",
            "man pages",
        ] {
            if let Err(error) = read(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn wrong_usage_ends_with_2() {
        for line in [
            "",
            "synch",
            "sync --limit 0",
            "sync --patience 30",
            "link --csv --json",
            "link --json remove acme 1",
            "link add",
            "link add acme 1",
            "link add acme 1 c1 --csv links.csv",
            "link add --csv links.csv --crm erp",
            "held retry",
            "held retry 1 --field attribute:A",
            "held resolve 1",
            "held resolve --take both 1",
            "held --json drop 1",
            "held --reason boredom",
            "history --since yesterday",
            "undo",
            "undo --side store --yes",
            "undo --pass 0",
            "backup",
            "forget",
            "completions",
            "completions cmd",
        ] {
            assert_eq!(read(line).map_err(|error| error.exit_code()), Err(2), "{line}");
        }
        for line in ["--help", "held resolve --help", "--version"] {
            assert_eq!(read(line).map_err(|error| error.exit_code()), Err(0), "{line}");
        }
    }

    #[test]
    fn reasons_are_the_words_of_the_model() {
        let line = ["attune", "held", "--reason", "first meeting"];
        let Command::Held(held) = Arguments::read(line).unwrap().command else { panic!("not held") };
        assert_eq!(held.filter.reason, [HeldReason::FirstMeeting]);
        let error = Arguments::read(["attune", "held", "--reason", "first meting"]).unwrap_err().to_string();
        assert!(error.contains("did you mean \"first meeting\"?"), "{error}");
    }

    #[test]
    fn moments_are_read_in_three_ways() {
        let now = Timestamp::from_millis(100_000_000_000);
        assert_eq!(parse_since("24h").unwrap().moment(now), Timestamp::from_millis(100_000_000_000 - 86_400_000));
        assert_eq!(parse_since("1970-01-02").unwrap().moment(now), Timestamp::from_millis(86_400_000));
        assert_eq!(parse_since("1970-01-01T00:00:01Z").unwrap().moment(now), Timestamp::from_millis(1000));
    }
}
