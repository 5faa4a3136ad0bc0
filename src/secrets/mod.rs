//! Secrets that the configuration only names: `file:PATH`, `vault:MOUNT/PATH#KEY`.
//!
//! What they hold is a [`Secret`] from here on: it shows itself in no log, no error and no debug output.

mod vault;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
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

/// What a file of one secret holds, without the line break at its end; none if it cannot be read.
pub fn file(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    crate::file::open(path).ok()?.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > LARGEST {
        return None;
    }
    let text = String::from_utf8(bytes).ok()?;
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

/// The secrets of a Vault that the configuration names, as they were read last.
#[derive(Default)]
pub struct Kept {
    session: Session,
    known: Mutex<BTreeMap<String, Secret>>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Kept {
    /// Reads what `names` stand for.
    ///
    /// # Errors
    /// A line for everything that cannot be read; without what is secret in it.
    pub async fn read(
        &self,
        vault: &config::Vault,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Secret>, Vec<String>> {
        let read = vault::read(vault, &self.session, names).await?;
        self.known.lock().clone_from(&read);
        Ok(read)
    }

    /// Reads them again from now on; `changed` is told when one is another. What fails is tried again. Between the readings
    /// the token is kept alive.
    pub fn follow(self: &Arc<Self>, vault: Option<&config::Vault>, changed: impl Fn() + Send + 'static) {
        let known = self.known.lock().keys().cloned().collect::<BTreeSet<_>>();
        let Some(vault) = vault.filter(|_| !known.is_empty()).cloned() else {
            *self.task.lock() = None;
            return;
        };
        let kept = Arc::clone(self);
        let task = tokio::spawn(async move {
            let mut due = Instant::now() + vault.refresh;
            loop {
                let life = vault::renew(&vault, &kept.session).await;
                // Half of it is left for a Vault that does not answer at once.
                let renewed = life.map_or(due, |life| Instant::now() + (life / 2).max(BRIEF));
                sleep_until(renewed.min(due)).await;
                if Instant::now() < due {
                    continue;
                }
                due = Instant::now() + vault.refresh;
                match vault::read(&vault, &kept.session, &known).await {
                    Ok(read) if read != *kept.known.lock() => changed(),
                    Ok(_) => {}
                    Err(lines) => tracing::warn!("secrets cannot be read again: {}", lines.join("; ")),
                }
            }
        });
        *self.task.lock() = Some(AbortOnDropHandle::new(task));
    }
}
