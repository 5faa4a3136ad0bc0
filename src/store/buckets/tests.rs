//! Buckets in this process: exact under contention, all or none, and small.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Buckets, Pace};
use crate::config::{Mode, OnStoreFailure, Rate};
use crate::store::gcra::Quota;
use crate::store::limit::{Ask, Limit, Whom};
use crate::telemetry::Metrics;

fn limit(name: &str, permits: u32) -> Limit {
    let rate = Rate { permits: NonZeroU32::new(permits).unwrap(), period: Duration::from_secs(60) };
    let quota = Quota::new(rate, None, None);
    Limit { name: name.into(), quota, mode: Mode::Exact, on_store_failure: OnStoreFailure::Local }
}

fn client(number: u32) -> Whom<'static> {
    Whom::Client(IpAddr::from(Ipv4Addr::from_bits(number)).into())
}

#[test]
fn threads_take_exactly_what_there_is() {
    let (buckets, now) = (Buckets::new(), Instant::now());
    let (narrow, wide) = (limit("narrow", 1000), limit("wide", 1500));
    let passed = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for thread in 0..8_u8 {
            let (buckets, narrow, wide, passed) = (&buckets, &narrow, &wide, &passed);
            threads.spawn(move || {
                // Both orders, and two askers whose shards differ: they must not wait for each other.
                let user = [thread];
                let asks = [Ask { limit: narrow, whom: client(7) }, Ask { limit: wide, whom: Whom::Named(&user) }];
                let asks = if thread % 2 == 0 { asks } else { [asks[1], asks[0]] };
                for _ in 0..500 {
                    let granted = buckets.take(&asks, now).iter().all(|standing| standing.granted == 1);
                    passed.fetch_add(usize::from(granted), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 1000);
}

#[test]
fn a_refused_call_takes_from_none() {
    let (buckets, now) = (Buckets::new(), Instant::now());
    let (narrow, wide) = (limit("narrow", 1), limit("wide", 3));
    let both = [Ask { limit: &wide, whom: client(1) }, Ask { limit: &narrow, whom: client(1) }];
    let granted = |asks: &[Ask<'_>]| buckets.take(asks, now).iter().map(|told| told.granted).collect::<Vec<_>>();
    assert_eq!(granted(&both), [1, 1]);
    for _ in 0..10 {
        let told = buckets.take(&both, now);
        assert_eq!((told[0].granted, told[1].granted, told[0].remaining), (0, 0, 2));
        assert!(told[0].retry.is_zero() && !told[1].retry.is_zero());
    }
    assert_eq!(granted(&both[..1]), [1]);
    assert_eq!(granted(&both[..1]), [1]);
    assert_eq!(granted(&both[..1]), [0]);
    // Another client, and another limit of the same client.
    assert_eq!(granted(&[Ask { limit: &narrow, whom: client(2) }]), [1]);
}

#[test]
fn a_million_clients_take_less_than_200_bytes_each() {
    let (buckets, now) = (Buckets::new(), Instant::now());
    let limit = limit("public", 100);
    for number in 0..1_000_000 {
        assert_eq!(buckets.take(&[Ask { limit: &limit, whom: client(number) }], now)[0].remaining, 99);
    }
    let (held, bytes) = buckets.held.size();
    assert_eq!(held, 1_000_000);
    println!("{} bytes each of {held}", bytes / held);
    assert!(bytes / held < 200, "{} bytes each", bytes / held);
    buckets.sweep(now + Duration::from_secs(1));
    let (held, bytes) = buckets.held.size();
    assert!(held == 0 && bytes < 100_000, "{bytes} bytes are kept for {held}");
}

#[test]
fn a_stream_keeps_its_pace() {
    let now = Instant::now();
    let rate = Rate { permits: NonZeroU32::new(2).unwrap(), period: Duration::from_secs(1) };
    let mut pace = Pace::new(rate, Metrics::new().refusals("rate_limit", "MESSAGES"), now);
    assert_eq!([pace.take(now), pace.take(now)], [Ok(()); 2]);
    assert_eq!(pace.take(now), Err(Duration::from_millis(500)));
    assert_eq!(pace.take(now + Duration::from_millis(500)), Ok(()));
    assert!(pace.take(now + Duration::from_millis(999)).is_err());
}
