//! A service's tokens renewed by the calls that bring its cookies.

use serde_json::json;

use super::{BOOK, SESSIONS, cookies, library, start};
use crate::support::gateway::{Running, gateway};
use crate::support::grpc::frame;
use crate::support::redis::redis;
use crate::support::tokens::{SECRET, bearer, token};

#[tokio::test]
async fn a_service_renews_once_for_all_who_come_at_once() {
    let (library, redis) = (library().await, redis().await);
    let expired = token(&json!({ "exp": 1 }));
    for shared in [format!("redis: {{ url: \"{}\" }}\n", redis.url()), String::new()] {
        let sessions = format!("{shared}sessions:{SESSIONS}\n  automatic: true").replace(", path: /v1", "");
        let (one, other) = (start(&library, &sessions).await, start(&library, &sessions).await);
        let both = if shared.is_empty() { [&one, &one] } else { [&one, &other] };
        let before = library.saw("Echo").calls().len();
        let refresh = format!("r{}", if shared.is_empty() { "alone" } else { "shared" });
        let calls = (0..16).map(|at: usize| {
            let cookie =
                if at.is_multiple_of(3) { format!("rt={refresh}") } else { format!("at={expired}; rt={refresh}") };
            both[at % 2].get(BOOK).header("cookie", &cookie).into_future()
        });
        let answers = futures_util::future::join_all(calls).await;
        let set: Vec<_> = answers.iter().map(|answer| cookies(answer.status(200))).collect();
        assert!(set[0].len() == 2 && set.iter().all(|cookies| *cookies == set[0]), "{set:?}");
        assert_eq!(library.saw("Echo").calls().len() - before, 1, "asked once");
        library.saw("Echo").message(&json!({ "name": refresh }));
        // One that the service takes no more leaves the browser; that it cannot be asked is another matter.
        let refused = one.get(BOOK).header("cookie", "rt=stolen").await;
        assert_eq!(refused.status(401).reason("TOKEN_INVALID").headers.get_all("set-cookie").iter().count(), 2);
        let late = one.get(BOOK).header("cookie", "rt=late").await;
        assert!(late.status(503).headers.get("set-cookie").is_none());
        if shared.is_empty() {
            continue;
        }
        // What is kept of it meanwhile says nothing to who has not the token.
        let redis::Value::Array(keys) = redis.ask(&["KEYS", "transom:flight:*"]).await else { panic!("no list") };
        let mut long = 0;
        for key in keys {
            let redis::Value::BulkString(key) = key else { panic!("no key") };
            let key = str::from_utf8(&key).unwrap();
            let kept = format!("{:?}", redis.ask(&["GET", key]).await);
            assert!(!kept.contains(set[0][0].0.split('=').nth(1).unwrap()), "{kept}");
            let redis::Value::Int(stays) = redis.ask(&["PTTL", key]).await else { panic!("no time") };
            long += usize::from(stays > 1000);
        }
        // Tokens for a while, a refusal for a moment: whatever is in a cookie makes one.
        assert!(long <= 1, "{long}");
    }
}

#[tokio::test]
async fn who_refreshes_beside_a_call_that_does_gets_the_same() {
    let (library, redis) = (library().await, redis().await);
    for shared in [format!("redis: {{ url: \"{}\" }}\n", redis.url()), String::new()] {
        let sessions = format!("{shared}sessions:{SESSIONS}\n  automatic: true").replace(", path: /v1", "");
        let (one, other) = (start(&library, &sessions).await, start(&library, &sessions).await);
        let other = if shared.is_empty() { &one } else { &other };
        let asked = || library.saw("Echo").calls().len();
        let on_the_way = async |gateway: &Running, cookie: &str| {
            cookies(gateway.get(BOOK).header("cookie", cookie).await.status(200))
        };
        let connect =
            async |cookie: &str| other.post("/library.v1.Library/Echo", &json!({})).header("cookie", cookie).await;
        let web = async |cookie: &str| {
            let call = other.request("POST", "/library.v1.Library/Echo").header("cookie", cookie);
            call.header("content-type", "application/grpc-web+proto").body(frame(b"").to_vec()).await
        };
        let kind = if shared.is_empty() { "alone" } else { "shared" };
        // A call first, then the refresh itself, in each dialect.
        let (before, cookie) = (asked(), format!("rt=r-first-{kind}"));
        let set = on_the_way(&one, &cookie).await;
        assert_eq!(set.len(), 2);
        let rest = other.post("/v1/echo", &json!({})).header("cookie", &cookie).await;
        assert_eq!(
            (cookies(rest.status(200)), rest.value()["authors"][0].as_str()),
            (set.clone(), cookie.strip_prefix("rt="))
        );
        assert_eq!(cookies(connect(&cookie).await.status(200)), set);
        assert_eq!(cookies(web(&cookie).await.header("content-type", "application/grpc-web+proto")), set);
        assert_eq!(asked() - before, 1, "asked once");
        // The refresh first, with all that its client says, then a call.
        let (before, cookie) = (asked(), format!("rt=r-then-{kind}"));
        let rest = one.post("/v1/echo", &json!({ "pages": "7" })).header("cookie", &cookie).await;
        assert_eq!(cookies(rest.status(200)).len(), 2);
        assert_eq!(on_the_way(other, &cookie).await, cookies(&rest));
        assert_eq!(
            (asked() - before, &library.saw("Echo").calls().last().unwrap().messages[0]["pages"]),
            (1, &json!("7"))
        );
        // Who sends the token by hand is the service's own affair.
        one.post("/v1/echo", &json!({ "name": "r-hand" })).header("cookie", &cookie).await.status(200);
        one.post("/v1/echo", &json!({ "name": "r-hand" })).header("cookie", &cookie).await.status(200);
        assert_eq!(asked() - before, 3);
        // One that is good no more leaves the browser, and the service is asked once.
        let (before, cookie) = (asked(), format!("rt=stolen-{kind}"));
        let refused = one.post("/v1/echo", &json!({})).header("cookie", &cookie).await;
        assert!(refused.status(401).text().contains("unknown refresh token"), "the service's own words: {refused:?}");
        assert_eq!(cookies(&refused).len(), 2);
        let refused = other.post("/v1/echo", &json!({})).header("cookie", &cookie).await;
        assert_eq!(cookies(refused.status(401).reason("TOKEN_INVALID")).len(), 2);
        assert_eq!(cookies(connect(&cookie).await.status(401)).len(), 2);
        assert_eq!(asked() - before, 1);
    }
    // While nobody can say who does it, the service is asked all the same.
    let gone = "redis: { url: \"redis://127.0.0.1:1\" }\n";
    let gone =
        start(&library, &format!("{gone}sessions:{SESSIONS}\n  automatic: true").replace(", path: /v1", "")).await;
    let before = library.saw("Echo").calls().len();
    gone.post("/v1/echo", &json!({})).header("cookie", "rt=r-gone").await.status(200);
    gone.get(BOOK).header("cookie", "rt=r-gone").await.status(503);
    assert_eq!(library.saw("Echo").calls().len() - before, 1);
}

#[tokio::test]
async fn who_has_logged_out_is_given_no_tokens_that_are_kept() {
    let (library, redis) = (library().await, redis().await);
    for shared in [format!("redis: {{ url: \"{}\" }}\n", redis.url()), String::new()] {
        let sessions = format!("{shared}sessions:{SESSIONS}\n  automatic: true").replace(", path: /v1", "");
        let gateway = start(&library, &sessions).await;
        let old = format!("rt=r-{}", if shared.is_empty() { "alone" } else { "shared" });
        let renewed = cookies(gateway.get(BOOK).header("cookie", &old).await.status(200));
        let asked = library.saw("Echo").calls().len();
        // Another page's call gets the same; then somebody logs out.
        assert_eq!(cookies(gateway.get(BOOK).header("cookie", &old).await.status(200)), renewed);
        let left = gateway.request("DELETE", BOOK).header("cookie", &renewed[0].0).await;
        left.status(200);
        let refresh = async || gateway.post("/v1/echo", &json!({})).header("cookie", &old).await;
        for answer in [gateway.get(BOOK).header("cookie", &old).await, refresh().await] {
            let set = cookies(answer.status(401).reason("TOKEN_INVALID"));
            assert!(set.len() == 2 && set.iter().all(|(pair, _)| pair.ends_with('=')), "{set:?}");
        }
        assert_eq!(library.saw("Echo").calls().len(), asked);
    }
}

#[tokio::test]
async fn cookies_that_are_junk_ask_no_more_than_the_refresh_rpc_lets_them() {
    let library = library().await;
    let more = format!("rate_limits: {{ renew: {{ by: client, rate: 3/h }} }}\nsessions:{SESSIONS}\n  automatic: true");
    let config = format!(
        "{}\nauth: {{ jwt: {{ secret: {SECRET} }}, sources: [bearer, {{ cookie: at }}] }}\nmethods:\n  \
         library.v1.Library/CreateBook: {{ auth: public }}\n  library.v1.Library/Echo: {{ auth: public, rate_limits: [renew] }}",
        more.replace(", path: /v1", "")
    );
    let gateway = gateway().descriptors("library").upstream("library", &library).config(&config).start().await;
    let call = async |cookie: &str| gateway.get(BOOK).header("cookie", cookie).await;
    let renewed = call("rt=r-good").await;
    renewed.status(200);
    for number in 0..2 {
        call(&format!("rt=junk{number}")).await.status(401).reason("TOKEN_INVALID");
    }
    for number in 2..20 {
        let refused = call(&format!("rt=junk{number}")).await;
        refused.status(429).reason("RATE_LIMITED").no_header("set-cookie").no_header("ratelimit");
        assert!(refused.headers.contains_key("retry-after"));
    }
    // What is known asks nobody.
    assert_eq!(cookies(call("rt=r-good").await.status(200)), cookies(&renewed));
    call("rt=junk0").await.status(401);
    gateway.post("/v1/echo", &json!({})).header("cookie", "rt=r-other").await.status(429);
    library.saw("Echo").times(3);
}

#[tokio::test]
async fn a_renewal_on_the_way_goes_before_nobody() {
    let library = crate::support::library::library().await;
    let config = format!(
        "sessions:{SESSIONS}\n  automatic: true\n\
         auth: {{ jwt: {{ secret: {SECRET} }}, sources: [bearer, {{ cookie: at }}] }}\nmethods:\n  \
         library.v1.Library/WatchBooks: {{ auth: public }}\n  \
         library.v1.Library/CreateBook: {{ auth: public }}\n  \
         library.v1.Library/Echo: {{ auth: public, priority: high }}"
    );
    let gateway = gateway().descriptors("library").upstream_with("library", &[&library], "limits: { in_flight: 20 }");
    let gateway = gateway.config(&config.replace(", path: /v1", "")).start().await;
    // As many as calls of the usual priority may be.
    let mut held = Vec::new();
    for _ in 0..15 {
        held.push(gateway.get("/v1/shelves/hang/books:watch").open().await);
    }
    library.called("WatchBooks", 15).await;
    let token = bearer(&token(&json!({})));
    for _ in 0..3 {
        tokio::spawn(gateway.get("/v1/shelves/1/books/hang").header("authorization", &token).open());
    }
    library.called("GetBook", 3).await;
    // Whatever is in a cookie makes such a question: it has not the rank of who logs in.
    gateway.get(BOOK).header("cookie", "rt=r1").await.status(503);
    library.saw("Echo").times(0);
    gateway.post("/v1/echo", &json!({})).header("cookie", "rt=r1").await.status(200);
    library.saw("Echo").times(1);
}
