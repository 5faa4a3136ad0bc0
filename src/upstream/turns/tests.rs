//! Whose turn it is, to the exact call.

use super::{EASE, MOST_PLACES, MOST_WORK, Member, Turns, place_of, scatter};
use crate::config::{Balance, HashBy};

const NAMES: [&str; 5] = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1", "10.0.0.5:1"];

fn turns(balance: &Balance, weights: &[u32]) -> Turns {
    let members: Vec<_> = NAMES.iter().zip(weights).map(|(name, weight)| Member { name, weight: *weight }).collect();
    Turns::new(balance, &members)
}

fn order(turns: &Turns, count: usize, calls: usize) -> Vec<usize> {
    (0..calls).map(|turn| turns.pick(count, turn, None, |_| 0, |_| true).unwrap()).collect()
}

#[test]
fn equal_ones_take_turns() {
    assert_eq!(order(&turns(&Balance::RoundRobin, &[7, 7, 7]), 3, 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn weights_are_kept_to_the_call_and_never_in_a_bunch() {
    let weighted = turns(&Balance::RoundRobin, &[5, 1, 1]);
    assert_eq!(order(&weighted, 3, 7), [0, 0, 1, 0, 2, 0, 0]);
    let weighted = turns(&Balance::RoundRobin, &[100, 50, 30, 20]);
    let calls = order(&weighted, 4, 2000);
    let shares = [0, 1, 2, 3].map(|place| calls.iter().filter(|call| **call == place).count());
    assert_eq!(shares, [1000, 500, 300, 200]);
    // Any round of 20 holds each in its proportion.
    assert!(calls.windows(20).all(|round| round.iter().filter(|call| **call == 0).count() == 10));
}

#[test]
fn a_round_of_many_costs_no_more_than_it_may() {
    let round = |weights: std::ops::RangeInclusive<u32>| {
        let members: Vec<_> = weights.map(|weight| Member { name: "", weight }).collect();
        let Turns::Round(round) = Turns::new(&Balance::RoundRobin, &members) else { panic!("weights differ") };
        (round, members.len())
    };
    let (few, _) = round(1..=20);
    assert_eq!(few.len(), 210, "all of it");
    let (places, members) = round(1..=1000);
    assert!((places.len() * members) as u64 <= MOST_WORK && (places.len() as u64) < MOST_PLACES, "{}", places.len());
    // Cut short, it still gives the heavy what the light do not get.
    let heavy = places.iter().filter(|place| **place >= 500).count() * 100 / places.len();
    assert!((72..=78).contains(&heavy), "{heavy}");
}

#[test]
fn what_was_tried_gives_its_turn_to_the_next() {
    for balance in [Balance::RoundRobin, Balance::LeastRequest, Balance::Hash(HashBy::Client)] {
        let turns = turns(&balance, &[3, 1, 2]);
        for turn in 0..20 {
            let key = Some(scatter(turn as u64));
            assert_eq!(turns.pick(3, turn, key, |_| 0, |place| place == 1), Some(1), "{balance:?}");
            assert_eq!(turns.pick(3, turn, key, |_| 0, |_| false), None);
        }
    }
    assert_eq!(turns(&Balance::RoundRobin, &[]).pick(0, 0, None, |_| 0, |_| true), None);
}

#[test]
fn the_less_busy_of_two_gets_the_call() {
    let least = turns(&Balance::LeastRequest, &[1, 1, 1, 1]);
    let mut load = [0_usize; 4];
    for turn in 0..400 {
        let place = least.pick(4, turn, None, |place| load[place], |_| true).unwrap();
        load[place] += 1;
    }
    assert!(load.iter().all(|load| (90..=110).contains(load)), "{load:?}");
    // A slow one, with many under way, is left out.
    let busy = |place: usize| if place == 2 { 50 } else { 1 };
    assert!((0..1000).all(|turn| least.pick(4, turn, None, busy, |_| true) != Some(2)));
    // Twice the weight carries twice the load.
    let least = turns(&Balance::LeastRequest, &[2, 1]);
    let mut load = [0_usize; 2];
    for turn in 0..300 {
        load[least.pick(2, turn, None, |place| load[place], |_| true).unwrap()] += 1;
    }
    assert_eq!(load, [200, 100]);
    assert_eq!(turns(&Balance::LeastRequest, &[1]).pick(1, 3, None, |_| 9, |_| true), Some(0));
}

#[test]
fn a_key_stays_where_it_is_when_another_endpoint_goes() {
    let hash = Balance::Hash(HashBy::Client);
    let (all, fewer) = (turns(&hash, &[1; 5]), turns(&hash, &[1; 4]));
    let at = |turns: &Turns, count, key: u64| turns.pick(count, 0, Some(key), |_| 0, |_| true).unwrap();
    let mut shares = [0; 5];
    for key in (0..10_000).map(|key: u32| place_of(&key.to_be_bytes())) {
        let place = at(&all, 5, key);
        shares[place] += 1;
        if place != 4 {
            assert_eq!(at(&fewer, 4, key), place);
        }
    }
    assert!(shares.iter().all(|share| (1500..2500).contains(share)), "{shares:?}");
}

#[test]
fn a_popular_key_overflows_to_the_same_neighbour() {
    let turns = turns(&Balance::Hash(HashBy::Client), &[1; 4]);
    let mut load = [0_usize; 4];
    for _ in 0..100 {
        let place = turns.pick(4, 0, Some(42), |place| load[place], |_| true).unwrap();
        load[place] += 1;
    }
    let bound = |calls: usize| calls / 4 * 5 / 4 + 2;
    assert!(load.iter().all(|load| *load <= bound(100)), "{load:?}");
    let home = turns.pick(4, 0, Some(42), |_| 0, |_| true).unwrap();
    assert_eq!(load[home], *load.iter().max().unwrap());
    // A few drown nobody.
    assert!(
        (0..EASE).all(|few| turns.pick(4, 0, Some(42), |at| if at == home { few } else { 0 }, |_| true) == Some(home))
    );
    let drowns = |at: usize| if at == home { EASE } else { 0 };
    assert_ne!(turns.pick(4, 0, Some(42), drowns, |_| true), Some(home));
    for _ in 0..900 {
        let place = turns.pick(4, 0, Some(42), |place| load[place], |_| true).unwrap();
        load[place] += 1;
    }
    assert!(load.iter().all(|load| *load <= bound(1000)), "{load:?}");
}
