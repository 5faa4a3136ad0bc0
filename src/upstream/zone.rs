//! Zone: calls stay near the gateway, and go elsewhere only as far as they must.
//!
//! Those near by get every call as long as seven in ten of them, by weight, take any. With fewer, each that is left gets what it
//! would have got then, and the rest goes to the others.

/// Of those near by, how many must take calls to get them all.
const ENOUGH: u128 = 7;
const OF: u128 = 10;

/// The weights of those that take calls, by whether they are near and the weight that they have; 0 gets none. `near` is the
/// weight of all that are near, also of those that take no calls.
pub(super) fn weights(near: u64, members: &[(bool, u32)]) -> Vec<u32> {
    let sum =
        |which: bool| members.iter().filter(|(near, _)| *near == which).map(|(_, weight)| u128::from(*weight)).sum();
    let (here, there): (u128, u128) = (sum(true), sum(false));
    if here == 0 || there == 0 {
        return members.iter().map(|(_, weight)| *weight).collect();
    }
    let all = u128::from(near).max(here);
    // here / (all × 7/10) of the calls, at most all of them.
    let whole = all * ENOUGH;
    let share = (here * OF).min(whole);
    let scaled: Vec<u128> = members
        .iter()
        .map(|&(near, weight)| u128::from(weight) * if near { share * there } else { (whole - share) * here })
        .collect();
    let divisor = scaled.iter().copied().fold(0, gcd).max(1);
    let most = scaled.iter().copied().max().unwrap_or(0) / divisor;
    // Too fine for what turns can hold: as near as they can.
    let coarse = (most / u128::from(u32::MAX)) + 1;
    let fit = |weight: u128| match weight / divisor {
        0 => 0,
        weight => u32::try_from((weight / coarse).max(1)).unwrap_or(u32::MAX),
    };
    scaled.into_iter().map(fit).collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::weights;

    #[test]
    fn those_near_by_get_all_while_enough_of_them_are_there() {
        let (near, far) = ((true, 1), (false, 1));
        assert_eq!(weights(2, &[near, near, far, far]), [1, 1, 0, 0]);
        // Seven of ten are enough.
        assert_eq!(weights(10, &[vec![near; 7], vec![far]].concat()), [vec![1; 7], vec![0]].concat());
        // Six of ten get six sevenths.
        assert_eq!(weights(10, &[vec![near; 6], vec![far]].concat()), [vec![1; 6], vec![1]].concat());
        // One of two gets five sevenths.
        assert_eq!(weights(2, &[near, far, far]), [5, 1, 1]);
    }

    #[test]
    fn without_somebody_on_either_side_there_is_no_preference() {
        assert_eq!(weights(5, &[(false, 3), (false, 2)]), [3, 2]);
        assert_eq!(weights(5, &[(true, 3), (true, 2)]), [3, 2]);
        assert_eq!(weights(0, &[]), [0; 0]);
    }

    #[test]
    fn weights_hold_within_a_side() {
        assert_eq!(weights(4, &[(true, 2), (false, 3), (false, 1)]), [10, 3, 1]);
        let large = weights(2 * u64::from(u32::MAX), &[(true, u32::MAX), (false, u32::MAX), (false, 1)]);
        assert!(large.iter().all(|weight| *weight > 0), "{large:?}");
    }
}
