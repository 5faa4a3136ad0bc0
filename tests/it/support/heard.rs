//! What a call in any dialect got: its messages, and how it ended.

use std::collections::VecDeque;
use std::convert::Infallible;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost_reflect::MethodDescriptor;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio_tungstenite::tungstenite::{self, Message};
use transom_transcode::status::{Code, Status};

use super::client::Pending;
use super::grpc::{frame, percent_decoded};
use super::socket::{Frames, Talk};
use super::speak::Speech::{self, *};
use super::{protos, soon};

/// An open call. Dropped, it is cancelled.
pub(crate) struct Stream {
    speech: Speech,
    method: MethodDescriptor,
    /// None once it has said everything.
    sender: Option<UnboundedSender<Sent>>,
    /// Something has been sent.
    begun: bool,
    response: Option<Pending>,
    outcome: Outcome,
    body: Option<Incoming>,
    /// Where its frames come from, if it is a WebSocket.
    frames: Option<Frames>,
    /// Base64 that is no whole quantum yet.
    text: BytesMut,
    buffer: BytesMut,
    messages: VecDeque<Value>,
    ended: bool,
}

/// A piece of what is sent. Trailers say that a WebSocket has said everything.
pub(super) type Sent = Result<Frame<Bytes>, Infallible>;

/// What a call got.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Value>,
    /// None where nothing says how it ended: it was broken off.
    pub(crate) code: Option<Code>,
    pub(crate) message: String,
    /// What its details are, by type.
    pub(crate) details: Vec<String>,
    pub(crate) http: u16,
    pub(crate) headers: HeaderMap,
    /// Trailing metadata, wherever the dialect has it.
    pub(crate) trailers: HeaderMap,
}

impl Stream {
    pub(super) fn new(
        speech: Speech,
        method: MethodDescriptor,
        sender: Option<UnboundedSender<Sent>>,
        response: Pending,
    ) -> Self {
        Self {
            speech,
            method,
            sender,
            begun: false,
            response: Some(response),
            outcome: Outcome::default(),
            body: None,
            frames: None,
            text: BytesMut::new(),
            buffer: BytesMut::new(),
            messages: VecDeque::new(),
            ended: false,
        }
    }

    /// One that has left HTTP.
    pub(super) fn of_socket(speech: Speech, method: MethodDescriptor, socket: Talk) -> Self {
        let outcome = Outcome { http: 200, headers: socket.headers, ..Outcome::default() };
        Self {
            speech,
            method,
            sender: Some(socket.sender),
            begun: false,
            response: None,
            outcome,
            body: None,
            frames: Some(socket.frames),
            text: BytesMut::new(),
            buffer: BytesMut::new(),
            messages: VecDeque::new(),
            ended: false,
        }
    }

    /// Sends a message; one that is in the path or the query has been sent.
    pub(crate) fn send(&mut self, message: &Value) {
        let bytes = match self.speech.is_json() {
            true => message.to_string().into_bytes(),
            false => protos::encode(&self.method.input(), message),
        };
        let streams = self.method.is_client_streaming();
        let bytes = match self.speech {
            Rest if streams => [if self.begun { b"," } else { b"[" }, &bytes[..]].concat().into(),
            RestLines if streams => [&bytes[..], b"\n"].concat().into(),
            speech if speech.is_whole() || !speech.is_rpc() => bytes.into(),
            _ => frame(&bytes),
        };
        self.begun = true;
        self.send_bytes(bytes);
    }

    /// Sends bytes; in base64 where the dialect is.
    pub(crate) fn send_bytes(&mut self, bytes: Bytes) {
        let bytes = if self.speech.is_text() { STANDARD.encode(bytes).into() } else { bytes };
        if let Some(sender) = &self.sender {
            let _ = sender.send(Ok(Frame::data(bytes)));
        }
    }

    /// Has said everything.
    pub(crate) fn close(&mut self) {
        if self.speech == Rest && self.method.is_client_streaming() && self.begun {
            self.send_bytes(Bytes::from_static(b"]"));
        }
        if let Some(sender) = self.sender.take().filter(|_| self.speech.is_socket()) {
            let _ = sender.send(Ok(Frame::trailers(HeaderMap::new())));
        }
    }

    /// Has said everything, and this behind it.
    pub(crate) fn close_with(&mut self, trailers: HeaderMap) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(Ok(Frame::trailers(trailers)));
        }
    }

    /// The answer's head.
    pub(crate) async fn head(&mut self) -> &HeaderMap {
        if let Some(response) = self.response.take() {
            let (head, body) = soon("the answer's head", response).await.expect("an answer").into_parts();
            self.outcome.http = head.status.as_u16();
            self.outcome.headers = head.headers;
            self.body = Some(body);
        }
        &self.outcome.headers
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        self.head().await;
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            if let Some(frames) = &mut self.frames {
                let frame = soon("the next frame", frames.next()).await;
                self.frame(frame);
                continue;
            }
            match soon("the next frame", self.body.as_mut()?.frame()).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.take(&data);
                        self.read(false);
                    }
                    Err(frame) => self.trailers(frame.into_trailers().unwrap()),
                },
                Some(Err(_)) => {
                    // What HTTP says is broken off has no outcome.
                    (self.ended, self.outcome.code) = (true, None);
                }
                None => {
                    self.ended = true;
                    self.read(true);
                }
            }
        }
    }

    /// All of it.
    pub(crate) async fn outcome(mut self) -> Outcome {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            messages.push(message);
        }
        Outcome { messages, ..self.outcome }
    }

    fn take(&mut self, data: &[u8]) {
        if !self.speech.is_text() {
            self.buffer.extend_from_slice(data);
            return;
        }
        self.text.extend_from_slice(data);
        let whole = self.text.len() / 4 * 4;
        let text = self.text.split_to(whole);
        let mut rest = &text[..];
        while !rest.is_empty() {
            // Up to the end of the quantum with the first padding.
            let end = rest.iter().position(|byte| *byte == b'=').map_or(rest.len(), |at| (at / 4 + 1) * 4);
            self.buffer.extend_from_slice(&STANDARD.decode(&rest[..end]).expect("base64"));
            rest = &rest[end..];
        }
    }

    fn read(&mut self, last: bool) {
        match self.speech {
            RestLines if self.outcome.http == 200 && self.method.is_server_streaming() => self.lines(last),
            RestEvents if self.outcome.http == 200 => self.events(last),
            speech if speech.is_rpc() && !speech.is_whole() => self.frames(last),
            _ if last => self.whole(),
            _ => {}
        }
    }

    fn message(&mut self, bytes: &[u8]) {
        let message = match self.speech.is_json() {
            true if self.speech.is_begun() || self.speech == Rest => {
                // Names as the tests write them, whatever ProtoJSON makes of them: by way of the wire.
                let value: Value = serde_json::from_slice(bytes).unwrap();
                protos::decode(&self.method.output(), &protos::encode(&self.method.output(), &value))
            }
            true => serde_json::from_slice(bytes).unwrap(),
            false => protos::decode(&self.method.output(), bytes),
        };
        self.messages.push_back(message);
    }

    /// A body that is one answer, of which HTTP's status says what.
    fn whole(&mut self) {
        let body = self.buffer.split().freeze();
        if self.outcome.http != 200 {
            self.error(&serde_json::from_slice(&body).unwrap_or_else(|_| panic!("no JSON: {body:?}")));
        } else if self.speech == Rest && self.method.is_server_streaming() {
            self.outcome.code = Some(Code::Ok);
            let messages: Vec<Value> = serde_json::from_slice(&body).expect("a closed array");
            messages.iter().for_each(|message| self.message(message.to_string().as_bytes()));
        } else {
            self.outcome.code = Some(Code::Ok);
            self.message(&body);
        }
        for (name, value) in &self.outcome.headers {
            if let Some(name) = name.as_str().strip_prefix("trailer-") {
                self.outcome.trailers.append(HeaderName::try_from(name).unwrap(), value.clone());
            }
        }
    }

    fn lines(&mut self, last: bool) {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(end + 1);
            let value: Value = serde_json::from_slice(&line).unwrap();
            match value.get("error") {
                Some(error) => self.error(&error.clone()),
                None => self.message(&line),
            }
        }
        if last && self.outcome.code.is_none() && self.buffer.is_empty() {
            self.outcome.code = Some(Code::Ok);
        }
    }

    fn events(&mut self, last: bool) {
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let event = String::from_utf8(self.buffer.split_to(end + 2).to_vec()).unwrap();
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            match data {
                Some(data) if event.starts_with("event: error") => self.error(&serde_json::from_str(data).unwrap()),
                Some(data) => self.message(data.as_bytes()),
                None => assert_eq!(event, ":\n\n"),
            }
        }
        if last && self.outcome.code.is_none() && self.buffer.is_empty() {
            self.outcome.code = Some(Code::Ok);
        }
    }

    fn frames(&mut self, last: bool) {
        while self.buffer.len() >= 5 {
            let length = u32::from_be_bytes(self.buffer[1..5].try_into().unwrap()) as usize;
            if self.buffer.len() < 5 + length {
                break;
            }
            let flag = self.buffer[0];
            self.buffer.advance(5);
            let bytes = self.buffer.split_to(length);
            match flag {
                0 => self.message(&bytes),
                1 => {
                    let mut plain = Vec::new();
                    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*bytes), &mut plain).unwrap();
                    self.message(&plain);
                }
                0x80 if self.speech.is_web() => {
                    let text = String::from_utf8(bytes.to_vec()).unwrap();
                    let pairs = text.split_terminator("\r\n").map(|line| line.split_once(": ").unwrap());
                    let trailers = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
                    self.trailers(trailers);
                }
                2 if !self.speech.is_grpc() => self.end(&serde_json::from_slice(&bytes).unwrap()),
                other => panic!("a frame that begins with {other}"),
            }
        }
        if last && self.outcome.code.is_none() && self.outcome.headers.contains_key("grpc-status") {
            assert!(self.buffer.is_empty());
            self.trailers(self.outcome.headers.clone());
        }
    }

    /// Connect's end of a stream.
    fn end(&mut self, end: &Value) {
        for (name, values) in end["metadata"].as_object().into_iter().flatten() {
            for value in values.as_array().unwrap() {
                let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
                self.outcome.trailers.append(HeaderName::try_from(name).unwrap(), value);
            }
        }
        match end.get("error") {
            Some(error) => self.error(error),
            None => self.outcome.code = Some(Code::Ok),
        }
    }

    /// A WebSocket's: a message, the error that comes before a close, or the close.
    fn frame(&mut self, frame: Option<Result<Message, tungstenite::Error>>) {
        match frame {
            Some(Ok(Message::Text(text))) => {
                let value: Value = serde_json::from_str(&text).unwrap();
                match value.get("error") {
                    Some(error) => self.error(error),
                    None => self.message(text.as_bytes()),
                }
            }
            Some(Ok(Message::Binary(bytes))) => self.message(&bytes),
            Some(Ok(Message::Close(Some(close)))) => {
                self.ended = true;
                let number = u16::from(close.code);
                let code = match number {
                    1000 => Code::Ok,
                    // What the protocol itself calls too big.
                    1009 => Code::ResourceExhausted,
                    _ => Code::from_number(i64::from(number) - 4000),
                };
                assert!(self.outcome.code.is_none_or(|told| told == code), "{close:?} after {:?}", self.outcome.code);
                self.outcome.code = Some(code);
                if self.outcome.message.is_empty() {
                    self.outcome.message = close.reason.to_string();
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => (self.ended, self.outcome.code) = (true, None),
        }
    }

    /// gRPC's.
    fn trailers(&mut self, trailers: HeaderMap) {
        let text = |name: &str| trailers.get(name).map(|value| value.to_str().unwrap());
        self.outcome.code = Some(Code::from_number(text("grpc-status").expect("a status").parse().unwrap()));
        self.outcome.message = percent_decoded(text("grpc-message").unwrap_or_default());
        if let Some(details) = text("grpc-status-details-bin") {
            let bytes = STANDARD_NO_PAD.decode(details.trim_end_matches('=')).unwrap();
            let status = Status::from_bytes(bytes.into()).unwrap();
            self.outcome.details = status.details.iter().map(|detail| type_name(&detail.type_url)).collect();
        }
        self.outcome.trailers = trailers;
    }

    /// An error as JSON: REST's has a number for a code, Connect's a name.
    fn error(&mut self, error: &Value) {
        self.outcome.code = Some(match &error["code"] {
            Value::Number(number) => Code::from_number(number.as_i64().unwrap()),
            name => {
                let name = name.as_str().expect("a code").to_ascii_uppercase().replace("CANCELED", "CANCELLED");
                Code::ALL.into_iter().find(|code| code.name() == name).unwrap_or_else(|| panic!("no code {name}"))
            }
        });
        self.outcome.message = error["message"].as_str().unwrap_or_default().to_owned();
        let details = error["details"].as_array().into_iter().flatten();
        let name = |detail: &Value| type_name(detail.get("@type").unwrap_or(&detail["type"]).as_str().unwrap());
        self.outcome.details = details.map(name).collect();
    }
}

fn type_name(url: &str) -> String {
    url.rsplit('/').next().unwrap().to_owned()
}

impl Outcome {
    /// It was OK with exactly these messages.
    #[track_caller]
    pub(crate) fn ok(&self, messages: &[Value]) -> &Self {
        assert_eq!((self.code, self.message.as_str()), (Some(Code::Ok), ""));
        assert_eq!(json!(self.messages), json!(messages));
        self
    }

    /// It failed with this code.
    #[track_caller]
    pub(crate) fn failed(&self, code: Code) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}
