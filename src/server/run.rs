//! Run: starts the workers, keeps what is beside the calls going, and ends everything in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use http::{Request, Response};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::connection::{Answer, Terms};
use super::expiry;
use super::limits::Limits;
use super::listen::Listeners;
use super::open_files::OpenFiles;
use super::phase::{Phase, Phases, reached};
use super::redirect::Redirect;
use super::upload::Upload;
use super::worker::{Calls, Open, accept};
use crate::gateway::{Gateway, Peer, State, Worker};
use crate::telemetry::{AccessLog, enter_shard};
use crate::upstream::Pool;

/// How often what is at rest is forgotten.
const SWEEP: Duration = Duration::from_secs(10);

/// What a server runs.
pub struct Server {
    /// Where it listens.
    pub listeners: Listeners,
    /// What the process shares.
    pub state: Arc<State>,
    /// The gateway on that state.
    pub gateway: Arc<Gateway>,
    /// What answers on the admin port.
    pub admin: axum::Router,
    /// Where calls are logged; whoever lets go of it last waits for its lines.
    pub log: Arc<AccessLog>,
    /// What clients may take.
    pub limits: Limits,
    /// What the process may open.
    pub open_files: OpenFiles,
}

/// Serves until `shutdown` returns, then drains: in-flight calls finish, for `drain_timeout` at most, or until `shutdown` returns
/// once more. Runs on the control runtime, which the caller made; workers have threads and runtimes of their own.
///
/// # Errors
/// A worker could not be started, or its listener could not be used.
pub async fn run(server: Server, mut shutdown: impl AsyncFnMut()) -> io::Result<()> {
    let Server { listeners, state, gateway, admin, log, limits, open_files } = server;
    let (phase, phases) = watch::channel(Phase::Serving);
    let lame_duck = limits.lame_duck;
    let beside = CancellationToken::new();
    let _stop_beside = beside.clone().drop_guard();
    tokio::spawn(beside.clone().run_until_cancelled_owned(sweep(state.clone())));
    tokio::spawn(state.store.clone().watch(beside.clone()));
    let generations = state.snapshot.load().caches.cache.generations.clone();
    tokio::spawn(beside.clone().run_until_cancelled_owned(generations.follow(state.store.clone())));
    tokio::spawn(expiry::watch(state.clone(), beside));
    state.watches.lock().discovery().follow(&state.snapshot.load().config);
    state.watches.lock().begin(state.snapshot.load().upstreams.values());
    if let Some(auth) = &state.snapshot.load().auth {
        auth.keep_fresh(&state.store);
    }
    // The admin port answers to the very end: that is where the end is seen. It has a phase of its own.
    let (admin_phase, admin_phases) = watch::channel(Phase::Serving);
    let terms = Arc::new(Terms::new(Admin(admin), open_files.admin(), state.clone(), admin_phases));
    let admin = tokio::spawn(accept(listeners.admin, terms, Arc::default()));

    let open = Arc::<Open>::default();
    if let Some(listener) = listeners.redirect {
        let redirect = Redirect::new(gateway.clone(), state.clone());
        let terms = Terms::new(redirect, limits.clone(), state.clone(), phases.clone());
        tokio::spawn(accept(listener, Arc::new(terms), open.clone()));
    }
    let mut workers = JoinSet::new();
    let count = listeners.public.len();
    for (id, listener) in listeners.public.into_iter().enumerate() {
        let (done, ended) = oneshot::channel();
        let buffer = log.buffer();
        let (gateway, state, limits, phases, open) =
            (gateway.clone(), state.clone(), limits.clone(), phases.clone(), open.clone());
        let work = move || {
            enter_shard(id, count);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let pool = Pool::new(id, count).sharing(&state.memory);
                state.watches.lock().enlist(&pool);
                let mut worker = Worker::new(pool, state.store.clone(), buffer, state.metrics.clone());
                worker.heartbeat = limits.heartbeat;
                let worker = Arc::new(worker);
                tokio::spawn(end(worker.clone(), phases.clone()));
                let terms = Arc::new(Terms::new(Calls { gateway, worker }, limits, state, phases).secured());
                accept(listener, terms, open).await
            })
        };
        std::thread::Builder::new().name(format!("transom-{id}")).spawn(move || {
            let _ = done.send(work());
        })?;
        workers.spawn(ended);
    }

    // A worker ends before it is told to only if it cannot work.
    let failed = tokio::select! {
        () = shutdown() => None,
        ended = workers.join_next() => ended,
    };
    if let Some(ended) = failed {
        let _ = phase.send(Phase::Gone);
        state.watches.lock().keep([]);
        return match ended {
            Ok(Ok(Err(error))) => Err(error),
            _ => Err(io::Error::other("a worker ended")),
        };
    }

    let drain_timeout = state.snapshot.load().config.drain_timeout;
    let in_flight = || state.metrics.in_flight().value();
    tracing::info!(in_flight = in_flight(), ?drain_timeout, "draining; another signal ends all calls at once");
    state.drain.begin();
    let _ = phase.send(Phase::Draining);
    let lame_duck = lame_duck.min(drain_timeout);
    let drained = async {
        let _ = tokio::time::timeout(lame_duck, open.none()).await;
        state.drain.close();
        let _ = phase.send(Phase::Closing);
        while workers.join_next().await.is_some() {}
    };
    let cut_short = tokio::select! {
        () = drained => None,
        () = tokio::time::sleep(drain_timeout) => Some("drain_timeout is over"),
        () = shutdown() => Some("told to end at once"),
    };
    if let Some(why) = cut_short {
        tracing::warn!(in_flight = in_flight(), "{why}: calls are ended");
        state.drain.close();
        let _ = phase.send(Phase::Gone);
        while workers.join_next().await.is_some() {}
    }
    let _ = admin_phase.send(Phase::Gone);
    let _ = admin.await;
    state.watches.lock().keep([]);
    tracing::info!("stopped");
    Ok(())
}

/// Ends what still runs on a worker when its time is over, so that it can say how.
async fn end(worker: Arc<Worker>, mut phases: Phases) {
    reached(&mut phases, Phase::Gone).await;
    worker.pool.stop();
}

/// Forgets clients that the burst guard has not seen for long.
async fn sweep(state: Arc<State>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if let Some(guard) = &state.snapshot.load().burst_guard {
            guard.sweep();
        }
    }
}

/// The admin port's answers.
struct Admin(axum::Router);

impl Answer for Admin {
    type Body = axum::body::Body;

    async fn answer(&self, peer: &Peer, mut request: Request<Upload>) -> Response<axum::body::Body> {
        request.extensions_mut().insert(ConnectInfo(peer.address));
        self.0.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
    }
}
