//! Who wins, and what reflected options may not do.

use std::time::Duration;

use transom_transcode::plan::Unknown;
use transom_transcode::schema::{
    Access, CachePolicy, Idempotency, MessageId, Method, MethodPolicy, Priority, RetryPolicy, Service, ServicePolicy,
    UnknownFields,
};
use transom_transcode::status::Code;

use super::{Origin, Settings};
use crate::config;

const CONFIG: &str = "
    schema: { protos: [protos] }
    upstreams:
      library: { services: [library.v1.Library], endpoints: ['127.0.0.1:1'], timeout: 3s, limits: { send: 1KiB } }
    methods:
      library.v1.Library/*: { timeout: 2s, output: { emit_defaults: true, proto_names: true } }
      library.v1.Library/GetBook: { unknown_fields: ignore, output: { proto_names: false } }
";

const BARE: &str = "
    schema: { protos: [protos] }
    upstreams:
      library: { services: [library.v1.Library], endpoints: ['127.0.0.1:1'], timeout: 3s, limits: { send: 1KiB } }
";

fn service() -> Service {
    Service {
        name: "library.v1.Library".into(),
        file: "library.proto".into(),
        methods: Vec::new(),
        policy: ServicePolicy::default(),
        reflected: false,
    }
}

fn method(policy: MethodPolicy) -> Method {
    Method {
        name: "GetBook".into(),
        input: MessageId(0),
        output: MessageId(0),
        client_streaming: false,
        server_streaming: false,
        idempotency: Idempotency::Unknown,
        http: Vec::new(),
        policy,
        options: Box::default(),
    }
}

fn settings(config: &str, service: &Service, method: &Method) -> Settings {
    let config = config::parse(config, &|_| None).unwrap();
    Settings::compile(&config, "library", &config.upstreams["library"], service, method)
}

fn written(place: &str) -> Origin {
    Origin::Written(place.into())
}

#[test]
fn the_most_specific_entry_wins_key_by_key() {
    let settings = settings(CONFIG, &service(), &method(MethodPolicy::default()));
    assert_eq!(settings.timeout.value, Some(Duration::from_secs(2)));
    assert_eq!(settings.timeout.from, written("methods[\"library.v1.Library/*\"].timeout"));
    assert!(settings.emit_defaults.value);
    assert!(!settings.proto_names.value);
    assert_eq!(settings.proto_names.from, written("methods[\"library.v1.Library/GetBook\"].output.proto_names"));
    assert_eq!((settings.body.value, settings.body.from), (1024, written("upstreams.library.limits.send")));
    assert_eq!(settings.enums_as_numbers.from, Origin::Default);
}

#[test]
fn configuration_wins_over_options_and_options_over_defaults() {
    let seconds = Duration::from_secs;
    let own = MethodPolicy { timeout: Some(seconds(30)), proto_names: Some(true), ..MethodPolicy::default() };
    let all = MethodPolicy {
        timeout: Some(seconds(20)),
        enums_as_numbers: Some(true),
        unknown_fields: Some(UnknownFields::Ignore),
        body: Some(1 << 20),
        ..MethodPolicy::default()
    };
    let service = Service { policy: ServicePolicy { upstream: "".into(), methods: all }, ..service() };

    let optioned = settings(BARE, &service, &method(own.clone()));
    assert_eq!(optioned.timeout.value, Some(seconds(30)));
    let place = "library.proto: library.v1.Library.GetBook: (transom.method).timeout";
    assert_eq!(optioned.timeout.from, Origin::Option(place.into()));
    let place = "library.proto: library.v1.Library: (transom.service).methods.output.enums_as_numbers";
    assert_eq!((optioned.enums_as_numbers.value, optioned.enums_as_numbers.from), (true, Origin::Option(place.into())));
    assert_eq!((optioned.unknown_fields.value, optioned.body.value), (Unknown::Ignore, 1 << 20));

    let configured = settings(CONFIG, &service, &method(own));
    assert_eq!(configured.timeout.from, written("methods[\"library.v1.Library/*\"].timeout"));
    assert_eq!((configured.timeout.value, configured.proto_names.value), (Some(seconds(2)), false));
}

#[test]
fn a_service_registers_who_may_call_it_and_how_often() {
    let own = MethodPolicy {
        auth: Some(Access::Token { scopes: vec!["books".to_owned()], roles: Vec::new() }),
        rate_limits: Some(vec!["login".to_owned()]),
        retry: Some(RetryPolicy { attempts: Some(4), ..RetryPolicy::default() }),
        compress: Some(false),
        request_headers: Some(vec!["x-tenant".to_owned()]),
        ..MethodPolicy::default()
    };
    let optioned = settings(BARE, &service(), &method(own.clone()));
    let place =
        |key: &str| Origin::Option(format!("library.proto: library.v1.Library.GetBook: (transom.method).{key}").into());
    assert_eq!(
        (optioned.rate_limits.value, optioned.rate_limits.from),
        (vec!["login".to_owned()], place("rate_limits"))
    );
    assert_eq!((optioned.retry.value.unwrap().attempts, optioned.retry.from), (4, place("retry")));
    assert_eq!((optioned.compress.value, optioned.compress.from), (false, place("compress")));
    assert_eq!(
        (optioned.request_headers.value[0].as_str(), optioned.request_headers.from),
        ("x-tenant", place("headers.request"))
    );
    let config::Access::Required(asked) = &optioned.auth.value else { panic!("{:?}", optioned.auth) };
    assert_eq!((&asked.scopes[..], &optioned.auth.from), (&["books".to_owned()][..], &place("auth")));

    // What is reflected may ask for more, and opens nothing.
    let reflected = Service { reflected: true, ..service() };
    let closed = format!(
        "{BARE}
    auth: {{ jwt: {{ secret: 0123456789abcdef0123456789abcdef, algorithms: [HS256] }} }}
"
    );
    assert_eq!(settings(&closed, &reflected, &method(own.clone())).auth.from, place("auth"));
    assert_eq!(settings(BARE, &reflected, &method(own)).auth.from, Origin::Default);
    let open = MethodPolicy { auth: Some(Access::Public), ..MethodPolicy::default() };
    assert_eq!(settings(&closed, &reflected, &method(open.clone())).auth.from, written("auth"));
    assert_eq!(settings(&closed, &service(), &method(open)).auth.value, config::Access::Public);
}

#[test]
fn reflected_options_tighten_and_never_loosen() {
    let service = Service { reflected: true, ..service() };
    let loose = MethodPolicy {
        timeout: Some(Duration::from_secs(4)),
        unknown_fields: Some(UnknownFields::Ignore),
        body: Some(1025),
        ..MethodPolicy::default()
    };
    let kept = settings(BARE, &service, &method(loose.clone()));
    assert_eq!((kept.timeout.value, kept.body.value), (Some(Duration::from_secs(3)), 1024));
    assert_eq!((kept.unknown_fields.value, kept.unknown_fields.from), (Unknown::Refuse, Origin::Default));

    let tight = MethodPolicy { timeout: Some(Duration::from_secs(1)), body: Some(1000), ..loose.clone() };
    let tightened = settings(BARE, &service, &method(tight));
    assert_eq!((tightened.timeout.value, tightened.body.value), (Some(Duration::from_secs(1)), 1000));

    let watch = Method { server_streaming: true, ..method(loose) };
    assert_eq!(settings(BARE, &service, &watch).timeout.value, Some(Duration::from_secs(4)), "no limit is looser");
}

#[test]
fn what_keeps_users_logged_in_is_refused_last() {
    let auth = format!(
        "{BARE}
    auth: {{ jwt: {{ secret: 0123456789abcdef0123456789abcdef }}, logout: library.v1.Library/GetBook }}"
    );
    let logout = settings(&auth, &service(), &method(MethodPolicy::default()));
    assert_eq!((logout.priority.value, logout.priority.from), (config::Priority::High, written("auth.logout")));
    let other = settings(BARE, &service(), &method(MethodPolicy::default()));
    assert_eq!((other.priority.value, other.priority.from), (config::Priority::Normal, Origin::Default));
}

#[test]
fn what_is_reflected_makes_no_call_repeatable() {
    let idempotent = |config: &str, reflected, idempotency| {
        let method = Method { idempotency, ..method(MethodPolicy::default()) };
        settings(config, &Service { reflected, ..service() }, &method).idempotent.value
    };
    let written = format!("{BARE}    methods: {{ library.v1.Library/GetBook: {{ idempotent: true }} }}\n");
    for idempotency in [Idempotency::Idempotent, Idempotency::NoSideEffects] {
        assert!(idempotent(BARE, false, idempotency));
        assert!(!idempotent(BARE, true, idempotency));
        assert!(idempotent(&written, true, idempotency));
    }
}

#[test]
fn a_reflected_priority_may_only_be_lower() {
    let service = Service { reflected: true, ..service() };
    let reflected = |priority| {
        let policy = MethodPolicy { priority: Some(priority), ..MethodPolicy::default() };
        settings(BARE, &service, &method(policy)).priority.value
    };
    assert_eq!(reflected(Priority::Low), config::Priority::Low);
    assert_eq!(reflected(Priority::High), config::Priority::Normal);
}

/// What `GetBook` is allowed when its upstream reflects this option, and when a folder has it.
fn reflected_and_loaded(upstream: &str, policy: &MethodPolicy) -> [Settings; 2] {
    let config = BARE.replace("timeout: 3s", &format!("timeout: 3s, {upstream}"));
    [true, false].map(|reflected| settings(&config, &Service { reflected, ..service() }, &method(policy.clone())))
}

#[test]
fn no_cache_is_tighter_than_none() {
    let cache = |ttl| {
        let ttl = Duration::from_secs(ttl);
        let none = Duration::ZERO;
        let cache = CachePolicy {
            ttl,
            stale_while_revalidate: none,
            stale_if_error: none,
            public: false,
            vary: None,
            invalidated_by: vec![],
            shared: None,
        };
        MethodPolicy { cache: Some(cache), ..MethodPolicy::default() }
    };
    let place = Origin::Option("library.proto: library.v1.Library.GetBook: (transom.method).cache".into());
    let [reflected, loaded] = reflected_and_loaded("required: false", &cache(1));
    assert_eq!((reflected.cache.value, reflected.cache.from), (None, Origin::Default));
    assert_eq!(
        (loaded.cache.value, &loaded.cache.from),
        (Some(config::MethodCache::lasting(Duration::from_secs(1))), &place)
    );
    let [reflected, _] = reflected_and_loaded("required: false", &cache(0));
    assert_eq!(reflected.cache.from, place);
}

#[test]
fn reflected_tries_are_no_more_for_nothing_else_and_no_sooner() {
    let upstream = "retry: { attempts: 3, on: [unavailable, aborted], backoff: 1s, max_backoff: 2s, per_try_timeout: 1s, hedge: 1s }";
    let own = RetryPolicy {
        attempts: Some(3),
        on: vec![Code::Aborted, Code::Unavailable],
        backoff: Some(Duration::from_secs(1)),
        max_backoff: Some(Duration::from_secs(2)),
        ..RetryPolicy::default()
    };
    let policy = |retry: &RetryPolicy| MethodPolicy { retry: Some(retry.clone()), ..MethodPolicy::default() };
    let second = Duration::from_secs(1);
    for tight in [
        own.clone(),
        RetryPolicy { attempts: Some(2), on: vec![Code::Aborted], budget: Some(1), ..own.clone() },
        RetryPolicy { backoff: Some(2 * second), per_try_timeout: Some(2 * second), ..own.clone() },
        RetryPolicy { hedge: Some(second), ..own.clone() },
        // One try is tighter than any, whatever else is said.
        RetryPolicy { attempts: Some(1), on: vec![Code::Internal], ..RetryPolicy::default() },
    ] {
        let [reflected, loaded] = reflected_and_loaded(upstream, &policy(&tight));
        assert_eq!(reflected.retry, loaded.retry, "{tight:?}");
        assert!(matches!(loaded.retry.from, Origin::Option(_)), "{tight:?}");
    }
    for loose in [
        RetryPolicy { attempts: Some(4), ..own.clone() },
        RetryPolicy { on: vec![Code::Internal], ..own.clone() },
        RetryPolicy { budget: Some(21), ..own.clone() },
        RetryPolicy { backoff: Some(second / 2), ..own.clone() },
        RetryPolicy { max_backoff: Some(second), ..own.clone() },
        RetryPolicy { per_try_timeout: Some(second / 2), ..own.clone() },
        RetryPolicy { hedge: Some(second / 2), ..own.clone() },
    ] {
        let [reflected, loaded] = reflected_and_loaded(upstream, &policy(&loose));
        assert_eq!(reflected.retry.from, written("upstreams.library.retry"), "{loose:?}");
        assert!(matches!(loaded.retry.from, Origin::Option(_)), "{loose:?}");
    }
    let hedged = RetryPolicy { hedge: Some(2 * second), ..own.clone() };
    let [reflected, _] = reflected_and_loaded(&upstream.replace(", hedge: 1s", ""), &policy(&hedged));
    assert_eq!(reflected.retry.from, written("upstreams.library.retry"));
    // Where nothing is tried again, nothing is.
    let [reflected, _] = reflected_and_loaded("required: false", &policy(&own));
    assert_eq!((reflected.retry.value, reflected.retry.from), (None, Origin::Default));
}
