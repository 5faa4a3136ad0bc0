//! Logging out of sessions of the gateway's own: at every gateway, late, and where the store does not take it.

use serde_json::json;

use super::{BOOK, LOGOUT, PLAIN, Wish, cleared, front, library, log_in, opens, renew};
use crate::support::redis::redis;
use crate::support::tokens::{bearer, claims, token};
use crate::support::until;

#[tokio::test]
async fn logging_out_ends_both_tokens() {
    let (library, mut redis) = (library().await, redis().await);
    let shared = Wish { redis: Some(&redis), ..PLAIN };
    let (one, other) = (front(&library, &shared).start().await, front(&library, &shared).start().await);
    for by_rpc in [false, true] {
        let (access, refresh) = log_in(&one).await;
        let call = if by_rpc { one.request("DELETE", BOOK) } else { one.post(LOGOUT, &json!({})) };
        let left = call.header("cookie", &format!("at={access}; rt={refresh}")).await;
        cleared(left.status(200));
        renew(&one, &refresh).await.status(401);
        renew(&other, &refresh).await.status(401);
        assert_eq!(opens(&one, &access).await, 401);
        until("the other refuses it", async || opens(&other, &access).await == 401).await;
    }
    one.post(LOGOUT, &json!({})).await.status(401).reason("TOKEN_MISSING");
    // The same without a Redis.
    let alone = front(&library, &PLAIN).start().await;
    let (access, refresh) = log_in(&alone).await;
    alone.post(LOGOUT, &json!({})).header("authorization", &bearer(&access)).await.status(200);
    assert_eq!(opens(&alone, &access).await, 401);
    renew(&alone, &refresh).await.status(401).reason("TOKEN_INVALID");
    // Whose sessions cannot be asked about renews nothing, and stays logged in.
    let (access, refresh) = log_in(&one).await;
    redis.kill();
    let unknown = renew(&one, &refresh).await;
    unknown.status(503).reason("AUTH_UNAVAILABLE");
    assert!(!unknown.headers.contains_key("set-cookie"));
    assert_eq!(opens(&one, &access).await, 200);
    one.post("/v1/shelves/1/books", &json!({})).await.status(503);
}

#[tokio::test]
async fn a_logout_that_a_full_store_does_not_take_is_told_as_such() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), ..PLAIN };
    let (one, other) = (front(&library, &wish).start().await, front(&library, &wish).start().await);
    for by_rpc in [false, true] {
        let (access, refresh) = log_in(&one).await;
        redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
        let call = if by_rpc { one.request("DELETE", BOOK) } else { one.post(LOGOUT, &json!({})) };
        let left = call.header("cookie", &format!("at={access}; rt={refresh}")).await;
        cleared(left.status(503).reason("AUTH_UNAVAILABLE"));
        assert!(left.text().contains("the other gateways could not be told"), "{}", left.text());
        assert_eq!((opens(&one, &access).await, opens(&other, &access).await), (401, 200));
        redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
        until("the other refuses it", async || opens(&other, &access).await == 401).await;
    }
}

#[tokio::test]
async fn who_logs_out_late_is_logged_out() {
    let library = library().await;
    let gateway = front(&library, &PLAIN).start().await;
    let expired = token(&json!({ "iss": "me", "aud": "us", "sid": "s", "type": "access", "exp": 1 }));
    let leave = |by_rpc: bool, cookie: &str| {
        let call = if by_rpc { gateway.request("DELETE", BOOK) } else { gateway.post(LOGOUT, &json!({})) };
        call.header("cookie", cookie)
    };
    for by_rpc in [false, true] {
        // The browser has dropped the access token, or sends one that has expired.
        for cookie in ["", &format!("at={expired}; ")] {
            let (access, refresh) = log_in(&gateway).await;
            cleared(leave(by_rpc, &format!("{cookie}rt={refresh}")).await.status(200));
            let again = renew(&gateway, &refresh).await;
            again.status(401).reason("TOKEN_INVALID");
            assert_eq!(opens(&gateway, &access).await, 401);
            // Nobody is left to be logged out; what the browser has goes all the same.
            cleared(leave(by_rpc, &format!("{cookie}rt={refresh}")).await.status(401));
        }
        for cookie in ["at=junk; rt=junk", "at=junk", "rt=junk", "x=y"] {
            cleared(leave(by_rpc, cookie).await.status(401));
        }
        // Nobody else's page does that.
        let (access, refresh) = log_in(&gateway).await;
        for cookie in [format!("rt={refresh}"), format!("at={expired}; rt={refresh}"), "x=y".to_owned()] {
            let evil = leave(by_rpc, &cookie).header("sec-fetch-site", "cross-site").await;
            assert!([401, 403].contains(&evil.status.as_u16()), "{evil:?}");
            evil.no_header("set-cookie");
        }
        assert_eq!(opens(&gateway, &access).await, 200);
        renew(&gateway, &refresh).await.status(200);
    }
    // Another call without a token leaves them as they are.
    gateway.get(BOOK).header("cookie", "rt=junk").await.status(401).no_header("set-cookie");
}

#[tokio::test]
async fn a_logout_that_the_store_did_not_hear_is_one_for_good() {
    let (library, redis) = (library().await, redis().await);
    let wish = Wish { redis: Some(&redis), ..PLAIN };
    let (one, other) = (front(&library, &wish).start().await, front(&library, &wish).start().await);
    for by_rpc in [false, true] {
        let (access, refresh) = log_in(&one).await;
        redis.ask(&["ACL", "SETUSER", "default", "-del"]).await;
        let call = if by_rpc { one.request("DELETE", BOOK) } else { one.post(LOGOUT, &json!({})) };
        let left = call.header("cookie", &format!("at={access}; rt={refresh}")).await;
        cleared(left.status(503).reason("AUTH_UNAVAILABLE"));
        redis.ask(&["ACL", "SETUSER", "default", "+del"]).await;
        let sid = claims(&access)["sid"].as_str().unwrap().to_owned();
        assert!(
            matches!(redis.ask(&["EXISTS", &format!("transom:session:{{{sid}}}")]).await, redis::Value::Int(1)),
            "its record is there"
        );
        assert_eq!(opens(&one, &access).await, 401);
        until("the other refuses it", async || opens(&other, &access).await == 401).await;
        // For as long as the refresh token could be good.
        let mark = format!("sid:2:me:{sid}");
        until("it is told for long", async || match redis.ask(&["ZSCORE", "transom:{revoked}", &mark]).await {
            redis::Value::BulkString(score) => {
                let until: u64 = String::from_utf8(score).unwrap().parse().unwrap();
                until >= claims(&refresh)["exp"].as_u64().unwrap()
            }
            _ => false,
        })
        .await;
        for gateway in [&one, &other] {
            renew(gateway, &refresh).await.status(401).reason("TOKEN_INVALID");
        }
    }
}
