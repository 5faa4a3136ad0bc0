//! The end of the gateway's own gRPC streams: who watches is told, who asks gets a last answer, and nobody is waited for.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus::{NotServing, ServiceUnknown, Serving};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1alpha;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as AlphaClient;
use transom::server::Limits;

use crate::support::gateway::{Running, gateway};
use crate::support::library::library;
use crate::support::upstream::Upstream;
use crate::support::{soon, until};

/// A gateway that would wait long for a call, and takes connections for so long once it drains.
async fn lame_for(library: &Upstream, lame_duck: Duration) -> Running {
    let limits = Limits { lame_duck, ..Limits::default() };
    let gateway = gateway().descriptors("library").upstream("library", library).limits(limits);
    let gateway = gateway.config("drain_timeout: 1h\npublic_endpoints: [health, reflection]").start().await;
    until("ready", async || gateway.get("/readyz").await.status == 200).await;
    gateway
}

async fn channel(gateway: &Running) -> Channel {
    Channel::from_shared(format!("http://{}", gateway.address())).unwrap().connect().await.unwrap()
}

async fn watch(channel: &Channel, service: &str) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: service.to_owned() };
    soon("a head", HealthClient::new(channel.clone()).watch(request)).await.unwrap().into_inner()
}

async fn told(watch: &mut Streaming<HealthCheckResponse>) -> i32 {
    soon("a status", watch.message()).await.unwrap().expect("no end yet").status
}

async fn status<M>(stream: &mut Streaming<M>) -> Status {
    match soon("the end", stream.message()).await {
        Err(status) => status,
        Ok(message) => panic!("no error, with a message: {}", message.is_some()),
    }
}

fn question() -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) }
}

#[tokio::test]
async fn who_watches_is_told_and_an_idle_gateway_ends_soon() {
    let library = library().await;
    let mut gateway = lame_for(&library, Duration::ZERO).await;
    let channel = channel(&gateway).await;
    let mut watches = Vec::new();
    for (service, is) in
        [("", Serving), ("library.v1.Library", Serving), ("library", Serving), ("none", ServiceUnknown)]
    {
        let mut watch = watch(&channel, service).await;
        assert_eq!(told(&mut watch).await, is as i32, "{service:?}");
        watches.push((service, is, watch));
    }
    let (ask, asked) = mpsc::channel(1);
    let mut talk = ServerReflectionClient::new(channel.clone());
    let talk = soon("a head", talk.server_reflection_info(ReceiverStream::new(asked))).await.unwrap();
    let mut talk = talk.into_inner();
    ask.send(question()).await.unwrap();
    soon("an answer", talk.message()).await.unwrap().unwrap();
    let (_ask, asked) = mpsc::channel::<v1alpha::ServerReflectionRequest>(1);
    let mut alpha = AlphaClient::new(channel.clone());
    let alpha = soon("a head", alpha.server_reflection_info(ReceiverStream::new(asked))).await.unwrap();
    let mut alpha = alpha.into_inner();
    drop(channel);

    let asked = Instant::now();
    gateway.shut_down();
    for (service, is, mut watch) in watches {
        if is == Serving {
            assert_eq!(told(&mut watch).await, NotServing as i32, "{service:?}");
        }
        let status = status(&mut watch).await;
        assert_eq!(status.code(), Code::Unavailable, "{service:?}: {status:?}");
        assert!(String::from_utf8_lossy(status.details()).contains("DRAINING"), "{status:?}");
    }
    assert_eq!(status(&mut talk).await.code(), Code::Unavailable);
    assert_eq!(status(&mut alpha).await.code(), Code::Unavailable);
    gateway.ended().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    let lines = gateway.lines();
    let ended = |line: &&serde_json::Value| line["code"] == json!("UNAVAILABLE");
    assert_eq!(lines.iter().filter(ended).count(), 6, "{lines:?}");
}

#[tokio::test]
async fn until_nobody_connects_any_more_questions_are_answered() {
    let library = library().await;
    let mut gateway = lame_for(&library, Duration::from_secs(3600)).await;
    let channel = channel(&gateway).await;
    let mut watched = watch(&channel, "library.v1.Library").await;
    assert_eq!(told(&mut watched).await, Serving as i32);
    let (ask, asked) = mpsc::channel(1);
    let mut talk = ServerReflectionClient::new(channel.clone());
    let talk = soon("a head", talk.server_reflection_info(ReceiverStream::new(asked))).await.unwrap();
    let mut talk = talk.into_inner();
    gateway.shut_down();
    // It is told, and not sent away to come back at once.
    assert_eq!(told(&mut watched).await, NotServing as i32);
    ask.send(question()).await.unwrap();
    soon("an answer", talk.message()).await.unwrap().unwrap();
    // Who comes late finds the same.
    let late = self::channel(&gateway).await;
    let mut late_watch = watch(&late, "").await;
    assert_eq!(told(&mut late_watch).await, NotServing as i32);
    let request = HealthCheckRequest { service: "library.v1.Library".to_owned() };
    let late = self::channel(&gateway).await;
    let answer = soon("an answer", HealthClient::new(late).check(request)).await.unwrap();
    assert_eq!(answer.get_ref().status, NotServing as i32);
    // A conversation that its client ends has ended well.
    drop(ask);
    assert!(soon("the end", talk.message()).await.unwrap().is_none());
    drop((watched, late_watch, channel));
    gateway.ended().await.unwrap();
}
