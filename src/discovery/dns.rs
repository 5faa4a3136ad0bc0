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
const NO_NAME: &str = "there is no such name";
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
    /// The domains in which names are looked up that are not written in full; those with fewer dots there first.
    search: Arc<[Name]>,
    ndots: usize,
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
                let resolver = Resolver::new(&self.rules)?;
                *made = Some((stamp, resolver.clone()));
                Ok(resolver)
            }
        }
    }
}

impl Resolver {
    fn new(rules: &Dns) -> Result<Self, String> {
        let (system, mut options) = read_system_conf().unwrap_or_else(|error| {
            tracing::debug!(%error, "{RESOLV_CONF} cannot be used");
            // resolv.conf(5): without any, the name server of this machine.
            let here = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_parts(None, Vec::new(), vec![here]), ResolverOpts::default())
        });
        let (own, search, named) = system.into_parts();
        let named = match &*rules.servers {
            [] => named,
            servers => servers.iter().copied().map(name_server).collect(),
        };
        let search = match &rules.search {
            Some(domains) => {
                domains.iter().map(Name::from_utf8).collect::<Result<_, _>>().map_err(|error| error.to_string())?
            }
            // resolv.conf(5): without a list, the domain of this machine.
            None if search.is_empty() => own.into_iter().collect(),
            None => search,
        };
        // Who asks knows when it is time; an answer that is kept here would be an old one.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.try_tcp_on_error = true;
        let ndots = options.ndots;
        let config = ResolverConfig::from_parts(None, Vec::new(), named);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let mut hosts = Hosts::default();
        if let Err(error) = File::open(HOSTS).and_then(|file| hosts.read_hosts_conf(file)) {
            tracing::debug!(%error, "{HOSTS} cannot be read");
        }
        Ok(Self {
            asks: builder.build().map_err(|error| error.to_string())?,
            hosts: Arc::new(hosts),
            search: search.into(),
            ndots,
        })
    }

    /// A name's addresses by family: A, AAAA. Both are of one domain: were each looked for by itself, a stranger's in a later one
    /// would stand beside those of the first.
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
        let mut nothing = [(), ()].map(|()| Err(NO_NAME.to_owned()));
        for name in self.in_full(&name) {
            let (a, aaaa) = tokio::join!(self.asks.ipv4_lookup(name.clone()), self.asks.ipv6_lookup(name));
            let families = [family(a), family(aaaa)];
            let is_there = families.iter().flatten().any(Result::is_ok);
            let is_over = families.iter().flatten().any(|family| !matches!(family, Ok((found, _)) if found.is_empty()));
            let other = || if is_there { Ok((Vec::new(), Instant::now() + LATEST)) } else { Err(NO_NAME.to_owned()) };
            let families = families.map(|family| family.unwrap_or_else(other));
            if is_over {
                return families;
            }
            // It stands for other things there, and may stand for addresses in the next.
            if is_there {
                nothing = families;
            }
        }
        nothing
    }

    /// What a name may stand for, in the order of resolv.conf(5).
    fn in_full(&self, name: &Name) -> Vec<Name> {
        let mut alone = name.clone();
        alone.set_fqdn(true);
        if name.is_fqdn() {
            return vec![alone];
        }
        let mut names: Vec<Name> =
            self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok()).collect();
        let at = if usize::from(name.num_labels()) > self.ndots { 0 } else { names.len() };
        names.insert(at, alone);
        names
    }

    /// What the SRV records of a name say.
    pub(super) async fn service(&self, name: &str) -> Result<Service, String> {
        let name = Name::from_utf8(name).map_err(|error| error.to_string())?;
        self.asks.clear_cache();
        let mut names = self.in_full(&name).into_iter();
        let lookup = loop {
            let Some(name) = names.next() else { return Err(NO_NAME.to_owned()) };
            match self.asks.srv_lookup(name).await {
                Err(error) if error.is_nx_domain() => {}
                looked => break looked.map_err(|error| error.to_string())?,
            }
        };
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

/// None: there is no such name.
fn family(answer: Result<Lookup, NetError>) -> Option<Family> {
    match answer {
        Ok(lookup) => Some(Ok((ips(&lookup), lookup.valid_until()))),
        Err(error) if error.is_nx_domain() => None,
        // The name is there, with other records; those say how long that holds.
        Err(error) if error.is_no_records_found() => Some(Ok((Vec::new(), Instant::now() + LATEST))),
        Err(error) => Some(Err(error.to_string())),
    }
}

fn ips(lookup: &Lookup) -> Vec<IpAddr> {
    lookup.answers().iter().filter_map(|record| record.data.ip_addr()).take(MOST).collect()
}
