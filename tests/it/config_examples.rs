//! The shipped examples: they check clean, and every environment variable of the booking system has its effect.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use transom::config::{Config, Endpoint, Workers, parse};

fn example(name: &str, variables: &[(&str, &str)]) -> Config {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = fs::read_to_string(file).expect("an example");
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    parse(&text, &|name| variables.get(name).map(|value| (*value).to_owned())).expect("no problems")
}

fn endpoints(config: &Config, upstream: &str) -> Vec<String> {
    let text = |endpoint: &Endpoint| endpoint.place.to_string();
    config.upstreams[upstream].endpoints.iter().map(text).collect()
}

#[test]
fn every_example_reads_with_a_secret_and_no_other_variable() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut read = 0;
    for system in fs::read_dir(folder).expect("examples/") {
        for file in fs::read_dir(system.expect("a system").path()).expect("a folder") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let text = fs::read_to_string(&path).expect("text");
                if let Err(problems) = parse(&text, &|name| (name == "JWT_SECRET").then(|| "secret".to_owned())) {
                    panic!("{}: {problems}", path.display());
                }
                read += 1;
            }
        }
    }
    assert!(read >= 3, "{read} examples");
}

#[test]
fn the_booking_system_takes_its_variables() {
    let config = example(
        "booking/transom.yaml",
        &[
            ("PORT", "8080"),
            ("HOST", "127.0.0.1"),
            ("WORKERS", "3"),
            ("ADMIN_PORT", "8081"),
            ("ADMIN_TOKEN", "let-me-in"),
            ("JWT_SECRET", "sign-with-it"),
            ("GRPC_AUTH_SERVICE_URL", "auth-service:50051"),
            ("GRPC_TICKET_SERVICE_URL", "ticket-service-1:50052,ticket-service-2:50052"),
            ("GRPC_BOOKING_SERVICE_URL", "http://booking-service:50053"),
            ("GRPC_PAYMENT_SERVICE_URL", "[::1]:50054"),
            ("GRPC_QUEUE_SERVICE_URL", "10.0.0.7:50055"),
            ("GRPC_MAX_RECEIVE_MESSAGE_LENGTH", "1000001"),
            ("GRPC_MAX_SEND_MESSAGE_LENGTH", "1000002"),
            ("REDIS_URL", "redis://redis:6379"),
            ("REDIS_PASSWORD", "keep-it"),
            ("GRPC_KEEPALIVE_TIME_MS", "20000"),
            ("GRPC_KEEPALIVE_TIMEOUT_MS", "700"),
            ("RATE_LIMIT_WINDOW_MS", "30000"),
            ("RATE_LIMIT_MAX_REQUESTS", "7"),
            ("CIRCUIT_BREAKER_THRESHOLD", "3"),
            ("CIRCUIT_BREAKER_TIMEOUT", "1500"),
        ],
    );

    assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert_eq!(config.workers, Workers::Count(3));
    assert_eq!(config.admin.listen.port(), 8081);
    assert_eq!(config.admin.token.as_deref(), Some("let-me-in"));
    assert_eq!(endpoints(&config, "auth"), ["auth-service:50051"]);
    assert_eq!(endpoints(&config, "ticket"), ["ticket-service-1:50052", "ticket-service-2:50052"]);
    assert_eq!(endpoints(&config, "booking"), ["booking-service:50053"]);
    assert_eq!(endpoints(&config, "payment"), ["[::1]:50054"]);
    assert_eq!(endpoints(&config, "queue"), ["10.0.0.7:50055"]);
    for (name, upstream) in &config.upstreams {
        assert_eq!((upstream.limits.receive, upstream.limits.send), (1_000_001, 1_000_002), "{name}");
        let keepalive = upstream.keepalive.as_ref().expect("keepalive");
        let times = (keepalive.interval, keepalive.timeout);
        assert_eq!(times, (Duration::from_secs(20), Duration::from_millis(700)), "{name}");
        let breaker = upstream.circuit_breaker.as_ref().unwrap();
        assert_eq!((breaker.failures, breaker.open_for), (3, Duration::from_millis(1500)), "{name}");
    }
    assert_eq!(config.redis.url.as_deref(), Some("redis://redis:6379"));
    assert_eq!(config.redis.password.as_deref(), Some("keep-it"));
    let public = config.rate_limits["public"].rate;
    assert_eq!((public.permits.get(), public.period), (7, Duration::from_secs(30)));
    let auth = config.auth.as_ref().expect("an auth section");
    assert_eq!(auth.jwt[0].secret.as_deref(), Some("sign-with-it"));
    for secret in ["let-me-in", "keep-it", "sign-with-it"] {
        assert!(!config.source.text().contains(secret) && !format!("{config:?}").contains(secret), "{secret}");
    }
}

#[test]
fn the_booking_system_has_defaults() {
    let config = example("booking/transom.yaml", &[]);
    assert_eq!(config.listen, SocketAddr::from(([0, 0, 0, 0], 3000)));
    assert_eq!(config.admin.token, None);
    assert_eq!(config.redis.url, None);
    let public = config.rate_limits["public"].rate;
    assert_eq!((public.permits.get(), public.period), (100, Duration::from_secs(60)));
    assert_eq!(endpoints(&config, "booking"), ["127.0.0.1:50053"]);
    assert_eq!(config.upstreams["booking"].limits.receive, 4 << 20);
    let breaker = config.upstreams["booking"].circuit_breaker.as_ref().unwrap();
    assert_eq!((breaker.failures, breaker.open_for, breaker.probes), (5, Duration::from_secs(30), 1));
    let health_names: Vec<_> =
        config.upstreams.values().filter_map(|upstream| upstream.health_name.as_deref()).collect();
    assert_eq!(health_names, ["auth-service", "booking-service", "payment-service", "queue-service", "ticket-service"]);
}
