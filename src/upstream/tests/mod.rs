//! Upstreams over real sockets: servers are h2's own, so that each can misbehave in its own way.

mod support;
mod turns;
