//! What is asked of a store, and by whom.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use aws_lc_rs::digest;
use smallvec::SmallVec;

use super::gcra::{Quota, Standing};
use crate::config::{self, Mode, OnStoreFailure};
use crate::hex::Hex;

/// A named limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name; two limits of one name are one.
    pub name: Box<str>,
    /// What it allows.
    pub quota: Quota,
    /// How gateways count together.
    pub mode: Mode,
    /// What holds while they cannot.
    pub on_store_failure: OnStoreFailure,
}

impl Limit {
    /// The limit of a configuration's section.
    pub fn compile(name: &str, config: &config::RateLimit) -> Self {
        Self {
            name: name.into(),
            quota: Quota::new(config.rate, config.burst, config.penalty.as_ref()),
            mode: config.mode,
            on_store_failure: config.on_store_failure,
        }
    }
}

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whom<'a> {
    /// A client's network.
    Client(Client),
    /// A user, a claim, a header, a field: whatever it says.
    Named(&'a [u8]),
}

/// A client by its address: IPv4 whole, IPv6 by the /64 that one customer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(IpAddr);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// One permit of a limit, asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// Who asks.
    pub whom: Whom<'a>,
}

/// How each of the limits that were asked stands, in their order.
pub type Standings = SmallVec<[Standing; 2]>;

impl Ask<'_> {
    /// The key of its bucket in Redis. All buckets of one asker lie in one slot; what clients choose is spelled out only
    /// where it is short and plain.
    pub(super) fn redis_key(&self) -> String {
        format!("transom:rate:{{{}}}:{}", self.whom.tag(), self.limit.name)
    }
}

impl Whom<'_> {
    /// What stands for it between braces: its kind and its value, or a digest of that.
    fn tag(&self) -> Cow<'static, str> {
        const LONGEST: usize = 64;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:@+/=".contains(byte);
        match self {
            Self::Client(Client(IpAddr::V4(address))) => address.to_string().into(),
            Self::Client(Client(IpAddr::V6(network))) => format!("{network}/64").into(),
            Self::Named(name) if name.len() <= LONGEST && name.iter().all(plain) => {
                format!("={}", String::from_utf8_lossy(name)).into()
            }
            Self::Named(name) => {
                let digest = digest::digest(&digest::SHA256, name);
                format!("#{}", Hex(&digest.as_ref()[..16])).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::{Ask, Client, Limit, Whom};
    use crate::config::{Mode, OnStoreFailure, Rate};
    use crate::store::gcra::Quota;

    fn key(whom: Whom<'_>) -> String {
        let rate = Rate { permits: NonZeroU32::MIN, period: Duration::from_secs(1) };
        let quota = Quota::new(rate, None, None);
        let limit = Limit { name: "l".into(), quota, mode: Mode::Exact, on_store_failure: OnStoreFailure::Local };
        Ask { limit: &limit, whom }.redis_key()
    }

    fn client(address: &str) -> Client {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_customer_is_one_client() {
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }

    #[test]
    fn what_clients_choose_cannot_leave_its_braces() {
        assert_eq!(key(Whom::Client(client("192.0.2.1"))), "transom:rate:{192.0.2.1}:l");
        assert_eq!(key(Whom::Client(client("2001:db8::7"))), "transom:rate:{2001:db8::/64}:l");
        assert_eq!(key(Whom::Named(b"ada@example.com")), "transom:rate:{=ada@example.com}:l");
        let long = [b'a'; 65];
        for hostile in [&b"}x{"[..], b"}", b"", b"a b", b"\xff", b"a\r\nSET", &long] {
            let key = key(Whom::Named(hostile));
            let tag = key.strip_prefix("transom:rate:{").and_then(|rest| rest.strip_suffix("}:l")).unwrap();
            assert!(!tag.contains(['{', '}', ' ', '\r']) && !tag.is_empty() && tag.len() <= 33, "{key}");
        }
        assert_ne!(key(Whom::Named(b"}a")), key(Whom::Named(b"}b")));
    }
}
