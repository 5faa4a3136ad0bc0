//! Reload: what was written has changed, so what runs is replaced, whole and at once, or stays as it is.
//!
//! ```text
//! wish (files, SIGHUP, POST /reload, reflection) → load → compile aside → swap once, or keep the old and say every problem
//! ```
//!
//! ```text
//! load    from a file's name to a configuration and its schema
//! apply   from those to the next snapshot
//! watch   which files have changed
//! files   what a path stands for: its folders, its links, its content
//! ```

mod apply;
mod files;
mod load;
mod watch;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use crate::gateway::{Ask, Outcome, Reason, Reload, State};

pub use apply::{Applied, Refused, apply, renew_certificates};
pub use files::Files;
pub use load::{Load, Loaded, Source, lines};

use watch::Watch;

/// What was refused because something outside did not answer is tried again: after so long, and after twice as long each time,
/// up to so long.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Reloads for as long as the process lives; a task of the control runtime. `loaded` is what the process started with.
pub async fn run(state: Arc<State>, source: Source, loaded: Files, hangup: Signal) {
    let Some(wishes) = state.reloads.take() else { return };
    let reloader = Reloader { state, source: Arc::new(source), watch: Watch::new(), files: loaded, retry: None };
    reloader.run(wishes, hangup).await;
}

struct Reloader {
    state: Arc<State>,
    source: Arc<Source>,
    watch: Watch,
    /// What was loaded last, whether it was applied or not.
    files: Files,
    /// What is tried again, when, and the pause before that.
    retry: Option<(Reason, Instant, Duration)>,
}

impl Reloader {
    async fn run(mut self, mut wishes: tokio::sync::mpsc::Receiver<Ask>, mut hangup: Signal) {
        self.watch.follow(&self.files);
        self.follow_reflections();
        loop {
            let first = tokio::select! {
                Some(wish) = wishes.recv() => wish,
                Some(()) = hangup.recv() => Ask { reason: Reason::Signal, answer: None },
                reason = due(self.retry.as_ref()) => Ask { reason, answer: None },
                () = self.watch.changed() => {
                    let now = self.again().await;
                    let same = now.digest() == self.files.digest();
                    // Links may lead elsewhere, to the same content.
                    self.watch.follow(&now);
                    self.files = now;
                    if same {
                        continue;
                    }
                    Ask { reason: Reason::Files, answer: None }
                }
            };
            let mut answers: Vec<_> = first.answer.into_iter().collect();
            while let Ok(wish) = wishes.try_recv() {
                answers.extend(wish.answer);
            }
            let reload = self.reload(first.reason).await;
            for answer in answers {
                // Who asked may have left.
                let _ = answer.send(Arc::clone(&reload));
            }
        }
    }

    async fn reload(&mut self, reason: Reason) -> Arc<Reload> {
        let now = self.again().await;
        let source = Arc::clone(&self.source);
        let load = match spawn_blocking(move || source.load()).await {
            Ok(load) => load,
            Err(panic) => {
                let outcome = Err(vec![format!("loading failed: {panic}")]);
                Load { files: None, outcome, passes: false }
            }
        };
        // A text that cannot be read names no files: those that were named so far are followed on.
        self.files = load.files.unwrap_or(now);
        self.watch.follow(&self.files);
        let pause = self.retry.take().map_or(AGAIN.0, |(_, _, pause)| (pause * 2).min(AGAIN.1));
        let mut passes = load.passes;
        let (outcome, breaking) = match load.outcome {
            Err(lines) => (Outcome::Refused(lines), Vec::new()),
            Ok(loaded) => match apply(&self.state, loaded).await {
                Ok(Applied { version, breaking }) => {
                    self.follow_reflections();
                    (Outcome::Applied(version), breaking)
                }
                Err(Refused { problems, breaking, passes: soon }) => {
                    passes = soon;
                    (Outcome::Refused(lines(self.source.name(), &problems)), breaking)
                }
            },
        };
        self.retry = passes.then(|| (reason.clone(), Instant::now() + pause, pause));
        let breaking = breaking.iter().map(ToString::to_string).collect();
        let reload = Arc::new(Reload { reason, at: SystemTime::now(), outcome, breaking });
        tell(&reload);
        if matches!(reload.outcome, Outcome::Refused(_)) {
            self.renew_certificates().await;
            self.state.metrics.reloads().refused();
        }
        self.state.reloads.note(Arc::clone(&reload));
        reload
    }

    /// What was refused keeps nobody from new certificates of what runs.
    async fn renew_certificates(&mut self) {
        let running = self.source.paths(&self.state.snapshot.load().config);
        let more: Vec<_> = running.into_iter().filter(|path| !self.files.paths().contains(path)).collect();
        if !more.is_empty() {
            self.files = Files::read([self.files.paths(), &more].concat());
            self.watch.follow(&self.files);
        }
        match renew_certificates(&self.state).await {
            Ok(true) => tracing::info!("certificates renewed; what was refused is still to be mended"),
            Ok(false) => {}
            Err(problems) => {
                for problem in problems {
                    tracing::error!(%problem, "certificates not renewed");
                }
            }
        }
    }

    fn follow_reflections(&self) {
        let (state, config) = (Arc::clone(&self.state), self.state.snapshot.load().config.clone());
        let reloads = Arc::clone(&state);
        self.source.follow(&config, move |upstream| state.reloads.trigger(Reason::Reflection(upstream.into())));
        self.source.follow_secrets(&config, move || reloads.reloads.trigger(Reason::Secrets));
    }

    /// The same files as they are now.
    async fn again(&self) -> Files {
        let paths = self.files.paths().to_vec();
        spawn_blocking(|| Files::read(paths)).await.unwrap_or_else(|_| self.files.clone())
    }
}

/// Waits until it is time to try again, if that is wanted: why it was tried.
async fn due(retry: Option<&(Reason, Instant, Duration)>) -> Reason {
    match retry {
        Some((reason, at, _)) => {
            sleep_until(*at).await;
            reason.clone()
        }
        None => std::future::pending().await,
    }
}

fn tell(reload: &Reload) {
    for change in &reload.breaking {
        tracing::warn!(reason = %reload.reason, %change, "breaking change");
    }
    match &reload.outcome {
        Outcome::Applied(version) => tracing::info!(reason = %reload.reason, version, "reloaded"),
        Outcome::Refused(problems) => {
            for problem in problems {
                tracing::error!(reason = %reload.reason, %problem, "reload refused; what ran goes on");
            }
        }
    }
}
