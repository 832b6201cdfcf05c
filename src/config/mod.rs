//! Files and environment become one checked `Config`, or every reason why not.
//!
//! `load` reads the TOML files in the order given, lays `ATTUNE__A__B` variables over them, and checks the whole.
//! Whatever is wrong is said at once, with file and line; nothing that was written is ignored without a word, and no
//! value is ever echoed, since any of them may be a misplaced secret.
//!
//! Must not know: how anything that is configured works. It reads no environment of its own (it is handed in) and
//! resolves no secret while loading: a missing secret is one system's trouble, not the configuration's.

mod alerts;
mod check;
mod crm;
mod duration;
mod environment;
mod field_name;
mod field_options;
mod file;
mod mapping;
mod nearest;
mod problem;
mod reader;
mod root;
mod secret;
mod settings;
mod store;
mod times;
mod tree;
mod url;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use crm::{
    HubSpotSettings, ModifiedBy, OdooSettings, SalesforceGrant, SalesforceSettings, SqlRelation, SqlSettings,
    TrytonSettings,
};
pub use crm::{RestAuth, RestSettings};
pub use duration::parse as parse_duration;
pub use environment::Environment;
pub use nearest::nearest;
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use settings::{
    AlertFormat, Alerts, Calls, Config, Crm, CrmKind, Log, LogFormat, LogLevel, PairSettings, Server, State, Store,
    Sweep, Times,
};
pub use url::UrlSource;

/// Where the configuration is looked for when nobody says: the first that exists is read, alone.
pub const DEFAULT_PATHS: [&str; 2] = ["attune.toml", "/etc/attune"];

/// The JSON Schema of a configuration, for editors; the tests hold it to what is read here.
pub const SCHEMA: &str = include_str!("../../config/schema.json");

/// Reads the configuration from `paths` (files, or folders whose `*.toml` are read sorted by name; none: the first of
/// [`DEFAULT_PATHS`] that exists), then from the variables `ATTUNE__A__B` of `environment`.
///
/// # Errors
/// Every problem there is, sorted by file and line. Files that cannot be read, or are not TOML, are reported alone: what
/// the rest means cannot be known without them.
pub fn load(
    paths: &[PathBuf],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Problems> {
    let defaults: Vec<&Path> = DEFAULT_PATHS.iter().map(Path::new).collect();
    load_or_default(paths, &defaults, environment)
}

/// Like [`load`], with other places to look when `paths` is empty.
///
/// # Errors
/// As [`load`].
pub fn load_or_default(
    paths: &[PathBuf],
    defaults: &[&Path],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Problems> {
    let mut problems = Vec::new();
    let variables = environment::settings(environment, &mut problems);
    let files = file::read_all(paths, defaults, variables.is_empty(), &mut problems);
    if !problems.is_empty() {
        return Err(Problems::sorted(problems));
    }
    let mut tree = tree::merge(files, &mut problems);
    environment::lay_over(&mut tree, variables, &mut problems);
    let reader = reader::Reader::new(problems);
    let config = root::read(&reader, &tree);
    reader.finish(|warnings| Config { warnings, ..config })
}

/// Reads `server.listen` alone, as [`load`] would: who asks the process how it is must not be stopped by what is wrong
/// elsewhere. Where a variable says it, no file is read. None: it is "off".
///
/// # Errors
/// When files have to be read and cannot, or what they say is no address.
pub fn listen(
    paths: &[PathBuf],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Option<SocketAddr>, Problems> {
    let mut problems = Vec::new();
    // What is wrong with other variables is not asked.
    let mut variables = environment::settings(environment, &mut Vec::new());
    variables.retain(|variable| variable.is(&["server", "listen"]));
    let mut files = Vec::new();
    if variables.is_empty() {
        let defaults = DEFAULT_PATHS.map(Path::new);
        files = file::read_all(paths, &defaults, true, &mut problems);
        if !problems.is_empty() {
            return Err(Problems::sorted(problems));
        }
    }
    let mut tree = tree::merge(files, &mut Vec::new());
    environment::lay_over(&mut tree, variables, &mut problems);
    let reader = reader::Reader::new(problems);
    let address = root::read_listen(&reader, &tree);
    reader.finish(|_| address)
}
