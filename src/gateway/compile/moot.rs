//! Moot: what is written and has no effect, since something else that is written takes it away.

use std::time::Duration;

use crate::config::{self, Config, Endpoint, Place, Retry};

/// A note for each.
pub(super) fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let places = config.overload.in_flight;
    if config.overload.in_flight_per_client.is_some_and(|most| most >= places) {
        notes.push(format!("overload.in_flight_per_client has no effect: `in_flight` is {places}"));
    }
    for (name, upstream) in &config.upstreams {
        let at = |key: &str| format!("{}.{key}", config::place(&["upstreams", name]));
        if let Some(retry) = &upstream.retry {
            notes.extend(retries(&at("retry"), retry, Some(upstream.timeout)));
        }
        // Where the most is not written it is the usual one, and means nothing.
        if upstream.connections > upstream.max_connections && config.source.line(&at("max_connections")).is_some() {
            notes.push(format!(
                "{} has no effect: {} `connections` are made in any case",
                at("max_connections"),
                upstream.connections
            ));
        }
        if upstream.outlier_ejection.as_ref().is_some_and(|rule| rule.max_ejected.0 == 0) {
            notes.push(format!("{} has no effect: `max_ejected: 0%` lets nobody be ejected", at("outlier_ejection")));
        }
        if let Some(subset) = &upstream.subset
            && !upstream.endpoints.iter().any(|endpoint| may_have(endpoint, &subset.label))
        {
            notes.push(format!(
                "{}.label: no endpoint has a label `{}`: write it in its `labels`",
                at("subset"),
                subset.label
            ));
        }
    }
    for (name, method) in &config.methods {
        if let Some(retry) = &method.retry {
            notes.extend(retries(&config::place(&["methods", name, "retry"]), retry, method.timeout));
        }
    }
    notes
}

/// Of a rule for calls that have so much time.
fn retries(place: &str, retry: &Retry, timeout: Option<Duration>) -> Vec<String> {
    let mut notes = Vec::new();
    if retry.attempts == 1 && retry.hedge.is_some() {
        notes.push(format!("{place}.hedge has no effect: it is one of the `attempts`, which are 1"));
    }
    if let (Some(one), Some(all)) = (retry.per_try_timeout, timeout)
        && one >= all
    {
        notes.push(format!("{place}.per_try_timeout has no effect on unary calls: their `timeout` is {all:?}"));
    }
    if retry.attempts > 1 && retry.backoff > retry.max_backoff {
        notes.push(format!(
            "{place}.backoff has no effect: no pause is longer than `max_backoff`, {:?}",
            retry.max_backoff
        ));
    }
    notes
}

/// Those that a cluster names have two labels beside what is written.
fn may_have(endpoint: &Endpoint, label: &str) -> bool {
    let named = matches!(endpoint.place, Place::Slices(_)) && ["zone", "node"].contains(&label);
    named || endpoint.labels.contains_key(label)
}
