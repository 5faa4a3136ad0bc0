use std::collections::VecDeque;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::body::Broken;
use crate::server::preface::{self, Rewound};
use crate::telemetry::Protocol;
use crate::tls::Socket;

/// Lines, and then a break.
struct Lines(VecDeque<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(Some(self.0.pop_front().map(Frame::data).ok_or(Broken)))
    }
}

impl Answered for Lines {}

/// Sockets that keep little.
async fn narrow() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    SockRef::from(&listener).set_send_buffer_size(4096).unwrap();
    let client = tokio::net::TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    let client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_break_over_http_1_1_comes_behind_the_last_line_however_slow_its_client() {
    let lines: VecDeque<_> = (0..40).map(|at| Bytes::from(format!("{at:4095}\n"))).collect();
    let said: Vec<u8> = lines.iter().flatten().copied().collect();
    let (mut client, server) = narrow().await;
    let activity = Arc::new(Activity::of(Protocol::Http1));
    let serve = {
        let activity = Arc::clone(&activity);
        async move {
            let mut socket = Socket::Plain(server);
            let (_, head) = preface::detect(&mut socket).await.unwrap().unwrap();
            let io = Rewound::new(head, socket, Arc::clone(&activity));
            let service = service_fn(|request: Request<Incoming>| {
                let body = Tracked::new(Lines(lines.clone()), activity.begin(), request.version());
                async { Ok::<_, Infallible>(Response::new(body)) }
            });
            let served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service).await;
            assert!(served.is_err(), "it is broken off");
        }
    };
    let read = async {
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (mut answer, mut piece) = (Vec::new(), [0; 2048]);
        while let Ok(read @ 1..) = client.read(&mut piece).await {
            answer.extend_from_slice(&piece[..read]);
            sleep(Duration::from_millis(5)).await;
        }
        answer
    };
    let ((), answer) = tokio::join!(serve, read);
    let chunks = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let mut expected = Vec::new();
    for line in said.chunks(4096) {
        expected.extend_from_slice(b"1000\r\n");
        expected.extend_from_slice(line);
        expected.extend_from_slice(b"\r\n");
    }
    assert_eq!(answer.len() - chunks, expected.len(), "every line, and no last chunk");
    assert!(answer[chunks..] == expected);
    assert!(activity.is_broken() && !activity.is_to_reset());
}
