//! Passwords: Argon2id hashes (RFC 9106), computed off the runtime's threads and a few at a time.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use crate::demo::refusal::Refusal;

/// Hashes that wait or run at once: each of them holds a caller, and while it runs 7 MiB.
const MOST_WAITING: usize = 256;

/// What a password is checked against when there is no account: a stranger must not see it by the time it takes.
static DECOY: LazyLock<String> = LazyLock::new(|| hash("nobody's password").unwrap_or_default());

/// Hashes and checks passwords.
///
/// A hash takes 7 MiB and 5 passes, one of the settings that OWASP's password storage guide calls enough.
pub(super) struct Passwords {
    waiting: Semaphore,
    running: Semaphore,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self { waiting: Semaphore::new(MOST_WAITING), running: Semaphore::new(cores) }
    }

    /// The hash to keep, as a PHC string.
    pub(super) async fn hash(&self, password: String) -> Result<String, Status> {
        self.run(move || hash(&password)).await?.ok_or_else(|| Status::internal("the password could not be hashed"))
    }

    /// Whether a password is the one that was hashed; `None` takes as long and is never it.
    pub(super) async fn matches(&self, password: String, hash: Option<String>) -> Result<bool, Status> {
        let known = hash.is_some();
        let verify = move || {
            let hash = PasswordHash::new(hash.as_ref().unwrap_or(&DECOY)).ok()?;
            Argon2::default().verify_password(password.as_bytes(), &hash).ok()
        };
        Ok(self.run(verify).await?.is_some() && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let busy = || Refusal::new(Code::Unavailable, "BUSY", "too many people log in at once; try again");
        let _waiting = self.waiting.try_acquire().map_err(|_| busy())?;
        let _running = self.running.acquire().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| Status::internal("the password could not be read"))
    }
}

fn hash(password: &str) -> Option<String> {
    let params = Params::new(7 * 1024, 5, 1, None).ok()?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}
