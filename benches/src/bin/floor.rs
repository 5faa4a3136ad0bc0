//! The floor of the comparison: the least that a gateway in this language can do, with nothing translated.
//!
//! `floor ADDRESS UPSTREAM CANNED`: one thread. An HTTP/1.1 request is read whole, an RPC with a canned message goes to the
//! upstream over HTTP/2, its reply is read up to the trailers, and a canned body (`CANNED/{get,list,post}.json`) goes back. An
//! HTTP/2 request is passed through with its frames as they are.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, Uri, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use transom_benches::{CALLS, frame};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Reply = Response<Either<Full<Bytes>, Passed>>;

/// What the floor answers and asks.
struct Floor {
    upstream: SendRequest<Bytes>,
    request: Bytes,
    calls: [(Uri, Bytes); 3],
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, upstream, canned] = arguments.as_slice() else {
        return Err(io::Error::other("usage: floor ADDRESS UPSTREAM CANNED"));
    };
    let floor = Arc::new(Floor {
        upstream: connect(upstream).await?,
        request: frame(&[0x0a; 200]),
        calls: {
            let call = |at: usize| -> io::Result<(Uri, Bytes)> {
                let (name, rpc) = CALLS[at];
                let uri = format!("http://upstream/{rpc}").parse().map_err(io::Error::other)?;
                Ok((uri, std::fs::read(Path::new(canned).join(format!("{name}.json")))?.into()))
            };
            [call(0)?, call(1)?, call(2)?]
        },
    });
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let floor = Arc::clone(&floor);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let floor = Arc::clone(&floor);
                async move { Ok::<_, Infallible>(floor.serve(request).await) }
            });
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn connect(upstream: &str) -> io::Result<SendRequest<Bytes>> {
    let socket = TcpStream::connect(upstream).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 18)
        .initial_connection_window_size((1 << 31) - 1)
        .handshake(socket)
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

impl Floor {
    async fn serve(&self, request: Request<Incoming>) -> Reply {
        let answer =
            if request.version() == Version::HTTP_2 { self.pass(request).await } else { self.call(request).await };
        answer.unwrap_or_else(|_| {
            let mut reply = Response::new(Either::Left(Full::default()));
            *reply.status_mut() = http::StatusCode::BAD_GATEWAY;
            reply
        })
    }

    /// HTTP/1.1 → canned RPC → canned body.
    async fn call(&self, request: Request<Incoming>) -> Result<Reply, h2::Error> {
        let (head, body) = request.into_parts();
        let (uri, body_back) = match (&head.method, head.uri.path().len() > "/api/v1/events".len()) {
            (&Method::POST, _) => &self.calls[2],
            (_, true) => &self.calls[0],
            (_, false) => &self.calls[1],
        };
        let _ = body.collect().await;
        let mut outgoing = Request::new(());
        *outgoing.method_mut() = Method::POST;
        *outgoing.uri_mut() = uri.clone();
        outgoing.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        outgoing.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let (response, mut stream) = self.upstream.clone().ready().await?.send_request(outgoing, false)?;
        stream.send_data(self.request.clone(), true)?;
        let mut reply = response.await?.into_body();
        while let Some(chunk) = reply.data().await {
            reply.flow_control().release_capacity(chunk?.len())?;
        }
        reply.trailers().await?;
        let mut answer = Response::new(Either::Left(Full::new(body_back.clone())));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer)
    }

    /// HTTP/2 → HTTP/2, frames as they are.
    async fn pass(&self, request: Request<Incoming>) -> Result<Reply, h2::Error> {
        let (mut head, mut body) = request.into_parts();
        let mut uri = head.uri.into_parts();
        uri.authority = Some(http::uri::Authority::from_static("upstream"));
        uri.scheme = Some(http::uri::Scheme::HTTP);
        head.uri = Uri::from_parts(uri).unwrap_or_default();
        let outgoing = Request::from_parts(head, ());
        let (response, mut stream) = self.upstream.clone().ready().await?.send_request(outgoing, false)?;
        let mut ended = false;
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                ended = body.is_end_stream();
                stream.send_data(data, ended)?;
            }
        }
        if !ended {
            stream.send_data(Bytes::new(), true)?;
        }
        let (head, body) = response.await?.into_parts();
        Ok(Response::from_parts(head, Either::Right(Passed(body))))
    }
}

/// An upstream's frames, as they come.
struct Passed(RecvStream);

impl Body for Passed {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(chunk) = ready!(self.0.poll_data(cx)) {
            let chunk = chunk?;
            self.0.flow_control().release_capacity(chunk.len())?;
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let trailers = ready!(self.0.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}
