//! A service that answers INTERNAL: to what it should have read, and to what nobody could.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::{BodyExt, Full};
use transom_transcode::schema::{Idempotency, Schema};

use super::support::{Call, Server, framed, grpc_head, outgoing, settings, status};
use crate::config::{self, CircuitBreaker};
use crate::envelope::metadata::GRPC_ENCODING;
use crate::telemetry::{Circuit, Metrics};
use crate::upstream::{Outgoing, Pool, Takes, Upstream};

const LONG: Duration = Duration::from_secs(60);

/// What a service says before its status.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Head,
    Message,
}

/// A server that reads nothing.
async fn broken(before: Before) -> Server {
    Server::start(move |(_, mut respond): Call| {
        let mut head = grpc_head();
        if before == Before::Nothing {
            head.headers_mut().extend(status("13"));
            respond.send_response(head, true).unwrap();
            return;
        }
        let mut send = respond.send_response(head, false).unwrap();
        if before == Before::Message {
            send.send_data(framed(b"x"), false).unwrap();
        }
        send.send_trailers(status("13")).unwrap();
    })
    .await
}

fn takes(many: bool) -> Arc<Takes> {
    let schema = Schema::builder().build().unwrap();
    let input = schema.message_named("google.protobuf.Duration").unwrap();
    Arc::new(Takes { schema: Arc::new(schema), input, many })
}

fn frames(messages: &[&[u8]]) -> Bytes {
    messages.iter().map(|message| framed(message)).collect::<Vec<_>>().concat().into()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Unary,
    Hedged,
    ClientStream,
    ServerStream,
    Stream,
}

/// What three such calls come to.
async fn after(form: Form, before: Before, many: bool, request: Bytes) -> Circuit {
    after_in(form, before, many, request, None).await
}

/// The same in a coding.
async fn after_in(form: Form, before: Before, many: bool, request: Bytes, coding: Option<&'static str>) -> Circuit {
    let server = broken(before).await;
    let mut settings = settings(&[server.address]);
    settings.circuit_breaker = Some(CircuitBreaker { failures: 3, open_for: LONG, probes: 1 });
    let (upstream, pool) = (Upstream::compile("test", &settings, &Metrics::new()), Pool::new(0, 1));
    let rule = config::Retry { hedge: Some(LONG), ..config::Retry::default() };
    let retry = upstream.retry(&rule, Idempotency::NoSideEffects).filter(|_| form == Form::Hedged);
    let (takes, retry) = (takes(many), retry.as_ref());
    for _ in 0..3 {
        let mut call = Outgoing { takes: Some(&takes), retry, ..outgoing(LONG) };
        coding.map(|coding| call.headers.given_mut().insert(&GRPC_ENCODING, HeaderValue::from_static(coding)));
        once(&upstream, &pool, call, form, request.clone()).await;
    }
    upstream.circuit()
}

async fn once(upstream: &Upstream, pool: &Pool, call: Outgoing<'_>, form: Form, request: Bytes) {
    let reply = match form {
        Form::Unary | Form::Hedged => return drop(upstream.unary(pool, call, request).await.unwrap_err()),
        Form::ClientStream => return drop(upstream.client_stream(pool, call, Full::new(request)).await.unwrap_err()),
        Form::ServerStream => upstream.server_stream(pool, call, request).await,
        Form::Stream => upstream.stream(pool, call, Full::new(request)).await,
    };
    if let Ok(mut reply) = reply {
        while let Some(frame) = reply.body.frame().await {
            assert!(frame.is_ok());
        }
    }
}

const SOUND: &[u8] = b"\x08\x01";
const GARBAGE: [&[u8]; 3] = [b"\xff\xff\xff\xff\xff", b"\x0a\x00", b"\x08"];

#[tokio::test]
async fn what_is_no_message_of_the_method_speaks_against_nobody() {
    for form in [Form::Unary, Form::Hedged, Form::ClientStream, Form::ServerStream, Form::Stream] {
        for before in [Before::Nothing, Before::Head] {
            assert_eq!(after(form, before, false, framed(SOUND)).await, Circuit::Open, "{form:?} {before:?}");
            for garbage in GARBAGE {
                let circuit = after(form, before, false, framed(garbage)).await;
                assert_eq!(circuit, Circuit::Closed, "{form:?} {before:?} {garbage:x?}");
            }
        }
    }
}

/// C-core answers INTERNAL to a coding that it has not, before it reads a byte.
#[tokio::test]
async fn a_coding_that_not_every_service_knows_speaks_against_nobody() {
    for form in [Form::ClientStream, Form::Stream] {
        for (coding, circuit) in [
            ("identity", Circuit::Open),
            ("gzip", Circuit::Open),
            ("deflate", Circuit::Open),
            ("snappy", Circuit::Closed),
            ("GZIP", Circuit::Closed),
            ("", Circuit::Closed),
        ] {
            let after = after_in(form, Before::Nothing, false, framed(SOUND), Some(coding)).await;
            assert_eq!(after, circuit, "{form:?} {coding:?}");
        }
    }
}

#[tokio::test]
async fn a_method_of_one_message_gets_one() {
    let packed = |message: &[u8]| Bytes::from([&[1], &framed(message)[1..]].concat());
    for request in [Bytes::new(), frames(&[SOUND, SOUND]), packed(SOUND)] {
        assert_eq!(after(Form::Stream, Before::Nothing, false, request.clone()).await, Circuit::Closed, "{request:x?}");
    }
    for (messages, circuit) in [
        (vec![SOUND; 3], Circuit::Open),
        (vec![], Circuit::Open),
        (vec![SOUND, GARBAGE[0], SOUND], Circuit::Closed),
        // More than is kept to be looked at.
        (vec![SOUND; 2000], Circuit::Closed),
    ] {
        assert_eq!(after(Form::Stream, Before::Nothing, true, frames(&messages)).await, circuit);
    }
}

#[tokio::test]
async fn who_has_answered_a_message_has_read_its_request() {
    for (many, circuit) in [(false, Circuit::Open), (true, Circuit::Closed)] {
        assert_eq!(after(Form::Stream, Before::Message, many, framed(GARBAGE[0])).await, circuit);
    }
}
