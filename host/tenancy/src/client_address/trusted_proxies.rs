//! Which peers are proxies of ours: a list of networks, as `10.0.0.0/8` or `2001:db8::/32`.
//!
//! Two comparisons of numbers are all it takes, so the crate `ipnet` is not used here.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The most networks of a list; each is compared with each peer.
pub const TRUSTED_PROXIES_MAX: usize = 256;

/// Networks whose addresses are believed when they say for whom they ask. In configuration: a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct TrustedProxies(Vec<Network>);

/// Why a list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedProxyError {
    #[error(
        "{entry:?} is no network of trusted proxies; write an address or one with a length: 10.0.0.0/8, 2001:db8::/32"
    )]
    Malformed { entry: String },
    #[error("{entry:?} is no network of trusted proxies: its length goes from 0 to {most}")]
    Length { entry: String, most: u32 },
    #[error("{entry:?} has bits behind its length; write {network}")]
    HostBits { entry: String, network: String },
    #[error("{found} networks of trusted proxies are too many; there can be {TRUSTED_PROXIES_MAX}")]
    TooMany { found: usize },
}

impl TrustedProxies {
    /// Reads networks: `10.0.0.0/8`, or an address for itself alone.
    ///
    /// # Errors
    /// Names the entry that cannot be read and says what to write instead.
    pub fn parse<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, TrustedProxyError> {
        let networks =
            entries.into_iter().map(|entry| Network::parse(entry.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if networks.len() > TRUSTED_PROXIES_MAX {
            return Err(TrustedProxyError::TooMany { found: networks.len() });
        }
        Ok(Self(networks))
    }

    /// Whether `address` is a proxy's. An IPv4 address that is written as an IPv6 one is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<String>> for TrustedProxies {
    type Error = TrustedProxyError;

    fn try_from(entries: Vec<String>) -> Result<Self, TrustedProxyError> {
        Self::parse(entries)
    }
}

impl From<TrustedProxies> for Vec<String> {
    fn from(proxies: TrustedProxies) -> Self {
        proxies.0.iter().map(Network::to_string).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    length: u32,
}

impl Network {
    fn parse(entry: &str) -> Result<Self, TrustedProxyError> {
        let malformed = || TrustedProxyError::Malformed { entry: entry.to_owned() };
        let (address, length) = match entry.trim().split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| malformed())?)),
            None => (entry.trim(), None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| malformed())?;
        let most = bits(address).1;
        let length = length.unwrap_or(most);
        if length > most {
            return Err(TrustedProxyError::Length { entry: entry.to_owned(), most });
        }
        let network = Self { address: masked(address, length), length };
        if network.address != address {
            let network = network.to_string();
            return Err(TrustedProxyError::HostBits { entry: entry.to_owned(), network });
        }
        Ok(network.canonical())
    }

    /// A network within `::ffff:0:0/96` as that of the IPv4 addresses it stands for, since that is what peers are.
    fn canonical(self) -> Self {
        match self.address.to_canonical() {
            address @ IpAddr::V4(_) if self.address.is_ipv6() && self.length >= 96 => {
                Self { address, length: self.length - 96 }
            }
            _ => self,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let ((own, width), (other, other_width)) = (bits(self.address), bits(address));
        // Shifting by the whole width would be an overflow; a network of length 0 has all addresses of its kind.
        width == other_width && (own ^ other).checked_shr(width - self.length).unwrap_or(0) == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// The address as a number, and how many bits that has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// The address with all bits behind `length` cleared.
fn masked(address: IpAddr, length: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        let check = |network: &str, inside: &[&str], outside: &[&str]| {
            let proxies = TrustedProxies::parse([network]).unwrap();
            let contains = |address: &&str| proxies.contains(address.parse().unwrap());
            assert!(inside.iter().all(contains), "{network} lacks one of {inside:?}");
            assert!(!outside.iter().any(contains), "{network} has one of {outside:?}");
        };
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
            &["11.0.0.0", "9.255.255.255", "a::"],
        );
        check("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
        check("192.0.2.6/31", &["192.0.2.6", "192.0.2.7"], &["192.0.2.5", "192.0.2.8"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["2001:db8::1"]);
        check("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db9::", "32.1.13.184"]);
        check("::1", &["::1"], &["::2", "127.0.0.1"]);
        check("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0", "::1"]);
        check("::/0", &["::", "2001:db8::1"], &["192.0.2.1", "::ffff:192.0.2.1"]);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_named() {
        let check = |entry: &str, parts: &[&str]| {
            let message = TrustedProxies::parse(["10.0.0.0/8", entry]).unwrap_err().to_string();
            assert!(message.contains(&format!("{entry:?}")), "{message}");
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        };
        check("proxy.example", &["write an address"]);
        check("", &["write an address"]);
        check("10.0.0.0/", &["write an address"]);
        check("10.0.0.0/-1", &["write an address"]);
        check("10.0.0.0/33", &["from 0 to 32"]);
        check("::/129", &["from 0 to 128"]);
        check("10.0.0.1/8", &["write 10.0.0.0/8"]);
        check("2001:db8::1/32", &["write 2001:db8::/32"]);
        let message = TrustedProxies::parse(vec!["::1"; 257]).unwrap_err().to_string();
        assert!(message.contains("257") && message.contains("256"), "{message}");
    }

    #[test]
    fn it_is_a_list_of_texts_in_configuration() {
        let proxies: TrustedProxies = serde_json::from_str(r#"["10.0.0.0/8", "::1"]"#).unwrap();
        assert_eq!(serde_json::to_string(&proxies).unwrap(), r#"["10.0.0.0/8","::1/128"]"#);
        let message = serde_json::from_str::<TrustedProxies>(r#"["x"]"#).unwrap_err().to_string();
        assert!(message.contains("\"x\""), "{message}");
        assert!(TrustedProxies::default().is_empty() && !proxies.is_empty());
    }
}
