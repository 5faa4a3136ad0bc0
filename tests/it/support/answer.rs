//! How the test upstream speaks gRPC: one call, from its request to its trailers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost_reflect::MethodDescriptor;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use transom_transcode::status::Code;

use super::grpc::{Deframer, frame, put_status};
use super::protos;
use super::reply::{End, Reply, Step, fail, stream};
use super::saw::{Answering, Log};

type Whole = Arc<dyn Fn(&[Value]) -> Reply + Send + Sync>;
type Each = Arc<dyn Fn(&Value) -> Vec<Value> + Send + Sync>;

/// How one method is answered.
#[derive(Clone)]
pub(super) enum Answer {
    /// Once the client has said everything.
    Whole(Whole),
    /// Some messages for each of the client's, as it comes.
    Each(Each),
}

/// Answers one request.
pub(super) async fn answer(
    answer: Option<&Answer>,
    serving: bool,
    log: &Arc<Log>,
    request: Request<Incoming>,
) -> Response<Frames> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let Some(answer) = answer else {
        let reply = match path {
            // HealthCheckResponse { status: SERVING = 1, NOT_SERVING = 2 }
            "/grpc.health.v1.Health/Check" => stream([]).then_bytes(&frame(&[8, if serving { 1 } else { 2 }])),
            _ => fail(Code::Unimplemented, "no such method here"),
        };
        return respond(&reply, None, None).await;
    };
    let method = protos::method(path);
    let seen = Answering(log.begin(method.name(), head.headers));
    let mut messages = Messages { body, deframer: Deframer::default(), method: method.clone(), broken_off: false };
    match answer {
        Answer::Whole(answer) => {
            let mut all = Vec::new();
            while let Some(message) = messages.next(&seen).await {
                all.push(message);
            }
            if messages.broken_off {
                // Dropping `seen` notes it; nobody reads the answer.
                return respond(&fail(Code::Cancelled, "the caller left"), None, None).await;
            }
            respond(&answer(&all), Some(&method), Some(seen)).await
        }
        Answer::Each(answer) => {
            let (frames, body) = channel();
            let answer = answer.clone();
            tokio::spawn(async move {
                while let Some(message) = messages.next(&seen).await {
                    for reply in answer(&message) {
                        let _ = frames.send(Ok(Frame::data(frame(&protos::encode(&method.output(), &reply)))));
                    }
                }
                if messages.broken_off {
                    return;
                }
                let mut trailers = HeaderMap::new();
                put_status(&mut trailers, Code::Ok, "");
                if frames.send(Ok(Frame::trailers(trailers))).is_ok() {
                    seen.0.change(|call| call.finished = true);
                }
            });
            let mut response = Response::new(body);
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            response
        }
    }
}

/// Makes a reply happen: the head now, the rest as it comes.
async fn respond(reply: &Reply, method: Option<&MethodDescriptor>, seen: Option<Answering>) -> Response<Frames> {
    for step in &reply.before_head {
        pause(step).await;
    }
    let (frames, body) = channel();
    let mut response = Response::new(body);
    *response.status_mut() = reply.http.unwrap_or(200).try_into().unwrap();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    for name in reply.headers.keys() {
        response.headers_mut().remove(name);
    }
    response.headers_mut().extend(reply.headers.clone());
    let mut trailers = reply.trailers.clone();
    match &reply.end {
        End::Ok => put_status(&mut trailers, Code::Ok, ""),
        End::Status(code, message) => put_status(&mut trailers, *code, message),
        End::NoTrailers | End::Reset => {}
    }
    if reply.body.is_empty() && !trailers.is_empty() {
        response.headers_mut().extend(trailers);
        finish(seen);
        return response;
    }
    let (steps, end, method) = (reply.body.clone(), reply.end.clone(), method.cloned());
    tokio::spawn(async move {
        for step in &steps {
            let bytes = match step {
                Step::Message(message) => {
                    let method = method.as_ref().expect("messages belong to a method");
                    frame(&protos::encode(&method.output(), message))
                }
                Step::Bytes(bytes) => bytes.clone(),
                other => {
                    tokio::select! {
                        () = pause(other) => {}
                        () = frames.closed() => {}
                    }
                    continue;
                }
            };
            if frames.send(Ok(Frame::data(bytes))).is_err() {
                return;
            }
        }
        let last = match end {
            End::NoTrailers => Ok(()),
            End::Reset => frames.send(Err(io::Error::other("reset, as told"))),
            End::Ok | End::Status(..) => frames.send(Ok(Frame::trailers(trailers))),
        };
        if last.is_ok() && !frames.is_closed() {
            finish(seen);
        }
    });
    response
}

fn finish(seen: Option<Answering>) {
    if let Some(seen) = seen {
        seen.0.change(|call| call.finished = true);
    }
}

async fn pause(step: &Step) {
    match step {
        Step::Sleep(time) => tokio::time::sleep(*time).await,
        Step::Wait(notify) => notify.notified().await,
        Step::Hang => std::future::pending().await,
        Step::Message(_) | Step::Bytes(_) => {}
    }
}

/// The client's messages, each noted as it comes.
struct Messages {
    body: Incoming,
    deframer: Deframer,
    method: MethodDescriptor,
    /// The caller left in the middle.
    broken_off: bool,
}

impl Messages {
    async fn next(&mut self, seen: &Answering) -> Option<Value> {
        loop {
            if let Some(bytes) = self.deframer.next() {
                let message = protos::decode(&self.method.input(), &bytes);
                seen.0.change(|call| call.messages.push(message.clone()));
                return Some(message);
            }
            let Ok(frame) = self.body.frame().await? else {
                self.broken_off = true;
                return None;
            };
            match frame.into_data() {
                Ok(data) => self.deframer.push(&data),
                Err(frame) => seen.0.change(|call| call.trailers = frame.into_trailers().ok()),
            }
        }
    }
}

type Sent = Result<Frame<Bytes>, io::Error>;

/// A body that is written while it is sent.
pub(super) struct Frames(UnboundedReceiver<Sent>);

fn channel() -> (UnboundedSender<Sent>, Frames) {
    let (sender, receiver) = unbounded_channel();
    (sender, Frames(receiver))
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        self.0.poll_recv(cx)
    }

    /// Nothing comes and nobody can send: the head is all there is.
    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}
