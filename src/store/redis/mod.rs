//! A Redis, or a cluster of them: where it is, and how it is asked.

mod link;
mod said;
mod take;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, ServerErrorKind, Value};

use crate::config;
use crate::telemetry::Sharded;

pub use link::Link;
pub(super) use said::Said;
pub(super) use take::Want;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// Beyond this an answer is of no use to anyone.
const LONGEST: Duration = Duration::from_secs(5);

/// A Redis, or a cluster of them.
pub struct Redis {
    place: Arc<Place>,
    cluster: bool,
    /// One a worker: a reply wakes no other thread than the one that waits for it.
    links: Sharded<Link>,
    /// And one for limits: what is late for their fifty milliseconds is in time for everybody else, who would lose the
    /// connection by it.
    limits: Sharded<Link>,
    /// And one for what may be large: nothing small waits behind it, or breaks with it.
    bulk: Sharded<Link>,
}

/// Where it is from now on, which every connection looks up that is made; and what the log was told of it.
struct Place {
    target: ArcSwap<Target>,
    said: Said,
}

/// Where it is, and by which password.
enum Target {
    One(Client),
    Cluster { nodes: Box<ClusterClient>, first: Client },
}

/// A connection; clones share it.
#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(Box<ClusterConnection>),
}

/// The Redis did not answer, or not in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// A Lua script, sent by its digest. All its keys must lie in one hash slot.
pub struct Script(redis::Script);

impl Script {
    /// The script of this text.
    pub fn new(text: &str) -> Self {
        Self(redis::Script::new(text))
    }

    /// A call of it with so many keys; add them, then the arguments.
    pub fn call(&self, keys: usize) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.0.get_hash()).arg(keys);
        command
    }
}

impl Redis {
    /// The Redis of a configuration; `None` if there is none. Nothing is connected yet.
    pub(super) fn compile(config: &config::Redis) -> Option<Self> {
        let target = ArcSwap::from_pointee(Target::compile(config)?);
        let place = Arc::new(Place { target, said: Said::default() });
        let (links, limits, bulk) = (Sharded::new(), Sharded::new(), Sharded::new());
        Some(Self { place, cluster: config.cluster, links, limits, bulk })
    }

    /// Connections that are made from now on are made by this password; those that are there stay.
    pub(super) fn follow(&self, config: &config::Redis) {
        if let Some(target) = Target::compile(config) {
            self.place.target.store(Arc::new(target));
        }
    }

    /// Asks, and waits so long for the answer, a connection that is being made included. One that is known to be
    /// broken is not waited for.
    ///
    /// # Errors
    /// No answer, or one that is an error: that is logged.
    pub async fn ask(&self, command: &Cmd, wait: Duration) -> Result<Value, Unavailable> {
        self.links.here().ask(&self.place, command, None, wait).await
    }

    /// Runs a script, which is loaded where that is needed.
    ///
    /// # Errors
    /// As [`Redis::ask`].
    pub async fn run(&self, script: &Script, call: &Cmd, wait: Duration) -> Result<Value, Unavailable> {
        self.links.here().ask(&self.place, call, Some(script), wait).await
    }

    /// As [`Redis::ask`], for values that may be large.
    ///
    /// # Errors
    /// The same.
    pub async fn ask_bulk(&self, command: &Cmd, wait: Duration) -> Result<Value, Unavailable> {
        self.bulk.here().ask(&self.place, command, None, wait).await
    }

    /// As [`Redis::run`], for values that may be large.
    ///
    /// # Errors
    /// The same.
    pub async fn run_bulk(&self, script: &Script, call: &Cmd, wait: Duration) -> Result<Value, Unavailable> {
        self.bulk.here().ask(&self.place, call, Some(script), wait).await
    }

    /// As [`Redis::run`], for limits.
    async fn run_limits(&self, script: &Script, call: &Cmd, wait: Duration) -> Result<Value, Unavailable> {
        self.limits.here().ask(&self.place, call, Some(script), wait).await
    }

    /// Whether keys may lie on different servers.
    fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// A connection of its own, for messages.
    pub(super) async fn subscriber(&self) -> redis::RedisResult<redis::aio::PubSub> {
        self.place.target.load_full().first().get_async_pubsub().await
    }

    /// Its host and port, or those of a cluster's first node, for the log.
    pub(super) fn address(&self) -> String {
        self.place.target.load().first().get_connection_info().addr().to_string()
    }
}

impl Target {
    #[expect(clippy::expect_used, reason = "the configuration was read by the same parser")]
    fn compile(config: &config::Redis) -> Option<Self> {
        let url = config.url.as_deref()?;
        let info = url.into_connection_info().expect("a URL that was checked");
        let mut settings = info.redis_settings().clone();
        if let Some(password) = &config.password {
            settings = settings.set_password(&**password);
        }
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp.clone());
        let first = Client::open(info.clone()).expect("an address that was checked");
        if !config.cluster {
            return Some(Self::One(first));
        }
        let nodes =
            ClusterClient::builder([info]).connection_timeout(CONNECT).response_timeout(LONGEST).tcp_settings(tcp);
        Some(Self::Cluster { nodes: Box::new(nodes.build().expect("an address that was checked")), first })
    }

    /// Where it, or a cluster's first node, is.
    fn first(&self) -> &Client {
        match self {
            Self::One(client) | Self::Cluster { first: client, .. } => client,
        }
    }

    async fn connect(&self) -> redis::RedisResult<Connection> {
        match self {
            Self::One(client) => {
                let config = AsyncConnectionConfig::new();
                let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(LONGEST));
                let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
                Ok(Connection::One(connection))
            }
            Self::Cluster { nodes, .. } => {
                let connection = tokio::time::timeout(CONNECT, nodes.get_async_connection()).await;
                let late = |_| redis::RedisError::from((ErrorKind::Io, "the cluster was not reached in time"));
                Ok(Connection::Cluster(Box::new(connection.map_err(late)??)))
            }
        }
    }
}

impl Connection {
    async fn send(&mut self, command: &Cmd) -> redis::RedisResult<Value> {
        let answer = match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        answer?.extract_error()
    }

    async fn load(&mut self, script: &Script) -> redis::RedisResult<()> {
        match self {
            Self::One(connection) => script.0.load_async(connection).await?,
            Self::Cluster(connection) => script.0.load_async(&mut **connection).await?,
        };
        Ok(())
    }
}

/// The script is not there: a server that was started again has forgotten it.
fn is_unknown_script(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// What is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fails {
    /// The connection.
    Connection,
    /// The server at its end, a replica: its name may lead to another one soon.
    Server,
}

/// Another connection may fare better.
fn asks_for_another(error: &redis::RedisError) -> Option<Fails> {
    let elsewhere = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown].map(ErrorKind::Server);
    if elsewhere.contains(&error.kind()) {
        return Some(Fails::Server);
    }
    error.is_unrecoverable_error().then_some(Fails::Connection)
}
