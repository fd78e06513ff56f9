//! `gatewise completions` and `gatewise man`: what a shell and a manual know of this program, made from its own command
//! line.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{self, Arguments};
use crate::error::CliError;
use crate::exit::Code;
use crate::output;

pub(crate) fn completions(args: &args::Completions) -> Result<Code, CliError> {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Arguments::command(), "gatewise", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Code::Pass)
}

pub(crate) fn man(args: &args::Man) -> Result<Code, CliError> {
    let mut command = Arguments::command().disable_help_subcommand(true);
    // Gives every subcommand its full name.
    command.build();
    let Some(folder) = &args.folder else {
        output::print(&String::from_utf8_lossy(&page(command, "gatewise")?))?;
        return Ok(Code::Pass);
    };
    let failed = |source| CliError::File { doing: "making the folder", file: folder.clone(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    write(folder, command, "gatewise")?;
    for subcommand in subcommands {
        let name = format!("gatewise-{}", subcommand.get_name());
        write(folder, subcommand, &name)?;
    }
    Ok(Code::Pass)
}

fn write(folder: &Path, command: clap::Command, name: &str) -> Result<(), CliError> {
    output::write_whole(&folder.join(format!("{name}.1")), &page(command, name)?)
}

/// The page of one command in the language of `man`.
fn page(command: clap::Command, name: &str) -> Result<Vec<u8>, CliError> {
    let mut page = vec![];
    Man::new(command).title(name).render(&mut page).map_err(CliError::Stdout)?;
    Ok(page)
}
