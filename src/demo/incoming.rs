//! Incoming: the connections of a listener, each once its handshake is done.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;

use super::tls::Door;
use crate::tls::Socket;

/// Handshakes at a time; who comes besides waits.
const MOST: usize = 64;

/// Time for one handshake.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Connections as they come. Handshakes run beside each other, so one that hangs stops nobody; one that fails is no connection.
pub(super) fn incoming(listener: TcpListener, door: Option<Arc<Door>>) -> impl Stream<Item = io::Result<Socket>> {
    let enter = move |accepted: io::Result<TcpStream>| {
        let door = door.clone();
        async move {
            let tcp = match accepted {
                Ok(tcp) => tcp,
                Err(error) => return Some(Err(error)),
            };
            timeout(TIMEOUT, enter(tcp, door.as_deref())).await.ok()?.ok().map(Ok)
        }
    };
    TcpListenerStream::new(listener).map(enter).buffer_unordered(MOST).filter_map(ready)
}

async fn enter(tcp: TcpStream, door: Option<&Door>) -> io::Result<Socket> {
    tcp.set_nodelay(true)?;
    match door {
        None => Ok(Socket::Plain(tcp)),
        Some(door) => door.accept(tcp).await,
    }
}
