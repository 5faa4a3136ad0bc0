//! A server stream as an array, lines or events.
//!
//! What has begun is never closed as if it were complete: after the head an error is a line, an event, or the end of the
//! connection.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, header};
use transom_transcode::schema::Schema;
use transom_transcode::status::Code;

use super::{Form, status_json};
use crate::body::{Body, Streamed};
use crate::envelope::grpc::status_of;
use crate::envelope::metadata::{self, Crossing};
use crate::envelope::stream::{Last, Writer};
use crate::error::Error;

/// The answer that such a stream is the body of.
pub fn stream_reply(
    metadata: &HeaderMap,
    form: Form,
    messages: impl Streamed + 'static,
    crossing: &Crossing,
) -> Response<Body> {
    let mut response = Response::new(Body::streamed(messages));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, form.content_type());
    if form == Form::Events {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    metadata::to_rest(metadata, headers, crossing);
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// A server stream's JSON in one of its forms.
pub struct Stream {
    form: Form,
    /// By which an upstream's details print.
    schema: Arc<Schema>,
    /// Messages written.
    count: u64,
}

impl Stream {
    /// A stream that has not begun.
    pub fn new(form: Form, schema: Arc<Schema>) -> Self {
        Self { form, schema, count: 0 }
    }

    fn error(&self, error: &Error, out: &mut Vec<u8>) -> Last {
        let (before, after): (&[u8], &[u8]) = match self.form {
            Form::Array => return Last::Break,
            Form::Lines => (b"{\"error\":", b"}\n"),
            Form::Events => (b"event: error\ndata: ", b"\n\n"),
        };
        out.extend_from_slice(before);
        out.extend_from_slice(&status_json(error, Some(&self.schema)));
        out.extend_from_slice(after);
        Last::Nothing
    }
}

impl Writer for Stream {
    fn open(&mut self, out: &mut Vec<u8>) {
        match self.form {
            Form::Array => out.push(if self.count == 0 { b'[' } else { b',' }),
            Form::Lines => {}
            Form::Events => {
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(itoa::Buffer::new().format(self.count + 1).as_bytes());
                out.extend_from_slice(b"\ndata: ");
            }
        }
    }

    fn shut(&mut self, _: usize, out: &mut Vec<u8>) {
        match self.form {
            Form::Array => {}
            Form::Lines => out.push(b'\n'),
            Form::Events => out.extend_from_slice(b"\n\n"),
        }
        self.count += 1;
    }

    fn close(&mut self, end: Result<HeaderMap, &Error>, out: &mut Vec<u8>) -> Last {
        let status = match end {
            Ok(trailers) => status_of(&trailers).filter(|status| status.code != Code::Ok),
            Err(error) => return self.error(error, out),
        };
        if let Some(status) = status {
            return self.error(&Error::Upstream(Box::new(status)), out);
        }
        if self.form == Form::Array {
            out.extend_from_slice(if self.count == 0 { b"[]" } else { b"]" });
        }
        Last::Nothing
    }

    fn heartbeat(&self) -> Option<&'static [u8]> {
        // A comment.
        (self.form == Form::Events).then_some(b":\n\n")
    }
}
