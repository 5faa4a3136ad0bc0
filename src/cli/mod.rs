//! The commands: arguments in, an exit code out. 0 is success, 1 says that the user's input is wrong (on stderr, one line
//! a problem), 2 is a usage error.

mod check;
mod descriptors;
mod explain;
mod load;
mod output;
mod routes;

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
    /// Show what is served: method, path, RPC, upstream, timeout, and where each policy comes from.
    Routes {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Show what would become of a request: its route, what is bound, the message that the RPC gets, policies, endpoints.
    Explain {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The HTTP method.
        method: String,
        /// A path, or a whole URL.
        url: String,
        /// The request's body.
        #[arg(short, long, value_name = "JSON", default_value = "", hide_default_value = true)]
        data: String,
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
        Command::Routes { config } => routes::routes(&config),
        Command::Explain { config, method, url, data } => {
            explain::explain(&config, &explain::Request { method: &method, url: &url, body: &data })
        }
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
