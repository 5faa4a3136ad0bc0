//! PINGs to upstreams: a connection that is open and leads nowhere is found, and its calls are not left waiting.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::gateway::gateway;
use crate::support::reply::{hang, ok};
use crate::support::{soon, until, upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

/// Passes connections on until it is cancelled; then it keeps them open and passes nothing.
async fn network(to: SocketAddr, cut: CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let cut = cut.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                let both = tokio::io::copy_bidirectional(&mut client, &mut server);
                if cut.run_until_cancelled(both).await.is_none() {
                    // Both sides stay open.
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_given_up() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| hang()).start().await;
    let cut = CancellationToken::new();
    let address = network(library.address(), cut.clone()).await;
    let keys = "timeout: 20s, connections: 1, keepalive: { interval: 100ms, timeout: 300ms }";
    let gateway = gateway()
        .descriptors("library")
        .upstream_at("library", "library.v1.Library", &[address.to_string()], keys)
        .start()
        .await;
    let call = tokio::spawn(gateway.get(BOOK).try_send());
    library.called("GetBook", 1).await;
    // Answered PINGs end nothing.
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!call.is_finished());
    let begun = Instant::now();
    cut.cancel();
    let reply = soon("an answer", call).await.unwrap().unwrap();
    reply.status(502).reason("UPSTREAM_RESET");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_asked_where_that_is_wanted() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await;
    for (idle, given_up) in [(true, true), (false, false)] {
        let cut = CancellationToken::new();
        let address = network(library.address(), cut.clone()).await;
        let keys = format!("connections: 1, keepalive: {{ interval: 100ms, timeout: 100ms, idle: {idle} }}");
        let gateway = Arc::new(
            gateway()
                .descriptors("library")
                .upstream_at("library", "library.v1.Library", &[address.to_string()], &keys)
                .start()
                .await,
        );
        gateway.get(BOOK).await.status(200);
        let series = format!("transom_upstream_connections{{upstream=\"library\",endpoint=\"{address}\"}}");
        assert_eq!(gateway.metric(&series), 1.0);
        cut.cancel();
        if given_up {
            until("it is given up", async || gateway.metric(&series) == 0.0).await;
        } else {
            tokio::time::sleep(Duration::from_millis(700)).await;
            assert_eq!(gateway.metric(&series), 1.0);
        }
    }
}
