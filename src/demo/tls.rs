//! Tls: the certificate that services show to who calls them and to each other, and the authority that must have signed
//! everyone else's.
//!
//! Certificates are renewed while services run, so what the files hold is looked at again as connections come, at most once a
//! second. Connections that there are stay.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tonic::transport::server::Connected;

use crate::config;
use crate::tls::{Acceptor, Connector, Socket, Wrong};

/// How long what was read is good for.
const FRESH: Duration = Duration::from_secs(1);

/// The files of a service's certificate, in PEM. Who calls it must have a certificate of the same authority: mTLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities, one of which must have signed each caller's certificate, and that of each service that is called.
    pub ca: PathBuf,
    /// Who may call: names in their certificates, SPIFFE ids or hosts. None: whoever has one of the authority.
    pub callers: Vec<String>,
}

/// What a listener shows, and asks of who connects.
pub(super) struct Door {
    shown: Fresh<Acceptor>,
    callers: Vec<String>,
}

/// What one service shows another, by whose name it is called.
pub(super) struct Visit(Fresh<Connector>);

impl Door {
    /// # Errors
    /// A file cannot be read or is not what it should be.
    pub(super) fn new(tls: &Tls) -> io::Result<Self> {
        let written = config::Tls {
            cert: tls.cert.clone(),
            key: tls.key.clone(),
            client_ca: Some(tls.ca.clone()),
            redirect_from: None,
        };
        let shown = Fresh::read(move |before| Acceptor::compile(&written, Path::new(""), before))?;
        Ok(Self { shown, callers: tls.callers.clone() })
    }

    /// The handshake with who connects.
    ///
    /// # Errors
    /// It speaks no TLS, has no certificate that is good here, or is nobody who may call.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<Socket> {
        let socket = self.shown.now().accept(socket).await?;
        // Nothing that it says was read yet.
        if self.callers.is_empty() || socket.is_of(&self.callers) {
            return Ok(socket);
        }
        tracing::warn!(caller = ?socket.identity(), "a certificate of the authority, of nobody who may call");
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

impl Visit {
    /// Whoever is visited must have a certificate for this host; for its address where that is no name.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be.
    pub(super) fn new(tls: &Tls, host: &str) -> io::Result<Self> {
        let name = host.parse::<std::net::IpAddr>().is_err().then(|| host.to_owned());
        let written = config::UpstreamTls {
            ca: Some(tls.ca.clone()),
            cert: Some(tls.cert.clone()),
            key: Some(tls.key.clone()),
            server_name: name,
            san: Vec::new(),
        };
        Fresh::read(move |before| Connector::compile(&written, &[], Path::new(""), before)).map(Self)
    }

    /// The handshake with who was connected to.
    ///
    /// # Errors
    /// It is somebody else, or does not take this service's certificate.
    pub(super) async fn connect(&self, socket: TcpStream) -> io::Result<Socket> {
        let address = socket.peer_addr()?.ip();
        self.0.now().connect(socket, address).await
    }
}

impl Connected for Socket {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

type Read<T> = dyn Fn(Option<&Arc<T>>) -> Result<Arc<T>, Vec<Wrong>> + Send + Sync;

/// What was read from files, and is read again.
struct Fresh<T> {
    read: Box<Read<T>>,
    last: Mutex<(Instant, Arc<T>)>,
}

impl<T> Fresh<T> {
    fn read(read: impl Fn(Option<&Arc<T>>) -> Result<Arc<T>, Vec<Wrong>> + Send + Sync + 'static) -> io::Result<Self> {
        let first = read(None).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidInput, said(&wrong)))?;
        Ok(Self { read: Box::new(read), last: Mutex::new((Instant::now(), first)) })
    }

    /// What the files hold; what they held while they are wrong, as they are between two writes.
    fn now(&self) -> Arc<T> {
        let mut last = self.last.lock();
        if last.0.elapsed() >= FRESH {
            last.0 = Instant::now();
            match (self.read)(Some(&last.1)) {
                Ok(read) => last.1 = read,
                Err(wrong) => tracing::warn!("certificates stay as they were: {}", said(&wrong)),
            }
        }
        Arc::clone(&last.1)
    }
}

fn said(wrong: &[Wrong]) -> String {
    wrong.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{FRESH, Fresh};

    #[test]
    fn what_is_wrong_is_not_taken_and_what_is_right_is_once_it_is_time() {
        let file = Arc::new(AtomicU32::new(1));
        let of_reader = Arc::clone(&file);
        let fresh = Fresh::read(move |_| match of_reader.load(Ordering::Relaxed) {
            0 => Err(vec![("key", "tls.key holds no key".to_owned())]),
            read => Ok(Arc::new(read)),
        });
        let fresh = fresh.unwrap();
        let later = || {
            fresh.last.lock().0 -= FRESH;
            *fresh.now()
        };
        file.store(2, Ordering::Relaxed);
        assert_eq!((*fresh.now(), later()), (1, 2));
        file.store(0, Ordering::Relaxed);
        assert_eq!(later(), 2);
        file.store(3, Ordering::Relaxed);
        assert_eq!((later(), *fresh.now()), (3, 3));
        let wrong = Fresh::<u32>::read(|_| Err(vec![("key", "tls.key holds no key".to_owned())]));
        assert_eq!(wrong.err().unwrap().to_string(), "tls.key holds no key");
    }
}
