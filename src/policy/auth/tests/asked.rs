//! Tokens that a service judges: once at a time, kept for a moment, and never without an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use super::super::{Claims, Question, Verdict};
use super::*;

fn gate(more: &str) -> Gate {
    let auth = auth(&format!("  verify: {{ rpc: a.B/C, timeout: 200ms{more} }}\n  user: user_id"));
    Gate::compile(Some(&auth), "a.B/C", &required())
}

fn says(verdict: Verdict, asked: &Arc<AtomicUsize>) -> Option<Question> {
    let asked = asked.clone();
    Some(Box::pin(async move {
        asked.fetch_add(1, Ordering::Relaxed);
        verdict
    }))
}

fn good(claims: &Value) -> Verdict {
    Verdict::Good(Claims::parse(claims.to_string().as_bytes()).unwrap())
}

/// Asks as the pipeline does: only what is not known.
async fn ask(gate: &Gate, token: &str, question: Option<Question>) -> Result<Option<String>, Reason> {
    let user = |caller: Arc<Identity>| caller.user().map(str::to_owned);
    match gate.admit(&head(&bearer(token))).map_err(|refusal| refusal.reason)? {
        Admission::Caller(caller) => Ok(user(caller)),
        Admission::Later(token) => {
            let caller = gate.judge(&token, question).await.map_err(|refusal| refusal.reason)?;
            Ok(caller.and_then(user))
        }
        Admission::Lapsed(refusal) => Err(refusal.reason),
        Admission::Open | Admission::Once(_) => panic!("another gate"),
    }
}

#[tokio::test]
async fn an_answer_holds_for_a_moment_good_or_bad() {
    let gate = gate(", cache: 1h, cache_refusals: 1h");
    let asked = Arc::default();
    for _ in 0..3 {
        let verdict = good(&json!({ "valid": true, "user_id": "u" }));
        assert_eq!(ask(&gate, "opaque-1", says(verdict, &asked)).await, Ok(Some("u".to_owned())));
    }
    for _ in 0..3 {
        let verdict = good(&json!({ "valid": false, "user_id": "u" }));
        assert_eq!(ask(&gate, "opaque-2", says(verdict, &asked)).await, Err(INVALID));
        assert_eq!(ask(&gate, "opaque-3", says(Verdict::Bad("no".into()), &asked)).await, Err(INVALID));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn nobody_passes_by_an_answer_that_says_no_or_nothing() {
    let asked = Arc::default();
    let passes = async |more: &str, answer: &Value| {
        let gate = gate(&format!("{more}, cache: 0s, cache_refusals: 0s"));
        match ask(&gate, "t", says(good(answer), &asked)).await {
            Ok(_) => true,
            Err(reason) => {
                assert_eq!(reason, INVALID, "{answer}");
                false
            }
        }
    };
    let (own, status) = (", valid: ok", ", by_status: true");
    for (more, answer) in [
        ("", json!({ "user_id": "u" })),
        ("", json!({ "valid": true })),
        ("", json!({ "active": true, "user_id": "" })),
        (own, json!({ "ok": true, "active": "since May", "valid": 7 })),
        (status, json!({})),
        (status, json!({ "valid": true })),
    ] {
        assert!(passes(more, &answer).await, "{more} {answer}");
    }
    for (more, answer) in [
        // What an introspection endpoint says of a bad token (RFC 7662 §2.2).
        ("", json!({ "active": false })),
        ("", json!({ "active": false, "user_id": "u" })),
        ("", json!({ "active": false, "valid": true, "user_id": "u" })),
        ("", json!({ "active": "true", "user_id": "u" })),
        ("", json!({ "valid": null, "user_id": "u" })),
        // Neither that it is good, nor whose it is.
        ("", json!({})),
        ("", json!({ "user_id": "" })),
        ("", json!({ "user_id": null, "sub": "u" })),
        (own, json!({ "user_id": "u" })),
        (own, json!({ "ok": false, "user_id": "u" })),
        (own, json!({ "ok": true, "active": false, "user_id": "u" })),
        (status, json!({ "active": false })),
        (status, json!({ "valid": false })),
    ] {
        assert!(!passes(more, &answer).await, "{more} {answer}");
    }
}

#[tokio::test]
async fn no_time_to_hold_asks_every_time() {
    let gate = gate(", cache: 0s, cache_refusals: 0s");
    let asked = Arc::default();
    for _ in 0..3 {
        assert_eq!(ask(&gate, "t", says(good(&json!({ "user_id": "u" })), &asked)).await, Ok(Some("u".to_owned())));
        assert_eq!(ask(&gate, "v", says(Verdict::Bad("no".into()), &asked)).await, Err(INVALID));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn without_an_answer_nobody_passes_and_the_next_one_asks_again() {
    let gate = gate("");
    let asked = Arc::default();
    assert_eq!(ask(&gate, "t", says(Verdict::Unknown("down".into()), &asked)).await, Err(Reason::Unavailable));
    assert_eq!(ask(&gate, "t", None).await, Err(Reason::Unavailable));
    let silent: Option<Question> = Some(Box::pin(std::future::pending()));
    assert_eq!(ask(&gate, "t", silent).await, Err(Reason::Unavailable));
    let panics: Option<Question> = Some(Box::pin(async { panic!("told to") }));
    assert_eq!(ask(&gate, "t", panics).await, Err(Reason::Unavailable));
    assert_eq!(ask(&gate, "t", says(good(&json!({ "user_id": "u" })), &asked)).await, Ok(Some("u".to_owned())));
}

#[tokio::test]
async fn a_token_is_asked_about_once_at_a_time_whoever_leaves() {
    let gate = gate(", cache: 1h");
    let (asked, go) = (Arc::<AtomicUsize>::default(), Arc::new(Notify::new()));
    let question = || -> Option<Question> {
        let (asked, go) = (asked.clone(), go.clone());
        Some(Box::pin(async move {
            asked.fetch_add(1, Ordering::Relaxed);
            go.notified().await;
            good(&json!({ "user_id": "u" }))
        }))
    };
    let first = {
        let (gate, question) = (gate.clone(), question());
        tokio::spawn(async move { ask(&gate, "t", question).await })
    };
    while asked.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let others: Vec<_> = (0..20)
        .map(|_| {
            let (gate, question) = (gate.clone(), question());
            tokio::spawn(async move { ask(&gate, "t", question).await })
        })
        .collect();
    tokio::task::yield_now().await;
    // Who asked first does not wait any more.
    first.abort();
    go.notify_one();
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(Some("u".to_owned())));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn kinds_expiry_and_revocation_count_for_judged_tokens_too() {
    let gate = gate(", cache: 1h");
    let asked = Arc::default();
    let refresh = good(&json!({ "user_id": "u", "type": "refresh" }));
    assert_eq!(ask(&gate, "r", says(refresh, &asked)).await, Err(INVALID));
    let over = good(&json!({ "user_id": "u", "exp": 5 }));
    assert_eq!(ask(&gate, "e", says(over, &asked)).await, Err(EXPIRED));
    let holds = good(&json!({ "user_id": "u", "exp": now().as_secs() + 60 }));
    let caller = gate.judge("h", says(holds, &asked)).await.unwrap().unwrap();
    assert!(caller.holds(now()) && !caller.holds(now() + Duration::from_secs(61)), "not for all of `cache`");
    gate.auth().unwrap().revoke(&caller);
    assert_eq!(ask(&gate, "h", None).await, Err(INVALID));
}

#[tokio::test]
async fn an_expiry_is_read_as_services_write_it_or_nobody_passes() {
    let gate = gate(", expires: until.time");
    let asked = Arc::default();
    let at = now().as_secs() + 60;
    let over = now().as_secs() - 60;
    let written = |at: u64| jiff::Timestamp::from_second(at.try_into().unwrap()).unwrap().to_string();
    let judged = async |time: Value| {
        let verdict = good(&json!({ "user_id": "u", "exp": 5, "until": { "time": time } }));
        ask(&gate, &format!("t{}", time.to_string().replace(['"', ' ', ','], "")), says(verdict, &asked)).await
    };
    for good in [json!(at), json!(at.to_string()), json!(written(at)), json!(0), json!("0"), json!(""), json!(null)] {
        assert_eq!(judged(good.clone()).await, Ok(Some("u".to_owned())), "{good}");
    }
    for expired in [json!(over), json!(over.to_string()), json!(written(over))] {
        assert_eq!(judged(expired.clone()).await, Err(EXPIRED), "{expired}");
    }
    for no_time in [json!("soon"), json!(-1), json!(true), json!([at])] {
        assert_eq!(judged(no_time.clone()).await, Err(INVALID), "{no_time}");
    }
}

#[tokio::test]
async fn who_logs_out_stays_out_for_as_long_as_the_token_would_be_good() {
    let gate = gate(", cache: 2s");
    let (asked, at, hour) = (Arc::default(), now(), Duration::from_secs(3600));
    let unknown = 1000 * hour;
    let lasts = async |claims: Value| {
        let mut claims = claims;
        claims["user_id"] = json!("u");
        let caller = gate.judge("t", says(good(&claims), &asked)).await.unwrap().unwrap();
        let ends = caller.revocations(at, unknown);
        ends.iter().map(|end| end.until.saturating_sub(at.as_secs()).div_ceil(3600)).collect::<Vec<_>>()
    };
    let exp = (at + 2 * hour).as_secs() - 60;
    // The token, and not the answer about it; its session as long as its last token could live.
    assert_eq!(lasts(json!({ "exp": exp })).await, [2]);
    assert_eq!(lasts(json!({ "exp": exp, "iat": exp - 10 * 3600, "sid": "s", "jti": "j" })).await, [2, 11, 2]);
    // Of which nobody says that.
    assert_eq!(lasts(json!({ "exp": exp, "sid": "s" })).await, [1001, 2]);
    assert_eq!(lasts(json!({})).await, [1001]);
}
