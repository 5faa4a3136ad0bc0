//! A service that is ill: HTTP/2 by hand, so that it can break what a server of a library cannot.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::frames::{ACK, END_HEADERS, END_STREAM, Head, PREFACE, frame, kind};
use super::grpc;

/// What is wrong with a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes connections and says nothing.
    HalfOpen,
    /// It greets with what is not HTTP/2.
    GarbageFirst,
    /// It takes calls and does not answer.
    Silent,
    /// It answers a call with what are no frames.
    Garbage,
    /// It refuses a call: REFUSED_STREAM.
    Refuses,
    /// It resets a call: INTERNAL_ERROR.
    Resets,
    /// It answers a call with an HTTP status alone: 404.
    NotGrpc,
    /// It goes away before it has looked at a call: GOAWAY below its stream, FIN.
    GoesAway,
    /// It ends the connection for a call, at which it has not looked: GOAWAY of an error below its stream, FIN.
    Expels,
    /// It goes away while it has a call, and drops it: GOAWAY with its stream, FIN.
    Abandons,
    /// Its connection ends: FIN.
    Ends,
    /// Its connection breaks: RST.
    Breaks,
}

/// When it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the answer's head.
    Before,
    /// After the head and one empty message, once it is told to go on.
    Amid,
}

/// A running one; dropped, it stops.
pub(crate) struct Faulty {
    address: SocketAddr,
    go_on: Arc<Notify>,
    calls: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl Faulty {
    /// Starts it on a port of its own.
    pub(crate) async fn start(fault: Fault, stage: Stage) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let go_on = Arc::new(Notify::new());
        let calls = Arc::<AtomicUsize>::default();
        let (told, counted) = (go_on.clone(), calls.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let connection = Connection { socket, fault, stage, go_on: told.clone(), calls: counted.clone() };
                connections.spawn(connection.serve());
            }
        });
        Self { address, go_on, calls, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many calls it has had.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    /// Lets the fault of one call show.
    pub(crate) fn go_on(&self) {
        self.go_on.notify_one();
    }
}

const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

struct Connection {
    socket: TcpStream,
    fault: Fault,
    stage: Stage,
    go_on: Arc<Notify>,
    calls: Arc<AtomicUsize>,
}

impl Connection {
    /// Until it has broken or its client has left.
    async fn serve(mut self) -> io::Result<Infallible> {
        self.socket.set_nodelay(true)?;
        match self.fault {
            Fault::HalfOpen => std::future::pending().await,
            Fault::GarbageFirst => self.socket.write_all(b"220 mail.example.com ESMTP ready, go ahead\r\n").await?,
            _ => self.socket.write_all(&frame(kind::SETTINGS, 0, 0, &[])).await?,
        }
        self.socket.read_exact(&mut [0; PREFACE.len()]).await?;
        loop {
            let mut head = [0; Head::LENGTH];
            self.socket.read_exact(&mut head).await?;
            let head = Head::read(&head);
            let mut payload = vec![0; head.length];
            self.socket.read_exact(&mut payload).await?;
            match (head.kind, head.flags & ACK) {
                (kind::SETTINGS, 0) => self.socket.write_all(&frame(kind::SETTINGS, ACK, 0, &[])).await?,
                (kind::PING, 0) => self.socket.write_all(&frame(kind::PING, ACK, 0, &payload)).await?,
                // A request's first message; some clients are answered as they speak.
                (kind::DATA, _) if head.length > 0 => self.answer(head.stream).await?,
                _ => {}
            }
        }
    }

    /// Answers a call, as ill as it is.
    async fn answer(&mut self, stream: u32) -> io::Result<()> {
        self.calls.fetch_add(1, Relaxed);
        if self.stage == Stage::Amid {
            // `:status: 200` of HPACK's table, `content-type` as a literal.
            let head = [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat();
            let begun =
                [frame(kind::HEADERS, END_HEADERS, stream, &head), frame(kind::DATA, 0, stream, &grpc::frame(&[]))]
                    .concat();
            self.socket.write_all(&begun).await?;
            self.go_on.notified().await;
        }
        let reset = |reason: u32| frame(kind::RST_STREAM, 0, stream, &reason.to_be_bytes());
        let goaway =
            |last: u32, reason: u32| frame(kind::GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
        let (last_words, ends) = match self.fault {
            Fault::HalfOpen | Fault::GarbageFirst | Fault::Silent => return Ok(()),
            Fault::Garbage => (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(), false),
            Fault::Refuses => (reset(REFUSED_STREAM), false),
            Fault::Resets => (reset(INTERNAL_ERROR), false),
            // `:status: 404` of HPACK's table.
            Fault::NotGrpc => (frame(kind::HEADERS, END_HEADERS | END_STREAM, stream, &[0x8d]), false),
            Fault::GoesAway => (goaway(stream - 1, 0), true),
            Fault::Expels => (goaway(stream - 1, PROTOCOL_ERROR), true),
            Fault::Abandons => (goaway(stream, 0), true),
            Fault::Ends | Fault::Breaks => (Vec::new(), true),
        };
        self.socket.write_all(&last_words).await?;
        if self.fault == Fault::Breaks {
            SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))?;
        }
        if ends { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}
