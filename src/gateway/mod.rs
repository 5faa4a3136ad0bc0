//! The request line and what it runs on.
//!
//! ```text
//! settings        what a method is allowed, and where each value comes from
//! route           one way to an RPC, resolved at load
//! rules           the HTTP rules that configuration writes
//! reflection      what server reflection answers of them
//! snapshot        what runs: routes and upstreams; built once, swapped whole
//! drain           the process is about to stop, told to who asks and to who waits
//! state           what all of the process shares: the snapshot, and how the last reload went
//! compile         Config and Schema → Snapshot, or every problem
//! breaking        what a change of snapshots breaks for REST clients
//! worker          what a call finds where it runs
//! call            one request in flight; dropped, it is logged and counted
//! cohort          calls that came together go through the line together
//! caller          who calls: the gate asked, and what of the caller goes on
//! outgoing        what goes to the upstream with every message of a call
//! passage         how a call crosses: decided once, by its dialect and its RPC
//! payload         what a call sends, at hand or as a stream
//! translate       the translator at work for a call
//! codec           the same for a stream, message by message
//! check           what a request's message must pass before it is sent
//! stream          calls whose messages stream, in every envelope
//! answer          a service's one message, as a call's dialect writes it
//! inbound         a client's messages from a socket, one at a time
//! outbound        an upstream's messages to a socket, one at a time
//! socket          calls over WebSockets
//! rpc             calls in an RPC's own envelopes, but for those that cross unread
//! token_endpoint  routes of the gateway's own that hand tokens out
//! session         tokens as cookies, and those of the gateway's own
//! renewal         tokens that are renewed on the way
//! flights         questions that several calls wait for
//! cached          calls of methods whose replies are kept
//! fallback        what is answered in place of a service that cannot be asked
//! aim             which endpoints a call may go to
//! canary          which calls of an upstream go to another one
//! sticky          what keeps a client's calls at one endpoint
//! routing         which route has a request
//! preflight       what browsers ask before a page's call
//! pipeline        accept → route → gates → translate → check → send → answer → log
//! service         the pipeline as a tower::Service
//! ```

mod aim;
mod answer;
mod breaking;
mod cached;
mod call;
mod caller;
mod canary;
mod check;
mod codec;
mod cohort;
mod compile;
mod drain;
mod fallback;
mod flights;
mod inbound;
mod outbound;
mod outgoing;
mod passage;
mod payload;
mod pipeline;
mod preflight;
mod reflection;
mod renewal;
mod route;
mod routing;
mod rpc;
mod rules;
mod service;
mod session;
mod settings;
mod socket;
mod snapshot;
mod state;
mod sticky;
mod stream;
mod token_endpoint;
mod translate;
mod worker;

pub use breaking::breaking;
pub use call::Call;
pub use caller::{Bound, Judge};
pub use compile::check_files;
pub use drain::Drain;
pub use pipeline::Gateway;
pub use reflection::Reflection;
pub use renewal::Renewal;
pub use route::{Action, Binding, Route, Rpc};
pub use service::Service;
pub use session::Issues;
pub use settings::{Origin, Setting, Settings};
pub use snapshot::{Row, Serving, Snapshot, Value};
pub use state::{Ask, Loaded, Outcome, Reason, Reload, Reloads, State};
pub use token_endpoint::TokenEndpoint;
pub use worker::{HEARTBEAT, Peer, Tether, Worker};

pub use crate::sources::Problem;
