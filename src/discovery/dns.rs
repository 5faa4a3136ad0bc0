//! DNS: questions to name servers, and what the system's files say without them.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;

use super::LATEST;
use super::records::{Record, Service, Told};
use crate::config::Dns;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// What a file says holds so long.
const WRITTEN: Duration = Duration::from_secs(5);
/// Records of one answer that are looked at.
const MOST: usize = 4096;

/// The rules that names are looked up by, and what was made of them.
#[derive(Default)]
pub(super) struct Names {
    rules: Dns,
    made: Mutex<Option<(Stamp, Resolver)>>,
}

/// What the system's files were when they were read.
type Stamp = [Option<(SystemTime, u64)>; 2];

/// Asks name servers, after the system's own list of hosts.
#[derive(Clone)]
pub(super) struct Resolver {
    asks: TokioResolver,
    hosts: Arc<Hosts>,
}

/// The addresses of one family that a name has, and until when; none where the name has others only.
pub(super) type Family = Result<(Vec<IpAddr>, Instant), String>;

impl Names {
    pub(super) fn new(rules: Dns) -> Self {
        Self { rules, made: Mutex::default() }
    }

    pub(super) fn rules(&self) -> &Dns {
        &self.rules
    }

    /// By the files as they are now.
    pub(super) fn resolver(&self) -> Result<Resolver, String> {
        let stamp = [RESOLV_CONF, HOSTS].map(|file| {
            let meta = fs::metadata(file).ok()?;
            Some((meta.modified().ok()?, meta.len()))
        });
        let mut made = self.made.lock();
        match &*made {
            Some((of, resolver)) if *of == stamp => Ok(resolver.clone()),
            _ => {
                let resolver = Resolver::new(&self.rules.servers).map_err(|error| error.to_string())?;
                *made = Some((stamp, resolver.clone()));
                Ok(resolver)
            }
        }
    }
}

impl Resolver {
    fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let (system, mut options) = read_system_conf().unwrap_or_else(|error| {
            tracing::debug!(%error, "{RESOLV_CONF} cannot be used");
            // resolv.conf(5): without any, the name server of this machine.
            let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_parts(None, Vec::new(), vec![here]), ResolverOpts::default())
        });
        let (domain, search, named) = system.into_parts();
        let named = if servers.is_empty() { named } else { servers.iter().copied().map(name_server).collect() };
        // Who asks knows when it is time; an answer that is kept here would be an old one.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.try_tcp_on_error = true;
        let config = ResolverConfig::from_parts(domain, search, named);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let mut hosts = Hosts::default();
        if let Err(error) = File::open(HOSTS).and_then(|file| hosts.read_hosts_conf(file)) {
            tracing::debug!(%error, "{HOSTS} cannot be read");
        }
        Ok(Self { asks: builder.build()?, hosts: Arc::new(hosts) })
    }

    /// A name's addresses by family: A, AAAA.
    pub(super) async fn addresses(&self, host: &str) -> [Family; 2] {
        let name = match Name::from_utf8(host) {
            Ok(name) => name,
            Err(error) => return [(), ()].map(|()| Err(error.to_string())),
        };
        let written = |of| self.hosts.lookup_static_host(&Query::query(name.clone(), of));
        let written = [RecordType::A, RecordType::AAAA].map(written);
        if written.iter().any(Option::is_some) {
            let until = Instant::now() + WRITTEN;
            return written.map(|lookup| Ok((lookup.as_ref().map(ips).unwrap_or_default(), until)));
        }
        self.asks.clear_cache();
        let (a, aaaa) = tokio::join!(self.asks.ipv4_lookup(name.clone()), self.asks.ipv6_lookup(name.clone()));
        [family(a), family(aaaa)]
    }

    /// What the SRV records of a name say.
    pub(super) async fn service(&self, name: &str) -> Result<Service, String> {
        let name = Name::from_utf8(name).map_err(|error| error.to_string())?;
        self.asks.clear_cache();
        let lookup = self.asks.srv_lookup(name).await.map_err(|error| error.to_string())?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            // A target of `.`: decidedly not here.
            RData::SRV(srv) if !srv.target.is_root() => Some(Record {
                target: known_as(&srv.target),
                port: srv.port,
                priority: srv.priority,
                weight: srv.weight,
            }),
            _ => None,
        });
        let mut told = Told::new();
        let now = Instant::now();
        for record in lookup.additionals().iter().take(MOST) {
            if let Some(address) = record.data.ip_addr() {
                let until = now + Duration::from_secs(record.ttl.into());
                told.entry(known_as(&record.name)).or_default().push((address, until));
            }
        }
        Ok(Service { records: records.take(MOST).collect(), told, until: lookup.valid_until() })
    }
}

/// Names are the same in either case.
fn known_as(name: &Name) -> Arc<str> {
    name.to_lowercase().to_utf8().into()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn family(answer: Result<Lookup, NetError>) -> Family {
    match answer {
        Ok(lookup) => Ok((ips(&lookup), lookup.valid_until())),
        // The name is there, with other records; those say how long that holds.
        Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok((Vec::new(), Instant::now() + LATEST)),
        Err(error) => Err(error.to_string()),
    }
}

fn ips(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).take(MOST).collect()
}
