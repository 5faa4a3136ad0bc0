//! `conformance.proto` as far as a testee reads and writes it.

use prost::Message;

/// `ConformanceRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(oneof = "Payload", tags = "1, 2, 7, 8")]
    pub(super) payload: Option<Payload>,
    #[prost(enumeration = "Format", tag = "3")]
    pub(super) output: i32,
    #[prost(string, tag = "4")]
    pub(super) message_type: String,
    #[prost(int32, tag = "5")]
    pub(super) category: i32,
}

/// `TestCategory`: unknown JSON fields are to be read over.
pub(super) const IGNORE_UNKNOWN: i32 = 3;

/// `ConformanceRequest.payload`. (JSON is taken as bytes: whether it is UTF-8 is for the translator to say.)
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Payload {
    #[prost(bytes, tag = "1")]
    Protobuf(Vec<u8>),
    #[prost(bytes, tag = "2")]
    Json(Vec<u8>),
    #[prost(bytes, tag = "7")]
    Jspb(Vec<u8>),
    #[prost(bytes, tag = "8")]
    Text(Vec<u8>),
}

/// `WireFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Format {
    Unspecified = 0,
    Protobuf = 1,
    Json = 2,
    Jspb = 3,
    Text = 4,
}

/// `ConformanceResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6")]
    answer: Option<Answer>,
}

/// `ConformanceResponse.result`.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Answer {
    /// The payload is no message of its type.
    #[prost(string, tag = "1")]
    ParseError(String),
    /// The request itself is wrong.
    #[prost(string, tag = "2")]
    RuntimeError(String),
    #[prost(bytes, tag = "3")]
    Protobuf(Vec<u8>),
    #[prost(string, tag = "4")]
    Json(String),
    /// A format that is not spoken here.
    #[prost(string, tag = "5")]
    Skipped(String),
    /// The message has no form in the requested format.
    #[prost(string, tag = "6")]
    SerializeError(String),
}

impl Answer {
    /// The response as it is sent: behind its length.
    pub(super) fn encode_length_prefixed(self) -> Vec<u8> {
        let response = Response { answer: Some(self) };
        let length = u32::try_from(response.encoded_len()).unwrap_or(u32::MAX);
        let mut out = length.to_le_bytes().to_vec();
        out.extend(response.encode_to_vec());
        out
    }
}
