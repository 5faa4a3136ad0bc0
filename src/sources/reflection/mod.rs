//! Reflection clients: what upstreams say of their own services, asked again and again.
//!
//! An upstream that cannot be asked keeps what it last said. Only services that configuration assigns to it are asked for.

mod fetch;
mod session;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use transom_transcode::schema::{Builder, Problem};

use crate::config::{Config, Upstream};
pub use session::in_other_version;

/// How long an upstream that fails is left alone at first; then twice as long each time, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What upstreams say of themselves, kept over reloads, and the tasks that ask them.
#[derive(Debug, Default)]
pub struct Reflections {
    said: Mutex<BTreeMap<String, Bytes>>,
    asking: Mutex<BTreeMap<String, Asking>>,
}

/// A task that asks an upstream; it ends when this is dropped.
#[derive(Debug)]
struct Asking {
    upstream: Upstream,
    interval: Duration,
    _task: AbortOnDropHandle<()>,
}

impl Reflections {
    /// Asks every upstream of `schema.reflection` once, for `patience` at most: a line for each that did not answer.
    pub async fn ask(&self, config: &Config, patience: Duration) -> Vec<String> {
        let mut asked = JoinSet::new();
        for (name, upstream) in reflecting(config) {
            let (name, upstream, folder) = (name.to_owned(), upstream.clone(), config.folder.clone());
            asked.spawn(async move {
                let answer = tokio::time::timeout(patience, fetch::fetch(&upstream, &folder)).await;
                (name, answer.unwrap_or_else(|_| Err(format!("no answer within {patience:?}"))))
            });
        }
        let mut silent = Vec::new();
        while let Some(answered) = asked.join_next().await {
            match answered {
                Ok((name, Ok(set))) => {
                    self.said.lock().insert(name, set);
                }
                Ok((name, Err(why))) => {
                    silent.push(format!("the upstream `{name}` cannot be asked for its schema by reflection: {why}"));
                }
                Err(_) => {}
            }
        }
        silent.sort();
        silent
    }

    /// Asks the upstreams of this configuration from now on, each at its interval, and no others; `changed` hears the
    /// name of one that says something new. What has not changed goes on undisturbed.
    pub fn follow(self: &Arc<Self>, config: &Config, changed: impl Fn(&str) + Clone + Send + Sync + 'static) {
        let interval = config.schema.reflection_interval;
        let wanted: BTreeMap<_, _> = reflecting(config).collect();
        self.said.lock().retain(|name, _| wanted.contains_key(name.as_str()));
        let mut asking = self.asking.lock();
        asking.retain(|name, asking| {
            wanted
                .get(name.as_str())
                .is_some_and(|upstream| asking.upstream == **upstream && asking.interval == interval)
        });
        for (name, upstream) in wanted {
            if !asking.contains_key(name) {
                let whom = (upstream.clone(), config.folder.clone());
                let task = self.clone().follow_one(name.to_owned(), whom, interval, changed.clone());
                let _task = AbortOnDropHandle::new(tokio::spawn(task));
                asking.insert(name.to_owned(), Asking { upstream: upstream.clone(), interval, _task });
            }
        }
    }

    async fn follow_one(
        self: Arc<Self>,
        name: String,
        (upstream, folder): (Upstream, PathBuf),
        interval: Duration,
        changed: impl Fn(&str) + Send,
    ) {
        let mut pause = FIRST_PAUSE;
        let mut failing = false;
        loop {
            match fetch::fetch(&upstream, &folder).await {
                Ok(set) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!(upstream = name, "its schema can be asked for again");
                    }
                    pause = FIRST_PAUSE;
                    let before = self.said.lock().insert(name.clone(), set.clone());
                    if before.as_ref() != Some(&set) {
                        changed(&name);
                    }
                    tokio::time::sleep(interval).await;
                }
                Err(why) => {
                    // Once, not at each try.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(upstream = name, why, "its schema cannot be asked for by reflection");
                    }
                    tokio::time::sleep(pause.min(interval)).await;
                    pause = pause.saturating_mul(2);
                }
            }
        }
    }

    /// Adds what the upstreams of a configuration have said, of their services those that it assigns to them.
    pub(super) fn add_to(&self, builder: &mut Builder, config: &Config) -> Vec<Problem> {
        let said = self.said.lock().clone();
        let mut problems = Vec::new();
        for (name, upstream) in reflecting(config) {
            let Some(set) = said.get(name).filter(|set| !set.is_empty()) else { continue };
            let keep = |service: &str| upstream.services.iter().any(|assigned| assigned == service);
            let added = builder.add_reflected(set, &format!("the reflection of `{name}`"), keep);
            problems.extend(added.err().unwrap_or_default());
        }
        problems
    }
}

/// The upstreams that are asked.
fn reflecting(config: &Config) -> impl Iterator<Item = (&str, &Upstream)> {
    let names = config.schema.reflection.iter();
    names.filter_map(|name| Some((name.as_str(), config.upstreams.get(name)?)))
}
