//! Who may call: tokens at the gateway, in every dialect, and what of them the services see.

use serde_json::{Value, json};
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::grpc::{GrpcCall, frame};
use crate::support::reply::{fail, ok, stream};
use crate::support::tokens::{SECRET, bearer, token};
use crate::support::upstream::{self, Upstream};

const AUTH: &str = "auth: { jwt: { secret: 0123456789abcdef0123456789abcdef, leeway: 0s }, sources: [bearer, { cookie: at }], \
     inject: { sub: x-user-id, realm.roles: x-roles, name: x-name-bin } }";
const BOOK: &str = "/v1/shelves/1/books/7";

/// One message in gRPC's envelope and JSON's codec, and its answer.
async fn in_json(call: GrpcCall, message: &Value) -> (Code, Option<Value>) {
    let mut stream = call.header("content-type", "application/grpc+json").open().await;
    stream.send_bytes(frame(message.to_string().as_bytes()));
    stream.close();
    let answer = stream.next_bytes().await.map(|bytes| serde_json::from_slice(&bytes).unwrap());
    (stream.status().await.code, answer)
}

async fn library() -> Upstream {
    upstream::grpc("library.v1.Library")
        .unary("GetBook", |request| ok(json!({ "name": request["name"] })))
        .unary("Echo", |book| ok(book.clone()))
        .server_stream("WatchBooks", |_| stream([json!({ "name": "a" }), json!({ "name": "b" })]))
        .client_stream("ImportBooks", |books| ok(json!({ "imported": books.len() })))
        .unary("DeleteBook", |request| match request["name"].as_str() {
            Some("shelves/1/books/0") => fail(Code::NotFound, "no such book"),
            _ => ok(json!({})),
        })
        .start()
        .await
}

fn front(library: &Upstream, more: &str) -> Builder {
    gateway()
        .descriptors("library")
        .upstream("library", library)
        .config("schema: { descriptor_sets: [in-memory], expose: all }")
        .config(more)
}

async fn guarded(library: &Upstream) -> Running {
    front(library, AUTH).config("methods: { library.v1.Library/Echo: { auth: public } }").start().await
}

const GET: &str = "library.v1.Library/GetBook";

#[tokio::test]
async fn each_refusal_in_its_dialect() {
    let library = library().await;
    let gateway = guarded(&library).await;
    let expired = token(&json!({ "exp": 1 }));
    for (sent, reason, challenge) in [
        (None, "TOKEN_MISSING", "Bearer"),
        (Some("Basic dTpw"), "TOKEN_MISSING", "Bearer"),
        (Some("Bearer x.y.z"), "TOKEN_INVALID", "Bearer error=\"invalid_token\""),
        (Some(&bearer(&expired)), "TOKEN_EXPIRED", "Bearer error=\"invalid_token\""),
    ] {
        let mut rest = gateway.get(BOOK);
        let mut grpc = gateway.grpc(GET);
        let mut json = gateway.grpc(GET).header("content-type", "application/grpc+json");
        if let Some(sent) = sent {
            rest = rest.header("authorization", sent);
            grpc = grpc.header("authorization", sent);
            json = json.header("authorization", sent);
        }
        let rest = rest.await;
        rest.status(401).reason(reason);
        assert!(rest.headers["www-authenticate"].to_str().unwrap().starts_with(challenge), "{rest:?}");
        assert_eq!(rest.value()["code"], Code::Unauthenticated.number());
        for grpc in [grpc, json] {
            let reply = grpc.send(&[json!({ "name": "n" })]).await;
            reply.failed(Code::Unauthenticated);
        }
    }
    library.saw("GetBook").times(0);
    let lines = gateway.logged(12).await;
    for line in &lines {
        assert!(line["cause"].is_string(), "{line}");
        assert!(!line.to_string().contains(&expired), "{line}");
    }
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"auth\",reason=\"TOKEN_MISSING\"}"), 6.0);
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"auth\",reason=\"TOKEN_EXPIRED\"}"), 3.0);
}

#[tokio::test]
async fn what_is_invalid_may_be_498_and_what_is_missing_is_not() {
    let library = library().await;
    let auth = format!("auth: {{ jwt: {{ secret: {SECRET} }}, invalid_status: 498 }}");
    let gateway = front(&library, &auth).start().await;
    gateway.get(BOOK).await.status(401).reason("TOKEN_MISSING");
    gateway.get(BOOK).header("authorization", "Bearer x.y.z").await.status(498).reason("TOKEN_INVALID");
    let expired = bearer(&token(&json!({ "exp": 1 })));
    gateway.get(BOOK).header("authorization", &expired).await.status(498).reason("TOKEN_EXPIRED");
    let grpc = gateway.grpc(GET).header("authorization", &expired).send(&[json!({ "name": "n" })]).await;
    grpc.failed(Code::Unauthenticated);
}

#[tokio::test]
async fn the_token_and_its_claims_cross_in_place_of_what_the_client_sent() {
    let library = library().await;
    let gateway = guarded(&library).await;
    let token = token(&json!({ "realm": { "roles": ["reader", "x"] }, "name": "Zoë" }));
    let forged = [
        ("x-user-id", "admin"),
        ("X-User-Id", "root"),
        ("x_user_id", "admin"),
        ("x-user-id-bin", "YWRtaW4"),
        ("x-user-role", "admin"),
        ("x-roles", "admin"),
        ("X_Roles", "admin"),
        ("x-roles-bin", "YWRtaW4"),
        ("x_roles_bin", "YWRtaW4"),
        ("x-name", "admin"),
        ("x-name-bin", "YWRtaW4"),
    ];
    let with_forged = |grpc| forged.iter().fold(grpc, |grpc: GrpcCall, (name, value)| grpc.header(name, value));

    let rest = forged.iter().fold(gateway.get(BOOK), |call, (name, value)| call.header(name, value));
    rest.header("authorization", &bearer(&token)).await.status(200);
    let grpc = || with_forged(gateway.grpc(GET)).header("authorization", &bearer(&token));
    let reply = grpc().send(&[json!({ "name": "n" })]).await;
    assert_eq!(reply.code, Code::Ok, "{reply:?}");
    assert_eq!(in_json(grpc(), &json!({ "name": "n" })).await.0, Code::Ok);
    // By cookie, with a header of another scheme beside it.
    let cookie = gateway.get(BOOK).header("cookie", &format!("a=b; at={token}")).header("authorization", "Basic dTpw");
    cookie.await.status(200);

    let saw = library.saw("GetBook");
    let calls = saw.calls();
    assert_eq!(calls.len(), 4);
    for call in calls {
        let all = |name: &str| -> Vec<String> {
            call.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(all("authorization"), [bearer(&token)]);
        assert_eq!((all("x-user-id"), all("x-roles")), (vec!["u1".to_owned()], vec!["reader,x".to_owned()]));
        assert_eq!(all("x-name-bin"), ["Wm/Dqw"]);
        for name in ["x_user_id", "x-user-id-bin", "x-user-role", "x_roles", "x-roles-bin", "x_roles_bin", "x-name"] {
            assert!(all(name).is_empty(), "{name}: {:?}", call.headers);
        }
        assert!(call.headers.get("cookie").is_none());
    }
}

#[tokio::test]
async fn a_public_method_needs_no_token_and_claims_nothing() {
    let library = library().await;
    let gateway = guarded(&library).await;
    let call =
        gateway.post("/v1/echo", &json!({ "title": "t" })).header("x-user-id", "admin").header("x-roles", "admin");
    call.await.status(200);
    let grpc = gateway.grpc("library.v1.Library/Echo").header("x-roles", "admin").header("authorization", "Bearer odd");
    assert_eq!(grpc.send(&[json!({ "title": "t" })]).await.code, Code::Ok);
    for call in library.saw("Echo").calls() {
        assert!(call.headers.get("x-user-id").is_none() && call.headers.get("x-roles").is_none(), "{:?}", call.headers);
    }
}

#[tokio::test]
async fn forward_false_keeps_every_token_back() {
    let library = library().await;
    let auth = format!("auth: {{ jwt: {{ secret: {SECRET} }}, forward: false, inject: {{ sub: x-user-id }} }}");
    let gateway = front(&library, &auth).config("methods: { library.v1.Library/Echo: { auth: public } }").start().await;
    gateway.get(BOOK).header("authorization", &bearer(&token(&json!({})))).await.status(200);
    gateway.post("/v1/echo", &json!({})).header("authorization", "Bearer of nobody").await.status(200);
    for (method, user) in [("GetBook", Some("u1")), ("Echo", None)] {
        let saw = library.saw(method);
        let call = &saw.calls()[0];
        assert!(call.headers.get("authorization").is_none(), "{:?}", call.headers);
        assert_eq!(call.headers.get("x-user-id").map(|value| value.to_str().unwrap()), user);
    }
}

#[tokio::test]
async fn scopes_roles_and_claims_are_asked_for_per_method() {
    let library = library().await;
    let methods = "methods:
  library.v1.Library/*: { auth: { scopes: [read] } }
  library.v1.Library/DeleteBook: { auth: { scopes: [read, write], roles: [owner] } }
  library.v1.Library/Echo: { auth: { claims: { tenant: t1 } } }";
    let auth = format!("auth: {{ jwt: {{ secret: {SECRET} }}, roles: realm.roles }}");
    let gateway = front(&library, &auth).config(methods).start().await;
    let reader = bearer(&token(&json!({ "scope": "read", "tenant": "t2" })));
    let owner = bearer(&token(&json!({ "scope": "read write", "realm": { "roles": ["owner"] }, "tenant": "t1" })));
    for (method, path, body) in [("GET", BOOK, None), ("DELETE", BOOK, None), ("POST", "/v1/echo", Some(json!({})))] {
        let call = |sent: &str| {
            let call = gateway.request(method, path).header("authorization", sent);
            body.as_ref()
                .map_or_else(|| gateway.request(method, path).header("authorization", sent), |body| call.json(body))
        };
        call(&owner).await.status(200);
        let reply = call(&reader).await;
        if method == "GET" {
            reply.status(200);
        } else {
            reply.status(403).reason("FORBIDDEN");
            assert_eq!(reply.value()["code"], Code::PermissionDenied.number());
        }
    }
    let grpc = gateway.grpc("library.v1.Library/DeleteBook").header("authorization", &reader);
    grpc.send(&[json!({ "name": "n" })]).await.failed(Code::PermissionDenied);
}

#[tokio::test]
async fn claims_set_fields_in_every_codec() {
    let library = library().await;
    let methods = "methods:
  library.v1.Library/Echo: { bind: { title: sub, place.shelf: n } }
  library.v1.Library/ImportBooks: { bind: { title: sub } }
  library.v1.Library/GetBook: { bind: { name: book } }";
    let gateway = front(&library, &format!("auth: {{ jwt: {{ secret: {SECRET} }} }}")).config(methods).start().await;
    let bearer = bearer(&token(&json!({ "n": 3, "book": "shelves/1/books/7" })));

    let echoed = gateway.post("/v1/echo", &json!({ "name": "b" })).header("authorization", &bearer).await;
    assert_eq!(echoed.status(200).value(), json!({ "name": "b", "title": "u1", "place": { "shelf": 3 } }));
    let same = gateway.post("/v1/echo", &json!({ "title": "u1" })).header("authorization", &bearer).await;
    same.status(200);
    let other = gateway.post("/v1/echo", &json!({ "title": "u2" })).header("authorization", &bearer).await;
    other.status(400).reason("BAD_REQUEST");
    assert_eq!(other.value()["details"][1]["fieldViolations"][0]["field"], "title");

    let call = |method: &str| gateway.grpc(&format!("library.v1.Library/{method}")).header("authorization", &bearer);
    let set = json!({ "name": "b", "title": "u1", "place": { "shelf": 3 } });
    let echoed = call("Echo").send(&[json!({ "name": "b", "title": "u1" })]).await;
    assert_eq!(echoed.messages, std::slice::from_ref(&set), "{echoed:?}");
    assert_eq!(in_json(call("Echo"), &json!({ "name": "b" })).await, (Code::Ok, Some(set)));
    call("Echo").send(&[json!({ "title": "u2" })]).await.failed(Code::InvalidArgument);
    assert_eq!(in_json(call("Echo"), &json!({ "title": "u2" })).await.0, Code::InvalidArgument);
    // Each message of a stream.
    let imported = call("ImportBooks").send(&[json!({}), json!({ "title": "u1" })]).await;
    assert_eq!(imported.code, Code::Ok, "{imported:?}");
    call("ImportBooks").send(&[json!({}), json!({ "title": "u2" })]).await.failed(Code::InvalidArgument);
    assert!(library.saw("ImportBooks").calls()[0].messages.iter().all(|book| book["title"] == "u1"));

    // A path that says otherwise, and a token that lacks the claim.
    gateway.get(BOOK).header("authorization", &bearer).await.status(200);
    gateway.get("/v1/shelves/1/books/8").header("authorization", &bearer).await.status(400);
    let bare = crate::support::tokens::bearer(&token(&json!({})));
    gateway.get(BOOK).header("authorization", &bare).await.status(403).reason("FORBIDDEN");
    library.saw("GetBook").times(1);
}

#[tokio::test]
async fn who_has_logged_out_is_refused_at_once() {
    let library = library().await;
    let auth = format!("auth: {{ jwt: {{ secret: {SECRET} }}, logout: library.v1.Library/DeleteBook }}");
    let gateway = front(&library, &auth).start().await;
    let of = |jti: &str, sid: &str| bearer(&token(&json!({ "jti": jti, "sid": sid })));
    let (one, sibling, other) = (of("1", "s"), of("2", "s"), of("3", "t"));
    let get = |sent: &str| gateway.get(BOOK).header("authorization", sent);
    get(&sibling).await.status(200);

    // A logout that fails ends nothing.
    gateway.request("DELETE", "/v1/shelves/1/books/0").header("authorization", &one).await.status(404);
    get(&one).await.status(200);
    gateway.request("DELETE", BOOK).header("authorization", &one).await.status(200);
    get(&one).await.status(401).reason("TOKEN_INVALID");
    get(&sibling).await.status(401).reason("TOKEN_INVALID");
    get(&other).await.status(200);
    let grpc = gateway.grpc("library.v1.Library/DeleteBook").header("authorization", &other);
    assert_eq!(grpc.send(&[json!({ "name": "n" })]).await.code, Code::Ok);
    get(&other).await.status(401).reason("TOKEN_INVALID");
}

#[tokio::test]
async fn limits_count_users_and_not_their_addresses() {
    let library = library().await;
    let limits = "rate_limits: { users: { by: user, rate: 2/h }, orgs: { by: { claim: org }, rate: 3/h } }
methods: { library.v1.Library/Echo: { rate_limits: [orgs] } }";
    let gateway = front(&library, AUTH).config(limits).start().await;
    let of = |sub: &str, org: &str| bearer(&token(&json!({ "sub": sub, "org": org })));
    let get = async |sent: &str| gateway.get(BOOK).header("authorization", sent).await.status.as_u16();
    let (one, two) = (of("u1", "o"), of("u2", "o"));
    assert_eq!([get(&one).await, get(&one).await, get(&one).await], [200, 200, 429]);
    assert_eq!(get(&of("u1", "p")).await, 429, "another token of the same user");
    assert_eq!(get(&two).await, 200);
    let mut codes = Vec::new();
    for sent in [&one, &two, &one, &two] {
        let call = gateway.grpc("library.v1.Library/Echo").header("authorization", sent);
        codes.push(call.send(&[json!({ "title": "t" })]).await.code);
    }
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::Ok, Code::ResourceExhausted]);
}

#[tokio::test]
async fn an_rpc_may_judge_tokens() {
    let library = library().await;
    let judge = upstream::grpc("library.v1.Internals")
        .unary("GetInternals", |request| match request["name"].as_str() {
            Some("opaque-good") => ok(json!({ "title": "u9" })),
            Some("opaque-late") => fail(Code::Unavailable, "later"),
            _ => fail(Code::Unauthenticated, "unknown"),
        })
        .start()
        .await;
    let auth = "auth:
  verify: { rpc: library.v1.Internals/GetInternals, field: name, cache: 1h, cache_refusals: 1h }
  user: title
  inject: { title: x-user-id }";
    let gateway = front(&library, auth).upstream("judge", &judge).start().await;
    let get = |token: &str| gateway.get(BOOK).header("authorization", &bearer(token));
    for _ in 0..3 {
        get("opaque-good").await.status(200);
        get("opaque-bad").await.status(401).reason("TOKEN_INVALID");
        get("opaque-late").await.status(503).reason("AUTH_UNAVAILABLE");
    }
    // Good and bad were asked once, what has no answer every time.
    judge.saw("GetInternals").times(5);
    let saw = library.saw("GetBook");
    let calls = saw.calls();
    assert!(
        calls
            .iter()
            .all(|call| call.headers["x-user-id"] == "u9" && call.headers["authorization"] == "Bearer opaque-good")
    );
    judge.stop().await;
    get("opaque-new").await.status(503).reason("AUTH_UNAVAILABLE");
}

#[tokio::test]
async fn what_the_configuration_names_must_be_there() {
    let library = library().await;
    let metrics = transom::telemetry::Metrics::new();
    let told = |auth: &str| {
        let problems = front(&library, auth).compile(&metrics).err().expect("problems");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let jwt = format!("auth: {{ jwt: {{ secret: {SECRET} }}, logout: library.v1.Library/DeleteBok }}");
    assert!(
        told(&jwt).contains("auth.logout: no loaded schema has the method `DeleteBok`; did you mean `DeleteBook`?")
    );
    let logout = |rpc: &str| format!("auth: {{ jwt: {{ secret: {SECRET} }}, logout: library.v1.Library/{rpc} }}");
    let streams = told(&logout("WatchBooks"));
    assert!(streams.contains("auth.logout: library.v1.Library/WatchBooks streams; who logs out"), "{streams}");
    let kept = told(&format!("{}\nmethods: {{ library.v1.Library/GetBook: {{ cache: 1s }} }}", logout("GetBook")));
    assert!(kept.contains("`library.v1.Library/GetBook` opens, renews or ends sessions"), "{kept}");
    let streams = "auth: { verify: { rpc: library.v1.Library/WatchBooks } }";
    assert!(told(streams).contains("auth.verify.rpc: library.v1.Library/WatchBooks: streams"), "{}", told(streams));
    let field = "auth: { verify: { rpc: library.v1.Library/GetBook } }";
    assert!(told(field).contains("library.v1.GetBookRequest has no field `token`"), "{}", told(field));
    let bind = format!(
        "auth: {{ jwt: {{ secret: {SECRET} }} }}\nmethods: {{ library.v1.Library/Echo: {{ bind: {{ nobody: sub }} }} }}"
    );
    assert!(
        told(&bind).contains("methods[\"library.v1.Library/Echo\"].bind: Echo: library.v1.Book has no field `nobody`")
    );
}

#[tokio::test]
async fn connect_and_grpc_web_pass_the_same_gate() {
    let library = library().await;
    let config = "methods: { library.v1.Library/Echo: { bind: { title: sub } } }";
    let gateway = front(&library, AUTH).config(config).start().await;
    let path = "/library.v1.Library/Echo";
    let connect = |message: &Value| gateway.post(path, message).header("connect-protocol-version", "1");

    let refused = connect(&json!({})).await;
    assert_eq!(refused.status(401).value()["code"], "unauthenticated");
    refused.header("www-authenticate", "Bearer");
    let web = gateway.request("POST", path).header("content-type", "application/grpc-web+proto").body(frame(&[])).await;
    assert_eq!(web.status, 200);
    assert!(
        web.headers.get("grpc-status").is_some_and(|status| status == "16") || web.text().contains("grpc-status:16")
    );
    library.saw("Echo").times(0);

    let bearer = bearer(&token(&json!({})));
    let echoed = connect(&json!({ "name": "b" })).header("authorization", &bearer).header("x-user-id", "admin").await;
    assert_eq!(echoed.status(200).value(), json!({ "name": "b", "title": "u1" }));
    let other = connect(&json!({ "title": "u2" })).header("authorization", &bearer).await;
    assert_eq!(other.status(400).value()["code"], "invalid_argument");
    // Messages in protobuf: the name `b`, and then the title of another.
    for content_type in ["application/proto", "application/grpc-web+proto"] {
        let call = |message: &[u8]| {
            let framed = content_type.contains("grpc");
            let body = if framed { frame(message) } else { message.to_vec().into() };
            let call =
                gateway.request("POST", path).header("content-type", content_type).header("authorization", &bearer);
            call.header("connect-protocol-version", "1").header("x-user-id", "admin").body(body)
        };
        call(b"\x0a\x01b").await.status(200);
        call(b"\x0a\x01b\x12\x02u2").await;
    }
    let saw = library.saw("Echo");
    // A stream is open before its message is read and refused.
    let complete: Vec<_> = saw.calls().iter().filter(|call| !call.messages.is_empty()).collect();
    assert_eq!(complete.len(), 3);
    for call in complete {
        assert_eq!(call.messages, [json!({ "name": "b", "title": "u1" })]);
        assert_eq!(call.headers.get_all("x-user-id").iter().collect::<Vec<_>>(), ["u1"]);
        assert_eq!(call.headers["authorization"], bearer);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_calls_with_no_cookies() {
    let library = library().await;
    let gateway =
        front(&library, AUTH).config("cors: { origins: [https://app.example], credentials: true }").start().await;
    let token = token(&json!({}));
    let (cookie, bearer) = (format!("at={token}"), bearer(&token));
    let delete = |sent: &[(&str, &str)]| {
        let call = gateway.request("DELETE", BOOK);
        sent.iter().fold(call, |call, (name, value)| call.header(name, value))
    };
    let cross = ("sec-fetch-site", "cross-site");
    let evil = ("origin", "https://evil.example");
    delete(&[("cookie", &cookie)]).await.status(200);
    delete(&[("cookie", &cookie), ("sec-fetch-site", "same-origin")]).await.status(200);
    delete(&[("cookie", &cookie), cross, evil]).await.status(403).reason("CROSS_ORIGIN");
    delete(&[("cookie", &cookie), evil]).await.status(403).reason("CROSS_ORIGIN");
    delete(&[("cookie", &cookie), cross, ("origin", "https://app.example")]).await.status(200);
    // Nobody's browser adds these by itself; and what changes nothing is kept from the page by CORS.
    delete(&[("authorization", &bearer), cross, evil]).await.status(200);
    gateway.get(BOOK).header("cookie", &cookie).header(cross.0, cross.1).header(evil.0, evil.1).await.status(200);
    // The RPC dialects are POSTs.
    let rpc = gateway.post("/library.v1.Library/DeleteBook", &json!({ "name": "n" })).header("cookie", &cookie);
    rpc.header(evil.0, evil.1).await.status(403);
    library.saw("DeleteBook").times(4);
    assert_eq!(gateway.metric("transom_refusals_total{gate=\"auth\",reason=\"CROSS_ORIGIN\"}"), 3.0);
}

#[test]
fn what_no_issuer_lets_in_is_asked_of_nobody() {
    let told = |jwt: &str, asked: &str| {
        let text = format!(
            "schema: {{ protos: [p] }}\nupstreams: {{ a: {{ endpoints: [\"a:1\"] }} }}\nauth: {{ {jwt} }}\n\
             methods: {{ a.B/C: {{ auth: {asked} }} }}"
        );
        transom::config::parse(&text, &|_| None).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    let named = "jwt: { secret: s, issuer: me, audience: us }";
    for (jwt, asked, part) in [
        (named, "{ audience: [us, you] }", "methods[\"a.B/C\"].auth.audience: no `auth.jwt` takes tokens for `you`"),
        ("jwt: { secret: s }", "{ audience: us }", "auth.audience: no `auth.jwt` takes tokens for `us`"),
        (named, "{ issuer: you }", "auth.issuer: no `auth.jwt` takes tokens of `you`; write it there, as `issuer`"),
    ] {
        assert!(told(jwt, asked).contains(part), "{jwt}, {asked}: {}", told(jwt, asked));
    }
    for (jwt, asked) in [
        (named, "{ audience: us, issuer: me }"),
        ("jwt: [{ secret: s, issuer: me }, { key: k.pem, audience: us }]", "{ audience: us, issuer: you }"),
        ("verify: { url: \"http://a/\" }", "{ audience: us, issuer: you }"),
    ] {
        assert_eq!(told(jwt, asked), "", "{jwt}, {asked}");
    }
}
