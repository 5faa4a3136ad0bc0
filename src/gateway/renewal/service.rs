//! A service that renews its own tokens, asked on the way of a call: once for all calls that come with one refresh token, at
//! whichever gateways. What it answers is kept for a moment, sealed by the token that it was asked with: nobody else reads it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use tokio::time::sleep;
use transom_transcode::frame::{self, PREFIX};

use crate::config::Priority;
use crate::gateway::route::Rpc;
use crate::gateway::worker::Worker;
use crate::policy::auth::{Pair, Refusal};
use crate::policy::session::Session;
use crate::store::Errand;
use crate::upstream::{Aim, FailureKind, Metadata, Outgoing};

/// How long a renewal may take, for who does it and for who waits.
const LONGEST: Duration = Duration::from_secs(5);
/// How long its answer is kept for those who set out at the same time.
const STAYS: Duration = Duration::from_secs(10);
/// How often who waits asks.
const PAUSE: Duration = Duration::from_millis(20);

/// The RPC that trades a refresh token for new tokens.
pub(in crate::gateway) struct Service(Arc<Rpc>);

impl Service {
    /// `None`: the RPC does something else.
    pub(in crate::gateway) fn new(rpc: Arc<Rpc>) -> Option<Self> {
        rpc.session.as_ref().is_some_and(Session::renews).then_some(Self(rpc))
    }

    /// The pair that a refresh token is traded for, by this call or by another.
    pub(in crate::gateway) async fn renew(&self, worker: &Arc<Worker>, token: &str) -> Result<Pair, Refusal> {
        let errand = Sealed::new(token);
        let late = Instant::now() + LONGEST;
        loop {
            match worker.store.errand(&errand.name, LONGEST).await {
                Ok(Errand::Mine) => break,
                Ok(Errand::Done(answer)) => return errand.open(answer),
                Ok(Errand::UnderWay) if Instant::now() < late => sleep(PAUSE).await,
                Ok(Errand::UnderWay) => return Err(Refusal::unavailable("another call's renewal takes too long")),
                Err(_) => return Err(Refusal::unavailable("the store does not say who renews the tokens")),
            }
        }
        // A task of its own: who asked first may leave, and others wait for the same answer.
        let (rpc, worker, token) = (self.0.clone(), worker.clone(), token.to_owned());
        let asked = tokio::spawn(async move {
            let asked = ask(&rpc, &worker, &token).await;
            match errand.seal(&asked) {
                Some(answer) => drop(worker.store.bring(&errand.name, &answer, STAYS).await),
                None => worker.store.give_up(&errand.name).await,
            }
            asked
        });
        asked.await.unwrap_or_else(|_| Err(Refusal::unavailable("the renewal was broken off")))
    }
}

async fn ask(rpc: &Rpc, worker: &Worker, token: &str) -> Result<Pair, Refusal> {
    let unfit = || Refusal::unavailable("who renews tokens answered what its schema lacks");
    let session = rpc.session.as_ref().ok_or_else(unfit)?;
    let mut message = vec![0; PREFIX];
    session.ask(token, &mut message);
    let prefix = frame::prefix(message.len() - PREFIX);
    message[..PREFIX].copy_from_slice(&prefix);
    let outgoing = Outgoing {
        uri: &rpc.uri,
        headers: Metadata::default(),
        deadline: Instant::now() + LONGEST,
        max_age: None,
        patient: true,
        priority: Priority::High,
        aim: Aim::default(),
        retry: None,
    };
    match rpc.upstream.unary(&worker.pool, outgoing, Bytes::from(message)).await {
        Ok(reply) => session.pair(&reply.message).ok_or_else(unfit),
        Err(failure) => {
            let cause = format!("who renews tokens: {}", failure.cause);
            Err(match &failure.kind {
                FailureKind::Status(answer) if session.ends(answer.status.code) => Refusal::invalid(cause),
                _ => Refusal::unavailable(cause),
            })
        }
    }
}

/// An errand's name and its answer's seal, both of the token that it is about; neither tells of the other.
struct Sealed {
    name: String,
    key: Option<RandomizedNonceKey>,
}

impl Sealed {
    fn new(token: &str) -> Self {
        let digest = |what: &[u8]| {
            let mut digest = Context::new(&SHA256);
            digest.update(what);
            digest.update(token.as_bytes());
            digest.finish()
        };
        let name = digest(b"name:").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { name, key: RandomizedNonceKey::new(&AES_256_GCM, digest(b"seal:").as_ref()).ok() }
    }

    /// What others are to read; `None`: it is of no use to them.
    fn seal(&self, asked: &Result<Pair, Refusal>) -> Option<Vec<u8>> {
        let mut said = match asked {
            Ok(pair) => format!("{}\n{}", pair.access, pair.refresh).into_bytes(),
            Err(refusal) if refusal.is_of_token() => Vec::new(),
            Err(_) => return None,
        };
        let nonce = self.key.as_ref()?.seal_in_place_append_tag(Aad::empty(), &mut said).ok()?;
        let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
        Some([&nonce[..], &said[..]].concat())
    }

    fn open(&self, mut answer: Vec<u8>) -> Result<Pair, Refusal> {
        let unreadable = || Refusal::unavailable("what another call's renewal brought cannot be read");
        let key = self.key.as_ref().ok_or_else(unreadable)?;
        let (nonce, said) = answer.split_at_mut_checked(NONCE_LEN).ok_or_else(unreadable)?;
        let nonce = aws_lc_rs::aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        let said = key.open_in_place(nonce, Aad::empty(), said).map_err(|_| unreadable())?;
        let said = str::from_utf8(said).map_err(|_| unreadable())?;
        let (access, refresh) =
            said.split_once('\n').ok_or_else(|| Refusal::invalid("who renews tokens has refused another call's"))?;
        Ok(Pair { access: access.to_owned(), refresh: refresh.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Pair, Refusal, Sealed};

    #[test]
    fn who_has_the_token_reads_the_answer_and_nobody_else() {
        let sealed = Sealed::new("a refresh token");
        let pair = || Ok(Pair { access: "a.b.c".to_owned(), refresh: "d".to_owned() });
        let answer = sealed.seal(&pair()).unwrap();
        assert!(!answer.windows(5).any(|part| part == b"a.b.c"), "it is sealed");
        let read = Sealed::new("a refresh token").open(answer.clone()).unwrap();
        assert_eq!((&*read.access, &*read.refresh), ("a.b.c", "d"));
        assert_ne!(answer, sealed.seal(&pair()).unwrap(), "each under a nonce of its own");
        for forged in [answer[..answer.len() - 1].to_vec(), vec![0; 40], Vec::new()] {
            assert!(!sealed.open(forged).err().unwrap().is_of_token());
        }
        assert!(Sealed::new("another").open(answer).is_err());
        let refused = sealed.seal(&Err(Refusal::invalid("no"))).unwrap();
        assert!(sealed.open(refused).err().unwrap().is_of_token());
        assert!(sealed.seal(&Err(Refusal::unavailable("later"))).is_none());
    }
}
