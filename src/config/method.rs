//! `methods`: what one RPC, or all of a service, is allowed and how it prints.

use std::time::Duration;

/// The policy of a method; an absent key falls back to the less specific entry, then to the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Method {
    /// The call's deadline; by default the upstream's.
    pub timeout: Option<Duration>,
    /// What an unknown JSON field or query key gets.
    pub unknown_fields: Option<UnknownFields>,
    /// How replies print.
    pub output: Output,
    /// Bounds of one request.
    pub limits: MethodLimits,
}

/// What an unknown JSON field or query key gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFields {
    /// 400, naming it.
    Refuse,
    /// It is read over.
    Ignore,
}

/// How JSON prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Output {
    /// Absent fields print as their defaults.
    pub emit_defaults: Option<bool>,
    /// Enums print as numbers.
    pub enums_as_numbers: Option<bool>,
    /// Names print as in the .proto.
    pub proto_names: Option<bool>,
    /// 64-bit integers print as numbers (an error beyond 2^53).
    pub int64_as_numbers: Option<bool>,
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MethodLimits {
    /// Bytes of a REST request body; by default the upstream's `limits.send`.
    pub body: Option<usize>,
}
