//! Upstreams over real sockets: servers are h2's own, so that each can misbehave in its own way, and tonic's.

mod breaker;
mod budget;
mod cancel;
mod connections;
mod elsewhere;
mod farewells;
mod generations;
mod health;
mod hedges;
mod keepalive;
mod permits;
mod provoked;
mod queue;
mod replies;
mod roster;
mod singles;
mod streams;
mod support;
mod tries;
mod turns;
