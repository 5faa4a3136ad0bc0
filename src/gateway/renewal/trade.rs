//! Trade: a refresh token for new ones, by a question that its service is asked once. A token that is good once must not come
//! twice, or its service takes that for theft: so whoever left, the question goes on, and where nobody can say what became of
//! it, it is not asked again at once.
//!
//! ```text
//! nobody's ──▶ held here: ask ──▶ an answer, a refusal: brought to all gateways, for a moment
//!                             ├─▶ nobody knows: that is brought
//!                             └─▶ the service has not seen it: given up, the next who comes asks
//! another gateway's: look again in a moment, once for all who wait here
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::sleep;
use transom_transcode::status::Code;

use super::sealed::{Sealed, UNKNOWN};
use super::service::{PATIENCE, ends};
use crate::config::Priority;
use crate::error::Error;
use crate::gateway::route::Rpc;
use crate::gateway::worker::Worker;
use crate::policy::auth::Refusal;
use crate::policy::rate::{Known, Rated, Stage};
use crate::store::Flight;
use crate::upstream::{Aim, Failure, FailureKind, Metadata, Outgoing, Unary};

/// How long the service may take: much longer than anybody waits. A service that pauses answers once it goes on.
const LONGEST: Duration = Duration::from_secs(30);
/// How long nobody else asks, for as long as it is not said again; that is said so often.
const HELD: Duration = Duration::from_secs(6);
const BEAT: Duration = Duration::from_secs(2);
/// How long an answer is kept for those who set out at the same time; and one that came when nobody waited any more, for the
/// browser's next try.
const STAYS: Duration = Duration::from_secs(10);
const UNHEARD: Duration = Duration::from_secs(30);
/// The same of a refusal: whatever is in a cookie may make one.
const REFUSED: Duration = Duration::from_secs(1);
/// The same of a question of which nobody knows what became.
const OPEN: Duration = Duration::from_secs(5);
/// How soon it is looked again what another gateway was answered: at first, and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// How often, and how soon, a store that did not take an answer is told again.
const TOLD: (usize, Duration) = (10, Duration::from_secs(1));

/// What the service is asked.
#[derive(Clone)]
pub(super) struct Asked {
    /// In its frame.
    pub(super) frame: Bytes,
    pub(super) headers: Metadata,
    /// Whose call does so on its way: none of the RPC's own limits has let it in.
    pub(super) client: Option<IpAddr>,
}

/// What came of it.
#[derive(Clone)]
pub(super) enum Landed {
    /// The service was asked here.
    Answered(Result<Unary, Failure>),
    /// What it answered before, or another gateway.
    Kept(Bytes),
    /// It takes the token no more, or nobody can say.
    Refused(Refusal),
    /// The client asks too often.
    Limited(Error),
    /// Another gateway asks, and has no answer yet.
    Elsewhere,
    /// The store does not say who asks.
    Unheld,
}

/// One of them, in a task of its own.
pub(super) struct Trade {
    pub(super) rpc: Arc<Rpc>,
    pub(super) worker: Arc<Worker>,
    pub(super) flight: Arc<Sealed>,
    pub(super) asked: Asked,
}

impl Trade {
    pub(super) async fn run(self) -> Landed {
        let (begun, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            // Counted from before it is held: it ends before others may ask.
            let deadline = Instant::now() + LONGEST;
            match self.worker.store.flight(&self.flight.name, HELD).await {
                Ok(Flight::Mine) => return self.ask(deadline).await,
                Ok(Flight::Done(answer)) => {
                    return self.flight.open(answer).map_or_else(Landed::Refused, Landed::Kept);
                }
                Ok(Flight::UnderWay) if begun.elapsed() < PATIENCE => sleep(pause).await,
                Ok(Flight::UnderWay) => return Landed::Elsewhere,
                Err(_) => return Landed::Unheld,
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Asks the service, and keeps others from it meanwhile; what comes of it is brought to them.
    async fn ask(self, deadline: Instant) -> Landed {
        let (name, store) = (&self.flight.name, &self.worker.store);
        let begun = Instant::now();
        let holding = async {
            loop {
                sleep(BEAT).await;
                // A store that does not hear it is told again in a moment.
                let _ = store.hold(name, deadline.saturating_duration_since(Instant::now()) + BEAT).await;
            }
        };
        let answered = tokio::select! {
            answered = ask(&self.rpc, &self.worker, self.asked, deadline) => answered,
            () = holding => return Landed::Unheld,
        };
        let stays = if begun.elapsed() < PATIENCE { STAYS } else { UNHEARD };
        let kept = match &answered {
            Ok(Ok(reply)) if has_tokens(&self.rpc, &reply.message) => {
                self.flight.seal(reply.message.to_vec()).map(|answer| (answer, stays))
            }
            Ok(Err(failure)) if ends(&self.rpc, failure) => {
                self.flight.seal(Vec::new()).map(|refusal| (refusal, REFUSED))
            }
            Ok(Err(failure)) if is_open(failure) => Some((UNKNOWN.to_vec(), OPEN)),
            Ok(_) | Err(_) => None,
        };
        match kept {
            Some((answer, stays)) => bring(self.worker, self.flight, answer, stays).await,
            None => store.give_up(name).await,
        }
        answered.map_or_else(Landed::Limited, Landed::Answered)
    }
}

/// Asks the service, until then.
///
/// # Errors
/// The client asks too often.
pub(super) async fn ask(
    rpc: &Rpc,
    worker: &Worker,
    asked: Asked,
    deadline: Instant,
) -> Result<Result<Unary, Failure>, Error> {
    if let Some(client) = asked.client {
        let known = Known { client, headers: &HeaderMap::new(), caller: None, message: &[] };
        rpc.rates.take(Stage::Head, known, &worker.store, &mut Rated::default()).await?;
    }
    let outgoing = Outgoing {
        uri: &rpc.uri,
        headers: asked.headers,
        deadline,
        max_age: None,
        patient: true,
        single: true,
        // Whatever is in a cookie makes such a question: it goes before nobody's.
        priority: if asked.client.is_some() { Priority::Normal } else { rpc.settings.priority.value },
        aim: Aim::default(),
        retry: None,
        takes: rpc.takes.as_ref(),
    };
    Ok(rpc.upstream.unary(&worker.pool, outgoing, asked.frame).await)
}

/// Brings what came of it. A store that does not take it is told again, behind the calls: those who come next would be told
/// to wait.
async fn bring(worker: Arc<Worker>, flight: Arc<Sealed>, answer: Vec<u8>, stays: Duration) {
    if worker.store.bring(&flight.name, &answer, stays).await.is_ok() {
        return;
    }
    tokio::spawn(async move {
        for _ in 0..TOLD.0 {
            sleep(TOLD.1).await;
            if worker.store.bring(&flight.name, &answer, stays).await.is_ok() {
                return;
            }
        }
    });
}

fn has_tokens(rpc: &Rpc, message: &[u8]) -> bool {
    rpc.session.as_ref().is_some_and(|session| session.pair(message).is_some())
}

/// Nobody knows whether the service has done it.
fn is_open(failure: &Failure) -> bool {
    match &failure.kind {
        FailureKind::Reset
        | FailureKind::Cancelled { .. }
        | FailureKind::Protocol
        | FailureKind::Deadline
        | FailureKind::Aged
        | FailureKind::Draining
        | FailureKind::TooLarge { .. }
        | FailureKind::ClientGone => true,
        // It did not get that far.
        FailureKind::NoEndpoint
        | FailureKind::CircuitOpen { .. }
        | FailureKind::ConnectFailed
        | FailureKind::Refused
        | FailureKind::Expelled
        | FailureKind::HeadTooLarge { .. }
        | FailureKind::Overloaded
        | FailureKind::Malformed => false,
        // What somebody on the way says who has lost its answer, and what a service says that has given up on its own.
        FailureKind::Status(answer) => {
            answer.http.is_some_and(|http| matches!(http.as_u16(), 502 | 504))
                || matches!(answer.status.code, Code::DeadlineExceeded | Code::Cancelled)
        }
    }
}
