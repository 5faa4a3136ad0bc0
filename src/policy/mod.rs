//! Policy: the gates that a call passes before it is sent. They decide; the envelopes write what they refuse.
//!
//! ```text
//! burst    what one client may do at all
//! cache    replies that are kept for a while
//! cors     which pages may call
//! overload how many calls may be in flight, and whose are refused first
//! rate     how often who may come
//! auth     who calls: tokens, and what of them the services get to see
//! session  a service's tokens as a browser's cookies
//! demands  what a message must be: strings cleaned, the schema's rules held
//! ```

pub mod auth;
pub mod burst;
pub mod cache;
pub mod cors;
pub mod demands;
pub mod overload;
pub mod rate;
pub mod session;
