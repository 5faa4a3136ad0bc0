//! Slices: the EndpointSlices of one Kubernetes service, and what they say as endpoints.
//!
//! A list tells all of them and a version; a watch from that version on tells what changes. A watch that ends is taken up
//! again at the last version heard of, a bookmark's too; one that is too old (410) needs another list. What was found stays
//! meanwhile, and so does what a slice says that cannot be read: it is told, and hides no other.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::cluster::{Cluster, Events, Status, Trouble};
use super::{Found, Labels, MOST};
use crate::config::Service;

/// A watch is begun anew after this time, by the token as it is then.
const LASTS: Duration = Duration::from_secs(240);
/// Slices of a list's page.
const PAGE: usize = 500;
/// Pages of a list.
const PAGES: usize = 100;
/// Characters that are kept of why a slice cannot be read.
const WHY: usize = 200;
/// Of endpoints that are about to go: they get calls only where there is nobody else.
const LEAVING: u16 = u16::MAX;

/// How long it waits for the next list where the last one's version was too old at once, the first time and at most.
const RELIST: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Follows one service.
pub(super) struct Slices {
    service: Service,
    clusters: watch::Receiver<Arc<Cluster>>,
    cluster: Arc<Cluster>,
    /// The slices as they are, by name.
    kept: BTreeMap<String, Known>,
    /// What was told last.
    told: Told,
    /// None: only a list says what there is.
    version: Option<String>,
    events: Option<Events>,
    failure: Option<String>,
    /// Lists in a row whose version nobody could watch.
    vain: u32,
    /// What was told last is that nobody could say.
    failed: bool,
}

/// What there is, and what of it could not be read.
type Told = (Vec<Found>, Option<String>);

/// What one slice says.
#[derive(Default)]
struct Known {
    found: Vec<Found>,
    /// Why that is what it said before.
    unread: Option<String>,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    /// None: the `null` that some servers write of an empty list.
    items: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    more: String,
}

/// `discovery.k8s.io/v1.EndpointSlice`, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slice {
    metadata: Meta,
    #[serde(default)]
    address_type: String,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
}

/// Of a slice that cannot be read: which one it is.
#[derive(Deserialize)]
struct Named {
    metadata: Meta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    name: String,
    resource_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    zone: Option<String>,
    node_name: Option<String>,
}

#[derive(Deserialize, Default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize)]
struct Port {
    name: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    what: String,
    object: Box<RawValue>,
}

impl Slices {
    pub(super) fn new(service: Service, mut clusters: watch::Receiver<Arc<Cluster>>) -> Self {
        let cluster = Arc::clone(&clusters.borrow_and_update());
        let (kept, told) = Default::default();
        Self {
            service,
            clusters,
            cluster,
            kept,
            told,
            version: None,
            events: None,
            failure: None,
            vain: 0,
            failed: false,
        }
    }

    /// What is there, as soon as it is something else than what was told last; after a failure once that is over.
    pub(super) async fn next(&mut self) -> Result<Told, String> {
        let told = self.news().await;
        self.failed = told.is_err();
        told
    }

    async fn news(&mut self) -> Result<Told, String> {
        loop {
            if self.clusters.has_changed().unwrap_or(false) {
                self.cluster = Arc::clone(&self.clusters.borrow_and_update());
                (self.version, self.events) = (None, None);
            }
            let Some(version) = self.version.clone() else {
                self.list().await?;
                self.told = self.all();
                return Ok(self.told.clone());
            };
            let outcome = match &mut self.events {
                None => self.watch(&version).await,
                Some(events) => {
                    let stands = events.stands();
                    let event = tokio::select! {
                        event = events.next() => event,
                        // It is asked and listened to again, though nothing happens there.
                        () = stands, if self.failed => return Ok(self.told.clone()),
                        _ = self.clusters.changed() => {
                            // The loop's top is to see it, too.
                            self.clusters.mark_changed();
                            continue;
                        }
                    };
                    self.hear(event)
                }
            };
            match outcome {
                Ok(()) => {}
                Err(Trouble::Gone) => {
                    self.version = None;
                    let watched = self.events.take().is_some_and(|events| !events.is_fresh());
                    self.vain = if watched { 0 } else { self.vain + 1 };
                    // A server whose watches lag behind its lists is not asked for both as fast as it can.
                    tokio::time::sleep(self.pause()).await;
                }
                Err(Trouble::Other(why)) => {
                    self.events = None;
                    return Err(why);
                }
            }
            let all = self.all();
            if all != self.told {
                self.told = all;
                return Ok(self.told.clone());
            }
        }
    }

    /// Before the next list.
    fn pause(&self) -> Duration {
        match self.vain {
            0 | 1 => Duration::ZERO,
            vain => RELIST.0.saturating_mul(1 << (vain - 2).min(10)).min(RELIST.1),
        }
    }

    async fn list(&mut self) -> Result<(), String> {
        let mut all = BTreeMap::new();
        let (mut path, mut count) = (self.path()?, 0);
        let _ = write!(path, "&limit={PAGE}");
        let mut page = path.clone();
        for _ in 0..PAGES {
            let body = self.cluster.list(&page).await.map_err(|trouble| match trouble {
                Trouble::Gone => "the list has changed while it was read".to_owned(),
                Trouble::Other(why) => why,
            })?;
            let list: List = serde_json::from_slice(&body).map_err(|error| format!("no EndpointSliceList: {error}"))?;
            for item in list.items.into_iter().flatten() {
                let (meta, known) = self.read(&item)?;
                count += known.found.len();
                all.insert(meta.name, known);
            }
            if list.metadata.more.is_empty() || count > MOST {
                self.kept = all;
                self.version = Some(list.metadata.resource_version);
                return Ok(());
            }
            page = format!("{path}&continue={}", utf8_percent_encode(&list.metadata.more, NON_ALPHANUMERIC));
        }
        Err(format!("the list has more than {PAGES} pages"))
    }

    async fn watch(&mut self, version: &str) -> Result<(), Trouble> {
        let version = utf8_percent_encode(version, NON_ALPHANUMERIC);
        let (path, lasts) = (self.path()?, LASTS.as_secs());
        let path = format!("{path}&watch=1&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds={lasts}");
        self.events = Some(self.cluster.watch(&path, LASTS).await?);
        Ok(())
    }

    fn path(&self) -> Result<String, String> {
        let namespace = self.service.namespace.clone().map_or_else(|| self.cluster.namespace(), Ok)?;
        let named = utf8_percent_encode(&self.service.name, NON_ALPHANUMERIC);
        Ok(format!(
            "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D{named}"
        ))
    }

    /// Takes one event in.
    fn hear(&mut self, event: Result<Option<Bytes>, String>) -> Result<(), Trouble> {
        let Some(line) = event? else {
            // A server that ends each watch at once is not asked as fast as it can.
            let fresh = self.events.take().is_some_and(|events| events.is_fresh());
            return if fresh { Err(Trouble::Other("the watch has ended at once".to_owned())) } else { Ok(()) };
        };
        let event: Event = serde_json::from_slice(&line).map_err(|why| self.unheard(&why))?;
        if event.what == "ERROR" {
            let status: Status = serde_json::from_str(event.object.get()).map_err(|why| self.unheard(&why))?;
            return Err(status.trouble());
        }
        let (meta, known) = self.read(&event.object).map_err(|why| self.unheard(&why))?;
        self.vain = 0;
        if let Some(version) = meta.resource_version {
            self.version = Some(version);
        }
        match &*event.what {
            "ADDED" | "MODIFIED" => drop(self.kept.insert(meta.name, known)),
            "DELETED" => drop(self.kept.remove(&meta.name)),
            // A bookmark: nothing but the version. What is not known here changes nothing.
            _ => {}
        }
        Ok(())
    }

    /// What was said nobody knows, and what comes after it is heard by another list alone.
    fn unheard(&mut self, why: &dyn Display) -> String {
        self.version = None;
        format!("no event of a watch: {why}")
    }

    /// One slice; of one that cannot be read it is known which it is, and what it said before.
    fn read(&mut self, object: &RawValue) -> Result<(Meta, Known), String> {
        let why = match serde_json::from_str::<Slice>(object.get()) {
            Ok(slice) => {
                let (meta, found) = self.endpoints(slice);
                return Ok((meta, Known { found, unread: None }));
            }
            Err(why) => why,
        };
        let Named { metadata } = serde_json::from_str(object.get()).map_err(|_| format!("no EndpointSlice: {why}"))?;
        let found = self.kept.get(&metadata.name).map(|known| known.found.clone()).unwrap_or_default();
        let why: String = why.to_string().chars().take(WHY).collect();
        let unread =
            Some(format!("the slice {} cannot be read, and stands for what it did before: {why}", metadata.name));
        Ok((metadata, Known { found, unread }))
    }

    /// A slice as endpoints.
    fn endpoints(&mut self, slice: Slice) -> (Meta, Vec<Found>) {
        let Slice { metadata, address_type, endpoints, ports } = slice;
        let endpoints = endpoints.unwrap_or_default();
        if endpoints.is_empty() || !matches!(&*address_type, "IPv4" | "IPv6") {
            return (metadata, Vec::new());
        }
        let port = match port(self.service.port.as_deref(), ports.as_deref().unwrap_or_default()) {
            Ok(port) => port,
            Err(why) => {
                self.failure = Some(why);
                return (metadata, Vec::new());
            }
        };
        self.failure = None;
        (metadata, endpoints.into_iter().filter_map(|endpoint| endpoint.found(port)).collect())
    }

    /// All of them. A service that has addresses of both families has each of its pods twice: then IPv4 stands for it.
    fn all(&self) -> Told {
        let all = || self.kept.values().flat_map(|known| &known.found);
        let four = all().any(|found| found.address.is_ipv4());
        let found = all().filter(|found| !four || found.address.is_ipv4()).cloned().collect();
        let unread = || self.kept.values().find_map(|known| known.unread.clone());
        (found, self.failure.clone().or_else(unread))
    }
}

impl Endpoint {
    /// Its first address stands for it: the others are the same pod's.
    fn found(self, port: u16) -> Option<Found> {
        let address: IpAddr = self.addresses.first()?.parse().ok()?;
        let Conditions { ready, serving, terminating } = self.conditions;
        let ready = ready.unwrap_or(true);
        let priority = match (ready, serving.unwrap_or(ready) && terminating.unwrap_or(false)) {
            (true, _) => 0,
            (false, true) => LEAVING,
            (false, false) => return None,
        };
        let labels = [("zone", self.zone), ("node", self.node_name)];
        let labels = labels.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Some(Found { priority, address: SocketAddr::new(address, port), weight: 1, labels: Labels::from_iter(labels) })
    }
}

/// The port of that name or number; without either the only one.
fn port(wanted: Option<&str>, ports: &[Port]) -> Result<u16, String> {
    let mut open = ports.iter().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let found = match wanted {
        None => {
            let only = open.next();
            if open.next().is_some() {
                return Err("the service has several ports: name one, as `kubernetes://service:port`".to_owned());
            }
            only
        }
        Some(wanted) => open.find(|port| {
            port.name.as_deref() == Some(wanted) || port.port.is_some_and(|number| number.to_string() == wanted)
        }),
    };
    found.and_then(|port| port.port).ok_or_else(|| match wanted {
        Some(wanted) => format!("the service's pods have no port `{wanted}`"),
        None => "the service has no port".to_owned(),
    })
}
