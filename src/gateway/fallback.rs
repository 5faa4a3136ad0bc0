//! Fallback: what a method answers in place of a service that cannot be asked, made at load.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use transom_transcode::frame::{self, PREFIX};
use transom_transcode::plan::{BindPlan, Limits};
use transom_transcode::schema::{Method, Schema};
use transom_transcode::scratch::Scratch;
use transom_transcode::to_wire::{Input, to_wire};

use crate::body::Body;
use crate::config;
use crate::envelope::{Codec, Dialect, connect, grpc, grpc_web, rest};

/// A method's answer without its service.
#[derive(Debug, Clone)]
pub struct Fallback {
    status: StatusCode,
    json: Bytes,
    /// The reply as a frame, where the JSON is one and the status is no error's.
    frame: Option<Bytes>,
}

impl Fallback {
    pub(super) fn compile(written: &config::Fallback, schema: &Schema, method: &Method) -> Self {
        let json = Bytes::from(written.json.to_string());
        let frame = written.status.is_success().then(|| message(&json, schema, method)).flatten();
        Self { status: written.status, json, frame }
    }

    /// The answer in the client's dialect; none where that is an error of the dialect's own.
    pub(super) fn answer(&self, dialect: Dialect) -> Option<Response<Body>> {
        let none = HeaderMap::new();
        match dialect {
            Dialect::Rest | Dialect::Http => Some(rest::whole(self.status, self.json.clone())),
            Dialect::Grpc(codec) => Some(grpc::whole(codec, self.message(codec)?)),
            Dialect::GrpcWeb { codec, text } => Some(grpc_web::whole(codec, text, &self.message(codec)?)),
            Dialect::Connect(codec) | Dialect::ConnectGet(codec) => {
                Some(connect::reply(dialect, self.message(codec)?.slice(PREFIX..), [&none, &none]))
            }
            Dialect::ConnectStream(_) | Dialect::WebSocket => None,
        }
    }

    /// The reply in its frame.
    fn message(&self, codec: Codec) -> Option<Bytes> {
        let proto = self.frame.clone()?;
        match codec {
            Codec::Proto => Some(proto),
            Codec::Json => Some([&frame::prefix(self.json.len())[..], &self.json].concat().into()),
        }
    }
}

/// The JSON as the method's reply, in its frame.
fn message(json: &[u8], schema: &Schema, method: &Method) -> Option<Bytes> {
    let mut frame = vec![0; PREFIX];
    let input = Input { body: json, ..Input::default() };
    let plan = BindPlan::whole(method.output);
    to_wire(schema, &plan, &input, &Limits::default(), &mut Scratch::default(), &mut frame).ok()?;
    frame::seal(&mut frame);
    Some(frame.into())
}
