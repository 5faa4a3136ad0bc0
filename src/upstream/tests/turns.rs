//! Whose turn it is.

use std::time::Duration;

use transom_transcode::schema::Idempotency;

use super::support::{Server, call, framed, grpc_head, numbered, outgoing, status, upstream, who};
use crate::config::{self, Percent};
use crate::upstream::{FailureKind, Outgoing, Pool};

#[tokio::test]
async fn endpoints_take_turns_exactly() {
    let servers = [numbered(0).await, numbered(1).await, numbered(2).await];
    let upstream = upstream(&servers.each_ref().map(|server| server.address));
    let pool = Pool::new(0, 1);
    for turn in 0..30 {
        assert_eq!(who(&upstream, &pool).await, turn % 3);
    }
    assert_eq!(servers.each_ref().map(Server::calls), [10, 10, 10]);
}

#[tokio::test]
async fn a_dead_endpoint_gets_no_calls_and_its_neighbour_not_its_turns() {
    let servers = [numbered(0).await, numbered(1).await, numbered(2).await];
    let upstream = upstream(&servers.each_ref().map(|server| server.address));
    let pool = Pool::new(0, 1);
    for turn in 0..3 {
        assert_eq!(who(&upstream, &pool).await, turn);
    }
    let [zero, one, two] = servers;
    one.stop().await;
    // Found out by one of these; none fails.
    for _ in 0..3 {
        call(&upstream, &pool).await.unwrap();
    }
    assert_eq!(upstream.usable(), 2);
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(who(&upstream, &pool).await);
    }
    assert!(answers.chunks(2).all(|pair| pair == &answers[..2]), "{answers:?}");
    assert!(answers.contains(&0) && answers.contains(&2), "{answers:?}");
    drop((zero, two));
}

#[tokio::test]
async fn what_is_tried_again_takes_no_turn_of_first_tries() {
    const CALLS: usize = 60;
    let failing = Server::start(|(_, mut respond)| {
        let mut head = grpc_head();
        head.headers_mut().extend(status("14"));
        respond.send_response(head, true).unwrap();
    });
    let servers = [failing.await, numbered(1).await, numbered(2).await];
    for count in [2, 3] {
        let before = servers.each_ref().map(Server::calls);
        let upstream = upstream(&servers.each_ref().map(|server| server.address)[..count]);
        let rule =
            config::Retry { budget: Percent(100), backoff: Duration::from_millis(1), ..config::Retry::default() };
        let rule = upstream.retry(&rule, Idempotency::NoSideEffects);
        let pool = Pool::new(0, 1);
        for _ in 0..CALLS {
            let call = Outgoing { retry: rule.as_ref(), ..outgoing(Duration::from_secs(5)) };
            upstream.unary(&pool, call, framed(b"x")).await.unwrap();
        }
        let seen = [0, 1, 2].map(|at| servers[at].calls() - before[at]);
        // A share of the first tries each, and of those that failed of one the others the same.
        let (share, again) = (CALLS / count, CALLS / count / (count - 1));
        assert_eq!(seen[..count], [share, share + again, share + again][..count], "of {count}");
    }
}

#[tokio::test]
async fn without_endpoints_a_call_fails_at_once() {
    let failure = call(&upstream(&[]), &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::NoEndpoint), "{failure}");
}
