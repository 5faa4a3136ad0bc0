//! The commands: arguments in, an exit code out. 0 is success, 1 says that the user's input is wrong (on stderr, one line
//! a problem), 2 is a usage error.

mod check;
mod descriptors;
mod load;
mod output;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A gRPC-first API gateway: protobuf descriptors in, REST and gRPC out.
#[derive(Debug, Parser)]
#[command(
    name = "transom",
    version,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell every problem of a configuration, the schemas it names included.
    Check {
        /// The configuration, usually `transom.yaml`.
        #[arg(long, value_name = "FILE", required_unless_present = "schema")]
        config: Option<PathBuf>,
        /// Print the JSON Schema of configurations instead.
        #[arg(long, conflicts_with = "config")]
        schema: bool,
    },
    /// Compile a folder of .proto files to a descriptor set.
    Descriptors {
        /// The folder; imports start there.
        #[arg(value_name = "PROTO_DIR")]
        protos: PathBuf,
        /// Where the `FileDescriptorSet` goes.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
}

/// The user's input is wrong: lines for stderr.
#[derive(Debug)]
struct Refusal {
    lines: Vec<String>,
}

impl Refusal {
    fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()] }
    }

    fn of(problems: &[impl Display]) -> Self {
        Self { lines: problems.iter().map(ToString::to_string).collect() }
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check { schema: true, .. } => check::schema(),
        Command::Check { config, .. } => check::check(&config.unwrap_or_default()),
        Command::Descriptors { protos, output } => descriptors::descriptors(&protos, &output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            for line in &refusal.lines {
                eprintln!("{line}");
            }
            ExitCode::from(1)
        }
    }
}
