//! The rules of strings and bytes: `StringRules` and `BytesRules` → tests.

use memchr::memmem::Finder;

use super::address::Version;
use super::format::Format;
use super::pattern;
use super::rule::{Rule, Test, sorted};
use super::said::{Said, known};
use super::text::Text;

/// Under which numbers strings and bytes have the rules that they share; 0 for none.
pub(super) struct Texts {
    known: &'static [u32],
    /// Of the type's own unit.
    length: [u32; 3],
    bytes: [u32; 3],
    pattern: u32,
    prefix: u32,
    suffix: u32,
    contains: u32,
    lacks: u32,
    within: u32,
    without: u32,
    form: fn(&Said<'_>) -> Vec<Rule>,
}

pub(super) const STRING: Texts = Texts {
    known: &[
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        31, 32, 33, 34, 35, 37, 38,
    ],
    length: [19, 2, 3],
    bytes: [20, 4, 5],
    pattern: 6,
    prefix: 7,
    suffix: 8,
    contains: 9,
    lacks: 23,
    within: 10,
    without: 11,
    form: forms,
};

pub(super) const BYTES: Texts = Texts {
    known: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    length: [0; 3],
    bytes: [13, 2, 3],
    pattern: 4,
    prefix: 5,
    suffix: 6,
    contains: 7,
    lacks: 0,
    within: 8,
    without: 9,
    form: sizes,
};

/// The rules of strings, or of bytes.
pub(super) fn texts(said: &Said<'_>, name: &str, at: &Texts) -> Result<Vec<Rule>, String> {
    known(said, name, at.known)?;
    let string = name == "string";
    let mut rules = Vec::new();
    let mut rule = |id: &str, message: String, test| {
        rules.push(Rule::new(format!("{name}.{id}"), message, Test::Text(test)));
    };
    let quoted = |bytes: &[u8]| match string {
        true => format!("`{}`", String::from_utf8_lossy(bytes)),
        false => hex(bytes),
    };
    if let Some(wanted) = said.bytes(1) {
        rule("const", format!("must be {}", quoted(wanted)), Text::Equal(wanted.into()));
    }
    let lengths: [(_, [&str; 3], _); 2] = [
        (at.length, ["len", "min_len", "max_len"], "characters"),
        (
            at.bytes,
            if string { ["len_bytes", "min_bytes", "max_bytes"] } else { ["len", "min_len", "max_len"] },
            "bytes",
        ),
    ];
    for (numbers, ids, unit) in lengths {
        let test = |least, most| match unit {
            "characters" => Text::Characters { least, most },
            _ => Text::Bytes { least, most },
        };
        let [exact, least, most] = numbers.map(|number| said.bits(number).filter(|_| number > 0));
        if let Some(size) = exact {
            rule(ids[0], format!("must be {size} {unit} long"), test(size, size));
        }
        if let Some(size) = least {
            rule(ids[1], format!("must be at least {size} {unit} long"), test(size, u64::MAX));
        }
        if let Some(size) = most {
            rule(ids[2], format!("must be at most {size} {unit} long"), test(0, size));
        }
    }
    if let Some(pattern) = said.bytes(at.pattern) {
        let compiled = pattern::compile(pattern)?;
        let test = if string { Text::Matches(compiled) } else { Text::MatchesUtf8(compiled) };
        rule("pattern", format!("must match the pattern `{}`", String::from_utf8_lossy(pattern)), test);
    }
    if let Some(prefix) = said.bytes(at.prefix) {
        rule("prefix", format!("must begin with {}", quoted(prefix)), Text::Prefix(prefix.into()));
    }
    if let Some(suffix) = said.bytes(at.suffix) {
        rule("suffix", format!("must end with {}", quoted(suffix)), Text::Suffix(suffix.into()));
    }
    if let Some(part) = said.bytes(at.contains) {
        rule(
            "contains",
            format!("must contain {}", quoted(part)),
            Text::Contains(Box::new(Finder::new(part).into_owned())),
        );
    }
    if let Some(part) = said.bytes(at.lacks) {
        rule(
            "not_contains",
            format!("must not contain {}", quoted(part)),
            Text::Lacks(Box::new(Finder::new(part).into_owned())),
        );
    }
    let list = |number| sorted(said.each_bytes(number).map(Box::from).collect());
    let all = |number| said.each_bytes(number).map(quoted).collect::<Vec<_>>().join(", ");
    if said.bytes(at.within).is_some() {
        rule("in", format!("must be one of {}", all(at.within)), Text::In(list(at.within)));
    }
    if said.bytes(at.without).is_some() {
        rule("not_in", format!("must be none of {}", all(at.without)), Text::NotIn(list(at.without)));
    }
    rules.extend((at.form)(said));
    Ok(rules)
}

/// `StringRules.well_known`.
fn forms(said: &Said<'_>) -> Vec<Rule> {
    let Some(number) = said.last_among(|number| matches!(number, 12..=18 | 21 | 22 | 24 | 26..=33 | 35 | 37 | 38))
    else {
        return Vec::new();
    };
    let strict = said.bits(25).is_none_or(|strict| strict != 0);
    let (id, what, format) = match number {
        24 => match said.bits(24) {
            Some(1) => ("well_known_regex.header_name", "HTTP header name", Format::HeaderName { strict }),
            Some(2) => {
                let test = Test::Text(Text::Form(Format::HeaderValue { strict }));
                let id = "string.well_known_regex.header_value";
                return vec![Rule::new(id, "must be a valid HTTP header value", test)];
            }
            _ => return Vec::new(),
        },
        _ if !said.flag(number) => return Vec::new(),
        12 => ("email", "email address", Format::Email),
        13 => ("hostname", "host name", Format::Hostname),
        14 => ("ip", "IP address", Format::Ip(Version::Any)),
        15 => ("ipv4", "IPv4 address", Format::Ip(Version::V4)),
        16 => ("ipv6", "IPv6 address", Format::Ip(Version::V6)),
        17 => ("uri", "URI", Format::Uri),
        18 => {
            let test = Test::Text(Text::Form(Format::UriRef));
            return vec![Rule::new("string.uri_ref", "must be a valid URI reference", test)];
        }
        21 => ("address", "host name or IP address", Format::Address),
        22 => ("uuid", "UUID", Format::Uuid),
        26 => ("ip_with_prefixlen", "IP address with prefix length", Format::IpWithPrefix(Version::Any)),
        27 => ("ipv4_with_prefixlen", "IPv4 address with prefix length", Format::IpWithPrefix(Version::V4)),
        28 => ("ipv6_with_prefixlen", "IPv6 address with prefix length", Format::IpWithPrefix(Version::V6)),
        29 => ("ip_prefix", "IP prefix", Format::IpPrefix(Version::Any)),
        30 => ("ipv4_prefix", "IPv4 prefix", Format::IpPrefix(Version::V4)),
        31 => ("ipv6_prefix", "IPv6 prefix", Format::IpPrefix(Version::V6)),
        32 => ("host_and_port", "host and port", Format::HostAndPort),
        33 => ("tuuid", "UUID without hyphens", Format::TrimmedUuid),
        35 => ("ulid", "ULID", Format::Ulid),
        37 => ("protobuf_fqn", "full protobuf name", Format::ProtobufName { dot: false }),
        _ => ("protobuf_dot_fqn", "full protobuf name with a dot in front", Format::ProtobufName { dot: true }),
    };
    or_empty("string", id, what, Text::Form(format))
}

/// `BytesRules.well_known`.
fn sizes(said: &Said<'_>) -> Vec<Rule> {
    let number = said.last_among(|number| matches!(number, 10..=12 | 15)).filter(|&number| said.flag(number));
    let (id, what, sizes): (_, _, &[usize]) = match number {
        Some(10) => ("ip", "IP address", &[4, 16]),
        Some(11) => ("ipv4", "IPv4 address", &[4]),
        Some(12) => ("ipv6", "IPv6 address", &[16]),
        Some(_) => ("uuid", "UUID", &[16]),
        None => return Vec::new(),
    };
    or_empty("bytes", id, what, Text::Sizes(sizes))
}

/// A form, and the rule that it is not left empty.
fn or_empty(name: &str, id: &str, what: &str, test: Text) -> Vec<Rule> {
    let article = if what.starts_with(['e', 'H', 'I']) { "an" } else { "a" };
    vec![
        Rule::new(format!("{name}.{id}"), format!("must be a valid {what}"), Test::Text(test)),
        Rule::new(
            format!("{name}.{id}_empty"),
            format!("must not be empty: {article} {what} is wanted"),
            Test::Text(Text::NotEmpty),
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
