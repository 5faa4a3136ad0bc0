//! Connector: the side of TLS that services see, and who they must be.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::identity::is_for;
use super::material::{Material, Wrong};
use super::validity::Expiry;
use super::{Socket, provider};
use crate::config;

/// What an upstream's connections show it and ask of it.
pub struct Connector {
    connector: TlsConnector,
    rules: Rules,
    digest: [u8; 32],
    expiries: Vec<Expiry>,
}

/// Whose an upstream's certificate must be.
#[derive(PartialEq, Eq)]
struct Rules {
    /// The name that is asked for; none: the address that is connected to.
    name: Option<ServerName<'static>>,
    /// Who else it may be for, in place of that name.
    allowed: Box<[String]>,
}

impl Connector {
    /// Reads the files; `previous` goes on if their content is what it was and so are the rules.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be, the key is not the certificate's, or it is open which name the
    /// upstream's certificate must be for.
    pub fn compile(
        written: &config::UpstreamTls,
        endpoints: &[config::Endpoint],
        folder: &Path,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, Vec<Wrong>> {
        let name = name(written, endpoints)?;
        let mut material = Material::new(folder);
        let roots = match &written.ca {
            Some(file) => material.authorities("ca", file),
            None => material.system("ca"),
        };
        let chain = written.cert.as_deref().map(|file| material.chain("cert", file));
        let key = written.key.as_deref().and_then(|file| material.private_key("key", file));
        if roots.is_empty() {
            let missing = "is missing, and the system names no authorities either".to_owned();
            return Err(material.finish().err().unwrap_or_else(|| vec![("ca", missing)]));
        }
        let config = ClientConfig::builder_with_provider(provider());
        let config = config.with_safe_default_protocol_versions().map_err(unusable)?;
        let verifier = Identity::new(roots, &written.san).map_err(unusable)?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (chain, key) {
            (Some(chain), Some(key)) if !chain.is_empty() => match config.with_client_auth_cert(chain, key) {
                Ok(config) => Some(config),
                Err(error) => {
                    let file = written.key.as_deref().unwrap_or(Path::new(""));
                    material.wrong("key", file, &format!("is not the key of `cert`: {error}"));
                    None
                }
            },
            (None, None) => Some(config.with_no_client_auth()),
            // What is missing has been told.
            _ => None,
        };
        let read = material.finish()?;
        let Some(config) = config else { return Err(Vec::new()) };
        let rules = Rules { name, allowed: written.san.as_slice().into() };
        if let Some(previous) = previous.filter(|previous| previous.digest == read.digest && previous.rules == rules) {
            return Ok(Arc::clone(previous));
        }
        let mut config = unresumed(config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Arc::new(Self { connector, rules, digest: read.digest, expiries: read.expiries }))
    }

    /// The handshake with a service at an address.
    ///
    /// # Errors
    /// It is not who it must be, or does not take our certificate.
    pub async fn connect(&self, socket: TcpStream, address: IpAddr) -> io::Result<Socket> {
        let name = self.rules.name.clone().unwrap_or_else(|| ServerName::from(address));
        let stream = Box::pin(self.connector.connect(name, socket)).await.map_err(told)?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }

    /// When its certificates end.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

/// Why a handshake failed, where the library's own word for it says nothing.
fn told(error: io::Error) -> io::Error {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(Error::InvalidCertificate(CertificateError::Other(other)))
            if other.0.to_string() == "CaUsedAsEndEntity" =>
        {
            let message = "the service's certificate is an authority's own (CA:TRUE); give it one that is signed by an authority, or made with `-addext basicConstraints=critical,CA:FALSE`";
            io::Error::new(error.kind(), message)
        }
        _ => error,
    }
}

/// A client without a certificate of its own that trusts the authorities of one file alone, and names them by it.
///
/// # Errors
/// The file holds none.
pub fn trusting(file: &Path) -> Result<ClientConfig, String> {
    let mut material = Material::new(Path::new(""));
    let roots = material.authorities("ca", file);
    material.finish().map_err(|wrong| wrong.into_iter().map(|(_, why)| why).collect::<Vec<_>>().join("; "))?;
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(unresumed(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Resumes no session, which would ask no verifier: whoever was good once would stay so, by one ticket after another, when its
/// certificate has expired. Connections from here are few and last.
pub fn unresumed(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// The name that is asked for: the one that is written, or the one that all endpoints have.
fn name(
    written: &config::UpstreamTls,
    endpoints: &[config::Endpoint],
) -> Result<Option<ServerName<'static>>, Vec<Wrong>> {
    let hosts = endpoints.iter().filter_map(|endpoint| endpoint.place.host());
    let mut named: Vec<_> = hosts.filter(|host| host.parse::<IpAddr>().is_err()).collect();
    named.dedup();
    let name = match (&written.server_name, &*named) {
        (Some(name), _) => name,
        (None, []) if endpoints.iter().all(|endpoint| endpoint.place.host().is_some()) => return Ok(None),
        (None, [name]) if endpoints.iter().all(|endpoint| endpoint.place.host() == Some(name)) => *name,
        (None, [name, ..]) if !written.san.is_empty() => *name,
        (None, []) if !written.san.is_empty() => return Ok(None),
        (None, _) => {
            let message = "is missing: the endpoints have different hosts, or some that are found out later; write the name that their certificates are for, or `san`";
            return Err(vec![("server_name", message.to_owned())]);
        }
    };
    let name = ServerName::try_from(name.to_owned());
    name.map(Some).map_err(|_| vec![("server_name", "is no host name that TLS can ask for".to_owned())])
}

fn unusable(error: impl std::fmt::Display) -> Vec<Wrong> {
    vec![("ca", format!("cannot be used: {error}"))]
}

/// Who a service must be: signed by an authority, and of the name that was asked for, or one of a list.
#[derive(Debug)]
struct Identity {
    roots: Arc<RootCertStore>,
    usual: Arc<WebPkiServerVerifier>,
    allowed: Box<[String]>,
}

impl Identity {
    fn new(
        roots: RootCertStore,
        allowed: &[String],
    ) -> Result<Self, tokio_rustls::rustls::server::VerifierBuilderError> {
        let roots = Arc::new(roots);
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider()).build()?;
        Ok(Self { roots, usual, allowed: allowed.into() })
    }
}

impl ServerCertVerifier for Identity {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.allowed.is_empty() {
            return self.usual.verify_server_cert(certificate, between, name, stapled, now);
        }
        let algorithms = provider().signature_verification_algorithms.all;
        tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(certificate)?,
            &self.roots,
            between,
            now,
            algorithms,
        )?;
        if is_for(certificate, &self.allowed) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::NotValidForName))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
