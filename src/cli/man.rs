//! `attune man [FOLDER]`: the manual pages, made of the same definition that reads the command line.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;

use super::arguments::Arguments;
use super::exit::Exit;
use super::output;
use super::session::Trouble;

/// What the definition of the command line does not say, for the page of the whole.
const MORE: &str = include_str!("man.roff");

/// Runs the command: the page of the whole on stdout, or the page of each command as a file of the folder.
///
/// # Errors
/// When it cannot be written.
pub fn run(folder: Option<&Path>) -> Result<Exit, Trouble> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    match folder {
        None => {
            let page = page(&command).map_err(output::unwritable)?;
            output::show(page.1.trim_end())?;
        }
        Some(folder) => write(&command, folder).map_err(|error| {
            Trouble::new(Exit::Unreachable, format!("{} cannot be written: {error}", folder.display()))
        })?,
    }
    Ok(Exit::Done)
}

/// Writes the pages of a command and of all below it.
fn write(command: &clap::Command, folder: &Path) -> io::Result<()> {
    let (name, text) = page(command)?;
    fs::write(folder.join(name), text)?;
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| write(below, folder))
}

/// A page's file name and text.
fn page(command: &clap::Command) -> io::Result<(String, String)> {
    let source = concat!("Attune ", env!("CARGO_PKG_VERSION"));
    let page = clap_mangen::Man::new(command.clone()).source(source).manual("Attune");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if command.get_name() == "attune" {
        text.push_str(MORE);
    }
    Ok((page.get_filename(), text))
}
