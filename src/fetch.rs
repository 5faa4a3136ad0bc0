//! Fetch: a small HTTP client for what is no call: key sets, verify endpoints.
//!
//! HTTP/1.1 over TCP or TLS (rustls), by the certificates that the system trusts (`SSL_CERT_FILE` names others), or by those of one
//! file. Each answer is bounded in size and time, and no redirect is followed: who configured a URL meant that one.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

use crate::tls;

/// A connection that nobody needs is kept this long.
const IDLE: Duration = Duration::from_secs(30);

/// A client; its connections are kept and shared.
#[derive(Default)]
pub struct Fetch {
    plain: OnceLock<Client<HttpConnector, Full<Bytes>>>,
    /// Made when it is first needed: the system's certificates are many.
    secure: OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
}

/// Why there is no answer; for logs.
#[derive(Debug)]
pub enum Failure {
    /// The system's certificates cannot be read.
    Certificates(io::Error),
    /// No connection, or one that broke.
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    TimedOut(Duration),
    /// It was too large.
    TooLarge(usize),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificates(error) => write!(f, "the system's certificates cannot be read: {error}"),
            Self::Broken(error) if is_untrusted(&**error) => f.write_str(
                "its certificate is signed by no authority that is trusted here: `ca` names the file of another one",
            ),
            Self::Broken(error) => write!(f, "{}", Causes(&**error)),
            Self::TimedOut(time) => write!(f, "no answer within {time:?}"),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
        }
    }
}

impl std::error::Error for Failure {}

/// Whether the other side has shown a certificate of an authority that is not known here, or of one that only has the name of
/// one that is: rustls then tells which algorithm did not fit the other one's key.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    use CertificateError::{BadSignature, UnknownIssuer, UnsupportedSignatureAlgorithmForPublicKeyContext as OtherKey};
    std::iter::successors(Some(error), |error| match error.downcast_ref::<io::Error>() {
        // What an I/O error holds is itself no source of it.
        Some(error) => error.get_ref().map(|held| held as &(dyn std::error::Error + 'static)),
        None => error.source(),
    })
    .filter_map(|error| error.downcast_ref::<rustls::Error>())
    .any(|error| matches!(error, rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature | OtherKey { .. })))
}

/// An error with what is behind it: hyper's own words say what failed, and the sources say why.
pub struct Causes<'e>(pub &'e dyn std::error::Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        std::iter::successors(self.0.source(), |error| error.source()).try_for_each(|error| write!(f, ": {error}"))
    }
}

/// Reads an answer's body to its end, of at most `limit` bytes.
///
/// # Errors
/// It breaks off, or is larger.
pub async fn whole(mut body: Incoming, limit: usize) -> Result<Bytes, Failure> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Failure::TooLarge(limit));
    }
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Broken(error.into()))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Failure::TooLarge(limit));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

impl Fetch {
    /// A client that has no connection yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that trusts the authorities of this file alone; without a file those of the system, as [`Fetch::new`].
    ///
    /// # Errors
    /// The file holds none.
    pub fn trusting(ca: Option<&Path>) -> Result<Self, String> {
        let Some(file) = ca else { return Ok(Self::new()) };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls::trusting(file)?);
        let secure = client(connector.https_only().enable_http1().build());
        Ok(Self { secure: OnceLock::from(secure), ..Self::default() })
    }

    /// Sends a request to its URI and reads the whole answer, of at most `limit` bytes, within `time`.
    ///
    /// # Errors
    /// There is no whole answer; an HTTP status of any kind is one.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        time: Duration,
        limit: usize,
    ) -> Result<Response<Bytes>, Failure> {
        let answer = async {
            let secure = request.uri().scheme_str() == Some("https");
            let request = request.map(Full::new);
            let answer = if secure { self.secure()?.request(request) } else { self.plain().request(request) };
            let (head, body) = answer.await.map_err(|error| Failure::Broken(error.into()))?.into_parts();
            Ok(Response::from_parts(head, whole(body, limit).await?))
        };
        timeout(time, answer).await.unwrap_or(Err(Failure::TimedOut(time)))
    }

    /// Reads what is at a URI.
    ///
    /// # Errors
    /// As [`Fetch::send`].
    pub async fn get(&self, uri: &Uri, time: Duration, limit: usize) -> Result<Response<Bytes>, Failure> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri.clone();
        self.send(request, time, limit).await
    }

    fn plain(&self) -> &Client<HttpConnector, Full<Bytes>> {
        self.plain.get_or_init(|| client(HttpConnector::new()))
    }

    fn secure(&self) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Failure> {
        if let Some(client) = self.secure.get() {
            return Ok(client);
        }
        let trusts = ClientConfig::builder().with_native_roots().map_err(Failure::Certificates)?;
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls::unresumed(trusts.with_no_client_auth()));
        let made = client(connector.https_only().enable_http1().build());
        Ok(self.secure.get_or_init(|| made))
    }
}

fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(connector)
}

#[cfg(test)]
mod tests;
