//! DNS: questions to name servers, and what the system's files say without them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;

use super::LATEST;
use super::questions::{Family, MOST, Questions, has_addresses, ips};
use super::records::{Record, Service, Told};
use crate::config::Dns;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// What a file says holds so long.
const WRITTEN: Duration = Duration::from_secs(5);
const NO_NAME: &str = "there is no such name";

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
    questions: Questions,
    hosts: Arc<Hosts>,
    /// The domains in which names are looked up that are not written in full; those with fewer dots there first.
    search: Arc<[Name]>,
    ndots: usize,
    /// In full, by what is written: where it was found last.
    found_in: Arc<Mutex<HashMap<Box<str>, Name>>>,
}

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
        let asks = builder.build().map_err(|error| error.to_string())?;
        Ok(Self {
            questions: Questions::new(asks.clone()),
            asks,
            hosts: Arc::new(hosts),
            search: search.into(),
            ndots,
            found_in: Arc::default(),
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
        let mut nothing: Option<[Family; 2]> = None;
        for name in self.in_full(&name) {
            let families = self.questions.addresses(&name).await;
            let is_there = families.iter().flatten().any(Result::is_ok);
            let fails = families.iter().flatten().any(Result::is_err);
            let has = families.iter().any(|family| has_addresses(family.as_ref()));
            let other = || if is_there { Ok((Vec::new(), Instant::now() + LATEST)) } else { Err(NO_NAME.to_owned()) };
            let families = families.map(|family| family.unwrap_or_else(other));
            if has {
                self.is_found_in(host, name);
                return families;
            }
            // It is there, or was, and nobody can say where it is now: a later domain's is another's.
            if fails && (is_there || self.was_found_in(host, &name)) {
                return families;
            }
            // It stands for other things there, or nobody can say whether it is there, and may stand for addresses in the next.
            let says_less = || nothing.as_ref().is_none_or(|nothing| nothing.iter().all(Result::is_ok));
            if (is_there || fails) && says_less() {
                nothing = Some(families);
            }
        }
        nothing.unwrap_or_else(|| [(), ()].map(|()| Err(NO_NAME.to_owned())))
    }

    fn was_found_in(&self, host: &str, name: &Name) -> bool {
        self.found_in.lock().get(host) == Some(name)
    }

    /// Only what is not written in full can be found elsewhere.
    fn is_found_in(&self, host: &str, name: Name) {
        if !host.ends_with('.') {
            self.found_in.lock().insert(host.into(), name);
        }
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
    pub(super) async fn service(&self, written: &str) -> Result<Service, String> {
        let name = Name::from_utf8(written).map_err(|error| error.to_string())?;
        self.asks.clear_cache();
        let (mut found, mut failure) = (None, NO_NAME.to_owned());
        for full in self.in_full(&name) {
            match self.asks.srv_lookup(full.clone()).await {
                Ok(lookup) => {
                    self.is_found_in(written, full);
                    found = Some(lookup);
                    break;
                }
                Err(error) if error.is_nx_domain() => {}
                Err(error) if self.was_found_in(written, &full) => return Err(error.to_string()),
                Err(error) => failure = error.to_string(),
            }
        }
        let lookup = found.ok_or(failure)?;
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
