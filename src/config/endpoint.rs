//! `upstreams.*.endpoints`: where an upstream runs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

use super::aim::check_label;
use super::cluster::is_label;
use super::kind::{self, Kind, Shape, checked, count, map, text};
use super::problem::quote;
use super::read::{Reader, section};
use super::tree::{Node, Value};
use super::upstream::is_host;

/// Where an upstream runs, or where to find out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// What is written as its address.
    pub place: Place,
    /// How often its turn comes, beside the others'.
    pub weight: Weight,
    /// What is said of it.
    pub labels: BTreeMap<String, String>,
}

impl Endpoint {
    /// One of usual weight.
    pub fn at(host: &str, port: u16) -> Self {
        Self { place: Place::Host { host: host.to_owned(), port }, ..Self::default() }
    }
}

/// What an endpoint's address stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// An address, or all addresses of a name.
    Host {
        /// A host name or an address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// What the SRV records of a name say (RFC 2782).
    Srv(String),
    /// What the EndpointSlices of a service say.
    Slices(Service),
}

/// A service of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Service {
    /// None: where the configuration says, or the pod's own.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// A port of its pods by name or number; none: the only one.
    pub port: Option<String>,
}

impl Place {
    /// The name that certificates are expected for.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Host { host, .. } => Some(host),
            Self::Srv(_) | Self::Slices(_) => None,
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::Host { host: String::new(), port: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Srv(name) => write!(f, "srv://{name}"),
            Self::Slices(Service { namespace, name, port }) => {
                let (namespace, slash) = namespace.as_deref().map_or(("", ""), |namespace| (namespace, "/"));
                let (colon, port) = port.as_deref().map_or(("", ""), |port| (":", port));
                write!(f, "kubernetes://{namespace}{slash}{name}{colon}{port}")
            }
        }
    }
}

/// How often an endpoint's turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight(pub u8);

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

section! {
    /// An endpoint with more to say than its address.
    pub(super) struct EndpointKeys {
        /// `host:port`, `srv://_grpc._tcp.name` or `kubernetes://namespace/service:port`.
        address: Endpoint = checked(ADDRESS, endpoint).required(),
        /// How often its turn comes, beside the others'; of a name, the turn of each of its addresses. An SRV record's own weight counts so many times.
        weight: usize = count(1..=100).or("1"),
        /// What is said of it, such as `{zone: eu-west-1a, version: v2}`: for `zone` and `subset`. Of a place where many are found, of each of them.
        labels: BTreeMap<String, String> = map("a label's name", check_label, text("a value")).or("{}"),
    }
}

const ADDRESS: &str = "`host:port`";

/// An endpoint as `host:port` or as a map.
pub(super) struct Endpoints;

impl Kind for Endpoints {
    type Out = Endpoint;

    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Endpoint> {
        match &node.value {
            Value::Map(entries) => {
                let EndpointKeys { address, weight, labels } = reader.section(node.line, entries);
                Some(Endpoint { weight: Weight(u8::try_from(weight).unwrap_or(1)), labels, ..address })
            }
            _ => checked(ADDRESS, endpoint).read(node, reader),
        }
    }

    fn shape(&self) -> Shape {
        let keys = kind::section::<EndpointKeys>().shape();
        Shape::Either(Box::new(Shape::Text(ADDRESS)), Box::new(keys))
    }
}

/// `host:port`, `[::1]:50051`, `srv://name`, `kubernetes://namespace/service:port`; `http://` in front says the same, since upstream calls are HTTP/2.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let wrong = |hint: &str| Err(format!("{} is not an endpoint; {hint}", quote(text)));
    let address = match text.split_once("://") {
        None => text,
        Some(("http" | "grpc", address)) => address.strip_suffix('/').unwrap_or(address),
        Some(("srv", name)) if is_host(name) => {
            return Ok(Endpoint { place: Place::Srv(name.to_owned()), ..Endpoint::default() });
        }
        Some(("srv", _)) => return wrong("write `srv://_grpc._tcp.name`: its records say the ports"),
        Some(("kubernetes", service)) => {
            return match slices(service) {
                Some(service) => Ok(Endpoint { place: Place::Slices(service), ..Endpoint::default() }),
                None => wrong("write `kubernetes://namespace/service:port`; the port is a name, or the pods' number"),
            };
        }
        Some(("https" | "grpcs", _)) => {
            return wrong("write `host:port`, and `tls` for the upstream");
        }
        Some(_) => return wrong("write `host:port`"),
    };
    let Some((host, port)) = address.rsplit_once(':') else { return wrong("its port is missing; write `host:port`") };
    let Some(port) = port.parse().ok().filter(|port| *port != 0) else {
        return wrong("its port is not a number from 1 to 65535");
    };
    let bare = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
        Some(Some(inner)) if inner.parse::<Ipv6Addr>().is_ok() => inner,
        Some(_) => return wrong("write an IPv6 address as `[::1]:50051`"),
        None if host.contains(':') => return wrong("write an IPv6 address as `[::1]:50051`"),
        None if is_host(host) => host,
        None => return wrong("write `host:port` with a host name or an address"),
    };
    Ok(Endpoint::at(bare, port))
}

/// `namespace/service:port`, of which the service alone must be there.
fn slices(text: &str) -> Option<Service> {
    let (namespace, rest) = text.split_once('/').map_or((None, text), |(namespace, rest)| (Some(namespace), rest));
    let (name, port) = rest.split_once(':').map_or((rest, None), |(name, port)| (name, Some(port)));
    let right = namespace.into_iter().chain([name]).chain(port).all(is_label);
    let owned = |text: Option<&str>| text.map(str::to_owned);
    right.then(|| Service { namespace: owned(namespace), name: name.to_owned(), port: owned(port) })
}
