//! Answers that their clients do not read: they are in flight as long as the gateway keeps them, and it does not for ever.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::{Request, Response};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use transom::server::Limits;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::reply::{ok, stream};
use crate::support::upstream::Upstream;
use crate::support::{soon, until, upstream};

type Client = h2::client::SendRequest<Bytes>;

/// One that the connection takes whole, and one that it takes piece by piece.
const LENGTHS: [usize; 2] = [40_000, 300_000];
/// None, next to none, and as many as there are without a word.
const WINDOWS: [u32; 3] = [0, 1, 65_535];

/// How an answer of some length is asked for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Rest,
    Grpc,
    Stream,
}

async fn library(length: usize) -> Upstream {
    let book = move || json!({ "title": "a".repeat(length) });
    upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| ok(book()))
        .server_stream("WatchBooks", move |_| stream([book(), book()]))
        .start()
        .await
}

fn front(library: &Upstream) -> Builder {
    gateway().descriptors("library").expose_all().upstream("library", library)
}

/// A connection whose client lets each answer send so many bytes.
async fn connect(gateway: &Running, window: u32) -> (Client, JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(gateway.address()).await.unwrap();
    let (client, connection) = h2::client::Builder::new().initial_window_size(window).handshake(socket).await.unwrap();
    (client.ready().await.unwrap(), tokio::spawn(connection))
}

/// The answer's head.
async fn ask(client: &mut Client, gateway: &Running, asked: Asked) -> Response<RecvStream> {
    let at = |path: &str| format!("http://{}{path}", gateway.address());
    let request = match asked {
        Asked::Rest => Request::get(at("/v1/shelves/1/books/7")),
        Asked::Stream => Request::get(at("/v1/shelves/1/books:watch")),
        Asked::Grpc => Request::post(at("/library.v1.Library/GetBook")).header("content-type", "application/grpc"),
    };
    let grpc = matches!(asked, Asked::Grpc);
    let (head, mut body) = client.send_request(request.body(()).unwrap(), !grpc).unwrap();
    if grpc {
        body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
    }
    soon("an answer", head).await.unwrap()
}

/// Every way to ask, of every length, with every window.
fn cases() -> impl Iterator<Item = (usize, Asked, u32)> {
    let asked = [Asked::Rest, Asked::Grpc, Asked::Stream];
    let asked = LENGTHS.into_iter().flat_map(move |length| asked.map(|asked| (length, asked)));
    asked.flat_map(|(length, asked)| {
        // What fits the window is not kept.
        WINDOWS.into_iter().filter(move |window| (*window as usize) < length).map(move |window| (length, asked, window))
    })
}

/// Asks and asks, until it is not answered any more.
async fn stay_busy(client: &mut Client, gateway: &Running) {
    let livez = || Request::head(format!("http://{}/livez", gateway.address())).body(()).unwrap();
    let busy = async {
        while let Ok((head, _)) = client.send_request(livez(), true)
            && head.await.is_ok()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("no more calls", busy).await;
}

fn is_well(head: &Response<RecvStream>) -> bool {
    head.status() == 200 && !head.headers().contains_key("grpc-status")
}

#[tokio::test]
async fn answers_that_nobody_reads_keep_their_places() {
    for (length, asked, window) in cases() {
        let library = library(length).await;
        let gateway = front(&library).config("overload: { in_flight: 7 }").start().await;
        let (mut client, _connection) = connect(&gateway, window).await;
        let (mut kept, mut refused) = (Vec::new(), 0);
        for _ in 0..12 {
            let head = ask(&mut client, &gateway, asked).await;
            match is_well(&head) {
                true => kept.push(head),
                false => refused += 1,
            }
        }
        assert_eq!((kept.len(), refused), (7, 5), "{asked:?} of {length} bytes with a window of {window}");
        drop((kept, client));
        until("their places are free", async || gateway.metric("transom_in_flight") == 0.0).await;
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_are_let_go_whatever_else_their_client_asks() {
    for (length, asked, window) in cases() {
        let library = library(length).await;
        let limits = Limits { idle_http2: Duration::from_millis(100), ..Limits::default() };
        let gateway = front(&library).limits(limits).start().await;
        let (mut client, connection) = connect(&gateway, window).await;
        let _unread = [ask(&mut client, &gateway, asked).await, ask(&mut client, &gateway, asked).await];
        let in_flight = gateway.metric("transom_in_flight");
        assert_eq!(in_flight, 2.0, "{asked:?} of {length} bytes with a window of {window}");
        stay_busy(&mut client, &gateway).await;
        let _ = soon("the connection's end", connection).await.unwrap();
        until("nothing is in flight", async || gateway.metric("transom_in_flight") == 0.0).await;
    }
}

/// Answers that the connection takes whole without a thought, each of a call that seems to be over.
const SMALL: usize = 4_000;

#[tokio::test]
async fn small_answers_that_nobody_reads_keep_their_places_but_for_a_few() {
    for asked in [Asked::Rest, Asked::Grpc, Asked::Stream] {
        let library = library(SMALL).await;
        let gateway = front(&library).config("overload: { in_flight: 7 }").start().await;
        let (mut client, _connection) = connect(&gateway, 1).await;
        let mut kept = Vec::new();
        for _ in 0..60 {
            let head = ask(&mut client, &gateway, asked).await;
            if is_well(&head) {
                kept.push(head);
            }
        }
        assert!((7..20).contains(&kept.len()), "{asked:?}: {} of 60 are kept", kept.len());
        drop((kept, client));
        until("their places are free", async || gateway.metric("transom_in_flight") == 0.0).await;
    }
}

#[tokio::test]
async fn one_small_answer_that_nobody_reads_ends_a_connection_that_is_busy_otherwise() {
    let library = library(SMALL).await;
    let limits = Limits { idle_http2: Duration::from_millis(100), ..Limits::default() };
    let gateway = front(&library).limits(limits).start().await;
    let (mut client, connection) = connect(&gateway, 1).await;
    let _unread = ask(&mut client, &gateway, Asked::Rest).await;
    stay_busy(&mut client, &gateway).await;
    let _ = soon("the connection's end", connection).await.unwrap();
}

#[tokio::test]
async fn who_reads_slowly_gets_all_of_the_answer() {
    let length = 750_000;
    let library = library(length).await;
    let limits = Limits { idle_http2: Duration::from_secs(1), ..Limits::default() };
    let gateway = front(&library).limits(limits).start().await;
    let (mut client, _connection) = connect(&gateway, 16 * 1024).await;
    let mut body = ask(&mut client, &gateway, Asked::Rest).await.into_body();
    let (mut read, began) = (0, std::time::Instant::now());
    while let Some(data) = soon("more", body.data()).await {
        let data = data.expect("the answer goes on");
        read += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    assert_eq!(read, length + r#"{"title":""}"#.len());
    assert!(began.elapsed() > Duration::from_secs(3), "slower than what is not read is let go: {:?}", began.elapsed());
}
