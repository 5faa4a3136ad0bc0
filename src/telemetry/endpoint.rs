//! What an upstream's endpoint counts: calls by outcome, calls in flight, connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use super::shard::{Gauge, Sharded, add};

/// How one try at an endpoint ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// With `grpc-status: 0`.
    Ok,
    /// With another status, which is the service's own business.
    Status,
    /// No connection came about.
    ConnectFailed,
    /// The endpoint refused the stream before it looked at it.
    Refused,
    /// The stream or its connection broke.
    Reset,
    /// The answer broke HTTP/2 or gRPC, or was too large.
    Protocol,
    /// The deadline passed first.
    Deadline,
    /// The client left first.
    Cancelled,
}

impl Outcome {
    /// Every outcome, by index.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Status,
        Self::ConnectFailed,
        Self::Refused,
        Self::Reset,
        Self::Protocol,
        Self::Deadline,
        Self::Cancelled,
    ];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Status => "status",
            Self::ConnectFailed => "connect_failed",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The state of an endpoint's breaker as operators know it; better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Circuit {
    /// Calls go there.
    Closed,
    /// A few calls go there, to see how they fare.
    HalfOpen,
    /// No call goes there.
    Open,
}

impl Circuit {
    /// Its name in logs and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// Why an endpoint stands out from its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ejection {
    /// It fails more often.
    Errors,
    /// It takes longer.
    Latency,
}

impl Ejection {
    /// Every reason, by index.
    pub const ALL: [Self; 2] = [Self::Errors, Self::Latency];

    /// Its name in labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
        }
    }
}

/// The handle that an endpoint holds. Cheap to clone; the series ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct EndpointMetrics(pub(super) Arc<Series>);

impl EndpointMetrics {
    /// Counts one finished try.
    #[inline]
    pub fn record(&self, outcome: Outcome) {
        add(&self.0.outcomes.here()[outcome as usize], 1);
    }

    /// Tries counted with this outcome.
    pub fn calls(&self, outcome: Outcome) -> u64 {
        self.0.calls(outcome)
    }

    /// Open connections.
    pub fn connections(&self) -> &Gauge {
        &self.0.connections
    }

    /// Whose it is.
    pub fn upstream(&self) -> &str {
        &self.0.labels.upstream
    }

    /// It was reached, and neither is down nor says that it is not well.
    pub fn answers(&self, answers: bool) {
        self.0.answers.store(answers, Ordering::Relaxed);
    }

    /// Its breaker has turned.
    pub fn turned(&self, circuit: Circuit) {
        self.0.circuit.store(circuit as u8, Ordering::Relaxed);
        if circuit == Circuit::Open {
            self.0.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It gets no calls for a while, or none: its time is over.
    pub fn ejected(&self, why: Option<Ejection>) {
        self.0.ejected.store(why.is_some(), Ordering::Relaxed);
        if let Some(why) = why {
            self.0.ejections[why as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> &Gauge {
        &self.0.in_flight
    }
}

/// The labels of an endpoint's series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Labels {
    pub(super) upstream: Box<str>,
    pub(super) endpoint: Box<str>,
}

/// An endpoint's counters.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    outcomes: Sharded<[AtomicU64; Outcome::ALL.len()]>,
    pub(super) connections: Gauge,
    pub(super) in_flight: Gauge,
    answers: AtomicBool,
    circuit: AtomicU8,
    opened: AtomicU64,
    ejected: AtomicBool,
    ejections: [AtomicU64; Ejection::ALL.len()],
}

impl Series {
    pub(super) fn new(labels: Labels) -> Self {
        Self {
            labels,
            outcomes: Sharded::new(),
            connections: Gauge::new(),
            in_flight: Gauge::new(),
            answers: AtomicBool::new(false),
            circuit: AtomicU8::new(Circuit::Closed as u8),
            opened: AtomicU64::new(0),
            ejected: AtomicBool::new(false),
            ejections: Default::default(),
        }
    }

    /// It is known to answer.
    pub(super) fn does_answer(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// The breaker's state as a number.
    pub(super) fn circuit(&self) -> u8 {
        self.circuit.load(Ordering::Relaxed)
    }

    /// How often the breaker has opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// It stands out from its peers.
    pub(super) fn is_ejected(&self) -> bool {
        self.ejected.load(Ordering::Relaxed)
    }

    /// How often it was ejected for this reason.
    pub(super) fn ejections(&self, why: Ejection) -> u64 {
        self.ejections[why as usize].load(Ordering::Relaxed)
    }

    pub(super) fn calls(&self, outcome: Outcome) -> u64 {
        self.outcomes.all().map(|cells| cells[outcome as usize].load(Ordering::Relaxed)).sum()
    }
}
