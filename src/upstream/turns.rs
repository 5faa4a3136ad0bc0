//! Turns: which of the endpoints that take calls is asked next.
//!
//! A plain table, made anew when the list of endpoints changes. It knows them by their place in that list.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::config::Balance;

/// How endpoints take turns.
#[derive(Debug)]
pub(super) enum Turns {
    /// One after the other.
    Equal,
    /// One round of places, in which each comes as often as its weight says and never in a bunch.
    Round(Box<[u16]>),
    /// Of two that chance draws the one with fewer calls under way, by weight.
    Least(Box<[u32]>),
    /// Points on a circle: a key goes to the first endpoint from its own place on.
    Circle { points: Box<[(u64, u16)]>, weights: Box<[u32]> },
}

/// An endpoint as far as its turns are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// Its name; the same one has the same points on every gateway's circle.
    pub(super) name: &'a str,
    pub(super) weight: u32,
}

/// So many calls under way drown nobody: one client's few stay where they belong.
const EASE: usize = 32;
/// Points of an endpoint of usual weight, where there is room for so many.
const POINTS: usize = 128;
/// Points of a circle.
const MOST_POINTS: usize = 1 << 16;
/// Places of a round.
const MOST_PLACES: u64 = 1 << 16;
/// What a round may cost, in places times members: it is made again whenever the list changes.
const MOST_WORK: u64 = 1 << 22;

impl Turns {
    pub(super) fn new(balance: &Balance, members: &[Member<'_>]) -> Self {
        let weights = || members.iter().map(|member| member.weight).collect();
        match balance {
            Balance::RoundRobin => round(members).map_or(Self::Equal, Self::Round),
            Balance::LeastRequest => Self::Least(weights()),
            Balance::Hash(_) => Self::Circle { points: circle(members), weights: weights() },
        }
    }

    /// The place of the endpoint that is next, of `count`. `turn` counts the calls, `key` is what keeps a call's client at
    /// one endpoint; `load` says how many calls are under way at a place, `open` whether it may be taken.
    #[inline]
    pub(super) fn pick(
        &self,
        count: usize,
        turn: usize,
        key: Option<u64>,
        load: impl Fn(usize) -> usize,
        open: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let in_turn = || (0..count).map(|step| (turn.wrapping_add(step)) % count).find(|place| open(*place));
        match self {
            _ if count == 0 => None,
            Self::Equal => in_turn(),
            Self::Round(round) => {
                let at = turn % round.len();
                let (before, from) = round.split_at(at);
                from.iter().chain(before).map(|place| usize::from(*place)).find(|place| open(*place))
            }
            Self::Least(weights) => least(weights, turn, load, &open).or_else(in_turn),
            Self::Circle { points, weights } => match key {
                Some(key) => nearest(points, weights, key, load, open),
                None => in_turn(),
            },
        }
    }
}

/// Smooth weighted round robin, written out; none where all weights are the same.
fn round(members: &[Member<'_>]) -> Option<Box<[u16]>> {
    let first = members.first()?.weight;
    if members.iter().all(|member| member.weight == first) {
        return None;
    }
    let divisor = members.iter().fold(0, |divisor, member| gcd(divisor, member.weight));
    let weights: Vec<i64> = members.iter().map(|member| i64::from(member.weight / divisor.max(1))).collect();
    let total: i64 = weights.iter().sum();
    let count = u64::try_from(members.len()).unwrap_or(u64::MAX);
    let places = u64::try_from(total).unwrap_or(0).min(MOST_PLACES).min((MOST_WORK / count).max(count));
    let mut credits = vec![0; weights.len()];
    let mut next = || {
        credits.iter_mut().zip(&weights).for_each(|(credit, weight)| *credit += weight);
        // The first of those with most.
        let place = (0..credits.len()).rev().max_by_key(|place| credits[*place]).unwrap_or(0);
        credits[place] -= total;
        u16::try_from(place).unwrap_or(0)
    };
    Some((0..places).map(|_| next()).collect())
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn least(weights: &[u32], turn: usize, load: impl Fn(usize) -> usize, open: &impl Fn(usize) -> bool) -> Option<usize> {
    let count = weights.len();
    let drawn = scatter(turn as u64);
    let first = (drawn >> 32) as usize % count;
    // Another one than the first.
    let second = (first + 1 + (drawn & 0xffff_ffff) as usize % (count - 1).max(1)) % count;
    // The smaller share of its weight: load / weight, without dividing.
    let worse = load(first) * weights[second] as usize > load(second) * weights[first] as usize;
    let (better, other) = if worse { (second, first) } else { (first, second) };
    [better, other].into_iter().find(|place| open(*place))
}

/// SplitMix64: a number that looks drawn, from one that counts.
pub(super) fn scatter(count: u64) -> u64 {
    let mut mixed = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Of any text; the same in every gateway.
pub(super) fn place_of(text: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(text)
}

fn circle(members: &[Member<'_>]) -> Box<[(u64, u16)]> {
    let total: usize = members.iter().map(|member| member.weight as usize).sum();
    let usual = (MOST_POINTS / members.len().max(1)).clamp(8, POINTS);
    let mut points: Vec<_> = members
        .iter()
        .enumerate()
        .flat_map(|(place, member)| {
            let share = (usual * members.len() * member.weight as usize / total.max(1)).max(1);
            let own = place_of(member.name.as_bytes());
            (0..share as u64).map(move |point| (scatter(own.wrapping_add(point)), u16::try_from(place).unwrap_or(0)))
        })
        .collect();
    points.sort_unstable();
    points.into()
}

/// The first from the key on that is open and has few calls, or not more than its part of them by a quarter: those that are pushed
/// on go to the next, always the same.
fn nearest(
    points: &[(u64, u16)],
    weights: &[u32],
    key: u64,
    load: impl Fn(usize) -> usize,
    open: impl Fn(usize) -> bool,
) -> Option<usize> {
    let all: usize = weights.iter().map(|weight| *weight as usize).sum();
    let under_way: usize = (0..weights.len()).map(&load).sum();
    let fits = |place: usize| {
        let load = load(place);
        load < EASE || load * 4 * all < 5 * (under_way + 1) * weights[place] as usize + 4 * all
    };
    let start = points.partition_point(|(point, _)| *point < key);
    let (before, from) = points.split_at(start);
    let mut places = from.iter().chain(before).map(|(_, place)| usize::from(*place)).filter(|place| open(*place));
    let first = places.next()?;
    if fits(first) { Some(first) } else { Some(places.find(|place| fits(*place)).unwrap_or(first)) }
}

#[cfg(test)]
mod tests;
