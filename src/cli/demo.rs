//! `transom demo`: the booking system's services in this process and the gateway before them, or one service alone.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;
use transom_transcode::schema::Schema;

use crate::demo::{self, DESCRIPTORS, Login, Options, Service, Tls};
use crate::gateway::Problem;
use crate::reload::Source;
use crate::telemetry::Metrics;

use super::serve::{self, Shutdown};
use super::{Refusal, load, log, output};

/// The gateway's configuration: that of the example, its variables set to where the services run.
const CONFIG: &str = include_str!("../../examples/booking/transom.yaml");

/// What of the demo the arguments choose. What they leave out is as the environment says, or the example.
pub(super) struct Ports {
    pub(super) port: Option<u16>,
    pub(super) admin: Option<u16>,
    pub(super) instances: usize,
    /// Where a Redis is.
    pub(super) redis: Option<String>,
}

/// Runs all services and the gateway until SIGTERM or SIGINT.
pub(super) fn all(ports: &Ports) -> Result<(), Refusal> {
    let metrics = Metrics::new();
    let log = log::start(metrics.lost_lines())?;
    let system = System::start(ports.instances)?;
    let mut variables = system.variables.clone();
    variables.push(("HOST", Ipv4Addr::LOCALHOST.to_string()));
    let number = |port: Option<u16>| port.map(|port| port.to_string());
    let chosen =
        [("PORT", number(ports.port)), ("ADMIN_PORT", number(ports.admin)), ("REDIS_URL", ports.redis.clone())];
    variables.extend(chosen.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let lookup = move |name: &str| match variables.iter().find(|(variable, _)| *variable == name) {
        Some((_, value)) => Some(value.clone()),
        None => env::var(name).ok(),
    };
    let source = Source::fixed("examples/booking/transom.yaml", CONFIG, lookup, |_| {
        let mut builder = Schema::builder();
        let added = builder.add(DESCRIPTORS, "descriptors/booking.binpb");
        added
            .and_then(|()| builder.build())
            .map_err(|problems| problems.into_iter().map(Problem::Schema).collect::<Vec<_>>().into())
    });
    let loaded = load::compile(&source, &metrics)?;
    let welcome = |address: SocketAddr, admin: SocketAddr| {
        output::print(&demo::walkthrough(address.port(), admin.port(), system.login))
    };
    let served = serve::control(serve::run(source, loaded, metrics, log.clone(), welcome));
    served.map_err(|refusal| refusal.hinting("the demo's ports are --port and --admin-port, or PORT and ADMIN_PORT"))
}

/// Runs one instance of one service on every address until SIGTERM or SIGINT.
pub(super) fn one(service: Service, port: u16, tls: Option<Tls>, health: Option<u16>) -> Result<(), Refusal> {
    let _log = log::start(Arc::default())?;
    serve::control(async {
        let mut shutdown = Shutdown::watch()?;
        let everywhere = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let (address, health) = (everywhere(port), health.map(everywhere));
        let running = demo::serve_one(service, address, Options { tls, health, ..options(1)? }).await;
        let running = running.map_err(|error| Refusal::new(format!("{address}: {error}")))?;
        let health = running.health.map(tracing::field::display);
        tracing::info!(service = service.name(), address = ?running.addresses(service), health, "listening");
        shutdown.told().await;
        running.shutdown().await;
        Ok(())
    })
}

fn options(instances: usize) -> Result<Options, Refusal> {
    let options = Options::from_env().map_err(Refusal::new)?;
    Ok(Options { instances, ..options })
}

/// The services, on a thread of their own: they are the load, not the gateway.
struct System {
    /// Variables of the example configuration, and what they are set to.
    variables: Vec<(&'static str, String)>,
    login: Option<Login>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl System {
    fn start(instances: usize) -> Result<Self, Refusal> {
        let options = options(instances)?;
        let secret = options.secrets.access().to_owned();
        let runtime = serve::runtime()?;
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::channel();
        let thread = thread::Builder::new().name("demo".to_owned()).spawn(move || {
            runtime.block_on(async {
                match demo::start(options).await {
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                    Ok(running) => {
                        let variables = Service::ALL.map(|service| (service.url().0, join(running.addresses(service))));
                        let _ = started.send(Ok((variables, running.login)));
                        // An error says that the other side is gone: the end as well.
                        let _ = stopped.await;
                        running.shutdown().await;
                    }
                }
            });
        });
        let cannot = |error: &dyn std::fmt::Display| Refusal::new(format!("the services cannot be started: {error}"));
        let thread = thread.map_err(|error| cannot(&error))?;
        let (variables, login) = match start.recv() {
            Ok(Ok(started)) => started,
            Ok(Err(error)) => return Err(cannot(&error)),
            Err(_) => return Err(cannot(&"their thread ended")),
        };
        let mut variables = Vec::from(variables);
        // The gateway verifies what the auth service signs.
        variables.push(("JWT_SECRET", secret));
        Ok(Self { variables, login, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for System {
    /// Calls in flight end first.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
