//! `google.rpc.Status` on the wire.

use bytes::Bytes;
use prost::Message as _;

use super::{Code, Detail, Status};

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

pub(super) fn decode(bytes: Bytes) -> Option<Status> {
    let wire = Wire::decode(bytes).ok()?;
    let details = wire.details.into_iter().map(|any| Detail { type_url: any.type_url, value: any.value });
    Some(Status { code: Code::from_number(i64::from(wire.code)), message: wire.message, details: details.collect() })
}

pub(super) fn encode(status: &Status) -> Vec<u8> {
    let details =
        status.details.iter().map(|detail| Any { type_url: detail.type_url.clone(), value: detail.value.clone() });
    let wire =
        Wire { code: i32::from(status.code.number()), message: status.message.clone(), details: details.collect() };
    wire.encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_keep_order_and_bytes() {
        let detail = |type_url: &str, value: &'static [u8]| Detail {
            type_url: type_url.to_owned(),
            value: Bytes::from_static(value),
        };
        let status = Status {
            code: Code::NotFound,
            message: "no such seat".to_owned(),
            details: vec![detail("type.googleapis.com/b.Unknown", b"\xff\0"), detail("type.googleapis.com/a.A", b"")],
        };
        assert_eq!(Status::from_bytes(status.to_bytes().into()), Some(status));
        assert_eq!(Status::from_bytes(Bytes::from_static(b"\x08\x63")).unwrap().code, Code::Unknown);
        assert_eq!(Status::from_bytes(Bytes::from_static(b"\x0a")), None);
    }
}
