//! Acceptor: the side of TLS that clients see.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::Ticketer;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};

use super::material::{Material, Wrong};
use super::validity::Expiry;
use super::{Socket, provider};
use crate::config;

/// What a listener shows to clients and asks of them.
pub struct Acceptor {
    acceptor: TlsAcceptor,
    digest: [u8; 32],
    expiries: Vec<Expiry>,
}

impl Acceptor {
    /// Reads the files; `previous` goes on if their content is what it was.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be, or the key is not the certificate's.
    pub fn compile(
        written: &config::Tls,
        folder: &Path,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<Wrong>> {
        let mut material = Material::new(folder);
        let chain = material.chain("cert", &written.cert);
        let key = material.private_key("key", &written.key);
        let clients = written.client_ca.as_deref().map(|file| material.authorities("client_ca", file));
        let clients_are_asked = clients.is_some();

        let config = ServerConfig::builder_with_provider(provider());
        let config = config.with_safe_default_protocol_versions().map_err(unusable)?;
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(roots) if roots.is_empty() => config.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
                config.with_client_cert_verifier(verifier.build().map_err(unusable)?)
            }
        };
        let config = match key {
            Some(key) if !chain.is_empty() => config.with_single_cert(chain, key),
            // What is missing has been told.
            _ => return Err(material.finish().err().unwrap_or_default()),
        };
        let mut config = match config {
            Ok(config) => config,
            Err(error) => {
                material.wrong("key", &written.key, &format!("is not the key of `cert`: {error}"));
                return Err(material.finish().err().unwrap_or_default());
            }
        };
        let read = material.finish()?;
        if let Some(previous) = previous.filter(|previous| previous.digest == read.digest) {
            return Ok(Arc::clone(previous));
        }
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if clients_are_asked {
            // A session that is resumed asks no verifier: whoever was let in once would stay, by one ticket after another, when its
            // certificate has expired.
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = Ticketer::new().map_err(unusable)?;
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Arc::new(Self { acceptor, digest: read.digest, expiries: read.expiries }))
    }

    /// The handshake, from a client's first byte.
    ///
    /// # Errors
    /// The client speaks no TLS of ours, or has no certificate that is good here.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<Socket> {
        let stream = Box::pin(self.acceptor.accept(socket)).await?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }

    /// When its certificates end.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

fn unusable(error: impl std::fmt::Display) -> Vec<Wrong> {
    vec![("cert", format!("cannot be used: {error}"))]
}
