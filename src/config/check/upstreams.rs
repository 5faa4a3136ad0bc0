//! What must hold between upstreams, and within each.

use std::collections::HashMap;

use super::super::problem::quote;
use super::super::read::Reader;
use super::super::{Balance, Config, place};

pub(super) fn check(config: &Config, reader: &mut Reader) {
    services(config, reader);
    health_names(config, reader);
    slow_starts(config, reader);
}

fn services(config: &Config, reader: &mut Reader) {
    let mut served: HashMap<&str, &str> = HashMap::new();
    for (name, upstream) in &config.upstreams {
        let path = place(&["upstreams", name, "services"]);
        for (index, service) in upstream.services.iter().enumerate() {
            let Some(other) = served.insert(service, name) else { continue };
            let line = reader.line(&[&format!("{path}[{index}]"), &path]);
            let message = if other == name {
                format!("`{service}` is written twice; keep one")
            } else {
                format!("`{service}` is served by the upstream `{other}` already; keep one")
            };
            reader.problems.push(line, format!("{path}[{index}]"), message);
        }
    }
}

/// Each is a key of `/health/detailed`, and a name that `grpc.health.v1` is asked for: of two that share one, one would hide the other.
fn health_names(config: &Config, reader: &mut Reader) {
    let mut named: HashMap<&str, &str> = HashMap::new();
    for (name, upstream) in &config.upstreams {
        let Some(known_as) = upstream.health_name.as_deref().filter(|known_as| known_as != name) else { continue };
        let message = if config.upstreams.contains_key(known_as) {
            format!("{} is the upstream `{}` itself; choose another", quote(known_as), place(&["upstreams", known_as]))
        } else if let Some(other) = named.insert(known_as, name) {
            format!("{} is the name of `{}` already; choose another", quote(known_as), place(&["upstreams", other]))
        } else {
            continue;
        };
        let path = place(&["upstreams", name, "health_name"]);
        let line = reader.line(&[&path]);
        reader.problems.push(line, path, message);
    }
}

fn slow_starts(config: &Config, reader: &mut Reader) {
    for (name, upstream) in &config.upstreams {
        if upstream.slow_start.is_some() && matches!(upstream.balance, Balance::Hash(_)) {
            let path = place(&["upstreams", name, "slow_start"]);
            let message = "is of no use with `balance: hash`, where calls have their places; remove it".to_owned();
            let line = reader.line(&[&path]);
            reader.problems.push(line, path, message);
        }
    }
}
