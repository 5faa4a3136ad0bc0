//! Logging out: what one gateway revokes, all refuse, over a real Redis that hangs, goes and comes back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::redis::{Redis, redis};
use crate::support::reply::ok;
use crate::support::tokens::{SECRET, bearer, token};
use crate::support::until;
use crate::support::upstream::{self, Upstream};

const BOOK: &str = "/v1/shelves/1/books/7";

async fn library() -> Upstream {
    let library = upstream::grpc("library.v1.Library").unary("GetBook", |asked| ok(json!({ "name": asked["name"] })));
    library.unary("DeleteBook", |_| ok(json!({}))).start().await
}

fn front(library: &Upstream, redis: &Redis, more: &str) -> Builder {
    gateway().descriptors("library").upstream("library", library).config(&format!(
        "redis: {{ url: \"{}\" }}\n\
         auth: {{ jwt: {{ secret: {SECRET} }}, logout: library.v1.Library/DeleteBook{more} }}",
        redis.url()
    ))
}

fn of(jti: &str, sid: &str) -> String {
    bearer(&token(&json!({ "jti": jti, "sid": sid })))
}

async fn status(gateway: &Running, token: &str) -> u16 {
    gateway.get(BOOK).header("authorization", token).await.status.as_u16()
}

async fn log_out(gateway: &Running, token: &str) {
    gateway.request("DELETE", BOOK).header("authorization", token).await.status(200);
}

async fn is_told(gateway: &Running, token: &str, expected: u16) {
    until("the gateway knows", async || status(gateway, token).await == expected).await;
}

#[tokio::test]
async fn every_gateway_refuses_who_has_logged_out_at_one() {
    let (library, redis) = (library().await, redis().await);
    let (one, other) = (front(&library, &redis, "").start().await, front(&library, &redis, "").start().await);
    let (left, sibling, stays) = (of("1", "s"), of("2", "s"), of("3", "t"));
    for token in [&left, &sibling, &stays] {
        assert_eq!((status(&one, token).await, status(&other, token).await), (200, 200));
    }

    log_out(&one, &left).await;
    let since = Instant::now();
    assert_eq!(status(&one, &left).await, 401, "here at once");
    is_told(&other, &left, 401).await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!((status(&other, &sibling).await, status(&other, &stays).await), (401, 200));

    // One that comes later reads it.
    let late = front(&library, &redis, ", on_store_failure: deny").start().await;
    is_told(&late, &stays, 200).await;
    assert_eq!(status(&late, &left).await, 401);
    // What is kept ends by itself.
    let redis::Value::Int(ttl) = redis.ask(&["TTL", "transom:{revoked}"]).await else { panic!("no number") };
    assert!((600..=700).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn while_redis_is_away_tokens_go_by_the_configured_choice() {
    let (library, mut redis) = (library().await, redis().await);
    let allow = front(&library, &redis, "").start().await;
    let deny = front(&library, &redis, ", on_store_failure: deny").start().await;
    let (first, second, stays) = (of("1", "s"), of("2", "t"), of("3", "u"));
    is_told(&deny, &stays, 200).await;
    log_out(&allow, &first).await;
    is_told(&deny, &first, 401).await;

    redis.resume(false);
    let since = Instant::now();
    is_told(&deny, &stays, 503).await;
    assert!(since.elapsed() < Duration::from_millis(1500), "{:?}", since.elapsed());
    deny.get(BOOK).header("authorization", &stays).await.status(503).reason("AUTH_UNAVAILABLE");
    assert_eq!((status(&deny, &first).await, status(&allow, &first).await), (401, 401), "what was heard holds");
    log_out(&allow, &second).await;
    assert_eq!((status(&allow, &stays).await, status(&allow, &second).await), (200, 401));

    // It goes on: what was said meanwhile arrives.
    redis.resume(true);
    is_told(&deny, &stays, 200).await;
    is_told(&deny, &second, 401).await;

    // It comes back empty: gateways that know tell it again, and so one that comes later.
    redis.kill();
    is_told(&deny, &stays, 503).await;
    redis.start().await;
    is_told(&deny, &stays, 200).await;
    until("the marks are back", async || redis.ask(&["ZCARD", "transom:{revoked}"]).await == redis::Value::Int(6))
        .await;
    let late = front(&library, &redis, ", on_store_failure: deny").start().await;
    is_told(&late, &stays, 200).await;
    assert_eq!((status(&late, &first).await, status(&late, &second).await), (401, 401));
}

#[tokio::test]
async fn a_reload_forgets_no_logout() {
    let (library, redis) = (library().await, redis().await);
    let gateway = front(&library, &redis, "").start().await;
    let (left, stays) = (of("1", "s"), of("2", "t"));
    log_out(&gateway, &left).await;
    gateway.reload(&front(&library, &redis, ", inject: { sub: x-user-id }, on_store_failure: deny")).await.unwrap();
    assert_eq!(status(&gateway, &left).await, 401);
    is_told(&gateway, &stays, 200).await;
}
