//! Calls of methods whose replies are kept: the line from a message to an answer, past the upstream where it can be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use smallvec::SmallVec;
use transom_transcode::frame::{PREFIX, prefix};
use transom_transcode::plan::OutPlan;
use transom_transcode::status::Code;

use super::aim::in_common;
use super::answer::Answer;
use super::call::{Call, UNBOUNDED};
use super::flights::{self, Flights};
use super::route::{Binding, Rpc};
use super::worker::Worker;
use crate::body::Body;
use crate::envelope::coding::{self, Coding};
use crate::envelope::{Dialect, metadata};
use crate::error::Error;
use crate::memory::let_go;
use crate::policy::cache::{
    Asked, Cache, Cell, Entry, Forgets, Form, Found, Generations, Key, Policy, Rendered, Shared,
};
use crate::upstream::{Aim, Failure, Metadata, Outgoing};

/// What a question brought, and who answered where that was the service.
type Landed = Result<(Arc<Entry>, Option<Arc<str>>), Failure>;
type Arrival = flights::Arrival<Landed>;

/// The replies that are kept, of all methods, and those that are asked for.
#[derive(Clone)]
pub struct Caches {
    /// What is kept.
    pub cache: Arc<Cache>,
    pub(super) flights: Arc<Flights<Key, Landed>>,
}

impl Caches {
    /// Room for so many bytes.
    pub(super) fn new(size: usize, generations: Arc<Generations>) -> Self {
        Self { cache: Cache::new(size, generations), flights: Arc::default() }
    }
}

/// Whose replies a call makes forgotten.
pub(super) struct Invalidates(pub(super) Box<[Forgets]>);

/// Which replies of each method a call makes forgotten; those of which nothing is known all are.
pub(super) type Touched = SmallVec<[Option<Cell>; 2]>;

impl Invalidates {
    /// What a call's request says decides which.
    pub(super) fn reads(&self) -> bool {
        self.0.iter().any(Forgets::reads)
    }

    /// Those of a request.
    pub(super) fn touched(&self, message: &[u8]) -> Touched {
        self.0.iter().map(|forgets| forgets.cell(message)).collect()
    }

    /// A call has ended so.
    pub(super) fn called(&self, code: Code, touched: &Touched) {
        // By these a service says that it has changed nothing. (That something is gone or there already may be what an
        // earlier try has done.)
        let nothing = matches!(
            code,
            Code::InvalidArgument
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
        );
        if !nothing {
            let of = |at: usize| touched.get(at).copied().flatten();
            self.0.iter().enumerate().for_each(|(at, forgets)| forgets.forget(of(at)));
        }
    }
}

/// How an RPC's replies are kept, and who fetches them at the moment.
pub struct Cached {
    /// How long, and for whom.
    pub policy: Arc<Policy>,
    /// What is asked for.
    pub(super) flights: Arc<Flights<Key, Landed>>,
}

/// A unary call whose message is at hand, in its frame; `coding` is what single messages of the answer may be compressed in.
pub(super) async fn answer(
    call: &mut Call,
    cached: &Cached,
    (binding, out): (&Binding, &OutPlan),
    head: &Parts,
    outgoing: &mut Outgoing<'_>,
    (frame, coding): (Bytes, Coding),
) -> Result<Response<Body>, Error> {
    let message = whole(&frame)?;
    // The answer is everybody's, and whom it is asked of is nobody's own place.
    call.sticky = None;
    let headers = outgoing.headers.whole();
    metadata::remove_codings(headers);
    let aim = in_common(outgoing.aim);
    let key = cached.policy.key(message, headers, Asked { subset: aim.subset, canary: aim.canary });
    let found = cached.policy.find(&key, Instant::now());
    if !matches!(found, Found::Fresh(_)) {
        cached.policy.leave_out(headers);
        // That is no client's choice.
        call.caller.iter().for_each(|caller| caller.cross(headers));
    }
    let entry = match found {
        Found::Fresh(entry) => entry,
        Found::Stale(entry) => {
            fetch(call, cached, &binding.rpc, (key, aim), (&outgoing.headers, &frame));
            entry
        }
        Found::Missing(last) => {
            let (arrival, first) = fetch(call, cached, &binding.rpc, (key, aim), (&outgoing.headers, &frame));
            match landed(call, arrival, outgoing.deadline).await {
                Ok(entry) if entry.kept || first => entry,
                // It was for another caller alone.
                Ok(_) => alone(call, cached, &binding.rpc, key, outgoing, frame).await?,
                Err(error) => cached.policy.instead(last, error)?,
            }
        }
    };
    let coding = match call.dialect {
        Dialect::Grpc(_) | Dialect::GrpcWeb { .. } => coding,
        _ if !binding.rpc.settings.compress.value => Coding::Identity,
        _ => call.accepts.as_ref().map_or(Coding::Identity, Coding::for_body),
    };
    let form = Form { route: binding.id, dialect: call.dialect, numbers: out.options.enums_as_numbers, coding };
    let rendering = render(call, binding, out, &entry, coding);
    let (rendered, grown) = Box::pin(entry.answer(form, rendering)).await?;
    if grown {
        cached.policy.weigh(key, &entry);
    }
    let by_get = matches!(call.dialect, Dialect::Rest | Dialect::ConnectGet(_))
        && (head.method == Method::GET || head.method == Method::HEAD);
    Ok(match by_get && entry.kept {
        true => cached.policy.tell(&entry, &rendered, &head.headers, Instant::now()),
        false => rendered.response(),
    })
}

/// The one message of a frame.
fn whole(frame: &Bytes) -> Result<&[u8], Error> {
    match frame.split_at_checked(PREFIX) {
        Some((before, message)) if before == prefix(message.len()) => Ok(message),
        _ => Err(Error::bad_request("this method takes one message")),
    }
}

/// Asks the service, once for all who wait for the same.
fn fetch(
    call: &Call,
    cached: &Cached,
    rpc: &Arc<Rpc>,
    (key, aim): (Key, Aim),
    (headers, frame): (&Metadata, &Bytes),
) -> (Arrival, bool) {
    cached.flights.join(key, || {
        let (worker, rpc, policy) = (call.worker.clone(), rpc.clone(), cached.policy.clone());
        let (headers, frame) = (headers.clone(), frame.clone());
        // Not the deadline of who happened to come first.
        let deadline = Instant::now() + rpc.settings.timeout.value.unwrap_or(UNBOUNDED);
        let patience = call.patience();
        async move {
            let outgoing = rpc.outgoing(headers, (deadline, true), aim);
            ask(&worker, &policy, &rpc, (key, patience), outgoing, frame).await
        }
    })
}

async fn ask(
    worker: &Worker,
    policy: &Policy,
    rpc: &Rpc,
    (key, patience): (Key, Duration),
    outgoing: Outgoing<'_>,
    frame: Bytes,
) -> Landed {
    let names = match policy.shared(&worker.store, key, &frame[PREFIX..], patience).await {
        Shared::Reply(entry) => return Ok((entry, None)),
        Shared::Missing(names) => Some(names),
        Shared::Unknown => None,
    };
    let reply = rpc.upstream.unary(&worker.pool, outgoing, frame).await?;
    // What is kept has a bound of its own.
    let entry = policy.keep(key, reply.headers, let_go(reply.message), reply.trailers);
    if let Some(names) = names {
        policy.share(&worker.store, key, &names, &entry);
    }
    Ok((entry, Some(reply.endpoint)))
}

/// Waits for what was asked.
async fn landed(call: &mut Call, mut arrival: Arrival, deadline: Instant) -> Result<Arc<Entry>, Error> {
    let landed = call.worker.pool.within(deadline, arrival.wait_for(Option::is_some)).await;
    let landed = match landed {
        None => return Err(call.worker.pool.overdue()),
        Some(Err(_)) => return Err(Error::Internal),
        Some(Ok(landed)) => landed.clone(),
    };
    told(call, landed.ok_or(Error::Internal)?)
}

async fn alone(
    call: &mut Call,
    cached: &Cached,
    rpc: &Rpc,
    key: Key,
    outgoing: &mut Outgoing<'_>,
    frame: Bytes,
) -> Result<Arc<Entry>, Error> {
    let worker = call.worker.clone();
    let landed = ask(&worker, &cached.policy, rpc, (key, call.patience()), outgoing.take(), frame).await;
    told(call, landed)
}

fn told(call: &mut Call, landed: Landed) -> Result<Arc<Entry>, Error> {
    let (entry, endpoint) = landed.map_err(|failure| call.failed(failure))?;
    if let Some(endpoint) = endpoint {
        call.answered(endpoint);
    }
    Ok(entry)
}

/// The finished answer in a call's dialect, compressed.
async fn render(
    call: &mut Call,
    binding: &Binding,
    out: &OutPlan,
    entry: &Entry,
    coding: Coding,
) -> Result<Rendered, Error> {
    let metadata = [&entry.headers, &entry.trailers];
    let Answer { response, trailers } = Answer::new(call, (binding, out), &entry.message, metadata, coding)?;
    let response = match call.dialect {
        // Their messages are.
        Dialect::Grpc(_) | Dialect::GrpcWeb { .. } => response,
        _ if !binding.rpc.settings.compress.value => response,
        // What is not says that it might be: so does a 304 in its place.
        _ => coding::pack_in_turns(response, Some(coding.name())).await,
    };
    Rendered::new(response, trailers)
}
