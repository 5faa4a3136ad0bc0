//! REST: which headers cross the gateway, in both directions, and which requests are no requests.

use serde_json::json;
use transom_transcode::status::Code;

use crate::support::gateway::{Running, gateway};
use crate::support::reply::{fail, ok};
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library").unary("GetBook", |_| ok(json!({}))).start().await
}

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").upstream("library", library).start().await
}

#[tokio::test]
async fn listed_headers_become_metadata() {
    let library = library().await;
    let gateway = start(&library).await;
    let crossing = [
        ("authorization", "Bearer abc"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=b"),
        ("baggage", "k=v"),
        ("accept-language", "de"),
        ("x-request-id", "mine"),
    ];
    let call = crossing.iter().fold(gateway.get(BOOK), |call, (name, value)| call.header(name, value));
    call.header("x-other", "stays").header("accept", "*/*").await.status(200).header("x-request-id", "mine");
    let saw = library.saw("GetBook");
    for (name, value) in crossing {
        saw.header(name, value);
    }
    saw.no_header("x-other").no_header("accept").header("content-type", "application/grpc").header("te", "trailers");
}

#[tokio::test]
async fn a_missing_or_bad_request_id_is_replaced() {
    let library = library().await;
    let gateway = start(&library).await;
    for sent in [None, Some("has space"), Some("\"quoted\"")] {
        let call = gateway.get(BOOK);
        let reply = match sent {
            Some(id) => call.header("x-request-id", id).await,
            None => call.await,
        };
        let id = reply.status(200).headers["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(id.len(), 18);
        library.saw("GetBook").header("x-request-id", &id);
    }
    gateway.get("/nowhere").header("x-request-id", "mine").await.status(404).header("x-request-id", "mine");
}

#[tokio::test]
async fn who_the_client_is_says_the_gateway_alone() {
    let library = library().await;
    let gateway = start(&library).await;
    let names = [
        "x-user-id",
        "x-user-roles-bin",
        "X_User_Id",
        "cookie",
        "forwarded",
        "x-real-ip",
        "x-client-cert",
        "x-forwarded-client-cert",
        "x-forwarded-user",
        "client-cert",
        "x-ssl-client-s-dn",
        "x-request-timeout",
    ];
    let call = names.iter().fold(gateway.get(BOOK), |call, name| call.header(name, "1"));
    let host = gateway.address().to_string();
    call.header("x-forwarded-for", "192.0.2.1").header("x-forwarded-proto", "https").await.status(200);
    let saw = library.saw("GetBook");
    for name in names {
        saw.no_header(&name.to_lowercase());
    }
    saw.header("x-forwarded-for", "127.0.0.1").header("x-forwarded-proto", "http").header("x-forwarded-host", &host);
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_up_to_the_first_stranger() {
    let library = library().await;
    let gateway = gateway()
        .descriptors("library")
        .upstream("library", &library)
        .config("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]")
        .start()
        .await;
    for (sent, client, passed_on) in [
        ("203.0.113.9", "203.0.113.9", "203.0.113.9, 127.0.0.1"),
        ("192.0.2.1, 203.0.113.9, 10.1.1.1", "203.0.113.9", "192.0.2.1, 203.0.113.9, 10.1.1.1, 127.0.0.1"),
        ("203.0.113.9:4711", "203.0.113.9", "203.0.113.9:4711, 127.0.0.1"),
        ("[2001:db8::1]", "2001:db8::1", "[2001:db8::1], 127.0.0.1"),
        ("nonsense", "127.0.0.1", "127.0.0.1"),
    ] {
        let seen = gateway.lines().len();
        gateway.get(BOOK).header("x-forwarded-for", sent).await.status(200);
        library.saw("GetBook").header("x-forwarded-for", passed_on);
        assert_eq!(gateway.logged(seen + 1).await[seen]["client"], client, "{sent}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_how_its_client_came() {
    let library = library().await;
    let behind = |trusted: &str| {
        let config = format!("trusted_proxies: [{trusted}]");
        gateway().descriptors("library").upstream("library", &library).config(&config)
    };
    let gateway = behind("127.0.0.0/8").start().await;
    let own = gateway.address().to_string();
    // It may say nothing of the client's address.
    for address in ["203.0.113.9", ""] {
        for (scheme, host, told) in [
            ("https", "api.acme.com", ("https", "api.acme.com")),
            ("HTTP", "api.acme.com:8443", ("http", "api.acme.com:8443")),
            ("https", "", ("https", &*own)),
            ("", "api.acme.com", ("http", "api.acme.com")),
            ("wss", "a b", ("http", &*own)),
            ("https, http", "a, b", ("http", &*own)),
        ] {
            let sent = [("x-forwarded-for", address), ("x-forwarded-proto", scheme), ("x-forwarded-host", host)];
            let sent = sent.into_iter().filter(|(_, value)| !value.is_empty());
            let rest = sent.clone().fold(gateway.get(BOOK), |call, (name, value)| call.header(name, value));
            rest.await.status(200);
            library.saw("GetBook").header("x-forwarded-proto", told.0).header("x-forwarded-host", told.1);
            let grpc = gateway.grpc("library.v1.Library/GetBook");
            let grpc = sent.fold(grpc, |call, (name, value)| call.header(name, value));
            assert_eq!(grpc.send(&[json!({ "name": "n" })]).await.code, Code::Ok);
            library.saw("GetBook").header("x-forwarded-proto", told.0).header("x-forwarded-host", told.1);
        }
    }
    // Twice is not once.
    let twice = gateway.get(BOOK).header("x-forwarded-proto", "https").header("x-forwarded-proto", "https");
    twice.header("x-forwarded-host", "a").header("x-forwarded-host", "b").await.status(200);
    library.saw("GetBook").header("x-forwarded-proto", "http").header("x-forwarded-host", &own);

    let strange = behind("192.0.2.0/24").start().await;
    let call = strange.get(BOOK).header("x-forwarded-proto", "https").header("x-forwarded-host", "api.acme.com");
    call.await.status(200);
    let own = strange.address().to_string();
    library.saw("GetBook").header("x-forwarded-proto", "http").header("x-forwarded-host", &own);
}

#[tokio::test]
async fn headers_named_in_connection_stay_behind() {
    let library = library().await;
    let gateway = start(&library).await;
    let call = gateway.get(BOOK).header("connection", "keep-alive, Baggage").header("baggage", "k=v");
    call.header("tracestate", "a=b").await.status(200);
    library.saw("GetBook").no_header("baggage").header("tracestate", "a=b");
}

#[tokio::test]
async fn reply_metadata_becomes_headers_unless_it_frames_or_speaks_to_browsers() {
    let kept_back = [
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("grpc-encoding", "identity"),
        ("set-cookie", "a=b"),
        ("set-cookie2", "a=b"),
        ("location", "/elsewhere"),
        ("refresh", "0; url=/elsewhere"),
        ("clear-site-data", "*"),
        ("alt-svc", "h2=\"elsewhere.example.com:443\""),
        ("access-control-allow-origin", "*"),
        ("strict-transport-security", "max-age=1"),
        ("x-request-id", "theirs"),
    ];
    let library = upstream::grpc("library.v1.Library")
        .unary("GetBook", move |_| {
            let reply = ok(json!({})).header("x-shelf", "7").trailer("x-cost", "3").header("etag", "\"1\"");
            // HTTP/2 itself forbids the first two.
            kept_back[2..].iter().fold(reply, |reply, (name, value)| reply.header(name, value))
        })
        .unary("DeleteBook", |_| fail(Code::NotFound, "gone").trailer("x-hint", "look"))
        .start()
        .await;
    let gateway = start(&library).await;
    let reply = gateway.get(BOOK).header("x-request-id", "mine").await;
    reply
        .status(200)
        .header("x-shelf", "7")
        .header("x-cost", "3")
        .header("etag", "\"1\"")
        .header("x-request-id", "mine");
    for (name, _) in kept_back {
        if !matches!(name, "content-length" | "x-request-id") {
            reply.no_header(name);
        }
    }
    assert!(!reply.headers.keys().any(|name| name.as_str().starts_with("grpc-")), "{:?}", reply.headers);
    // Beside an error too.
    gateway.request("DELETE", BOOK).await.status(404).header("x-hint", "look");
}

#[tokio::test]
async fn a_request_without_one_host_is_refused() {
    let library = library().await;
    let gateway = start(&library).await;
    let head = |hosts: &str, target: &str| format!("GET {target} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
    for (hosts, target, status) in [
        ("Host: a\r\n", BOOK.to_owned(), "200"),
        ("Host: a\r\n", format!("http://a{BOOK}"), "200"),
        ("", BOOK.to_owned(), "400"),
        ("Host:\r\n", BOOK.to_owned(), "400"),
        ("Host: a\r\nHost: b\r\n", BOOK.to_owned(), "400"),
        ("Host: a\r\nHost: a\r\n", BOOK.to_owned(), "400"),
        ("Host: user@a\r\n", BOOK.to_owned(), "400"),
        ("Host: a b\r\n", BOOK.to_owned(), "400"),
        ("Host: b\r\n", format!("http://a{BOOK}"), "400"),
    ] {
        let mut raw = gateway.raw().await;
        let answer = raw.write(head(hosts, &target)).await.read_to_end().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{hosts:?} {target}: {answer}");
    }
    let reply = gateway.get(BOOK).http2().header("host", "elsewhere").await;
    reply.status(400).reason("BAD_REQUEST");
}

#[tokio::test]
async fn tunnels_and_upgrades_are_not_opened() {
    let library = library().await;
    let gateway = start(&library).await;
    let mut raw = gateway.raw().await;
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n";
    let answer = raw.write(connect).await.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");

    let mut raw = gateway.raw().await;
    let upgrade = format!(
        "GET {BOOK} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    );
    // Declined, as RFC 9110 lets a server: the answer comes in HTTP/1.1.
    let answer = raw.write(upgrade).await.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    library.saw("GetBook").times(1).no_header("upgrade").no_header("http2-settings");
}
