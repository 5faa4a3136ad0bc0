//! Logging out: what one gateway revokes, all refuse, over a real Redis that hangs, goes and comes back.

use std::time::{Duration, Instant};

use serde_json::json;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use transom_transcode::status::Code;

use crate::support::gateway::{Builder, Running, gateway};
use crate::support::redis::{Redis, redis};
use crate::support::reply::ok;
use crate::support::speak::Speech;
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
    let told = allow.request("DELETE", BOOK).header("authorization", &second).await;
    told.status(503).reason("AUTH_UNAVAILABLE");
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

#[tokio::test]
async fn who_has_just_started_is_ready_once_it_knows_who_has_logged_out() {
    let (library, redis) = (library().await, redis().await);
    let one = front(&library, &redis, "").start().await;
    let left = of("1", "s");
    log_out(&one, &left).await;

    redis.resume(false);
    let began = Instant::now();
    let late = front(&library, &redis, "").start().await;
    let channel = Channel::from_shared(format!("http://{}", late.address())).unwrap();
    let mut health = HealthClient::new(channel.connect().await.unwrap());
    let mut serving = async || health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status();
    let unready = json!({ "status": "not ready", "reason": "revocations are waited for" });
    let seen = (late.get("/readyz").await, late.admin("/readyz").await, serving().await);
    // A machine that is this slow has seen the wait end.
    let in_time = |began: Instant| began.elapsed() < Duration::from_millis(1900);
    if in_time(began) {
        seen.0.status(503).json(&unready);
        seen.1.status(503).json(&unready);
        assert_eq!(seen.2, ServingStatus::NotServing);
    }
    redis.resume(true);
    until("it is ready", async || late.get("/readyz").await.status == 200).await;
    if in_time(began) {
        assert_eq!(status(&late, &left).await, 401, "from its first call on");
    }
    is_told(&late, &left, 401).await;

    // One that nobody tells anything is ready all the same, and goes by the configuration.
    redis.resume(false);
    let deny = front(&library, &redis, ", on_store_failure: deny").start().await;
    until("it is ready", async || deny.get("/readyz").await.status == 200).await;
    assert_eq!(status(&deny, &of("2", "t")).await, 503);
}

#[tokio::test]
async fn a_service_s_logout_that_the_store_does_not_take_is_told_in_every_dialect() {
    let (library, redis) = (library().await, redis().await);
    let (one, other) = (front(&library, &redis, "").start().await, front(&library, &redis, "").start().await);
    let speeches = Speech::UNARY.into_iter().filter(|speech| !speech.is_get());
    let leave = async |speech: Speech, token: &str| {
        let call = speech.call(*speech.versions().last().unwrap(), "DeleteBook").header("authorization", token);
        call.send(&one, &[json!({ "name": "shelves/1/books/7" })]).await
    };
    for (number, speech) in speeches.enumerate() {
        let left = of(&number.to_string(), &format!("s{number}"));
        is_told(&other, &left, 200).await;
        redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
        let told = leave(speech, &left).await;
        assert_eq!((told.code, told.messages.len()), (Some(Code::Unavailable), 0), "{speech:?}: {told:?}");
        library.saw("DeleteBook").times(2 * number + 1);
        assert_eq!((status(&one, &left).await, status(&other, &left).await), (401, 200), "{speech:?}");
        redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
        is_told(&other, &left, 401).await;
        let good = of(&format!("g{number}"), &format!("g{number}"));
        assert_eq!(leave(speech, &good).await.code, Some(Code::Ok), "{speech:?}");
    }

    // One that hangs is waited for, and not for long.
    let left = of("h", "h");
    is_told(&other, &left, 200).await;
    redis.resume(false);
    let since = Instant::now();
    one.request("DELETE", BOOK).header("authorization", &left).await.status(503).reason("AUTH_UNAVAILABLE");
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert_eq!(status(&one, &left).await, 401);
    redis.resume(true);
    is_told(&other, &left, 401).await;
    assert!(one.metric("transom_refusals_total{gate=\"auth\",reason=\"AUTH_UNAVAILABLE\"}") > 0.0);
}
