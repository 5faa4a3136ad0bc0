//! Rate limits of one gateway: who is counted together, what the answers say, what a refusal takes.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::grpc::frame;
use crate::support::reply::ok;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |_| ok(json!({ "title": "Dune" })))
        .unary("Echo", |book| ok(book.clone()))
        .bidi("Discuss", |remark| vec![remark.clone()])
        .start()
        .await
}

fn limited(library: &Upstream, config: &str) -> Builder {
    gateway().descriptors("library").upstream("library", library).config(config)
}

/// How many of these pass; the others are refused as they should be.
async fn passed(gateway: &Running, calls: usize, header: (&str, &str)) -> usize {
    let mut passed = 0;
    for _ in 0..calls {
        let reply = gateway.get(BOOK).header(header.0, header.1).await;
        match reply.status.as_u16() {
            200 => passed += 1,
            _ => drop(reply.status(429).reason("RATE_LIMITED").value()),
        }
    }
    passed
}

#[tokio::test]
async fn exactly_the_rate_passes_however_many_come_at_once() {
    let library = library().await;
    let config = "workers: 2\nrate_limits: { public: { by: client, rate: 100/h } }";
    let gateway = limited(&library, config).start().await;
    let mut clients = JoinSet::new();
    for _ in 0..64 {
        let address = gateway.address();
        clients.spawn(async move {
            let mut passed = 0;
            for _ in 0..4 {
                let reply = crate::support::client::Call::new(address, "GET", BOOK).await;
                passed += usize::from(reply.status == 200);
            }
            passed
        });
    }
    assert_eq!(clients.join_all().await.iter().sum::<usize>(), 100);
    library.saw("GetBook").times(100);
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"rate_limit\",reason=\"public\"}"), 156.0);
}

#[tokio::test]
async fn answers_say_how_a_limit_stands() {
    let library = library().await;
    let config = "rate_limits: { public: { by: client, rate: 2/min } }";
    let gateway = limited(&library, config).start().await;
    let policy = "\"public\";q=2;w=60";
    let first = gateway.get(BOOK).await;
    first.status(200).header("ratelimit-policy", policy).header("ratelimit", "\"public\";r=1;t=30");
    gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await.ok(&[json!({ "title": "Dune" })]);
    let refused = gateway.get(BOOK).await;
    refused.status(429).reason("RATE_LIMITED").header("retry-after", "30").header("ratelimit-policy", policy);
    refused.header("ratelimit", "\"public\";r=0;t=60");
    let body = refused.value();
    assert_eq!(body["code"], Code::ResourceExhausted.number());
    assert_eq!(body["details"][1]["@type"], "type.googleapis.com/google.rpc.RetryInfo");
    assert!(body["details"][1]["retryDelay"].as_str().unwrap().starts_with("29."), "{body}");

    let grpc = gateway.grpc("library.v1.Library/GetBook").send(&[json!({})]).await;
    grpc.failed(Code::ResourceExhausted);
    assert_eq!(grpc.headers["ratelimit"], "\"public\";r=0;t=60");
    assert!(grpc.trailers.contains_key("grpc-status-details-bin"));
    // The gateway's own endpoints are under no such limit.
    for _ in 0..5 {
        gateway.get("/health").await.status(200).no_header("ratelimit");
    }
}

#[tokio::test]
async fn methods_name_limits_of_their_own_and_a_refused_call_takes_from_none() {
    let library = library().await;
    let config = "
rate_limits:
  public: { by: client, rate: 1/h }
  wide: { by: client, rate: 4/h }
  narrow: { by: client, rate: 2/h }
methods:
  library.v1.Library/GetBook: { rate_limits: [wide, narrow] }
  library.v1.Library/Echo: { rate_limits: [wide] }
  library.v1.Library/Discuss: { rate_limits: [] }
";
    let gateway = limited(&library, config).start().await;
    assert_eq!(passed(&gateway, 10, ("a", "b")).await, 2);
    // Two are left of four: the eight that `narrow` refused took nothing from `wide`.
    let statuses = async || gateway.post("/v1/echo", &json!({})).await.status.as_u16();
    assert_eq!([statuses().await, statuses().await, statuses().await], [200, 200, 429]);
    let tightest = gateway.get(BOOK).await;
    tightest.header("ratelimit-policy", "\"wide\";q=4;w=3600, \"narrow\";q=2;w=3600");
    for _ in 0..5 {
        let discuss = gateway.grpc("library.v1.Library/Discuss").send(&[json!({ "text": "x" })]).await;
        discuss.ok(&[json!({ "text": "x" })]);
    }
}

#[tokio::test]
async fn clients_are_told_apart_by_addresses_that_nobody_can_forge() {
    let library = library().await;
    let config = "rate_limits: { public: { by: client, rate: 2/h } }";
    let forged = limited(&library, config).start().await;
    assert_eq!(passed(&forged, 3, ("x-forwarded-for", "192.0.2.1")).await, 2);
    assert_eq!(passed(&forged, 3, ("x-forwarded-for", "192.0.2.2")).await, 0);

    let behind = limited(&library, &format!("{config}\ntrusted_proxies: [127.0.0.0/8]")).start().await;
    assert_eq!(passed(&behind, 3, ("x-forwarded-for", "192.0.2.1")).await, 2);
    assert_eq!(passed(&behind, 3, ("x-forwarded-for", "192.0.2.2")).await, 2);
    // What the proxy did not write itself is not believed.
    assert_eq!(passed(&behind, 3, ("x-forwarded-for", "192.0.2.9, 192.0.2.2")).await, 0);
    // One customer, many addresses.
    assert_eq!(passed(&behind, 2, ("x-forwarded-for", "2001:db8:0:1::1")).await, 2);
    assert_eq!(passed(&behind, 2, ("x-forwarded-for", "2001:db8:0:1:ffff::2")).await, 0);
    assert_eq!(passed(&behind, 2, ("x-forwarded-for", "2001:db8:0:2::1")).await, 2);
}

#[tokio::test]
async fn keys_and_fields_tell_callers_apart() {
    let library = library().await;
    let config = "
rate_limits:
  keys: { by: { header: x-api-key }, rate: 2/h }
  titles: { by: { field: title }, rate: 2/h }
methods:
  library.v1.Library/GetBook: { rate_limits: [keys] }
  library.v1.Library/Echo: { rate_limits: [titles] }
";
    let gateway = limited(&library, config).start().await;
    assert_eq!(passed(&gateway, 3, ("x-api-key", "one")).await, 2);
    assert_eq!(passed(&gateway, 3, ("X-Api-Key", "two")).await, 2);
    // Without a key, by the client.
    assert_eq!(passed(&gateway, 3, ("x-other", "two")).await, 2);
    // With two, by neither: a service may take the one that was used up.
    let two = gateway.get(BOOK).header("x-api-key", "three").header("x-api-key", "one").await;
    assert!(two.status(400).text().contains("`x-api-key` is sent more than once"), "{two:?}");

    let rest = async |title: &str| gateway.post("/v1/echo", &json!({ "title": title })).await.status.as_u16();
    let grpc =
        async |title: &str| gateway.grpc("library.v1.Library/Echo").send(&[json!({ "title": title })]).await.code;
    assert_eq!((rest("a").await, grpc("a").await), (200, Code::Ok));
    // One limit, whatever the dialect.
    assert_eq!((rest("a").await, grpc("a").await), (429, Code::ResourceExhausted));
    assert_eq!((grpc("b").await, grpc("b").await, grpc("b").await), (Code::Ok, Code::Ok, Code::ResourceExhausted));
    let connect =
        async |title: &str| gateway.post("/library.v1.Library/Echo", &json!({ "title": title })).await.status.as_u16();
    assert_eq!((connect("b").await, connect("c").await, connect("c").await), (429, 200, 200));
    assert_eq!((connect("c").await, grpc("c").await), (429, Code::ResourceExhausted));
    assert_eq!(library.saw("Echo").calls().len(), 6);
}

#[tokio::test]
async fn nobody_gets_around_a_limit_by_field() {
    let library = library().await;
    let limit = "{ by: { field: title }, rate: 1/h, normalize: lower }";
    let method = "library.v1.Library/Echo: { rate_limits: [titles] }";
    let gateway =
        limited(&library, &format!("rate_limits: {{ titles: {limit} }}\nmethods: {{ {method} }}")).start().await;
    let raw = async |content_type: &str, body: &[u8]| {
        let call = gateway.request("POST", "/library.v1.Library/Echo").header("content-type", content_type);
        call.header("connect-protocol-version", "1").body(body.to_vec()).await
    };
    // 2: "ada", and then field 2 as what it is not: a varint, four bytes, eight, a group. It is no title to the service.
    let ada = &[18, 3, b'a', b'd', b'a'][..];
    raw("application/proto", ada).await.status(200);
    for other in [&[][..], &[16, 7], &[21, 1, 2, 3, 4], &[17, 1, 2, 3, 4, 5, 6, 7, 8], &[19, 8, 1, 20]] {
        raw("application/proto", &[ada, other].concat()).await.status(429);
    }
    // What is no message is refused, whoever it would have been counted by.
    let broken = raw("application/proto", &[ada, &[18, 9, b'x'][..]].concat()).await;
    assert!(broken.status(400).text().contains("cannot be decoded"), "{broken:?}");
    // However it is written.
    for title in ["Ada", " aDa\t", "ADA"] {
        gateway.post("/v1/echo", &json!({ "title": title })).await.status(429);
    }
    // Two messages where one is taken: neither is counted as none.
    let frames = |messages: &[&[u8]]| messages.iter().flat_map(|message| frame(message)).collect::<Vec<u8>>();
    for messages in [&[ada, ada][..], &[&[], ada], &[]] {
        let two = raw("application/grpc-web+proto", &frames(messages)).await;
        assert_eq!(two.status(200).headers["grpc-status"], "3", "{messages:?}");
        let mut call = gateway.grpc("library.v1.Library/Echo").open().await;
        call.send_bytes(frames(messages).into());
        call.close();
        call.status().await.failed(Code::InvalidArgument);
    }
    library.saw("Echo").times(1);
}

#[tokio::test]
async fn offenders_are_shut_out() {
    let library = library().await;
    let penalty = "penalty: { after: 2, double: 10min, max: 1h }";
    let config = format!("rate_limits: {{ public: {{ by: client, rate: 1/s, {penalty} }} }}");
    let gateway = limited(&library, &config).start().await;
    gateway.get(BOOK).await.status(200);
    let wait = async || gateway.get(BOOK).await.status(429).headers["retry-after"].to_str().unwrap().to_owned();
    assert_eq!([wait().await, wait().await, wait().await], ["1", "600", "600"]);
}

#[tokio::test]
async fn a_stream_that_talks_too_fast_is_ended() {
    let library = library().await;
    let config = "methods: { library.v1.Library/Discuss: { limits: { messages: 3/h } } }";
    let gateway = limited(&library, config).start().await;
    let remark = json!({ "text": "x" });
    let three = vec![remark.clone(); 3];
    gateway.grpc("library.v1.Library/Discuss").send(&three).await.ok(&three);
    let four = vec![remark; 4];
    let reply = tokio::time::timeout(Duration::from_secs(10), gateway.grpc("library.v1.Library/Discuss").send(&four));
    reply.await.expect("an end").failed(Code::ResourceExhausted);
    assert_eq!(gateway.logged(2).await[1]["reason"], "RATE_LIMITED");
}

#[test]
fn limits_that_cannot_work_are_told() {
    let problem = |config: &str| {
        let text = format!(
            "schema: {{ protos: [p] }}\nupstreams: {{ a: {{ services: [a.B], endpoints: [\"a:1\"] }} }}\n{config}"
        );
        transom::config::parse(&text, &|_| None).expect_err(config).to_string()
    };
    for (config, told) in [
        ("rate_limits: { a: { by: client, rate: 100 } }", "`100` is not a rate"),
        ("rate_limits: { a: { by: client, rate: 0/s } }", "is not a rate from 1"),
        ("rate_limits: { a: { by: ip, rate: 1/s } }", "`ip` is not known here; write `client`, `user`"),
        ("rate_limits: { a: { by: { claim: a, header: b }, rate: 1/s } }", "takes one of"),
        ("rate_limits: { a: { by: user, rate: 1/s } }", "rate_limits.a.by: nobody can have a token"),
        ("rate_limits: { a: { by: { claim: org }, rate: 1/s } }", "rate_limits.a.by: nobody can have a token"),
        ("rate_limits: { a: { by: client, rate: 1/s, normalize: lower } }", "an address is written in one way"),
        ("rate_limits: { a: { rate: 1/s } }", "rate_limits.a.by: is missing"),
        (
            "rate_limits: { a: { by: client, rate: 1/s, penalty: { double: 10min, max: 1min } } }",
            "rate_limits.a.penalty.max: `1m` is shorter than the first time, `double: 10m`",
        ),
        (
            "rate_limits: { login: { by: client, rate: 1/s } }\nmethods: { a.B/C: { rate_limits: [logn] } }",
            "`rate_limits` has no `logn`; did you mean `login`?",
        ),
    ] {
        let problem = problem(config);
        assert!(problem.contains(told), "{problem}");
    }
    let compiled = |config: &str| {
        let builder = gateway().descriptors("library").config(config);
        let builder = builder.upstream_at("library", "library.v1.Library", &["127.0.0.1:1".to_owned()], "");
        builder.compile(&transom::telemetry::Metrics::new()).err().map(|problems| problems[0].to_string())
    };
    let compile = |method: &str, field: &str| {
        let config = format!(
            "rate_limits: {{ f: {{ by: {{ field: {field} }}, rate: 1/s }} }}\n\
             methods: {{ library.v1.Library/{method}: {{ rate_limits: [f] }} }}"
        );
        compiled(&config).expect(field)
    };
    assert!(compile("Echo", "titel").contains("library.v1.Book has no field `titel`; did you mean `title`?"));
    assert!(compile("Echo", "authors").contains("several values"));
    assert!(compile("Echo", "place").contains("end at a text or a number"));
    assert!(compile("Discuss", "text").contains("a stream of messages has no one field"));
    let messages = |method: &str| {
        compiled(&format!("methods: {{ library.v1.Library/{method}: {{ limits: {{ messages: 3/h }} }} }}"))
    };
    assert!(messages("Echo").unwrap().contains("limits.messages: the client of Echo sends one message"));
    assert_eq!((messages("Discuss"), messages("*")), (None, None));
}
