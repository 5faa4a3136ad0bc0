//! A bare TCP connection, for what no well-behaved client sends.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::soon;

pub(crate) struct Raw {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let socket = soon("a connection", TcpStream::connect(address)).await.expect("a connection");
        socket.set_nodelay(true).unwrap();
        Self { socket, received: Vec::new() }
    }

    /// Sends bytes; a server that has closed already is no error.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = soon("room to write", self.socket.write_all(bytes.as_ref())).await;
        self
    }

    /// Reads until `text` has come, and gives everything up to its end.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        loop {
            let found = self.received.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let rest = self.received.split_off(at + text.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.received, rest)).into_owned();
            }
            let read = soon(text, self.socket.read_buf(&mut self.received)).await.unwrap_or(0);
            assert!(read > 0, "closed before {text:?}, after {:?}", String::from_utf8_lossy(&self.received));
        }
    }

    /// What has come and was not taken.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Reads some more; `false` at the end.
    pub(crate) async fn more(&mut self) -> bool {
        matches!(soon("more", self.socket.read_buf(&mut self.received)).await, Ok(1..))
    }

    /// Reads this many bytes.
    pub(crate) async fn read(&mut self, bytes: usize) -> Vec<u8> {
        while self.received.len() < bytes {
            let read = soon("bytes", self.socket.read_buf(&mut self.received)).await.unwrap_or(0);
            assert!(read > 0, "closed after {:?}", self.received);
        }
        self.received.drain(..bytes).collect()
    }

    /// Reads until the server closes, and gives everything.
    pub(crate) async fn read_to_end(&mut self) -> String {
        // A reset ends the connection as well as a FIN does.
        while let Ok(1..) = soon("the server's close", self.socket.read_buf(&mut self.received)).await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned()
    }
}
