//! What is tried again, when, and how often.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use transom_transcode::schema::Idempotency;
use transom_transcode::status::{Code, Detail, Status};

use super::{Budget, Retry};
use crate::config::{self, Percent, RetryOn};
use crate::upstream::failure::{Answer, Failure, FailureKind, Seen};

const MS: Duration = Duration::from_millis(1);

fn rule() -> config::Retry {
    config::Retry {
        attempts: 4,
        on: vec![RetryOn::Unavailable],
        budget: Percent(20),
        backoff: 100 * MS,
        max_backoff: 300 * MS,
        per_try_timeout: None,
        hedge: None,
    }
}

fn retry(idempotent: bool) -> Retry {
    let repeats = if idempotent { Idempotency::Idempotent } else { Idempotency::Unknown };
    Retry::new(&rule(), repeats, Budget::new(Percent(20)).into()).unwrap()
}

fn status(code: Code) -> Failure {
    answer(code, &[], vec![])
}

fn answer(code: Code, trailers: &[(&'static str, &str)], details: Vec<Detail>) -> Failure {
    let trailers: HeaderMap =
        trailers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let mut status = Status::new(code, "");
    status.details = details;
    let kind = FailureKind::Status(Box::new(Answer {
        status,
        headers: HeaderMap::new(),
        trailers,
        http: None,
        provoked: false,
    }));
    Failure::new(Seen::Seen, kind, "")
}

#[test]
fn what_was_seen_is_retried_only_where_it_may_be_made_twice() {
    let pause = |idempotent: bool, failure: &Failure| retry(idempotent).pause(failure, 1, 0).is_some();
    let reset = Failure::new(Seen::Seen, FailureKind::Reset, "");
    let unseen = Failure::new(Seen::NotSeen, FailureKind::ConnectFailed, "");
    let slow = Failure::new(Seen::Seen, FailureKind::Deadline, "");
    for failure in [&status(Code::Unavailable), &reset, &slow] {
        assert_eq!((pause(true, failure), pause(false, failure)), (true, false), "{failure}");
    }
    assert_eq!((pause(true, &unseen), pause(false, &unseen)), (true, true));
    for kind in [
        FailureKind::Deadline,
        FailureKind::Overloaded,
        FailureKind::ClientGone,
        FailureKind::Malformed,
        FailureKind::CircuitOpen { retry_after: MS },
        FailureKind::NoEndpoint,
    ] {
        assert!(!pause(true, &Failure::new(Seen::Local, kind, "")));
    }
    assert!(!pause(true, &Failure::new(Seen::Seen, FailureKind::Protocol, "")));
    assert!(!pause(true, &status(Code::Internal)), "the rule does not name it");
}

#[test]
fn attempts_count_the_first_and_pauses_double_up_to_the_longest() {
    let failure = status(Code::Unavailable);
    let pauses: Vec<_> = (1..=4).map(|made| retry(true).pause(&failure, made, 0)).collect();
    assert_eq!(pauses, [Some(100 * MS), Some(200 * MS), Some(300 * MS), None]);
    assert_eq!(retry(true).pause(&failure, 1, 512), Some(50 * MS));
    let least = retry(true).pause(&failure, 1, 1023).unwrap();
    assert!(least < MS && !least.is_zero(), "{least:?}");
}

#[test]
fn a_service_says_when_or_never() {
    let pause = |trailers: &[(&'static str, &str)], details| {
        retry(true).pause(&answer(Code::Unavailable, trailers, details), 1, 0)
    };
    // google.rpc.RetryInfo { retry_delay: 2.5 s }
    let info = |nanos: &'static [u8]| {
        let value = Bytes::copy_from_slice(&[&[10, u8::try_from(nanos.len()).unwrap()], nanos].concat());
        vec![Detail { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value }]
    };
    assert_eq!(pause(&[("grpc-retry-pushback-ms", "7")], vec![]), Some(7 * MS));
    assert_eq!(pause(&[("grpc-retry-pushback-ms", "-1")], vec![]), None);
    assert_eq!(pause(&[("grpc-retry-pushback-ms", "soon")], vec![]), None);
    assert_eq!(pause(&[("retry-after", "3")], vec![]), Some(3100 * MS));
    assert_eq!(pause(&[("retry-after", "4")], vec![]), None, "who waits so long is told, and may come again");
    assert_eq!(pause(&[("grpc-retry-pushback-ms", "3001")], vec![]), None);
    assert_eq!(pause(&[], info(&[8, 200, 1])), None);
    assert_eq!(pause(&[("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], vec![]), Some(100 * MS));
    assert_eq!(pause(&[], info(&[8, 2, 16, 0x80, 0xca, 0xb5, 0xee, 1])), Some(2600 * MS));
    assert_eq!(pause(&[], info(&[8, 0xff])), Some(100 * MS), "what is no RetryInfo says nothing");
}

#[test]
fn a_budget_is_a_share_of_the_calls_and_a_floor() {
    let retry = retry(true);
    let left = |worker| (0..1000).take_while(|_| retry.withdraw(worker)).count();
    assert_eq!(left((0, 4)), 30, "a fourth of ten a second, up to the next whole one");
    for _ in 0..100 {
        retry.deposit((0, 4));
    }
    assert_eq!(left((0, 4)), 20);
    assert_eq!(left((1, 4)), 30, "another worker has its own");
}
