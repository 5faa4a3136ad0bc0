//! The system, running: listeners, instances, and how they stop.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use super::Options;
use super::incoming::incoming;
use super::peer::Peer;
use super::proto::auth::RegisterRequest;
use super::system::{Built, Service};
use super::tls::Door;

/// How long an instance may take to end its calls.
const GRACE: Duration = Duration::from_secs(3);

/// An account to try the system with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// Its e-mail address.
    pub email: &'static str,
    /// Its password.
    pub password: &'static str,
}

/// The account that every auth service begins with.
const LOGIN: Login = Login { email: "ada@example.com", password: "opera-seat-42" };

/// Services that run until [`Running::shutdown`].
#[derive(Debug)]
pub struct Running {
    /// Where the auth service runs; empty if it does not run here, as for the others.
    pub auth: Vec<SocketAddr>,
    /// Where the ticket service runs.
    pub ticket: Vec<SocketAddr>,
    /// Where the booking service runs.
    pub booking: Vec<SocketAddr>,
    /// Where the queue runs.
    pub queue: Vec<SocketAddr>,
    /// Where the payment service runs.
    pub payment: Vec<SocketAddr>,
    /// Where one service alone tells its health in the clear.
    pub health: Option<SocketAddr>,
    /// An account that is there from the start; none where the auth service does not run.
    pub login: Option<Login>,
    stopping: CancellationToken,
    instances: Vec<Instance>,
}

#[derive(Debug)]
struct Instance {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// Starts all five services on loopback ports of the system's choice.
///
/// # Errors
/// No port is to be had, or a file of the certificates is not what it should be.
pub async fn start(options: Options) -> io::Result<Running> {
    let mut listeners = Vec::new();
    for service in Service::ALL {
        let mut ports = Vec::new();
        for _ in 0..options.instances {
            ports.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        }
        listeners.push((service, ports));
    }
    let mut running = Running::new();
    let door = door(&options)?;
    for (service, ports) in &listeners {
        *running.of(*service) = ports.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    }
    for (service, ports) in listeners {
        let peer = |other| Peer::at(running.addresses(other), options.tls.as_ref()).map_err(io::Error::other);
        let built = Built::new(service, &options, running.stopping.clone(), peer)?;
        running.serve(&built, ports, door.as_ref()).await?;
    }
    Ok(running)
}

/// Starts one instance of one service. `options.instances` is not looked at.
///
/// # Errors
/// The address is not to be had, a variable that says where another service runs is no `host:port`, or a file of the
/// certificates is not what it should be.
pub async fn serve_one(service: Service, address: SocketAddr, options: Options) -> io::Result<Running> {
    let door = door(&options)?;
    let listener = TcpListener::bind(address).await?;
    let mut running = Running::new();
    *running.of(service) = vec![listener.local_addr()?];
    let peer = |other: Service| {
        let (variable, default) = other.url();
        let authority = std::env::var(variable).ok().filter(|value| !value.is_empty());
        let authority = authority.as_deref().unwrap_or(default);
        let wrong = |error| io::Error::new(io::ErrorKind::InvalidInput, format!("{variable}={authority}: {error}"));
        Peer::named(authority, options.tls.as_ref()).map_err(wrong)
    };
    let built = Built::new(service, &options, running.stopping.clone(), peer)?;
    running.serve(&built, vec![listener], door.as_ref()).await?;
    if let Some(address) = options.health {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("{address}, where health is told: {error}")))?;
        running.health = Some(listener.local_addr()?);
        running.listen(listener, None, built.health().await)?;
    }
    Ok(running)
}

impl Running {
    fn new() -> Self {
        Self {
            auth: Vec::new(),
            ticket: Vec::new(),
            booking: Vec::new(),
            queue: Vec::new(),
            payment: Vec::new(),
            health: None,
            login: None,
            stopping: CancellationToken::new(),
            instances: Vec::new(),
        }
    }

    /// Where a service runs.
    pub fn addresses(&self, service: Service) -> &[SocketAddr] {
        match service {
            Service::Auth => &self.auth,
            Service::Ticket => &self.ticket,
            Service::Booking => &self.booking,
            Service::Queue => &self.queue,
            Service::Payment => &self.payment,
        }
    }

    /// Stops the instance at an address: it takes no more connections, and ends the calls that it has.
    pub async fn stop(&mut self, address: SocketAddr) {
        if let Some(at) = self.instances.iter().position(|instance| instance.address == address) {
            self.instances.swap_remove(at).stop().await;
        }
    }

    /// Stops everything: streams end, calls in flight have three seconds.
    pub async fn shutdown(mut self) {
        self.stopping.cancel();
        for instance in &self.instances {
            instance.stop.cancel();
        }
        for instance in std::mem::take(&mut self.instances) {
            instance.stop().await;
        }
    }

    fn of(&mut self, service: Service) -> &mut Vec<SocketAddr> {
        match service {
            Service::Auth => &mut self.auth,
            Service::Ticket => &mut self.ticket,
            Service::Booking => &mut self.booking,
            Service::Queue => &mut self.queue,
            Service::Payment => &mut self.payment,
        }
    }

    /// Runs one instance of a service on each listener.
    async fn serve(&mut self, built: &Built, listeners: Vec<TcpListener>, door: Option<&Arc<Door>>) -> io::Result<()> {
        if let Built::Auth(auth) = built {
            let account = RegisterRequest {
                email: LOGIN.email.to_owned(),
                password: LOGIN.password.to_owned(),
                first_name: "Ada".to_owned(),
                last_name: "Example".to_owned(),
            };
            auth.create(account).await.map_err(|status| io::Error::other(status.message().to_owned()))?;
            self.login = Some(LOGIN);
        }
        for listener in listeners {
            let routes = built.routes().await.map_err(io::Error::other)?;
            self.listen(listener, door.cloned(), routes)?;
        }
        Ok(())
    }

    fn listen(&mut self, listener: TcpListener, door: Option<Arc<Door>>, routes: Routes) -> io::Result<()> {
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let incoming = incoming(listener, door);
        let server = Server::builder().add_routes(routes).serve_with_incoming_shutdown(incoming, stopped);
        self.instances.push(Instance { address, stop, task: tokio::spawn(server) });
        Ok(())
    }
}

impl Drop for Running {
    /// What is dropped without [`Running::shutdown`] stops too, without being waited for.
    fn drop(&mut self) {
        self.stopping.cancel();
        for instance in &self.instances {
            instance.stop.cancel();
        }
    }
}

/// What all listeners of a system show.
fn door(options: &Options) -> io::Result<Option<Arc<Door>>> {
    options.tls.as_ref().map(|tls| Door::new(tls).map(Arc::new)).transpose()
}

impl Instance {
    async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
