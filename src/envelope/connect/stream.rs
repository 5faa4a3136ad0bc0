//! Connect's streams: messages behind a prefix, and a last envelope with the status and the trailing metadata.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, header};
use serde::Serialize;
use transom_transcode::frame::{self, connect};
use transom_transcode::schema::Schema;
use transom_transcode::status::{Code, Status};

use super::error::{Written, http, tell_stream};
use super::{CONTENT_ENCODING, content_type};
use crate::body::Body;
use crate::envelope::coding::Coding;
use crate::envelope::stream::{Last, Writer, seal};
use crate::envelope::{Dialect, grpc, metadata};
use crate::error::Error;

/// An answer whose messages come; `coding` is what those are compressed in, where they are.
pub fn stream_reply(metadata: &HeaderMap, dialect: Dialect, coding: Option<HeaderValue>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(dialect));
    if let Some(coding) = coding {
        headers.insert(&CONTENT_ENCODING, coding);
    }
    metadata::to_web(metadata, "", headers);
    response
}

/// An error before any message: a stream that is its end alone. What is no call at all has HTTP's own status too.
pub fn stream_error(
    error: &Error,
    dialect: Dialect,
    schema: Option<&Schema>,
    [leading, trailing]: [&HeaderMap; 2],
) -> Response<Body> {
    let mut out = Vec::new();
    end(Some(&grpc::to_status(error)), trailing, schema, &mut out);
    let mut response = stream_reply(leading, dialect, None, Body::full(out));
    if matches!(error, Error::UnsupportedMedia { .. } | Error::MethodNotAllowed { .. }) {
        *response.status_mut() = http(error);
    }
    tell_stream(error, response.headers_mut());
    response
}

/// Messages behind their prefix, and the end of the stream.
pub struct Envelopes {
    /// By which an upstream's details print.
    pub schema: Arc<Schema>,
    /// What messages are compressed in.
    pub coding: Coding,
}

impl Writer for Envelopes {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; frame::PREFIX]);
    }

    fn shut(&mut self, start: usize, out: &mut Vec<u8>) {
        seal(start, self.coding, out);
    }

    fn coding(&self) -> Coding {
        self.coding
    }

    fn close(&mut self, trailers: Result<HeaderMap, &Error>, out: &mut Vec<u8>) -> Last {
        match trailers {
            Ok(trailers) => {
                let status = grpc::status_of(&trailers).filter(|status| status.code != Code::Ok);
                end(status.as_ref(), &trailers, Some(&self.schema), out);
            }
            Err(error) => end(Some(&grpc::to_status(error)), &HeaderMap::new(), Some(&self.schema), out),
        }
        Last::Nothing
    }
}

/// `EndStreamResponse`.
#[derive(Serialize)]
struct End<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Written<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, Vec<String>>,
}

fn end(status: Option<&Status>, trailers: &HeaderMap, schema: Option<&Schema>, out: &mut Vec<u8>) {
    let mut metadata: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in trailers.iter().filter(|(name, _)| metadata::crosses_to_web(name)) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        metadata.entry(name.as_str()).or_default().push(value);
    }
    let end = End { error: status.map(|status| Written::of(status, schema)), metadata };
    // Strings, and JSON that was printed here: it always prints.
    connect::end(&serde_json::to_vec(&end).unwrap_or_default(), out);
}
