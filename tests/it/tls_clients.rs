//! TLS towards clients: real handshakes, every dialect behind them, certificates that change under load.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rcgen::date_time_ymd;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind};
use transom_transcode::status::Code;

use crate::support::client::{Call, Connection, Http2};
use crate::support::gateway::{Builder, Running, gateway};
use crate::support::grpc;
use crate::support::process::Process;
use crate::support::reply::{ok, stream};
use crate::support::socket::Socket;
use crate::support::tls::{Authority, client, client_of, tunnel};
use crate::support::upstream::{self, Upstream};
use crate::support::{soon, until};

const BOOK: &str = "/v1/shelves/1/books/7";
const HTTP1: &[&str] = &["http/1.1"];
const HTTP2: &[&str] = &["h2"];

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "Dune" })))
        .server_stream("WatchBooks", |_| stream([json!({ "pages": "1" }), json!({ "pages": "2" })]))
        .start()
        .await
}

/// A gateway whose `server.crt` and `server.key` are in this folder.
fn secured(library: &Upstream, folder: &Path, more: &str) -> Builder {
    let at = folder.display();
    let tls = format!("tls: {{ cert: {at}/server.crt, key: {at}/server.key{more} }}");
    gateway().descriptors("library").upstream("library", library).config(&tls)
}

/// A handshake, and what the server says to it when it has read the client's part.
async fn shake(gateway: &Running, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(gateway.address()).await?;
    let name = ServerName::from(gateway.address().ip());
    soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

#[tokio::test]
async fn every_dialect_is_spoken_over_tls() {
    let (ours, folder, library) = (Authority::new(), tempfile::tempdir().unwrap(), library().await);
    ours.issue(&["127.0.0.1"]).write(folder.path(), "server");
    let gateway = secured(&library, folder.path(), "").start().await;

    let http1 = tunnel(gateway.address(), client(&ours, None, HTTP1)).await;
    Call::new(http1, "GET", BOOK).await.status(200).json(&json!({ "title": "Dune" }));
    library.saw("GetBook").header("x-forwarded-proto", "https");
    let mut socket = Socket::open(http1, "/library.v1.Library/WatchBooks", &[]).await;
    socket.json(&json!({ "parent": "shelves/1" })).await;
    assert_eq!(socket.value().await, json!({ "pages": "1" }));

    let http2 = tunnel(gateway.address(), client(&ours, None, HTTP2)).await;
    Call::new(http2, "GET", BOOK).http2().await.status(200);
    let mut watch = grpc::call(http2, "library.v1.Library/WatchBooks").open().await;
    watch.send(&json!({ "parent": "shelves/1" }));
    watch.close();
    assert_eq!(watch.next().await, Some(json!({ "pages": "1" })));
    assert_eq!(watch.next().await, Some(json!({ "pages": "2" })));
    watch.status().await.failed(Code::Ok);

    for (offered, agreed) in [(&["h2", "http/1.1"][..], &b"h2"[..]), (HTTP1, b"http/1.1")] {
        let stream = shake(&gateway, client(&ours, None, offered)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(agreed));
    }
    // The admin port is for this machine.
    gateway.admin("/livez").await.status(200);
}

#[tokio::test]
async fn curl_is_served_in_both_versions_of_tls() {
    let (ours, folder, library) = (Authority::new(), tempfile::tempdir().unwrap(), library().await);
    ours.issue(&["127.0.0.1"]).write(folder.path(), "server");
    let gateway = secured(&library, folder.path(), "").start().await;
    let url = format!("https://{}{BOOK}", gateway.address());
    for (arguments, version) in [(&["--http2", "--tlsv1.3"][..], "2"), (&["--http1.1", "--tls-max", "1.2"], "1.1")] {
        let (url, authority) = (url.clone(), ours.file());
        let curl = tokio::task::spawn_blocking(move || {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--max-time", "20", "-w", " %{http_version}", "--cacert"]).arg(authority);
            curl.args(arguments).arg(url).output().unwrap()
        });
        let curl = curl.await.unwrap();
        let said = String::from_utf8_lossy(&curl.stdout);
        assert_eq!(said, format!("{{\"title\":\"Dune\"}} {version}"), "{}", String::from_utf8_lossy(&curl.stderr));
    }
}

#[tokio::test]
async fn what_speaks_no_tls_gets_no_answer() {
    let (ours, folder, library) = (Authority::new(), tempfile::tempdir().unwrap(), library().await);
    ours.issue(&["127.0.0.1"]).write(folder.path(), "server");
    let gateway = secured(&library, folder.path(), "").start().await;
    let mut raw = gateway.raw().await;
    raw.write("GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!raw.read_to_end().await.contains("HTTP"));
    // An authority that the client does not know.
    shake(&gateway, client(&Authority::new(), None, HTTP2)).await.expect_err("whose is it?");
    until("both are counted", async || gateway.metric("transom_tls_handshakes_failed_total") == 2.0).await;
}

#[tokio::test]
async fn clients_are_known_by_their_certificates() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (folder, library) = (tempfile::tempdir().unwrap(), library().await);
    ours.issue(&["127.0.0.1"]).write(folder.path(), "server");
    let more = format!(", client_ca: {}", theirs.file().display());
    let gateway = secured(&library, folder.path(), &more).start().await;
    let own = theirs.issue(&["spiffe://example.com/ns/shop/sa/till", "till.example.com"]);

    // Nobody speaks for another, in whatever spelling.
    for http2 in [false, true] {
        let to = tunnel(gateway.address(), client(&ours, Some(&own), if http2 { HTTP2 } else { HTTP1 })).await;
        let call = Call::new(to, "GET", BOOK).header("x-forwarded-client-cert", "URI=spiffe://example.com/admin");
        if http2 { call.http2() } else { call }.await.status(200);
    }
    let to = tunnel(gateway.address(), client(&ours, Some(&own), HTTP2)).await;
    let call = grpc::call(to, "library.v1.Library/GetBook").header("x_forwarded_client_cert", "URI=spiffe://admin");
    call.send(&[json!({})]).await;
    let hash: String = {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, own.der());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let expected = format!("Hash={hash};URI=spiffe://example.com/ns/shop/sa/till;DNS=till.example.com");
    library.saw("GetBook").times(3).header("x-forwarded-client-cert", &expected).no_header("x_forwarded_client_cert");

    // TLS 1.3 tells a client only after its handshake that it is not let in.
    let expired = theirs.issue_with(&["till.example.com"], |params| params.not_after = date_time_ymd(2021, 1, 1));
    let strange = Authority::new().issue(&["till.example.com"]);
    for own in [None, Some(&expired), Some(&strange)] {
        let to = tunnel(gateway.address(), client(&ours, own, HTTP1)).await;
        Call::new(to, "GET", BOOK).try_send().await.expect_err("it is not let in");
    }
    library.saw("GetBook").times(3);
}

/// What kind of handshake lets a client in whose call is answered.
async fn let_in(gateway: &Running, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let tcp = TcpStream::connect(gateway.address()).await.unwrap();
    let name = ServerName::from(gateway.address().ip());
    let mut stream = soon("a handshake", TlsConnector::from(config.clone()).connect(name, tcp)).await.ok()?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut answer = Vec::new();
    // Tickets come before it.
    soon("an answer", stream.read_to_end(&mut answer)).await.ok()?;
    answer.starts_with(b"HTTP/1.1 200").then(|| stream.get_ref().1.handshake_kind()).flatten()
}

#[tokio::test]
async fn no_session_outlives_its_clients_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (folder, library) = (tempfile::tempdir().unwrap(), library().await);
    ours.issue(&["127.0.0.1"]).write(folder.path(), "server");
    let more = format!(", client_ca: {}", theirs.file().display());
    let gateway = secured(&library, folder.path(), &more).start().await;
    let (own, expired) = theirs.issue_for(Duration::from_secs(2), &["till.example.com"]);
    let versions = [&TLS13, &TLS12].map(|version| Arc::new(client_of(&[version], &ours, Some(&own), HTTP1)));
    for client in &versions {
        for _ in 0..2 {
            assert!(let_in(&gateway, client).await.is_some());
        }
    }
    tokio::time::sleep(expired.saturating_duration_since(Instant::now())).await;
    for client in &versions {
        assert_eq!(let_in(&gateway, client).await, None, "it has expired");
    }

    // Who shows none resumes what there is.
    let gateway = secured(&library, folder.path(), "").start().await;
    for version in [&TLS13, &TLS12] {
        let client = Arc::new(client_of(&[version], &ours, None, HTTP1));
        assert_eq!(let_in(&gateway, &client).await, Some(HandshakeKind::Full));
        assert_eq!(let_in(&gateway, &client).await, Some(HandshakeKind::Resumed));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_under_load_and_no_connection_is_dropped() {
    let (old, new, library) = (Authority::new(), Authority::new(), library().await);
    let folder = tempfile::tempdir().unwrap();
    old.issue(&["127.0.0.1"]).write(folder.path(), "server");
    let written = secured(&library, folder.path(), "");
    let gateway = written.start().await;
    let written = secured(&library, folder.path(), "");
    let stop = Arc::new(AtomicBool::new(false));
    let plain = tunnel(gateway.address(), client(&old, None, HTTP1)).await;
    let multiplexed = tunnel(gateway.address(), client(&old, None, HTTP2)).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let (mut http1, stopped) = (Connection::try_open(plain).await.unwrap(), stop.clone());
        clients.push(tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                http1.send("GET", BOOK).await.expect("no connection is dropped").status(200);
            }
        }));
        let (http2, stopped) = (Http2::try_open(multiplexed).await.unwrap(), stop.clone());
        clients.push(tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                http2.get(BOOK).await.expect("no connection is dropped").status(200);
            }
        }));
    }
    library.called("GetBook", 20).await;
    for turn in 0..6 {
        let (now, before) = if turn % 2 == 0 { (&new, &old) } else { (&old, &new) };
        now.issue(&["127.0.0.1"]).write(folder.path(), "server");
        gateway.reload(&secured(&library, folder.path(), "")).await.unwrap();
        shake(&gateway, client(now, None, HTTP2)).await.expect("new connections meet the new certificate");
        shake(&gateway, client(before, None, HTTP2)).await.expect_err("and not the old one");
        library.called("GetBook", 20 * (turn + 2)).await;
    }
    // A key that is not the certificate's: what runs goes on.
    std::fs::copy(folder.path().join("server.crt"), folder.path().join("kept.crt")).unwrap();
    new.issue(&["127.0.0.1"]).write(folder.path(), "server");
    std::fs::copy(folder.path().join("kept.crt"), folder.path().join("server.crt")).unwrap();
    let refused = gateway.reload(&written).await.expect_err("half a pair");
    let told = refused.problems[0].to_string();
    assert!(told.contains("tls.key: ") && told.contains("is not the key of `cert`"), "{told}");
    shake(&gateway, client(&old, None, HTTP2)).await.expect("what was goes on");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        soon("the client's end", client).await.unwrap();
    }
}

#[test]
fn plain_http_is_sent_on_within_the_bounds_of_all_clients() {
    let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    ours.issue(&["127.0.0.1"]).write(folder.path(), "server");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = folder.path().join("transom.yaml");
    let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/protos");
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: \"127.0.0.1:0\" }}\nhosts: [api.example.com]\nworkers: 1\n\
         tls: {{ cert: server.crt, key: server.key, redirect_from: \"127.0.0.1:{port}\" }}\n\
         clients: {{ connections: 2 }}\nburst_guard: {{ rate: 1/min, burst: 3 }}\n\
         schema: {{ protos: [{protos}] }}\n\
         upstreams: {{ library: {{ services: [library.v1.Library], endpoints: [\"127.0.0.1:1\"] }} }}\n"
    );
    std::fs::write(&config, &text).unwrap();
    let gateway = Process::start(&["serve", "--config", config.to_str().unwrap()], &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = || runtime.block_on(async { Call::new(([127, 0, 0, 1], port).into(), "GET", "/").await });
    for _ in 0..3 {
        ask().status(308);
    }
    ask().status(429).header("retry-after", "60");

    // Two connections are all, wherever they come in.
    runtime.block_on(async {
        let mut kept = Vec::new();
        for _ in 0..2 {
            kept.push(TcpStream::connect(gateway.address).await.unwrap());
        }
        until("a third is closed", async || {
            let mut third = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let closed = timeout(Duration::from_millis(200), third.read_u8()).await.is_ok();
            kept.push(third);
            closed
        })
        .await;

        // And who connects too often is sent away here too, before anything is done for it: 128 at once may come.
        for _ in 0..150 {
            drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        }
        let refused = "transom_refusals_total{gate=\"burst_guard\",reason=\"connections\"} ";
        until("the guard refuses connections", async || {
            let metrics = Call::new(gateway.admin.unwrap(), "GET", "/metrics").await.text();
            metrics.lines().any(|line| line.strip_prefix(refused).is_some_and(|count| count != "0"))
        })
        .await;
    });
}

#[test]
fn a_file_that_changes_is_read_and_its_end_is_told() {
    let (ours, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let soon_over = |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2021, 1, 1);
    ours.issue_with(&["127.0.0.1"], soon_over).write(folder.path(), "server");
    let config = folder.path().join("transom.yaml");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let descriptors = concat!(env!("CARGO_MANIFEST_DIR"), "/descriptors/booking.binpb");
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: {{ listen: \"127.0.0.1:0\" }}\nhosts: [api.example.com]\n\
         tls: {{ cert: server.crt, key: server.key, redirect_from: \"127.0.0.1:{port}\" }}\n\
         schema: {{ descriptor_sets: [{descriptors}] }}\nupstreams: {{ auth: {{ endpoints: [\"127.0.0.1:1\"] }}, \
         ticket: {{ endpoints: [\"127.0.0.1:1\"] }}, booking: {{ endpoints: [\"127.0.0.1:1\"] }}, \
         payment: {{ endpoints: [\"127.0.0.1:1\"] }}, queue: {{ endpoints: [\"127.0.0.1:1\"] }} }}\n"
    );
    std::fs::write(&config, &text).unwrap();
    let gateway = Process::start(&["serve", "--config", config.to_str().unwrap()], &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let metrics = || runtime.block_on(async { Call::new(gateway.admin.unwrap(), "GET", "/metrics").await.text() });
    let ends = "transom_certificate_expiry_timestamp_seconds{certificate=\"tls.cert\"} ";
    assert!(metrics().contains(&format!("{ends}1609459200\n")), "{}", metrics());

    // Plain HTTP is sent on, to our own host.
    let redirected = runtime.block_on(async {
        let call = Call::new(([127, 0, 0, 1], port).into(), "GET", "/api/v1/events?page_size=1");
        call.header("host", "evil").header("x-request-id", "mine").await
    });
    redirected.status(308).header("location", "https://api.example.com/api/v1/events?page_size=1");
    redirected.header("x-request-id", "mine");

    ours.issue_with(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2040, 1, 1))
        .write(folder.path(), "server");
    gateway.logged("\"reloaded\"");
    assert!(metrics().contains(&format!("{ends}2208988800\n")), "{}", metrics());
    runtime.block_on(async {
        let to = tunnel(gateway.address, client(&ours, None, HTTP1)).await;
        Call::new(to, "GET", "/livez").await.status(200);
    });

    // A configuration that waits to be mended, or for a restart, keeps no certificate from being renewed.
    for (year, seconds, pending) in [(2041, 2_240_611_200_i64, "lisen: 1"), (2042, 2_272_147_200, "workers: 7")] {
        std::fs::write(&config, format!("{text}{pending}\n")).unwrap();
        let key = pending.split(':').next().unwrap();
        gateway.logged(&format!("{}: {key}", text.lines().count() + 1));
        ours.issue_with(&["127.0.0.1"], |params| params.not_after = date_time_ymd(year, 1, 1))
            .write(folder.path(), "server");
        runtime.block_on(until("the new one", async || {
            let text = Call::new(gateway.admin.unwrap(), "GET", "/metrics").await.text();
            text.contains(&format!("{ends}{seconds}\n")) && text.contains("transom_config_current 0\n")
        }));
        gateway.logged("certificates renewed");
    }
    assert_eq!(gateway.end("TERM").0, Some(0));
}
