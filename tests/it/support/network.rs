//! The network between a gateway and a service: passes bytes on, until a test makes it slow, deaf or cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It passes everything on at once.
    Clear,
    /// Each piece comes so much later.
    Late(Duration),
    /// So many bytes at a time, and so much time between.
    Slow(usize, Duration),
    /// Nothing passes, and nobody is told. Connections that have lost bytes stay lost.
    Hole,
    /// Connections end, as if each side had closed: FIN.
    Ended,
    /// Connections break: RST; so do new ones.
    Broken,
}

/// What is between; dropped, its connections are gone.
pub(crate) struct Network {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    _accepting: AbortOnDropHandle<()>,
}

impl Network {
    /// In front of a service.
    pub(crate) async fn before(service: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::Clear);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, service, seen.clone()));
            }
        });
        Self { address, weather, _accepting: AbortOnDropHandle::new(accepting) }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on, for connections that are open too.
    pub(crate) fn becomes(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

/// One connection, until both sides have enough or the weather ends it.
async fn pass(mut client: TcpStream, service: SocketAddr, weather: watch::Receiver<Weather>) -> io::Result<()> {
    let mut server = TcpStream::connect(service).await?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    let mut cut = weather.clone();
    {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let there = one_way(&mut from_client, &mut to_server, &weather);
        let back = one_way(&mut from_server, &mut to_client, &weather);
        tokio::select! {
            _ = async { tokio::try_join!(there, back) } => {}
            _ = cut.wait_for(|now| matches!(now, Weather::Ended | Weather::Broken)) => {}
        }
    }
    if *cut.borrow() == Weather::Broken {
        for socket in [&client, &server] {
            SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
        }
    }
    Ok(())
}

/// What one side says, to the other.
async fn one_way(
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    weather: &watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut piece).await?;
        let now = *weather.borrow();
        match now {
            Weather::Hole | Weather::Ended | Weather::Broken => std::future::pending().await,
            _ if read == 0 => return to.shutdown().await,
            Weather::Clear => to.write_all(&piece[..read]).await?,
            Weather::Late(time) => {
                sleep(time).await;
                to.write_all(&piece[..read]).await?;
            }
            Weather::Slow(bytes, time) => {
                for part in piece[..read].chunks(bytes) {
                    to.write_all(part).await?;
                    sleep(time).await;
                }
            }
        }
    }
}
