//! `man`.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::roff::{Roff, roman};
use crossvm_guest::System;

use crate::failure::{Failure, Status};
use crate::options::{NAMES, Options, Run};
use crate::output::{print, print_bytes};

/// Print this command's manual page (`crossvm man | man -l -`), or write it and those of all verbs to a folder.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where to write the pages; it must exist. Without it the command's own goes to standard output.
    folder: Option<PathBuf>,
}

impl Run for Man {
    fn run(self, _: &System) -> Result<(), Failure> {
        // The verb `help` needs no page.
        let mut command = Options::command().disable_help_subcommand(true);
        command.build();
        let Some(folder) = self.folder else {
            return print_bytes(&Page::of(command)?.text);
        };
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect::<Vec<_>>();
        for command in [command].into_iter().chain(verbs) {
            let page = Page::of(command)?;
            let path = folder.join(page.file);
            fs::write(&path, page.text).map_err(|error| Failure::Stream(path.display().to_string(), error))?;
            print(&format!("{}\n", path.display()))?;
        }
        Ok(())
    }
}

/// A manual page.
struct Page {
    file: String,
    text: Vec<u8>,
}

impl Page {
    fn of(command: Command) -> Result<Self, Failure> {
        let (verbs, version) = (command.has_subcommands(), command.get_version().is_some());
        let man = clap_mangen::Man::new(command).manual("crossvm");
        let mut text = Vec::new();
        let mut write = || -> io::Result<()> {
            man.render_title(&mut text)?;
            man.render_name_section(&mut text)?;
            man.render_synopsis_section(&mut text)?;
            man.render_description_section(&mut text)?;
            man.render_options_section(&mut text)?;
            if verbs {
                man.render_subcommands_section(&mut text)?;
            }
            own_sections().to_writer(&mut text)?;
            if version {
                man.render_version_section(&mut text)?;
            }
            Ok(())
        };
        write().map_err(|error| Failure::Stream("the manual page".to_owned(), error))?;
        Ok(Self { file: man.get_filename(), text })
    }
}

/// What is true of every verb, and stands after the help of the command.
fn own_sections() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["CONNECTIONS"]).text([roman(NAMES)]).control("SH", ["EXIT STATUS"]);
    for status in Status::ALL {
        roff.control("TP", []).text([roman(status.number().to_string())]).text([roman(status.to_string())]);
    }
    roff
}
