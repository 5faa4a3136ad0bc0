//! The client against real servers: what they answer, and what they do not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::{Failure, Fetch, HttpsConnectorBuilder, client};

const TIME: Duration = Duration::from_secs(10);

/// Answers every connection with this and closes it.
async fn serve(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer = answer.into();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(&answer).await;
        }
    });
    address
}

fn uri(address: SocketAddr) -> Uri {
    format!("http://{address}/keys?a=b").parse().unwrap()
}

#[tokio::test]
async fn an_answer_of_any_status_comes_whole() {
    let address = serve("HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nlater").await;
    let answer = Fetch::new().get(&uri(address), TIME, 5).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (503, &b"later"[..]));
}

#[tokio::test]
async fn what_is_too_large_is_refused_announced_or_not() {
    let announced = serve("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nlonger").await;
    let chunked = serve("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nlon\r\n3\r\nger\r\n0\r\n\r\n").await;
    for address in [announced, chunked] {
        let answer = Fetch::new().get(&uri(address), TIME, 5).await;
        assert!(matches!(answer, Err(Failure::TooLarge(5))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_a_short_body_is_none() {
    let address = serve("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(Fetch::new().get(&uri(address), TIME, 5).await.unwrap().status(), 302);

    let address = serve("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlat").await;
    let answer = Fetch::new().get(&uri(address), TIME, 5).await;
    assert!(matches!(answer, Err(Failure::Broken(_))), "{answer:?}");
}

#[tokio::test]
async fn silence_ends() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let answer = Fetch::new().get(&uri(listener.local_addr().unwrap()), Duration::from_millis(20), 5).await;
    assert!(matches!(answer, Err(Failure::TimedOut(_))), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_of_that_name() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![certificate.der().clone()];
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let trusting = Fetch::new();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build();
    assert!(trusting.secure.set(client(connector)).is_ok());

    let named: Uri = format!("https://localhost:{port}/").parse().unwrap();
    assert_eq!(trusting.get(&named, TIME, 5).await.unwrap().body(), "ok");
    let other: Uri = format!("https://127.0.0.1:{port}/").parse().unwrap();
    assert!(matches!(trusting.get(&other, TIME, 5).await, Err(Failure::Broken(_))));
    let strange = Fetch::new().get(&named, TIME, 5).await;
    assert!(matches!(strange, Err(Failure::Broken(_) | Failure::Certificates(_))), "{strange:?}");
}
