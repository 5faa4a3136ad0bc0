//! A real Redis on a port of its own; dropped, it is gone with its data.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::until;

/// A redis-server.
pub(crate) struct Redis {
    port: u16,
    arguments: Vec<String>,
    folder: TempDir,
    process: Option<Child>,
}

/// A server without a password, empty.
pub(crate) async fn redis() -> Redis {
    redis_with(&[]).await
}

/// A node of a cluster that is still to be made, and the port by which its nodes speak to each other. Redis would take the one
/// 10,000 above its own, which somebody else may have, or nobody can.
pub(crate) async fn cluster_node() -> (Redis, u16) {
    let bus = free_port();
    (redis_with(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]).await, bus)
}

/// Nobody else is given this port while the kernel has so many others to give.
fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A server with more arguments.
pub(crate) async fn redis_with(arguments: &[&str]) -> Redis {
    let port = free_port();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let mut redis = Redis { port, arguments, folder: tempfile::tempdir().unwrap(), process: None };
    redis.start().await;
    redis
}

impl Redis {
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Starts it again, empty, where it was.
    pub(crate) async fn start(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(&self.arguments)
            .current_dir(&self.folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server, which .ci/install test installs");
        let process = self.process.insert(process);
        let address = (Ipv4Addr::LOCALHOST, self.port);
        until("redis listens", async || {
            assert!(process.try_wait().unwrap().is_none(), "redis has ended; it says why in its output");
            TcpStream::connect(address).await.is_ok()
        })
        .await;
    }

    /// Kills it.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Asks it, from outside.
    pub(crate) async fn ask(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }

    /// Lets it hang (`false`) or go on: it accepts connections and says nothing.
    pub(crate) fn resume(&self, go_on: bool) {
        let signal = if go_on { "-CONT" } else { "-STOP" };
        let process = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
