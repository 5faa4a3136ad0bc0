//! An HTTP/2 connection that tells a call that was refused from one that was lost.
//!
//! hyper's client cannot: a GOAWAY that comes between its sending of a request and its next look at the connection makes an error of
//! a request that the server has, and answers.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Error, Ping, PingPong, Reason};
use http::Request;
use tokio::net::TcpStream;

use super::client::Reply;
use super::soon;

/// One connection; each call is a stream of it.
pub(crate) struct Streams {
    sender: SendRequest<Bytes>,
    ping: PingPong,
    address: SocketAddr,
}

impl Streams {
    /// An error if nobody listens.
    pub(crate) async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let socket = soon("a connection", TcpStream::connect(address)).await?;
        let (sender, mut connection) = h2::client::handshake(socket).await.map_err(io::Error::other)?;
        let ping = connection.ping_pong().unwrap();
        tokio::spawn(connection);
        Ok(Self { sender, ping, address })
    }

    /// Waits until all that the server has said so far has come.
    pub(crate) async fn ping(&mut self) {
        soon("a PONG", self.ping.ping(Ping::opaque())).await.unwrap();
    }

    /// A whole request and its whole answer; none if the server has not looked at it and will not: it was never sent, its stream is
    /// above the last that GOAWAY named, or was refused. An error is an answer that was lost.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Option<Reply>, Error> {
        let uri = format!("http://{}{path}", self.address);
        let Ok((answer, _)) = self.sender.send_request(Request::get(uri).body(()).unwrap(), true) else {
            return Ok(None);
        };
        match soon("an answer", whole(answer)).await {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if error.is_go_away() && error.is_remote() => Ok(None),
            Err(error) if error.reason() == Some(Reason::REFUSED_STREAM) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

async fn whole(answer: ResponseFuture) -> Result<Reply, Error> {
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(Reply { status: head.status, headers: head.headers, body: bytes.into() })
}
