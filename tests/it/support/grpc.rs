//! gRPC framing for tests, written apart from the gateway's so that one cannot hide the other's mistakes; and a client.

use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use prost_reflect::MethodDescriptor;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use transom_transcode::status::Code;

use super::client::{Http2, Pending};
use super::{protos, soon};

/// A message in its 5-byte prefix.
pub(crate) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

/// Takes messages out of DATA.
#[derive(Default)]
pub(super) struct Deframer(BytesMut);

impl Deframer {
    pub(super) fn push(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let prefix = self.0.get(..5)?;
        assert_eq!(prefix[0], 0, "not compressed");
        let length = usize::try_from(u32::from_be_bytes(prefix[1..5].try_into().unwrap())).unwrap();
        if self.0.len() < 5 + length {
            return None;
        }
        self.0.advance(5);
        Some(self.0.split_to(length).freeze())
    }
}

/// `grpc-status` and `grpc-message`, percent-coded as the protocol says.
pub(super) fn put_status(headers: &mut HeaderMap, code: Code, message: &str) {
    headers.insert("grpc-status", HeaderValue::from(u16::from(code.number())));
    if !message.is_empty() {
        let coded: String = message
            .bytes()
            .map(|byte| match byte {
                b' '..=b'~' if byte != b'%' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        headers.insert("grpc-message", HeaderValue::from_str(&coded).unwrap());
    }
}

/// A call of `pkg.Service/Method` at any server.
pub(crate) fn call(address: SocketAddr, path: &str) -> GrpcCall {
    GrpcCall {
        to: To::Address(address),
        path: format!("/{path}"),
        method: protos::method(path),
        headers: HeaderMap::new(),
    }
}

/// The same on a connection that is there.
pub(crate) fn call_on(connection: &Http2, path: &str) -> GrpcCall {
    GrpcCall { to: To::Open(connection.clone()), ..call(SocketAddr::from(([0; 4], 0)), path) }
}

/// A gRPC call of a test client.
pub(crate) struct GrpcCall {
    to: To,
    path: String,
    method: MethodDescriptor,
    headers: HeaderMap,
}

enum To {
    Address(SocketAddr),
    Open(Http2),
}

/// What such a call got.
#[derive(Debug)]
pub(crate) struct GrpcReply {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) messages: Vec<Value>,
    pub(crate) headers: HeaderMap,
    /// The trailers; of a trailers-only answer, the head.
    pub(crate) trailers: HeaderMap,
}

impl GrpcCall {
    /// Sends metadata.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        self
    }

    /// Sends these messages and waits for all of the answer.
    pub(crate) async fn send(self, messages: &[Value]) -> GrpcReply {
        let mut stream = self.open().await;
        messages.iter().for_each(|message| stream.send(message));
        stream.close();
        let mut received = Vec::new();
        while let Some(message) = stream.next().await {
            received.push(message);
        }
        GrpcReply { messages: received, ..stream.status().await }
    }

    /// Opens the call without waiting for anything.
    pub(crate) async fn open(self) -> GrpcStream {
        let (sender, receiver) = unbounded_channel();
        let mut connection = match self.to {
            To::Address(address) => Http2::open(address).await,
            To::Open(connection) => connection,
        };
        let mut request = Request::post(connection.uri(&self.path));
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
            if !self.headers.contains_key(name) {
                request = request.header(name, value);
            }
        }
        let body = StreamBody::new(UnboundedReceiverStream::new(receiver)).boxed_unsync();
        let mut request = request.body(body).unwrap();
        request.headers_mut().extend(self.headers);
        let response = connection.send(request);
        GrpcStream {
            method: self.method,
            sender: Some(sender),
            response: Some(response),
            headers: HeaderMap::new(),
            body: None,
            deframer: Deframer::default(),
            trailers: None,
        }
    }
}

type Sent = Result<Frame<Bytes>, std::convert::Infallible>;

/// An open call. Dropped, it is cancelled.
pub(crate) struct GrpcStream {
    method: MethodDescriptor,
    sender: Option<UnboundedSender<Sent>>,
    response: Option<Pending>,
    headers: HeaderMap,
    body: Option<Incoming>,
    deframer: Deframer,
    trailers: Option<HeaderMap>,
}

impl GrpcStream {
    /// Sends one message.
    pub(crate) fn send(&mut self, message: &Value) {
        self.send_bytes(frame(&protos::encode(&self.method.input(), message)));
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: Bytes) {
        let _ = self.sender.as_ref().expect("not closed").send(Ok(Frame::data(bytes)));
    }

    /// Has said everything.
    pub(crate) fn close(&mut self) {
        self.sender = None;
    }

    /// The head of the answer.
    pub(crate) async fn headers(&mut self) -> &HeaderMap {
        if let Some(response) = self.response.take() {
            let response = soon("the answer's head", response).await.expect("an answer");
            assert_eq!(response.status(), 200, "gRPC is 200, whatever happens");
            let (head, body) = response.into_parts();
            self.headers = head.headers;
            self.body = Some(body);
        }
        &self.headers
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let bytes = self.next_bytes().await?;
        Some(protos::decode(&self.method.output(), &bytes))
    }

    /// The next message as it came.
    pub(crate) async fn next_bytes(&mut self) -> Option<Bytes> {
        self.headers().await;
        loop {
            if let Some(bytes) = self.deframer.next() {
                return Some(bytes);
            }
            let frame = soon("the next frame", self.body.as_mut()?.frame()).await?.ok()?;
            match frame.into_data() {
                Ok(data) => self.deframer.push(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    /// The status; what messages are left is thrown away.
    pub(crate) async fn status(mut self) -> GrpcReply {
        while self.next_bytes().await.is_some() {}
        let trailers = self.trailers.unwrap_or_else(|| self.headers.clone());
        let text = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let code = text("grpc-status").unwrap_or_else(|| panic!("no grpc-status in {trailers:?}"));
        GrpcReply {
            code: Code::from_number(code.parse().unwrap()),
            message: percent_decoded(&text("grpc-message").unwrap_or_default()),
            messages: Vec::new(),
            headers: self.headers,
            trailers,
        }
    }
}

impl GrpcReply {
    /// It was OK with exactly these messages.
    #[track_caller]
    pub(crate) fn ok(&self, messages: &[Value]) -> &Self {
        assert_eq!((self.code, self.message.as_str()), (Code::Ok, ""));
        assert_eq!(self.messages, messages);
        self
    }

    /// It failed with this code.
    #[track_caller]
    pub(crate) fn failed(&self, code: Code) -> &Self {
        assert_eq!(self.code, code, "{}", self.message);
        self
    }
}

pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let hex = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                rest = tail;
            }
            (byte, tail) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
