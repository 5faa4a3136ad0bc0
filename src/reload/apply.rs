//! From a configuration and its schema to the next snapshot: compiled aside, swapped once, or every problem.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use transom_transcode::schema;

use super::load::Loaded;
use crate::config::{self, Breaking, Config};
use crate::gateway::{Problem, Snapshot, State, breaking};

/// How long new endpoints may take to show whether they answer and to be connected to; calls to one that did not get there yet wait
/// for it.
const WARM: Duration = Duration::from_secs(1);

/// What runs now.
#[derive(Debug)]
pub struct Applied {
    /// Its number.
    pub version: u64,
    /// What breaks clients of what ran before.
    pub breaking: Vec<schema::Problem>,
}

/// What keeps things as they are.
#[derive(Debug)]
pub struct Refused {
    /// All of it.
    pub problems: Vec<Problem>,
    /// What would break clients of what runs.
    pub breaking: Vec<schema::Problem>,
    /// Something outside did not answer, and nothing else is wrong: the same may be applied in a moment.
    pub passes: bool,
}

impl Refused {
    fn of(problems: Vec<Problem>, breaking: Vec<schema::Problem>) -> Self {
        Self { problems, breaking, passes: false }
    }
}

/// Replaces what runs. New endpoints are connected to by every worker before the swap, and keys of new issuers are there; calls in
/// flight end as they began.
///
/// # Errors
/// Every problem; then nothing has changed.
pub async fn apply(state: &Arc<State>, loaded: Loaded) -> Result<Applied, Refused> {
    // One after the other: each compares with what runs.
    let _alone = state.reloads.alone().await;
    let (before, metrics) = (state.snapshot.load_full(), Arc::clone(&state.metrics));
    let runs = Arc::clone(&before);
    let compiled = spawn_blocking(move || {
        let config = Arc::clone(&loaded.config);
        let mut problems = needs_restart(&runs.config, &config);
        match loaded.compile(&metrics, Some(&runs)) {
            Ok(after) => {
                let breaking = breaking(&runs, &after);
                if config.schema.breaking == Breaking::Refuse {
                    problems.extend(breaking.iter().cloned().map(refused));
                }
                if problems.is_empty() { Ok((after, breaking)) } else { Err(Refused::of(problems, breaking)) }
            }
            Err(more) => {
                problems.extend(more);
                Err(Refused::of(problems, Vec::new()))
            }
        }
    });
    let (after, breaking) = compiled.await.unwrap_or_else(|panic| {
        let problem = schema::Problem::new("", "", format!("compiling failed: {panic}"));
        Err(Refused::of(vec![Problem::Schema(problem)], Vec::new()))
    })?;
    if let Some(auth) = &after.auth
        && let Err(missing) = auth.fetch_new(before.auth.as_deref()).await
    {
        let problem = |(key, why)| {
            let message = format!("gives no keys: {why}; mend it, or write what it was until its issuer answers");
            Problem::of(&after.config, format!("auth.{key}"), message)
        };
        return Err(Refused { problems: missing.into_iter().map(problem).collect(), breaking, passes: true });
    }
    let lost = unfound(&before, &after.config).await;
    if !lost.is_empty() {
        return Err(Refused { problems: lost, breaking, passes: true });
    }

    Ok(Applied { version: swap(state, after).await, breaking })
}

/// Upstreams that take calls, and would take none: what is written for them now cannot be looked up.
async fn unfound(before: &Snapshot, after: &Arc<Config>) -> Vec<Problem> {
    let mut looking = JoinSet::new();
    for upstream in before.upstreams.values() {
        let (upstream, config) = (Arc::clone(upstream), Arc::clone(after));
        looking.spawn(async move {
            let why = upstream.is_lost_in(&config).await?;
            let path = config::place(&["upstreams", upstream.name(), "endpoints"]);
            let message =
                format!("cannot be looked up: {why}; mend it, or write what it was until it can: that goes on");
            Some(Problem::of(&config, path, message))
        });
    }
    looking.join_all().await.into_iter().flatten().collect()
}

/// Replaces the certificates of what runs by those that its files hold now, where they are others: `true`. They end on
/// their day, whatever keeps a configuration from being applied.
///
/// # Errors
/// Every problem; then nothing has changed.
pub async fn renew_certificates(state: &Arc<State>) -> Result<bool, Vec<Problem>> {
    let _alone = state.reloads.alone().await;
    let (before, metrics) = (state.snapshot.load_full(), Arc::clone(&state.metrics));
    let compiled = spawn_blocking(move || {
        let after = Snapshot::compile(&before.config, Arc::clone(&before.schema), &metrics, Some(&before))?;
        Ok::<_, Vec<Problem>>((!after.has_certificates_of(&before)).then_some(after))
    });
    match compiled.await.unwrap_or(Ok(None))? {
        Some(after) => swap(state, after).await,
        None => return Ok(false),
    };
    Ok(true)
}

/// What was compiled runs from now on: its version.
async fn swap(state: &Arc<State>, after: Snapshot) -> u64 {
    for note in &after.notes {
        tracing::warn!("{note}");
    }
    let upstreams: Vec<_> = after.upstreams.values().cloned().collect();
    state.watches.lock().discovery().follow(&after.config);
    let prepared = state.watches.lock().prepare(&upstreams);
    // What is not there by then comes later: calls wait for it or go elsewhere.
    let _ = tokio::time::timeout(WARM, prepared).await;

    state.store.follow(&after.config.redis);
    if let Some(auth) = &after.auth {
        auth.keep_fresh(&state.store);
    }
    state.metrics.tls().expire(after.expiries().into_iter().map(|(place, expiry)| (place, expiry.at.as_second())));
    state.memory.set_most(after.config.overload.memory);
    state.snapshot.store(Arc::new(after));
    upstreams.iter().for_each(|upstream| upstream.enact());
    state.watches.lock().keep(&upstreams);
    let version = state.reloads.advance();
    state.metrics.reloads().applied(version);
    version
}

/// What threads and sockets were made from cannot change under them.
fn needs_restart(before: &Config, after: &Config) -> Vec<Problem> {
    let keys: [(&[&str], bool); 7] = [
        (&["listen"], before.listen != after.listen),
        (&["tls"], before.tls.is_some() != after.tls.is_some()),
        (&["tls", "redirect_from"], redirect_from(before) != redirect_from(after)),
        (&["clients"], before.clients != after.clients),
        (&["workers"], before.workers != after.workers),
        (&["admin", "listen"], before.admin.listen != after.admin.listen),
        // A password that has changed is what connections are made by from now on.
        (&["redis"], (&before.redis.url, before.redis.cluster) != (&after.redis.url, after.redis.cluster)),
    ];
    let changed = keys.into_iter().filter(|(_, changed)| *changed);
    changed
        .map(|(key, _)| {
            let path = config::place(key);
            let message = "has changed, which needs a restart; restart the gateway, or write what it was".to_owned();
            Problem::of(after, path, message)
        })
        .collect()
}

fn redirect_from(config: &Config) -> Option<std::net::SocketAddr> {
    config.tls.as_ref().and_then(|tls| tls.redirect_from)
}

fn refused(mut change: schema::Problem) -> Problem {
    change.message.push_str("; `schema.breaking: refuse` keeps what runs");
    Problem::Schema(change)
}
