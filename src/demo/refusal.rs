//! Why a service says no: a gRPC status with `google.rpc` details.

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use super::proto::google::rpc;

/// `ErrorInfo.domain` of every refusal.
const DOMAIN: &str = "booking.transom";

/// A status under construction; its first detail is the `ErrorInfo`.
#[derive(Debug)]
pub(super) struct Refusal {
    code: Code,
    reason: String,
    message: String,
    details: Vec<Any>,
}

impl Refusal {
    /// A refusal with a machine-readable reason (`SEATS_TAKEN`) and a text for people.
    pub(super) fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        let info =
            rpc::ErrorInfo { reason: reason.to_owned(), domain: DOMAIN.to_owned(), metadata: Default::default() };
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            details: vec![any("google.rpc.ErrorInfo", &info)],
        }
    }

    /// Fields that cannot be, each with what is wrong with it.
    pub(super) fn fields(violations: &[(&str, &str)]) -> Self {
        let message = match violations {
            [(field, wrong)] => format!("{field}: {wrong}"),
            many => format!("{} fields are wrong; see the details", many.len()),
        };
        let detail = rpc::BadRequest {
            field_violations: violations
                .iter()
                .map(|(field, wrong)| rpc::bad_request::FieldViolation {
                    field: (*field).to_owned(),
                    description: (*wrong).to_owned(),
                    ..Default::default()
                })
                .collect(),
        };
        Self::new(Code::InvalidArgument, "INVALID_FIELDS", message).with("google.rpc.BadRequest", &detail)
    }

    /// One field that cannot be.
    pub(super) fn field(field: &str, wrong: &str) -> Self {
        Self::fields(&[(field, wrong)])
    }

    /// A thing that is not there, or not the caller's: strangers cannot tell the two apart.
    pub(super) fn not_found(kind: &str, id: &str) -> Self {
        Self::new(Code::NotFound, "NOT_FOUND", format!("there is no such {kind}")).resource(kind, id)
    }

    /// A state that forbids what was asked: `kind` is a word for machines, `subject` the thing that is in that state.
    pub(super) fn state(reason: &str, subject: &str, message: &str) -> Self {
        let violation = rpc::precondition_failure::Violation {
            r#type: reason.to_owned(),
            subject: subject.to_owned(),
            description: message.to_owned(),
        };
        Self::new(Code::FailedPrecondition, reason, message)
            .with("google.rpc.PreconditionFailure", &rpc::PreconditionFailure { violations: vec![violation] })
    }

    /// More than the demonstration keeps.
    pub(super) fn full(what: &str) -> Self {
        Self::new(Code::ResourceExhausted, "FULL", format!("there are too many {what}; try again later"))
    }

    /// Another call is changing the same thing.
    pub(super) fn busy(what: &str) -> Self {
        Self::new(Code::Aborted, "BUSY", format!("the {what} is being changed by another call; try again"))
    }

    /// Names the thing that is meant.
    pub(super) fn resource(self, kind: &str, id: &str) -> Self {
        let detail = rpc::ResourceInfo {
            resource_type: kind.to_owned(),
            resource_name: bounded(id).to_owned(),
            ..Default::default()
        };
        self.with("google.rpc.ResourceInfo", &detail)
    }

    /// The machine-readable reason.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    fn with(mut self, name: &str, detail: &impl Message) -> Self {
        self.details.push(any(name, detail));
        self
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let status =
            rpc::Status { code: refusal.code as i32, message: refusal.message.clone(), details: refusal.details };
        Self::with_details(refusal.code, refusal.message, status.encode_to_vec().into())
    }
}

/// A refusal by another service of the system, as the caller may see it.
///
/// What the caller can act on is passed on with its details; anything else is a fault of ours.
pub(super) fn relayed(status: &Status) -> Status {
    match status.code() {
        code @ (Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::ResourceExhausted
        | Code::Aborted) => Status::with_details(code, status.message(), status.details().to_vec().into()),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => {
            Refusal::new(Code::Unavailable, "DEPENDENCY_DOWN", "a service that this one needs does not answer").into()
        }
        _ => Refusal::new(Code::Internal, "INTERNAL", "a service that this one needs failed").into(),
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// What a refusal repeats of a client's text.
fn bounded(text: &str) -> &str {
    let end = text.char_indices().nth(100).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
