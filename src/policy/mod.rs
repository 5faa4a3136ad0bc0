//! Policy: the gates that a call passes before it is sent. They decide; the envelopes write what they refuse.
//!
//! ```text
//! rate    how often who may come
//! ```

pub mod rate;
