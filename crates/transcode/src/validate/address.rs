//! IP addresses and their prefixes as text: RFC 791's dotted quads, RFC 4291's eight groups, RFC 4007's zones.

/// Which addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Any,
    V4,
    V6,
}

/// An address, and of how many bits.
#[derive(Debug, Clone, Copy)]
struct Address {
    bits: u128,
    width: u32,
}

/// The text is an address. An IPv6 address may name a zone.
pub(super) fn is_address(text: &[u8], version: Version) -> bool {
    let (address, zone) = match memchr::memchr(b'%', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    match (parse(address, version), zone) {
        (Some(_), None) => true,
        (Some(address), Some(zone)) => address.width == 128 && !zone.is_empty(),
        (None, _) => false,
    }
}

/// The text is an address, a slash, and how many of its bits are the network's; with `strict` all others are zero.
pub(super) fn is_prefix(text: &[u8], version: Version, strict: bool) -> bool {
    let Some(slash) = memchr::memrchr(b'/', text) else { return false };
    let Some(address) = parse(&text[..slash], version) else { return false };
    let Some(length) = decimal(&text[slash + 1..], address.width) else { return false };
    let host = address.width - length;
    !strict || address.bits.trailing_zeros() >= host
}

/// A number without leading zeros, at most `most`.
pub(super) fn decimal(digits: &[u8], most: u32) -> Option<u32> {
    let plain = match digits {
        [] | [b'0', _, ..] => false,
        digits => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
    };
    let value = digits.iter().take(5).fold(0, |value, digit| value * 10 + u32::from(digit.wrapping_sub(b'0')));
    (plain && value <= most).then_some(value)
}

fn parse(text: &[u8], version: Version) -> Option<Address> {
    let four = || v4(text).map(|bits| Address { bits: bits.into(), width: 32 });
    let six = || v6(text).map(|bits| Address { bits, width: 128 });
    match version {
        Version::V4 => four(),
        Version::V6 => six(),
        Version::Any => four().or_else(six),
    }
}

fn v4(text: &[u8]) -> Option<u32> {
    let mut parts = text.split(|&byte| byte == b'.');
    let mut bits = 0;
    for _ in 0..4 {
        bits = bits << 8 | decimal(parts.next()?, 255)?;
    }
    parts.next().is_none().then_some(bits)
}

fn v6(text: &[u8]) -> Option<u128> {
    let (front, back) = match text.windows(2).position(|pair| pair == b"::") {
        Some(at) => (&text[..at], Some(&text[at + 2..])),
        None => (text, None),
    };
    let (front_bits, front_groups) = groups(front, back.is_none())?;
    let Some(back) = back else { return (front_groups == 8).then_some(front_bits) };
    let (back_bits, back_groups) = groups(back, true)?;
    // A double colon stands for at least one group.
    let gap = 8_u32.checked_sub(front_groups + back_groups).filter(|&gap| gap > 0)?;
    Some(front_bits.checked_shl(16 * (gap + back_groups)).unwrap_or_default() | back_bits)
}

/// Groups between colons, and how many; the last two may be a dotted quad where the address ends.
fn groups(text: &[u8], at_end: bool) -> Option<(u128, u32)> {
    if text.is_empty() {
        return Some((0, 0));
    }
    let (mut bits, mut count) = (0_u128, 0);
    let mut parts = text.split(|&byte| byte == b':').peekable();
    while let Some(part) = parts.next() {
        if at_end && parts.peek().is_none() && part.contains(&b'.') {
            (bits, count) = (bits << 32 | u128::from(v4(part)?), count + 2);
        } else {
            let hex = (1..=4).contains(&part.len()) && part.iter().all(u8::is_ascii_hexdigit);
            let group = std::str::from_utf8(part).ok().filter(|_| hex)?;
            (bits, count) = (bits << 16 | u128::from(u16::from_str_radix(group, 16).ok()?), count + 1);
        }
        if count > 8 {
            return None;
        }
    }
    Some((bits, count))
}
