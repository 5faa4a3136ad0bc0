//! Whose turn it is.

use super::support::{Server, call, numbered, upstream, who};
use crate::upstream::{FailureKind, Pool};

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
async fn without_endpoints_a_call_fails_at_once() {
    let failure = call(&upstream(&[]), &Pool::new(0, 1)).await.unwrap_err();
    assert!(matches!(failure.kind, FailureKind::NoEndpoint), "{failure}");
}
