//! Who gets a stream first where they are scarce.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use h2::server;
use parking_lot::Mutex;

use super::support::{Call, Server, answer, call, framed, grpc_head, outgoing, until, upstream, uri};
use crate::upstream::{Failure, Outgoing, Pool, Streaming, Upstream};

const LONG: Duration = Duration::from_secs(30);
const WATCH: &str = "/test.Service/Watch";

async fn watch(upstream: &Upstream, pool: &Pool) -> Result<Streaming, Failure> {
    let outgoing = Outgoing { uri: uri("http://test/test.Service/Watch"), ..outgoing(LONG) };
    upstream.server_stream(pool, outgoing, framed(b"x")).await
}

fn with_streams(most: u32) -> server::Builder {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(most);
    builder
}

#[tokio::test]
async fn streams_leave_an_eighth_to_calls() {
    let open = Arc::new(Mutex::new(Vec::new()));
    let opened = Arc::clone(&open);
    let server = Server::with(with_streams(8), move |(request, mut respond): Call| {
        if request.uri().path() == WATCH {
            let send = respond.send_response(grpc_head(), false).unwrap();
            opened.lock().push((request, send));
        } else {
            answer((request, respond), b"");
        }
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let mut streams = Vec::new();
    for _ in 0..7 {
        streams.push(watch(&upstream, &pool).await.unwrap());
    }
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut eighth = pin!(watch(&upstream, &pool));
        assert!(eighth.as_mut().poll(&mut cx).is_pending());
        for _ in 0..3 {
            call(&upstream, &pool).await.unwrap();
        }
        assert!(!matches!(eighth.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    }
    assert_eq!(open.lock().len(), 7);
    // What is given back is for streams too.
    streams.pop();
    watch(&upstream, &pool).await.unwrap();
}

#[tokio::test]
async fn calls_come_before_streams() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&kept);
    let server = Server::with(with_streams(1), move |call: Call| keeps.lock().push(call)).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let mut first = pin!(call(&upstream, &pool));
    tokio::select! {
        _ = first.as_mut() => unreachable!("it is not answered yet"),
        () = until(|| kept.lock().len() == 1) => {}
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut stream = pin!(watch(&upstream, &pool));
    assert!(stream.as_mut().poll(&mut cx).is_pending());
    let mut second = pin!(call(&upstream, &pool));
    assert!(second.as_mut().poll(&mut cx).is_pending());
    let answered = kept.lock().pop().unwrap();
    answer(answered, b"");
    first.await.unwrap();
    tokio::select! {
        _ = second.as_mut() => unreachable!("it is not answered yet"),
        () = until(|| kept.lock().len() == 1) => {}
    }
    let (request, respond) = kept.lock().pop().unwrap();
    assert_ne!(request.uri().path(), WATCH);
    answer((request, respond), b"");
    second.await.unwrap();
    // Then it is the stream's turn.
    tokio::select! {
        _ = stream.as_mut() => unreachable!("it is not answered yet"),
        () = until(|| kept.lock().len() == 1) => {}
    }
    assert_eq!(kept.lock()[0].0.uri().path(), WATCH);
}
