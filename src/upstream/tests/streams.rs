//! Streams: both ways at once, at the reader's pace.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tokio::sync::mpsc;

use super::support::{Call, Server, answer, call, framed, grpc_head, outgoing, status, until, upstream, uri};
use crate::upstream::{FailureKind, Outgoing, Pool, ReplyBody, Upstream};

/// A request's body that a test writes as it goes.
struct Channel(mpsc::UnboundedReceiver<Result<Bytes, &'static str>>);

impl Body for Channel {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| data.map(Frame::data)))
    }
}

fn channel() -> (mpsc::UnboundedSender<Result<Bytes, &'static str>>, Channel) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Channel(receiver))
}

/// Sends back each frame as it comes, and a status after the last.
fn echo((request, mut respond): Call) {
    tokio::spawn(async move {
        let mut body = request.into_body();
        let mut send = respond.send_response(grpc_head(), false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            if send_all(&mut send, data).await.is_none() {
                return;
            }
        }
        let _ = send.send_trailers(status("0"));
    });
}

/// None: the other side has left.
async fn send_all(send: &mut h2::SendStream<Bytes>, mut data: Bytes) -> Option<()> {
    while !data.is_empty() {
        send.reserve_capacity(data.len());
        let room = poll_fn(|cx| send.poll_capacity(cx)).await?.ok()?;
        send.send_data(data.split_to(room.min(data.len())), false).ok()?;
    }
    Some(())
}

async fn data(body: &mut ReplyBody) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

async fn trailers(body: &mut ReplyBody) -> HeaderMap {
    body.frame().await.unwrap().unwrap().into_trailers().unwrap()
}

#[tokio::test]
async fn both_sides_talk_at_once() {
    let server = Server::start(echo).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let (say, body) = channel();
    let mut reply = upstream.stream(&pool, outgoing(Duration::from_secs(5)), body).await.unwrap().body;
    for number in 0..10_u8 {
        say.send(Ok(framed(&[number]))).unwrap();
        assert_eq!(data(&mut reply).await, framed(&[number]));
    }
    drop(say);
    assert_eq!(trailers(&mut reply).await, status("0"));
    assert!(reply.frame().await.is_none());
}

#[tokio::test]
async fn a_request_goes_on_while_its_reply_is_not_read() {
    let server = Server::start(|(request, mut respond): Call| {
        tokio::spawn(async move {
            let mut send = respond.send_response(grpc_head(), false).unwrap();
            let mut body = request.into_body();
            let mut all = 0;
            while let Some(Ok(data)) = body.data().await {
                all += data.len();
                let _ = body.flow_control().release_capacity(data.len());
            }
            send.send_data(framed(&u32::try_from(all).unwrap().to_be_bytes()), false).unwrap();
            send.send_trailers(status("0")).unwrap();
        });
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let (say, body) = channel();
    let mut reply = upstream.stream(&pool, outgoing(Duration::from_secs(5)), body).await.unwrap().body;
    let pieces = 200_u32;
    for _ in 0..pieces {
        say.send(Ok(Bytes::from(vec![0; 10_000]))).unwrap();
    }
    drop(say);
    assert_eq!(data(&mut reply).await, framed(&(pieces * 10_000).to_be_bytes()));
}

#[tokio::test]
async fn a_unary_request_as_a_stream() {
    let server = Server::start(|call: Call| answer(call, b"one")).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let reply = upstream.stream(&pool, outgoing(Duration::from_secs(5)), Full::new(framed(b"x"))).await.unwrap();
    assert_eq!(reply.headers["content-type"], "application/grpc");
    let collected = reply.body.collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&status("0")));
    assert_eq!(collected.to_bytes(), framed(b"one"));
}

#[tokio::test]
async fn a_trailers_only_ok_is_an_empty_stream() {
    let server = Server::start(|(_, mut respond): Call| {
        let head = Response::builder().header("content-type", "application/grpc").header("grpc-status", "0");
        respond.send_response(head.body(()).unwrap(), true).unwrap();
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let mut reply = upstream.stream(&pool, outgoing(Duration::from_secs(5)), Empty::new()).await.unwrap();
    assert_eq!(trailers(&mut reply.body).await, status("0"));
    assert!(reply.body.frame().await.is_none());
}

#[tokio::test]
async fn a_stream_that_ends_without_trailers_ends_in_a_failure() {
    let server = Server::start(|(_, mut respond): Call| {
        respond.send_response(grpc_head(), false).unwrap().send_data(framed(b"x"), true).unwrap();
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let mut reply = upstream.stream(&pool, outgoing(Duration::from_secs(5)), Empty::new()).await.unwrap().body;
    assert_eq!(data(&mut reply).await, framed(b"x"));
    let failure = reply.frame().await.unwrap().unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Protocol), "{failure}");
}

#[tokio::test]
async fn a_deadline_ends_a_stream_between_messages() {
    let server = Server::start(echo).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let (say, body) = channel();
    let mut reply = upstream.stream(&pool, outgoing(Duration::from_millis(150)), body).await.unwrap().body;
    say.send(Ok(framed(b"x"))).unwrap();
    assert_eq!(data(&mut reply).await, framed(b"x"));
    let failure = reply.frame().await.unwrap().unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Deadline), "{failure}");
    assert!(reply.frame().await.is_none());
}

#[tokio::test]
async fn a_client_that_breaks_off_cancels_the_stream() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let server = Server::start(move |(request, mut respond): Call| {
        let sender = sender.clone();
        tokio::spawn(async move {
            let _send = respond.send_response(grpc_head(), false).unwrap();
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                if let Err(error) = data {
                    sender.send(error.reason()).unwrap();
                    return;
                }
            }
        });
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let (say, body) = channel();
    let mut reply = upstream.stream(&pool, outgoing(Duration::from_secs(5)), body).await.unwrap().body;
    say.send(Ok(framed(b"x"))).unwrap();
    say.send(Err("gone")).unwrap();
    let failure = reply.frame().await.unwrap().unwrap_err();
    assert!(matches!(failure.kind, FailureKind::ClientGone), "{failure}");
    drop(reply);
    assert_eq!(seen.recv().await.unwrap(), Some(h2::Reason::CANCEL));
}

/// Sends without end, and counts what the window took.
fn flood(sent: &Arc<AtomicUsize>) -> impl Fn(Call) + Clone + Send + 'static {
    let sent = Arc::clone(sent);
    move |(request, mut respond): Call| {
        if request.uri().path().ends_with("Method") {
            return answer((request, respond), b"quick");
        }
        let sent = Arc::clone(&sent);
        tokio::spawn(async move {
            let mut send = respond.send_response(grpc_head(), false).unwrap();
            while send_all(&mut send, Bytes::from(vec![0; 1000])).await.is_some() {
                sent.fetch_add(1000, Ordering::Relaxed);
            }
        });
    }
}

async fn open_flood(upstream: &Upstream, pool: &Pool) -> ReplyBody {
    let mut outgoing = outgoing(Duration::from_secs(30));
    outgoing.uri = uri("http://test/test.Service/Flood");
    upstream.stream(pool, outgoing, Empty::new()).await.unwrap().body
}

#[tokio::test]
async fn slow_readers_stall_nobody_and_hold_little() {
    let sent = Arc::new(AtomicUsize::new(0));
    let server = Server::start(flood(&sent)).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let slow: Vec<_> = [open_flood(&upstream, &pool).await, open_flood(&upstream, &pool).await].into();
    let window = 256 * 1024;
    until(|| sent.load(Ordering::Relaxed) + 2000 > 2 * window).await;
    for _ in 0..20 {
        assert_eq!(call(&upstream, &pool).await.unwrap().message, "quick");
    }
    assert!(sent.load(Ordering::Relaxed) <= 2 * window);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
    drop(slow);
}

#[tokio::test]
async fn what_is_read_is_given_back_to_the_window() {
    let sent = Arc::new(AtomicUsize::new(0));
    let server = Server::start(flood(&sent)).await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let mut body = open_flood(&upstream, &pool).await;
    let mut read = 0;
    while read < 4 << 20 {
        read += data(&mut body).await.len();
        assert!(sent.load(Ordering::Relaxed) <= read + 256 * 1024 + 1000);
    }
}

#[tokio::test]
async fn a_server_stream_that_was_refused_comes_from_the_next_endpoint() {
    let refusing = Server::start(|(_, mut respond): Call| respond.send_reset(h2::Reason::REFUSED_STREAM)).await;
    let good = Server::start(|(mut request, mut respond): Call| {
        tokio::spawn(async move {
            let message = request.body_mut().data().await.unwrap().unwrap();
            let mut send = respond.send_response(grpc_head(), false).unwrap();
            send.send_data(message, false).unwrap();
            send.send_trailers(status("0")).unwrap();
        });
    })
    .await;
    let (upstream, pool) = (upstream(&[refusing.address, good.address]), Pool::new(0, 1));
    let outgoing = outgoing(Duration::from_secs(5));
    let mut reply = upstream.server_stream(&pool, outgoing, framed(b"one message")).await.unwrap();
    assert_eq!(data(&mut reply.body).await, framed(b"one message"));
    assert_eq!(trailers(&mut reply.body).await["grpc-status"], "0");
    assert_eq!((refusing.calls(), good.calls()), (1, 1));
}

#[tokio::test]
async fn an_old_stream_ends_although_it_always_has_more() {
    const PIECES: usize = 500;
    let server = Server::start(|(_, mut respond): Call| {
        tokio::spawn(async move {
            let mut send = respond.send_response(grpc_head(), false).unwrap();
            for _ in 0..PIECES {
                send.send_data(framed(&[1]), false).unwrap();
            }
            std::future::pending::<()>().await;
        });
    })
    .await;
    let (upstream, pool) = (upstream(&[server.address]), Pool::new(0, 1));
    let age = Duration::from_millis(50);
    let call = Outgoing { max_age: Some(&age), ..outgoing(Duration::from_secs(30)) };
    let mut body = upstream.server_stream(&pool, call, framed(b"")).await.unwrap().body;
    // All of it is here by then.
    tokio::time::sleep(age * 2).await;
    let mut pieces = 0;
    let failure = loop {
        match body.frame().await.unwrap() {
            Ok(_) => pieces += 1,
            Err(failure) => break failure,
        }
    };
    assert!(matches!(failure.kind, FailureKind::Aged), "{failure}");
    assert!(pieces < PIECES / 2, "{pieces}");
}
