//! The commands: arguments in, an exit code out. 0 is success, 1 says that the user's input is wrong (on stderr, one line
//! a problem), 2 is a usage error.

mod check;
mod conformance;
#[cfg(feature = "demo")]
mod demo;
mod descriptors;
mod explain;
mod load;
mod log;
mod output;
mod routes;
mod serve;
mod token;

use std::fmt::Display;
use std::io::{Write as _, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config;
#[cfg(feature = "demo")]
use crate::demo::{Service, Tls};

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
    /// Run the gateway until SIGTERM or SIGINT; calls in flight end first, or with a second signal at once.
    Serve {
        /// The configuration, usually `transom.yaml`.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Run the booking system's services in this process and the gateway before them.
    #[cfg(feature = "demo")]
    Demo {
        /// The gateway's port on 127.0.0.1 (`PORT`, or 3000), or the service's on every address.
        #[arg(long)]
        port: Option<u16>,
        /// The gateway's admin port (`ADMIN_PORT`, or 9090).
        #[arg(long)]
        admin_port: Option<u16>,
        /// Instances of each service.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
        instances: u16,
        /// A Redis for what gateways share, such as `redis://127.0.0.1:6379`; by default the gateway keeps it.
        #[arg(long, value_name = "URL")]
        redis: Option<String>,
        /// Run one instance of this service alone.
        #[arg(long, requires = "port", conflicts_with_all = ["admin_port", "instances", "redis"], value_parser = service)]
        service: Option<Service>,
        /// With `--service`: its certificate in PEM. Callers must then have one that the same authority signed, and so must the
        /// services that it calls. Read again as it changes.
        #[arg(long, value_name = "FILE", env = "GRPC_TLS_CERT", requires_all = ["service", "tls_key", "tls_ca"])]
        tls_cert: Option<PathBuf>,
        /// The certificate's private key.
        #[arg(long, value_name = "FILE", env = "GRPC_TLS_KEY", requires = "tls_cert")]
        tls_key: Option<PathBuf>,
        /// The authority.
        #[arg(long, value_name = "FILE", env = "GRPC_TLS_CA", requires = "tls_cert")]
        tls_ca: Option<PathBuf>,
        /// Who may call, by names in their certificates: SPIFFE ids or hosts, separated by commas. By default whoever has one of
        /// the authority.
        #[arg(long, value_name = "NAMES", env = "GRPC_TLS_CALLERS", value_delimiter = ',', requires = "tls_cert")]
        tls_callers: Vec<String>,
        /// With `--service`: a port that tells health in the clear and nothing else, for probes that have no certificate.
        #[arg(long, value_name = "PORT", requires = "service")]
        health_port: Option<u16>,
    },
    /// Tell every problem of a configuration, the schemas it names included.
    Check {
        /// The configuration, usually `transom.yaml`.
        #[arg(long, value_name = "FILE", required_unless_present = "schema")]
        config: Option<PathBuf>,
        /// Print the JSON Schema of configurations instead.
        #[arg(long, conflicts_with = "config")]
        schema: bool,
    },
    /// Show what is served: method, path, RPC, upstream, timeout, auth, limits, and where each policy comes from.
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
    /// Print a development token, signed by the configuration's own secret.
    Token {
        /// The configuration.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Whose token it is.
        #[arg(long, value_name = "USER")]
        sub: String,
        /// A claim besides; a value that is JSON is taken as that, any other as text.
        #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = token::claim)]
        claims: Vec<(String, serde_json::Value)>,
        /// How long it is good.
        #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
        ttl: Duration,
    },
    /// Compile a folder of .proto files to a descriptor set.
    Descriptors {
        /// The folder; imports start there.
        #[arg(value_name = "PROTO_DIR", required_unless_present = "options")]
        protos: Option<PathBuf>,
        /// Where the `FileDescriptorSet` goes.
        #[arg(short, long, value_name = "FILE", required_unless_present = "options")]
        output: Option<PathBuf>,
        /// Print `transom/options.proto` instead, which other compilers need where a file imports it; here it is built in.
        #[arg(long, conflicts_with_all = ["protos", "output"])]
        options: bool,
    },
    /// Answer protobuf's conformance runner on stdin and stdout.
    Conformance {
        /// A `FileDescriptorSet` of the runner's test messages.
        #[arg(long, value_name = "FILE")]
        descriptors: PathBuf,
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

    /// One that the log tells.
    fn logged() -> Self {
        Self { lines: Vec::new() }
    }

    /// With a way out beside what is wrong.
    #[cfg(feature = "demo")]
    fn hinting(mut self, line: &str) -> Self {
        if !self.lines.is_empty() {
            self.lines.push(line.to_owned());
        }
        self
    }

    fn of(problems: &[impl Display]) -> Self {
        Self { lines: problems.iter().map(ToString::to_string).collect() }
    }
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve { config } => serve::serve(&config),
        #[cfg(feature = "demo")]
        Command::Demo { service: Some(service), port, tls_cert, tls_key, tls_ca, tls_callers, health_port, .. } => {
            // The three are there together, or none is.
            let callers: Vec<_> = tls_callers.into_iter().filter(|caller| !caller.is_empty()).collect();
            let tls = tls_cert.zip(tls_key).zip(tls_ca).map(|((cert, key), ca)| Tls { cert, key, ca, callers });
            demo::one(service, port.unwrap_or_default(), tls, health_port)
        }
        #[cfg(feature = "demo")]
        Command::Demo { port, admin_port, instances, redis, .. } => {
            demo::all(&demo::Ports { port, admin: admin_port, instances: usize::from(instances), redis })
        }
        Command::Check { schema: true, .. } => check::schema(),
        Command::Check { config, .. } => check::check(&config.unwrap_or_default()),
        Command::Routes { config } => routes::routes(&config),
        Command::Explain { config, method, url, data } => {
            explain::explain(&config, &explain::Request { method: &method, url: &url, body: &data })
        }
        Command::Token { config, sub, claims, ttl } => token::token(&config, &sub, &claims, ttl),
        Command::Descriptors { options: true, .. } => descriptors::options(),
        Command::Descriptors { protos, output, .. } => {
            descriptors::descriptors(&protos.unwrap_or_default(), &output.unwrap_or_default())
        }
        Command::Conformance { descriptors } => conformance::conformance(&descriptors),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => {
            for line in &refusal.lines {
                // Who cannot be told is told by the exit code.
                let _ = writeln!(stderr(), "{line}");
            }
            ExitCode::from(1)
        }
    }
}

/// A duration as the configuration writes it.
fn duration(text: &str) -> Result<Duration, String> {
    config::parse_duration(text)
}

#[cfg(feature = "demo")]
fn service(name: &str) -> Result<Service, String> {
    Service::named(name).ok_or_else(|| {
        let names: Vec<_> = Service::ALL.iter().map(|service| service.name()).collect();
        format!("the services are {}", names.join(", "))
    })
}
