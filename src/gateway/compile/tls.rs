//! What `tls` and `upstreams.*.tls` become: their files are read, and what is wrong with them is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{self, Config};
use crate::gateway::snapshot::Snapshot;
use crate::sources::Problem;
use crate::tls::{Acceptor, Connector, Expiry, Wrong};

/// The certificates of one configuration.
#[derive(Default)]
pub(super) struct Certificates {
    /// What clients see.
    pub(super) own: Option<Arc<Acceptor>>,
    /// What services see, by the upstream's name.
    pub(super) upstreams: BTreeMap<String, Arc<Connector>>,
}

impl Certificates {
    /// Reads them; what `previous` read goes on where it is the same.
    pub(super) fn compile(config: &Config, previous: Option<&Snapshot>, problems: &mut Vec<Problem>) -> Self {
        let mut certificates = Self::default();
        let mut tell = |section: &str, wrong: Vec<Wrong>| {
            let place = |(key, message)| Problem::of(config, format!("{section}.{key}"), message);
            problems.extend(wrong.into_iter().map(place));
        };
        if let Some(written) = &config.tls {
            let before = previous.and_then(|previous| previous.tls.as_ref());
            match Acceptor::compile(written, &config.folder, before) {
                Ok(acceptor) => certificates.own = Some(acceptor),
                Err(wrong) => tell("tls", wrong),
            }
        }
        for (name, upstream) in &config.upstreams {
            let Some(written) = &upstream.tls else { continue };
            let before = previous.and_then(|previous| previous.upstreams.get(name)?.tls());
            match Connector::compile(written, &upstream.endpoints, &config.folder, before) {
                Ok(connector) => {
                    certificates.upstreams.insert(name.clone(), connector);
                }
                Err(wrong) => tell(&config::place(&["upstreams", name, "tls"]), wrong),
            }
        }
        certificates
    }

    /// A line for each certificate that has ended or is about to.
    pub(super) fn warnings(&self, now: Timestamp) -> Vec<String> {
        let warn = |section: String, expiries: &[Expiry]| -> Vec<String> {
            let warning = |expiry: &Expiry| Some(format!("{section}.{} {}", expiry.key, expiry.warning(now)?));
            expiries.iter().filter_map(warning).collect()
        };
        let own = self.own.iter().flat_map(|own| warn("tls".to_owned(), own.expiries()));
        let services = self
            .upstreams
            .iter()
            .flat_map(|(name, tls)| warn(config::place(&["upstreams", name, "tls"]), tls.expiries()));
        own.chain(services).collect()
    }
}
