//! Compression: of HTTP bodies by `Accept-Encoding` and `Content-Encoding`, of single messages as RPC envelopes have it.

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::client::Reply;
use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;
use crate::support::reply::{ok, stream};
use crate::support::speak::Speech;
use crate::support::upstream::{self, Upstream};
use crate::support::{self, protos, soon};

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |asked| ok(json!({ "title": asked["name"].as_str().unwrap().repeat(200) })))
        .unary("Echo", |book| ok(book.clone()))
        .server_stream("WatchBooks", |_| stream([json!({ "title": "x".repeat(5000) })]).then_hang())
        .bidi("Discuss", |remark| vec![remark.clone()])
        .start()
        .await
}

async fn start(library: &Upstream) -> Running {
    gateway().descriptors("library").expose_all().upstream("library", library).start().await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unpack(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap()),
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).unwrap()),
        "zstd" => drop(zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut plain).unwrap()),
        other => panic!("{other}"),
    }
    plain
}

#[tokio::test]
async fn rest_answers_are_compressed_as_the_client_likes() {
    let library = library().await;
    let gateway = start(&library).await;
    let book = "/v1/shelves/1/books/7";
    let plain = gateway.get(book).await;
    plain.status(200).header("vary", "accept-encoding").no_header("content-encoding");
    for (accepted, coding) in [("gzip", "gzip"), ("gzip, deflate, br", "br"), ("zstd, gzip;q=0.5", "zstd")] {
        let reply = gateway.get(book).header("accept-encoding", accepted).await;
        reply.status(200).header("content-encoding", coding).header("vary", "accept-encoding");
        assert!(reply.body.len() < plain.body.len() / 4);
        reply.header("content-length", &reply.body.len().to_string());
        assert_eq!(unpack(coding, &reply.body), plain.body);
        let head = gateway.request("HEAD", book).header("accept-encoding", accepted).await;
        head.status(200).header("content-encoding", coding).header("content-length", &reply.body.len().to_string());
        assert!(head.body.is_empty());
    }
    for accepted in ["identity", "gzip;q=0", "deflate"] {
        gateway.get(book).header("accept-encoding", accepted).await.no_header("content-encoding");
    }
    let listed = gateway.get(book).header("accept-encoding", "identity;q=0.5").header("accept-encoding", "br").await;
    listed.status(200).header("content-encoding", "br");
    // What is short is not worth it.
    let short = gateway.post("/v1/echo", &json!({ "title": "Dune" })).header("accept-encoding", "gzip").await;
    short.status(200).no_header("content-encoding").no_header("vary");
}

#[tokio::test]
async fn a_long_answer_is_whole_in_every_coding() {
    let library = library().await;
    let cached = "methods: { library.v1.Library/GetBook: { cache: { ttl: 1h, public: true } } }";
    for config in ["", cached] {
        let builder = gateway().descriptors("library").expose_all().config(config);
        let gateway = builder.upstream("library", &library).start().await;
        let book = format!("/v1/shelves/1/books/{}", "long".repeat(1000));
        let plain = gateway.get(&book).await;
        assert!(plain.status(200).body.len() > 256 * 1024);
        for coding in ["gzip", "br", "zstd", "gzip"] {
            let reply = gateway.get(&book).header("accept-encoding", coding).await;
            reply.status(200).header("content-encoding", coding);
            reply.header("content-length", &reply.body.len().to_string());
            assert_eq!(unpack(coding, &reply.body), plain.body);
        }
    }
}

#[tokio::test]
async fn a_method_may_be_left_as_it_is() {
    let library = library().await;
    let config = "methods: { library.v1.Library/GetBook: { compress: false } }";
    let gateway = gateway().descriptors("library").config(config).upstream("library", &library).start().await;
    let reply = gateway.get("/v1/shelves/1/books/7").header("accept-encoding", "gzip").await;
    reply.status(200).no_header("content-encoding").no_header("vary");
}

#[tokio::test]
async fn a_compressed_stream_can_be_read_message_by_message() {
    let library = library().await;
    let gateway = start(&library).await;
    for coding in ["gzip", "br", "zstd"] {
        let call = gateway.get("/v1/shelves/1/books:watch").header("accept-encoding", coding);
        let mut response = call.header("accept", "application/x-ndjson").open().await;
        assert_eq!(response.headers()["content-encoding"], coding);
        // The stream stays open; its first line can be read nevertheless.
        let mut packed = Vec::new();
        let line = loop {
            let chunk = soon("a chunk", response.frame()).await.unwrap().unwrap().into_data().unwrap();
            packed.extend_from_slice(&chunk);
            let mut plain = vec![0; 10_000];
            let mut reader: Box<dyn std::io::Read> = match coding {
                "gzip" => Box::new(flate2::read::GzDecoder::new(&packed[..])),
                "br" => Box::new(brotli::Decompressor::new(&packed[..], 4096)),
                _ => Box::new(zstd::stream::read::Decoder::new(&packed[..]).unwrap()),
            };
            let mut read = 0;
            while let Ok(more @ 1..) = reader.read(&mut plain[read..]) {
                read += more;
            }
            if plain[..read].ends_with(b"\n") {
                break plain[..read].to_vec();
            }
        };
        assert_eq!(serde_json::from_slice::<Value>(&line).unwrap()["title"], "x".repeat(5000));
        assert!(packed.len() < 500);
    }
}

#[tokio::test]
async fn request_bodies_are_unpacked_within_their_limit() {
    let library = library().await;
    let limits = "limits: { send: 100KiB }";
    let gateway =
        gateway().descriptors("library").expose_all().upstream_with("library", &[&library], limits).start().await;
    let send = async |path: &str, coding: &str, body: Vec<u8>| -> Reply {
        let call = gateway.request("POST", path).header("content-type", "application/json");
        call.header("content-encoding", coding).body(body).await
    };
    let book = json!({ "title": "x".repeat(5000) });
    let plain = book.to_string().into_bytes();
    let brotli = {
        let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
        encoder.write_all(&plain).unwrap();
        encoder.into_inner()
    };
    for path in ["/v1/echo", "/library.v1.Library/Echo"] {
        send(path, "gzip", gzip(&plain)).await.status(200).json(&book);
        send(path, "br", brotli.clone()).await.status(200).json(&book);
        send(path, "zstd", zstd::stream::encode_all(&plain[..], 3).unwrap()).await.status(200).json(&book);
        send(path, "identity", plain.clone()).await.status(200).json(&book);
        send(path, "gzip", plain.clone()).await.status(400);
        let bomb = gzip(&vec![b' '; 8 << 20]);
        assert!(bomb.len() < 100 << 10, "{}", bomb.len());
        let refused = send(path, "gzip", bomb).await;
        assert!(refused.text().contains("102400"), "{}", refused.text());
    }
    let refused = send("/v1/echo", "compress", plain.clone()).await;
    refused.status(415).reason("UNSUPPORTED_ENCODING").header("accept-encoding", "gzip, br, zstd, identity");
    let refused = send("/library.v1.Library/Echo", "compress", plain).await;
    assert_eq!(refused.status(501).value()["code"], "unimplemented");
    assert!(refused.text().contains("gzip"), "{}", refused.text());
}

/// So many bytes of text, no two lines of which are alike.
fn words(bytes: usize) -> String {
    (0..bytes / 10).map(|line| format!("line{line:05};")).collect()
}

/// A call that sends one message in gzip and accepts the same; what came back, and the head's encoding.
async fn packed(gateway: &Running, speech: Speech, names: [&str; 2], message: &[u8]) -> (Bytes, Option<String>) {
    let call = speech.call(2, "Discuss").header(names[0], "gzip");
    let mut call = call.header(names[1], "identity, br").header(names[1], "gzip").open(gateway, None).await;
    let mut framed = frame(&gzip(message)).to_vec();
    framed[0] = 1;
    call.send_bytes(framed.into());
    call.close();
    let outcome = call.outcome().await;
    outcome.failed(Code::Ok);
    assert_eq!(outcome.messages.len(), 1);
    let encoding = outcome.headers.get(names[0]).map(|value| value.to_str().unwrap().to_owned());
    (outcome.messages[0].to_string().into(), encoding)
}

#[tokio::test]
async fn messages_are_unpacked_and_packed() {
    let library = library().await;
    let gateway = start(&library).await;
    let remark = json!({ "text": "x".repeat(3000) });
    for speech in [Speech::GrpcJson, Speech::WebJson, Speech::WebTextJson, Speech::ConnectStreamJson] {
        println!("{speech:?}");
        let names = match speech {
            Speech::ConnectStreamJson => ["connect-content-encoding", "connect-accept-encoding"],
            _ => ["grpc-encoding", "grpc-accept-encoding"],
        };
        // A long one comes in turns.
        for remark in [&json!({ "text": words(400_000) }), &remark] {
            let (reply, encoding) = packed(&gateway, speech, names, remark.to_string().as_bytes()).await;
            assert_eq!(serde_json::from_slice::<Value>(&reply).unwrap(), *remark);
            assert_eq!(encoding.as_deref(), Some("gzip"));
        }
        library.saw("Discuss").message(&remark).no_header("grpc-encoding").header("grpc-accept-encoding", "gzip");

        // Nothing needs no compression.
        for flag in [0, 1] {
            let mut call = speech.call(2, "Discuss").header(names[0], "gzip").open(&gateway, None).await;
            call.send_bytes(Bytes::copy_from_slice(&[flag, 0, 0, 0, 0]));
            call.close();
            call.outcome().await.ok(&[json!({})]);
        }

        // A bomb, and a way that is not known.
        let mut call = speech.call(2, "Discuss").header(names[0], "gzip").open(&gateway, None).await;
        let mut bomb = frame(&gzip(&vec![b' '; 8 << 20])).to_vec();
        bomb[0] = 1;
        call.send_bytes(bomb.into());
        call.outcome().await.failed(Code::ResourceExhausted);
        let reply = speech.call(2, "Discuss").header(names[0], "br").send(&gateway, &[]).await;
        reply.failed(Code::Unimplemented);
        assert!(reply.message.contains("gzip"), "{}", reply.message);
        assert_eq!(reply.headers[names[1]], "gzip, identity");
    }
}

/// A reply of one book whose message is packed so.
fn packed_book(encoding: &str, message: &[u8]) -> support::reply::Reply {
    let mut framed = frame(message).to_vec();
    framed[0] = 1;
    stream([]).header("grpc-encoding", encoding).then_bytes(&framed)
}

#[tokio::test]
async fn an_upstreams_messages_are_unpacked_within_their_limit() {
    let method = protos::method("library.v1.Library/Echo");
    let pack = move |book: &Value| gzip(&protos::encode(&method.output(), book));
    let answer = move |asked: &str| match asked {
        "bomb" => packed_book("gzip", &pack(&json!({ "title": "x".repeat(8 << 20) }))),
        "broken" => packed_book("gzip", b"not compressed at all"),
        "unasked" => packed_book("br", &pack(&json!({}))),
        "unnamed" => packed_book("identity", &pack(&json!({}))),
        _ => packed_book("gzip", &pack(&json!({ "title": "x".repeat(5000) }))),
    };
    let watched = answer.clone();
    let library = upstream::grpc("library.v1.Library")
        .unary("Echo", move |book| answer(book["title"].as_str().unwrap()))
        .server_stream("WatchBooks", move |asked| {
            watched(asked["parent"].as_str().unwrap().trim_start_matches("shelves/"))
        })
        .start()
        .await;
    let limits = "limits: { receive: 100KiB }";
    let gateway =
        gateway().descriptors("library").expose_all().upstream_with("library", &[&library], limits).start().await;
    let book = json!({ "title": "x".repeat(5000) });
    let wrong = [
        ("bomb", Code::ResourceExhausted),
        ("broken", Code::Internal),
        ("unasked", Code::Internal),
        ("unnamed", Code::Internal),
    ];
    for speech in [Speech::Rest, Speech::Connect, Speech::ConnectJson, Speech::GrpcJson, Speech::WebJson] {
        println!("{speech:?}");
        let echo = async |title: &str| speech.call(2, "Echo").send(&gateway, &[json!({ "title": title })]).await;
        echo("good").await.ok(std::slice::from_ref(&book));
        library.saw("Echo").header("grpc-accept-encoding", "gzip");
        for (title, code) in wrong {
            echo(title).await.failed(code);
        }
    }
    for speech in
        [Speech::RestLines, Speech::RestEvents, Speech::GrpcJson, Speech::WebTextJson, Speech::ConnectStreamJson]
    {
        println!("{speech:?}");
        let watch = async |name: &str| {
            speech.call(2, "WatchBooks").send(&gateway, &[json!({ "parent": format!("shelves/{name}") })]).await
        };
        watch("good").await.ok(std::slice::from_ref(&book));
        for (name, code) in wrong {
            watch(name).await.failed(code);
        }
    }
    // What would cross unread is unpacked for who cannot, as browsers.
    for (speech, name) in [
        (Speech::Web, "grpc-encoding"),
        (Speech::WebText, "grpc-encoding"),
        (Speech::ConnectStream, "connect-content-encoding"),
    ] {
        println!("{speech:?}");
        let accept = name.replace("content-", "").replace("encoding", "accept-encoding");
        let watch = async |name: &str, accepted: &str| {
            let call = speech.call(2, "WatchBooks").header(&accept, accepted);
            call.send(&gateway, &[json!({ "parent": format!("shelves/{name}") })]).await
        };
        let reply = watch("good", "identity").await;
        assert!(!reply.headers.contains_key(name), "{reply:?}");
        reply.ok(std::slice::from_ref(&book));
        for (name, code) in &wrong[..3] {
            watch(name, "identity").await.failed(*code);
        }
        assert_eq!(watch("good", "gzip").await.ok(std::slice::from_ref(&book)).headers[name], "gzip");
        if speech != Speech::ConnectStream {
            let reply = speech.call(2, "Echo").send(&gateway, &[json!({ "title": "good" })]).await;
            reply.ok(std::slice::from_ref(&book));
        }
    }
}

#[tokio::test]
async fn messages_that_cross_unread_stay_as_they_are() {
    let library = library().await;
    let gateway = start(&library).await;
    for (speech, names) in [
        (Speech::Grpc, ["grpc-encoding", "grpc-accept-encoding"]),
        (Speech::Web, ["grpc-encoding", "grpc-accept-encoding"]),
        (Speech::ConnectStream, ["connect-content-encoding", "connect-accept-encoding"]),
    ] {
        let call = speech.call(2, "Discuss").header(names[0], "gzip").header(names[1], "gzip");
        let mut call = call.open(&gateway, None).await;
        call.head().await;
        call.close();
        call.outcome().await.failed(Code::Ok);
        library.saw("Discuss").header("grpc-encoding", "gzip").header("grpc-accept-encoding", "gzip");
    }
    for (speech, name) in [(Speech::Web, "grpc-encoding"), (Speech::ConnectStream, "connect-content-encoding")] {
        let reply = speech.call(2, "Discuss").header(name, "br").send(&gateway, &[]).await;
        reply.failed(Code::Unimplemented);
    }
}
