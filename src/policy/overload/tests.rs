use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Place, Places, Wish, about, share};
use crate::config::{self, Priority};
use crate::error::Error;
use crate::telemetry::Metrics;

const LOCAL: &str = "127.0.0.1";

fn places(overload: &str, previous: Option<&Arc<Places>>) -> Arc<Places> {
    let text = format!(
        "overload: {{ {overload} }}\ntrusted_proxies: [10.0.0.0/8]\nschema: {{ protos: [p] }}\nupstreams: {{ a: {{ endpoints: [\"a:1\"] }} }}"
    );
    Places::compile(&config::parse(&text, &|_| None).unwrap(), &Metrics::new(), previous)
}

fn enter(places: &Places, client: &str, priority: Priority, streams: bool) -> Result<Place, Error> {
    places.enter(client.parse::<IpAddr>().unwrap(), Wish { priority, streams })
}

/// So many of thirty are let in.
fn many(places: &Places, client: &str, priority: Priority, streams: bool) -> usize {
    (0..30).filter(|_| enter(places, client, priority, streams).is_ok()).count()
}

#[test]
fn places_are_kept_for_who_matters_more() {
    let places = places("in_flight: 20", None);
    assert_eq!(many(&places, LOCAL, Priority::Low, false), 15);
    assert_eq!(many(&places, LOCAL, Priority::Normal, false), 3);
    let last = enter(&places, LOCAL, Priority::High, false).unwrap();
    assert_eq!(many(&places, LOCAL, Priority::High, false), 1);
    let refused = enter(&places, LOCAL, Priority::High, false);
    assert!(matches!(refused, Err(Error::Overloaded { .. })), "{refused:?}");
    // A refusal takes no place.
    places.leave(last);
    assert!(enter(&places, LOCAL, Priority::High, false).is_ok());
}

#[test]
fn streams_leave_places_to_calls() {
    let places = places("in_flight: 24", None);
    assert_eq!(many(&places, LOCAL, Priority::High, true), 21);
    assert_eq!(many(&places, LOCAL, Priority::High, false), 3);
}

#[test]
fn a_client_has_so_many_and_the_next_is_refused() {
    let places = places("in_flight: 40, in_flight_per_client: 3", None);
    let place = enter(&places, "192.0.2.1", Priority::Low, true).unwrap();
    assert_eq!(many(&places, "192.0.2.1", Priority::High, false), 2);
    let refused = enter(&places, "192.0.2.1", Priority::High, false);
    assert!(matches!(refused, Err(Error::RateLimited { .. })), "{refused:?}");
    places.leave(place);
    assert_eq!(many(&places, "192.0.2.1", Priority::High, false), 1);
    // One customer has a /64.
    assert_eq!(many(&places, "2001:db8:0:1::1", Priority::High, false), 3);
    assert_eq!(many(&places, "2001:db8:0:1:ffff::9", Priority::High, false), 0);
    assert_eq!(many(&places, LOCAL, Priority::High, false), 3);
    // Behind one of them are many clients.
    assert_eq!(many(&places, "10.1.2.3", Priority::High, false), 30);
}

#[test]
fn no_client_can_have_all_places() {
    let places = places("in_flight: 20", None);
    assert_eq!(many(&places, "192.0.2.1", Priority::High, false), 5);
    assert_eq!(many(&places, LOCAL, Priority::High, false), 15);
}

#[test]
fn a_client_that_finds_the_gateway_full_is_not_counted() {
    let places = places("in_flight: 4, in_flight_per_client: 2", None);
    let held: Vec<_> =
        (0..4).map(|at| enter(&places, &format!("192.0.2.{at}"), Priority::High, false).unwrap()).collect();
    assert_eq!(many(&places, "192.0.2.9", Priority::High, false), 0);
    held.into_iter().for_each(|place| places.leave(place));
    assert_eq!(many(&places, "192.0.2.9", Priority::High, false), 2);
}

#[test]
fn ages_are_spread_over_a_fifth() {
    let ages: Vec<_> = (0..2000).map(|_| about(Duration::from_secs(1000)).as_secs()).collect();
    assert!(ages.iter().all(|age| (900..=1100).contains(age)));
    // Each twentieth has its part.
    for from in (900..1100).step_by(10) {
        let there = ages.iter().filter(|age| (from..from + 10).contains(*age)).count();
        assert!((40..=180).contains(&there), "{there} from {from}");
    }
}

#[test]
fn a_few_places_are_everybodys() {
    let shares = |places| {
        [Priority::Low, Priority::Normal, Priority::High]
            .map(|priority| share(places, Wish { priority, streams: false }))
    };
    assert_eq!((shares(3), shares(1000)), ([3, 3, 3], [750, 900, 1000]));
}

#[test]
fn calls_in_flight_stay_so_when_another_limit_comes() {
    let enter = |places: &Places| enter(places, "192.0.2.1", Priority::Normal, false);
    let before = places("in_flight: 9, in_flight_per_client: 5", None);
    let held: Vec<_> = (0..5).map(|_| enter(&before).unwrap()).collect();
    let after = places("in_flight: 9, in_flight_per_client: 6", Some(&before));
    assert!(enter(&after).is_ok());
    assert!(enter(&after).is_err());
    before.leave(held[0]);
    assert!(enter(&after).is_ok());
    let wider = places("in_flight: 7, in_flight_per_client: 9", Some(&after));
    assert!(enter(&wider).is_ok());
    assert!(enter(&wider).is_err());
}
