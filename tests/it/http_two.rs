//! HTTP/2 clients that ask too much, and calls that panic: nobody else feels it.

use bytes::Bytes;
use http::Request;
use serde_json::json;
use tokio::net::TcpStream;
use transom::server::Limits;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{hang, ok};
use crate::support::{grpc, soon, until, upstream};

type Client = h2::client::SendRequest<Bytes>;

/// A connection whose frames the test decides on itself.
async fn connect(gateway: &Running) -> (Client, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(gateway.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    (client, tokio::spawn(connection))
}

fn get(gateway: &Running, path: &str) -> Request<()> {
    Request::get(format!("http://{}{path}", gateway.address())).body(()).unwrap()
}

#[tokio::test]
async fn a_header_list_that_is_too_long_is_431_and_costs_one_stream() {
    let gateway = gateway().start().await;
    let (client, _connection) = connect(&gateway).await;
    let mut client = client.ready().await.unwrap();
    let mut request = get(&gateway, "/livez");
    request.headers_mut().insert("x-long", "a".repeat(70_000).parse().unwrap());
    let response = client.send_request(request, true).unwrap().0;
    let answer = soon("an answer", response).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
    gateway.get("/livez").http2().await.status(200);
}

#[tokio::test]
async fn rapid_resets_end_the_connection_and_nothing_else() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| hang()).start().await;
    let limits = Limits { pending_resets: 20, ..Limits::default() };
    let gateway = gateway().descriptors("library").upstream("library", &library).limits(limits).start().await;
    let bystander = gateway.connect_http2().await;
    bystander.get("/livez").await.unwrap().status(200);
    let (client, connection) = connect(&gateway).await;
    let mut client = client.ready().await.unwrap();
    for _ in 0..20_000 {
        let Ok((_, mut stream)) = client.send_request(get(&gateway, "/v1/shelves/1/books/7"), true) else { break };
        stream.send_reset(h2::Reason::CANCEL);
        if connection.is_finished() {
            break;
        }
    }
    drop(client);
    let end = soon("the connection's end", connection).await.unwrap();
    // A machine that keeps up sees calls that leave, not a flood: both ends are fine.
    if let Err(error) = end {
        assert!(error.is_io() || error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM), "{error:?}");
    }
    bystander.get("/livez").await.unwrap().status(200);
    until("nothing is in flight", async || gateway.metric("transom_in_flight") == 0.0).await;
}

#[tokio::test]
async fn calls_that_are_given_up_as_soon_as_they_have_begun_end_the_connection() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| hang()).start().await;
    let limits = Limits { early_resets: 20, ..Limits::default() };
    let gateway = gateway().descriptors("library").upstream("library", &library).limits(limits).start().await;
    let (client, connection) = connect(&gateway).await;
    let mut client = client.ready().await.unwrap();
    let mut begun = 0;
    for round in 1..=10 {
        let mut streams = Vec::new();
        for _ in 0..5 {
            let Ok(call) = client.send_request(get(&gateway, "/v1/shelves/1/books/7"), true) else { break };
            streams.push(call);
        }
        if connection.is_finished() || streams.is_empty() {
            break;
        }
        // Each is at work at the service before it is given up.
        begun = 5 * round;
        library.called("GetBook", begun).await;
        streams.into_iter().for_each(|(_, mut stream)| stream.send_reset(h2::Reason::CANCEL));
        until("they are given up", async || gateway.metric("transom_in_flight") == 0.0).await;
    }
    assert!((20..=30).contains(&begun), "{begun}");
    drop(client);
    let _ = soon("the connection's end", connection).await.unwrap();
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"clients\",reason=\"rapid_reset\"}"), 1.0);
}

#[tokio::test]
async fn who_gives_up_some_of_its_calls_goes_on() {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |_| hang());
    let library = library.unary("Echo", |book| ok(book.clone())).start().await;
    let limits = Limits { early_resets: 5, ..Limits::default() };
    let gateway = gateway().descriptors("library").expose_all().upstream("library", &library).limits(limits);
    let gateway = gateway.start().await;
    let (client, connection) = connect(&gateway).await;
    let mut client = client.ready().await.unwrap();
    for round in 1..=20 {
        for _ in 0..2 {
            let livez = client.send_request(get(&gateway, "/livez"), true).unwrap().0;
            assert_eq!(soon("an answer", livez).await.unwrap().status(), 200);
        }
        let (_, mut stream) = client.send_request(get(&gateway, "/v1/shelves/1/books/7"), true).unwrap();
        library.called("GetBook", round).await;
        stream.send_reset(h2::Reason::CANCEL);
    }
    assert!(!connection.is_finished());
}

#[tokio::test]
async fn streams_over_the_limit_wait_for_their_turn() {
    let gateway = gateway().limits(Limits { streams: 4, ..Limits::default() }).start().await;
    let connection = gateway.connect_http2().await;
    // After the first answer the client knows the limit.
    connection.get("/livez").await.unwrap().status(200);
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.get("/livez").await.unwrap().status(200).status })
        })
        .collect();
    for call in calls {
        soon("an answer", call).await.unwrap();
    }
}

#[tokio::test]
async fn one_connection_carries_calls_side_by_side() {
    let library = upstream::grpc("library.v1.Library").unary("Echo", |book| ok(book.clone())).start().await;
    let gateway = gateway().descriptors("library").upstream("library", &library).start().await;
    let connection = gateway.connect_http2().await;
    let calls: Vec<_> = (0..100)
        .map(|at| {
            let call = grpc::call_on(&connection, "library.v1.Library/Echo");
            let book = json!({ "title": format!("volume {at}") });
            tokio::spawn(async move {
                call.send(std::slice::from_ref(&book)).await.ok(&[book]);
            })
        })
        .collect();
    for call in calls {
        soon("an answer", call).await.unwrap();
    }
    library.saw("Echo").times(100);
    assert_eq!(gateway.metric("transom_connections_accepted_total"), 1.0);
}

#[tokio::test]
async fn a_panic_costs_its_call_alone() {
    let panics = axum::Router::new().route("/health", axum::routing::get(async || panic_now()));
    let gateway = gateway().builtin(panics).start().await;
    let mut connection = gateway.connect().await;
    for _ in 0..3 {
        connection.send("GET", "/health").await.unwrap().status(500).reason("INTERNAL");
    }
    gateway.get("/health").http2().await.status(500).reason("INTERNAL");
    connection.send("GET", "/nowhere").await.unwrap().status(404);
    assert_eq!(gateway.metric("transom_in_flight"), 0.0);
    let lines = gateway.log().await;
    let internal = lines.iter().filter(|line| line["reason"] == "INTERNAL" && line["status"] == 500).count();
    assert_eq!(internal, 4, "{}", json!(lines));
}

fn panic_now() -> &'static str {
    panic!("as the test wants it")
}
