//! Secrets that the configuration only names: `file:PATH`, `vault:MOUNT/PATH#KEY`.
//!
//! What they hold is a [`Secret`] from here on: it shows itself in no log, no error and no debug output.

mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::config::{self, Secret};
use vault::Session;

/// Bytes of one secret's file.
const LARGEST: u64 = 64 << 10;

/// A token that lives for a moment is not renewed more often than this.
const BRIEF: Duration = Duration::from_millis(500);

/// A change that was refused is told again: after so long, and after twice as long each time, up to so long.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// What a file of one secret holds, without the line break at its end; none if it cannot be read.
pub fn file(path: &Path) -> Option<String> {
    let text = String::from_utf8(crate::file::read(path, LARGEST).ok()?).ok()?;
    Some(unbroken(&text).to_owned())
}

/// What was written, without the line break that editors and pipes leave at its end.
fn unbroken(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// The same where there must be something.
///
/// # Errors
/// It cannot be read, or is empty: the file and what is wrong.
pub fn needed(path: &Path) -> Result<String, String> {
    match file(path) {
        Some(text) if !text.trim().is_empty() => Ok(text),
        Some(_) => Err(format!("{} is empty", path.display())),
        None => Err(format!("{} cannot be read", path.display())),
    }
}

/// The secrets of a Vault that the configuration names.
#[derive(Default)]
pub struct Kept {
    session: Session,
    /// As they were read last.
    read: Mutex<Read>,
    /// As they run.
    runs: Mutex<Read>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// What was read, and where.
#[derive(Clone, Default)]
struct Read {
    vault: Option<config::Vault>,
    secrets: BTreeMap<String, Secret>,
}

impl Read {
    /// It was read there, whoever has read it.
    fn is_of(&self, vault: &config::Vault) -> bool {
        let place = |vault: &config::Vault| (vault.address.clone(), vault.namespace.clone());
        self.vault.as_ref().is_some_and(|of| place(of) == place(vault))
    }
}

/// Why secrets cannot be read.
#[derive(Debug)]
pub struct Missing {
    /// A line for each, without what is secret in it.
    pub lines: Vec<String>,
    /// The Vault did not answer, and nothing else is wrong: it may be only a moment.
    pub passes: bool,
}

impl Kept {
    /// Reads what `names` stand for; relative paths of files start at `folder`. What the Vault does not say, because it does not answer, is what runs, where that is known.
    ///
    /// # Errors
    /// What cannot be read.
    pub async fn read(
        &self,
        (vault, folder): (&config::Vault, &Path),
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Secret>, Missing> {
        let vault::Found { mut secrets, unread } = vault::read((vault, folder), &self.session, names).await;
        let runs = self.runs.lock().clone();
        let (mut lines, mut passes) = (Vec::new(), true);
        for (name, why) in unread {
            let known = runs.secrets.get(&name).filter(|_| runs.is_of(vault));
            match (why, known) {
                (vault::Unread::Silent(why), Some(known)) => {
                    tracing::warn!("{why}; what runs stays");
                    secrets.insert(name, known.clone());
                }
                (vault::Unread::Silent(why), None) => lines.push(why),
                (vault::Unread::Refused(why), _) => {
                    passes = false;
                    lines.push(why);
                }
            }
        }
        if !lines.is_empty() {
            return Err(Missing { lines, passes });
        }
        *self.read.lock() = Read { vault: Some(vault.clone()), secrets: secrets.clone() };
        Ok(secrets)
    }

    /// The configuration names none.
    pub fn clear(&self) {
        *self.read.lock() = Read::default();
    }

    /// What was read last runs from now on, and is read again: `changed` is told when one is another, and again after a while
    /// for as long as it does not run. What fails is tried again. Between the readings the token is kept alive.
    pub fn follow(self: &Arc<Self>, vault: Option<&config::Vault>, folder: &Path, changed: impl Fn() + Send + 'static) {
        let runs = self.read.lock().clone();
        *self.runs.lock() = runs.clone();
        let Some(vault) = vault.filter(|_| !runs.secrets.is_empty()).cloned() else {
            *self.task.lock() = None;
            return;
        };
        let (kept, folder) = (Arc::clone(self), folder.to_owned());
        let task = tokio::spawn(async move {
            let names = runs.secrets.keys().cloned().collect();
            let mut told = Told::default();
            let mut due = Instant::now() + vault.refresh;
            loop {
                let life = vault::renew((&vault, &folder), &kept.session).await;
                // Half of it is left for a Vault that does not answer at once.
                let renewed = life.map_or(due, |life| Instant::now() + (life / 2).max(BRIEF));
                sleep_until(renewed.min(due)).await;
                if Instant::now() < due {
                    continue;
                }
                due = Instant::now() + vault.refresh;
                let vault::Found { secrets, unread } = vault::read((&vault, &folder), &kept.session, &names).await;
                if !unread.is_empty() {
                    let lines: Vec<_> = unread.into_values().map(vault::Unread::into_text).collect();
                    tracing::warn!("secrets cannot be read again: {}", lines.join("; "));
                } else if secrets != runs.secrets && told.is_due(secrets) {
                    changed();
                }
            }
        });
        *self.task.lock() = Some(AbortOnDropHandle::new(task));
    }
}

/// A change that was told, and does not run: what it was, when it is told again, and the pause before that.
#[derive(Default)]
struct Told(Option<(BTreeMap<String, Secret>, Instant, Duration)>);

impl Told {
    /// Whether it is told now.
    fn is_due(&mut self, change: BTreeMap<String, Secret>) -> bool {
        let now = Instant::now();
        let pause = match &self.0 {
            Some((told, again, _)) if *told == change && now < *again => return false,
            Some((told, _, pause)) if *told == change => (*pause * 2).min(AGAIN.1),
            _ => AGAIN.0,
        };
        self.0 = Some((change, now + pause, pause));
        true
    }
}
