//! Certificates, and TLS around what speaks none: every client and every upstream of the tests can stand behind it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who signs; its certificate is a file too.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, as values and as files.
pub(crate) struct Certificate {
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    cert_pem: String,
    key_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose subject is its issuer's for a signed-by-itself one.
        params.distinguished_name.push(DnType::CommonName, "Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, folder: tempfile::tempdir().unwrap() };
        std::fs::write(authority.file(), authority.issuer.pem()).unwrap();
        authority
    }

    /// Its own certificate, as a file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A certificate for these names: host names, addresses, or URIs.
    pub(crate) fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let name = |name: &&str| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if name.contains("://") => SanType::URI((*name).try_into().unwrap()),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(name).collect();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            der: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }

    /// One that is good for so long, and when it is good no more: certificates count whole seconds.
    pub(crate) fn issue_for(&self, time: Duration, names: &[&str]) -> (Certificate, Instant) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let last = Duration::from_secs((since + time).as_secs());
        let certificate = self.issue_with(names, |params| params.not_after = date_time_ymd(1970, 1, 1) + last);
        (certificate, Instant::now() + (last + Duration::from_secs(1)).saturating_sub(since))
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Arc::new(roots)
    }
}

impl Certificate {
    /// Writes `NAME.crt` and `NAME.key`.
    pub(crate) fn write(&self, folder: &Path, name: &str) {
        // The pair is never seen half: the certificate that a key does not fit is refused, and what was goes on.
        std::fs::write(folder.join(format!("{name}.key")), &self.key_pem).unwrap();
        std::fs::write(folder.join(format!("{name}.crt")), &self.cert_pem).unwrap();
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }
}

/// A client that trusts this authority, with a certificate or without.
pub(crate) fn client(trusted: &Authority, own: Option<&Certificate>, alpn: &[&str]) -> ClientConfig {
    client_of(ALL_VERSIONS, trusted, own, alpn)
}

/// The same that speaks these versions alone.
pub(crate) fn client_of(
    versions: &[&'static SupportedProtocolVersion],
    trusted: &Authority,
    own: Option<&Certificate>,
    alpn: &[&str],
) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_protocol_versions(versions).unwrap().with_root_certificates(trusted.roots());
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some(own) => config.with_client_auth_cert(vec![own.der.clone()], own.key.clone_key()).unwrap(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A server with this certificate, which asks clients for one of these authorities'.
pub(crate) fn server(own: &Certificate, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(authority) => config.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build().unwrap(),
        ),
    };
    let mut config = config.with_single_cert(vec![own.der.clone()], own.key.clone_key()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// An address without TLS that leads to one with TLS; an error of the handshake closes the connection.
pub(crate) async fn tunnel(to: SocketAddr, config: ClientConfig) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let connector = connector.clone();
            tokio::spawn(async move {
                let tcp = TcpStream::connect(to).await.unwrap();
                let Ok(mut secure) = connector.connect(ServerName::from(to.ip()), tcp).await else { return };
                let _ = copy_bidirectional(&mut plain, &mut secure).await;
            });
        }
    });
    address
}

/// An address with TLS that leads to one without; what it shows can be changed.
pub(crate) struct Shield {
    pub(crate) address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    /// The certificate of each client that was let in.
    pub(crate) seen: Arc<Mutex<Vec<Option<CertificateDer<'static>>>>>,
}

impl Shield {
    pub(crate) async fn before(to: SocketAddr, config: ServerConfig) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Mutex::new(Arc::new(config)));
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let shield = Self { address, config: config.clone(), seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, seen) = (TlsAcceptor::from(config.lock().clone()), seen.clone());
                tokio::spawn(async move {
                    let Ok(mut secure) = acceptor.accept(tcp).await else { return };
                    let shown = secure.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
                    seen.lock().push(shown.map(CertificateDer::into_owned));
                    let mut plain = TcpStream::connect(to).await.unwrap();
                    let _ = copy_bidirectional(&mut plain, &mut secure).await;
                });
            }
        });
        shield
    }

    /// What new connections meet.
    pub(crate) fn show(&self, config: ServerConfig) {
        *self.config.lock() = Arc::new(config);
    }
}
