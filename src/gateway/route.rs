//! One way to an RPC, resolved at load: a call follows it without looking anything up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::Uri;
use transom_transcode::plan::{BindPlan, Limits, OutPlan};
use transom_transcode::schema::Schema;
use transom_transcode::to_wire::SystemParameters;

use super::cached::{Cached, Invalidates};
use super::caller::{Bound, Judge};
use super::canary::Canary;
use super::fallback::Fallback;
use super::renewal::Renewal;
use super::session::Issues;
use super::settings::{Origin, Settings};
use super::token_endpoint::TokenEndpoint;
use crate::envelope::Dialect;
use crate::envelope::metadata::Crossing;
use crate::envelope::rest::Taken;
use crate::policy::auth::Gate;
use crate::policy::cors::Cors;
use crate::policy::demands::Demands;
use crate::policy::overload::Places;
use crate::policy::rate::Rates;
use crate::policy::session::Session;
use crate::store::Pace;
use crate::telemetry::{Logged, Refusals, RouteMetrics};
use crate::upstream::{Retry, Takes, Upstream};

/// What a request's method and path lead to.
pub struct Route {
    /// The HTTP method; `*` is any.
    pub method: Box<str>,
    /// The path template; of an RPC's own route its path.
    pub template: Box<str>,
    /// `pkg.Service/Method`; empty for what is no RPC.
    pub rpc: Box<str>,
    /// It is the RPC's own path, and no rule's.
    pub own_path: bool,
    /// What lines say of it.
    pub logged: Logged,
    /// Where its calls are counted.
    pub metrics: RouteMetrics,
    /// What it does.
    pub action: Action,
}

impl Route {
    /// Which pages of other origins may call it; what is no RPC has nothing of its own to say.
    pub(super) fn cors(&self) -> Option<&Arc<Cors>> {
        match &self.action {
            Action::Call(binding) => binding.rpc.cors.as_ref(),
            Action::Token(endpoint) => endpoint.cors.as_ref(),
            Action::Builtin => None,
        }
    }

    /// Bodies of any type are its request: `google.api.HttpBody`.
    pub(super) fn is_upload(&self) -> bool {
        matches!(&self.action, Action::Call(binding) if binding.bind.raw)
    }

    /// Pages of other origins may call it.
    pub(super) fn is_shared(&self) -> bool {
        self.cors().is_some()
    }
}

/// What a route does.
pub enum Action {
    /// Calls an RPC.
    Call(Binding),
    /// Asks the gateway itself.
    Builtin,
    /// Gets a token of the gateway's own.
    Token(Box<TokenEndpoint>),
}

/// How a request becomes an RPC's message, and the reply an answer.
pub struct Binding {
    /// Tells it from every other, of other snapshots too.
    pub id: u64,
    /// The RPC.
    pub rpc: Arc<Rpc>,
    /// What is bound.
    pub bind: BindPlan,
    /// What is printed.
    pub out: OutPlan,
    /// Where its rule is written, if configuration has it.
    pub rule: Origin,
}

impl Binding {
    /// A binding of its own number.
    pub(super) fn new(rpc: &Arc<Rpc>, bind: BindPlan, out: OutPlan, rule: Origin) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self { id: IDS.fetch_add(1, Ordering::Relaxed), rpc: rpc.clone(), bind, out, rule }
    }

    /// What is printed, as a request's query wishes.
    pub(super) fn out_for(&self, query: &str) -> OutPlan {
        let mut out = self.out.clone();
        out.options.enums_as_numbers |= SystemParameters::of(query).enums_as_numbers;
        out
    }

    /// What a REST body may be.
    pub(super) fn taken(&self) -> Taken<'_> {
        Taken { raw: self.bind.raw, types: &self.rpc.settings.content_types.value }
    }
}

impl Rpc {
    /// Either side sends a stream.
    pub fn streams(&self) -> bool {
        self.client_streaming || self.server_streaming
    }
}

/// An RPC that clients reach.
pub struct Rpc {
    /// `pkg.Service/Method`
    pub name: Box<str>,
    /// The client sends a stream.
    pub client_streaming: bool,
    /// The server sends a stream.
    pub server_streaming: bool,
    /// Its author says that calling it changes nothing: it may be called by GET.
    pub no_side_effects: bool,
    /// What its upstream is asked: `http://NAME/pkg.Service/Method`.
    pub uri: Uri,
    /// The service behind it.
    pub upstream: Arc<Upstream>,
    /// What gets some of its calls.
    pub canary: Option<Arc<Canary>>,
    /// Where its calls go is not a matter of turns alone.
    pub aims: bool,
    /// Nothing here looks into its messages or counts them: those of a client who speaks as the upstream does cross as
    /// they are.
    pub opaque: bool,
    /// The types of its messages.
    pub schema: Arc<Schema>,
    /// What its calls are allowed.
    pub settings: Settings,
    /// What it takes, where failures speak against an endpoint.
    pub takes: Option<Arc<Takes>>,
    /// How its failed calls are tried again; none: not at all.
    pub retry: Option<Retry>,
    /// What is answered in place of a service that cannot be asked.
    pub fallback: Option<Fallback>,
    /// The places of calls in flight.
    pub places: Arc<Places>,
    /// How old its streams may grow; what streams nothing has a deadline.
    pub max_age: Option<Duration>,
    /// How often who may come.
    pub rates: Rates,
    /// Where streams are counted whose clients speak too often; none: they may.
    pub(super) too_fast: Option<Refusals>,
    /// How its replies are kept, if they are.
    pub cache: Option<Cached>,
    /// Whose replies are forgotten once it has been called; known when all are.
    pub(super) invalidates: OnceLock<Invalidates>,
    /// Which pages of other origins may call.
    pub cors: Option<Arc<Cors>>,
    /// Which headers of REST cross beside the usual.
    pub crossing: Crossing,
    /// Who may call it.
    pub gate: Gate,
    /// The RPC that judges tokens, where one does.
    pub judge: Option<Arc<Judge>>,
    /// Fields of the request that the token sets.
    pub bound: Option<Bound>,
    /// What it asks of its requests' messages.
    pub demands: Option<Demands>,
    /// What it does to its clients' sessions, if anything.
    pub session: Option<Session>,
    /// Tokens of the gateway's own for that.
    pub issues: Option<Issues>,
    /// How its callers' tokens are renewed on the way, where they are.
    pub renewal: Option<Arc<Renewal>>,
    /// Bounds of a message to the upstream.
    pub send: Limits,
    /// Bytes of one message from the upstream.
    pub receive: usize,
    /// Bounds of the JSON that such a message becomes.
    pub print: Limits,
}

impl Rpc {
    /// Its requests in this dialect are read message by message, and go on as they were read; else their frames cross as
    /// they came.
    pub(super) fn reads(&self, dialect: Dialect) -> bool {
        !dialect.is_opaque() || !self.opaque || self.is_noted()
    }

    /// Its one message is at hand before anything is sent: something judges the whole of it, or it may be sent again.
    pub(super) fn buffers(&self) -> bool {
        let judged = self.demands.is_some() && !self.client_streaming;
        let looked_into = self.rates.need_message() || self.cache.is_some() || self.is_of_sessions();
        // What looks into a message has made its method no opaque one.
        (!self.opaque && (judged || looked_into)) || self.replays() || self.is_noted()
    }

    /// It opens, renews or ends sessions: its answer is read before it goes on.
    pub(super) fn is_of_sessions(&self) -> bool {
        self.session.is_some() || self.gate.logs_out()
    }

    /// Its one message is kept, so that the call can be made again.
    fn replays(&self) -> bool {
        !self.client_streaming && self.retry.as_ref().is_some_and(Retry::replays)
    }

    /// What its one message says decides which kept replies are forgotten.
    fn is_noted(&self) -> bool {
        !self.client_streaming && self.invalidates.get().is_some_and(Invalidates::reads)
    }

    /// How often the client of a new stream may speak.
    pub(super) fn pace(&self) -> Option<Pace> {
        let (rate, refused) = self.settings.messages.value.zip(self.too_fast.clone())?;
        Some(Pace::new(rate, refused, Instant::now()))
    }
}
