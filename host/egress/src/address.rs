//! What kind of address an IP address is. Pure: no lookup, no socket.
//!
//! The ranges are those of the IANA special-purpose address registries (RFC 6890 and its updates), and the addresses at
//! which cloud providers serve instance credentials.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address an IP address is. An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4, Teredo,
/// ISATAP) has the class of what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Anybody on the Internet.
    Public,
    /// This machine: 127.0.0.0/8, `::1`.
    Loopback,
    /// A private network: RFC 1918, unique local, site local, benchmarking, local-use NAT64.
    Private,
    /// Neighbours on the same link: 169.254.0.0/16, `fe80::/10`.
    LinkLocal,
    /// The shared space behind carrier-grade NAT: 100.64.0.0/10.
    Shared,
    /// Where a cloud provider serves the credentials of this machine.
    Metadata,
    /// No address, which the system takes to mean this machine: 0.0.0.0/8, `::`.
    Unspecified,
    /// Many receivers.
    Multicast,
    /// Documentation, broadcast, and what is not assigned to anybody.
    Reserved,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Shared => "carrier-grade NAT",
            Self::Metadata => "cloud metadata",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        })
    }
}

/// Whether a call may connect to an address of class `class`.
///
/// `allow_private`: the operator named the host. `literal`: the request spells the address itself rather than a name.
/// A name that the operator listed may lead into the private network, but not to where the credentials of the machine
/// lie: for that the operator has to list the address. Multicast and reserved addresses serve no HTTP at all.
#[must_use]
pub fn permits(class: AddressClass, allow_private: bool, literal: bool) -> bool {
    match class {
        AddressClass::Public => true,
        AddressClass::Loopback | AddressClass::Private | AddressClass::LinkLocal | AddressClass::Shared => {
            allow_private
        }
        AddressClass::Metadata | AddressClass::Unspecified => allow_private && literal,
        AddressClass::Multicast | AddressClass::Reserved => false,
    }
}

/// The class of `address`.
#[must_use]
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // Amazon, Google, Azure, DigitalOcean, OpenStack; Amazon's name server, containers and pods.
        [169, 254, 169, 253 | 254] | [169, 254, 170, 2 | 23] => AddressClass::Metadata,
        // Alibaba; Azure's WireServer; Oracle.
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => AddressClass::Metadata,
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [198, 18..=19, ..] => AddressClass::Private,
        [169, 254, ..] => AddressClass::LinkLocal,
        [100, 64..=127, ..] => AddressClass::Shared,
        [224..=239, ..] => AddressClass::Multicast,
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => {
            AddressClass::Reserved
        }
        _ => AddressClass::Public,
    }
}

/// Where cloud providers serve instance credentials over IPv6: Amazon's metadata, name server and pods; Google; Oracle.
const METADATA_V6: [[u16; 8]; 5] = [
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253],
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
    [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
    [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe],
];

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    let segments = address.segments();
    if METADATA_V6.contains(&segments) {
        return AddressClass::Metadata;
    }
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // Mapped, translated (RFC 2765), and NAT64's well-known prefix (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => classify_v4(join(high, low)),
        // The deprecated "compatible" form reaches nobody on the Internet, so even a public address is none here.
        [0, 0, 0, 0, 0, 0, high, low] => not_public(classify_v4(join(high, low))),
        [0x64, 0xff9b, 1, ..] => AddressClass::Private,
        // 6to4 carries its IPv4 address behind the prefix; Teredo the server's, and the client's with all bits flipped.
        [0x2002, high, low, ..] => classify_v4(join(high, low)),
        [0x2001, 0, server_high, server_low, _, _, high, low] => {
            stricter(classify_v4(join(!high, !low)), classify_v4(join(server_high, server_low)))
        }
        [0x2001, 2, 0, ..] => AddressClass::Private,
        [0x2001, 0xdb8, ..] | [0x2001, 0x10..=0x2f, ..] | [0x3fff, 0..=0xfff, ..] => AddressClass::Reserved,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // ISATAP (RFC 5214) carries the IPv4 address of a neighbour in its last half.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, high, low] => classify_v4(join(high, low)),
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

fn not_public(class: AddressClass) -> AddressClass {
    if class == AddressClass::Public { AddressClass::Reserved } else { class }
}

fn stricter(one: AddressClass, other: AddressClass) -> AddressClass {
    if one == AddressClass::Public { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: AddressClass, addresses: &[&str]) {
        for text in addresses {
            assert_eq!(classify(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn every_special_range_of_ipv4_is_known_to_its_edges() {
        use AddressClass::*;
        check(Public, &["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0"]);
        check(Public, &["100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255"]);
        check(Public, &["169.255.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"]);
        check(Public, &["223.255.255.255", "192.0.1.0", "168.63.129.15"]);
        check(Loopback, &["127.0.0.0", "127.0.0.1", "127.1.2.3", "127.255.255.255"]);
        check(Private, &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0"]);
        check(Private, &["192.168.255.255", "198.18.0.0", "198.19.255.255"]);
        check(LinkLocal, &["169.254.0.0", "169.254.255.255", "169.254.169.252"]);
        check(Shared, &["100.64.0.0", "100.127.255.255"]);
        check(
            Metadata,
            &["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192"],
        );
        check(Unspecified, &["0.0.0.0", "0.255.255.255"]);
        check(Multicast, &["224.0.0.1", "239.255.255.255"]);
        check(
            Reserved,
            &["240.0.0.0", "255.255.255.255", "192.0.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1"],
        );
        check(Reserved, &["192.88.99.1"]);
    }

    #[test]
    fn every_special_range_of_ipv6_is_known() {
        use AddressClass::*;
        check(Public, &["2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "3ffe::1"]);
        check(Loopback, &["::1"]);
        check(Private, &["fc00::1", "fdff:ffff::1", "fec0::1", "2001:2::1", "64:ff9b:1::8.8.8.8"]);
        check(LinkLocal, &["fe80::1", "febf::1"]);
        check(Metadata, &["fd00:ec2::254", "fd20:ce::254", "fd00:ec2::23", "fd00:c1::a9fe:a9fe"]);
        check(Unspecified, &["::"]);
        check(Multicast, &["ff02::1", "ffff::"]);
        check(
            Reserved,
            &["2001:db8::1", "3fff::1", "100::1", "4000::1", "5f00::1", "e000::1", "2001:20::1", "1::"],
        );
    }

    #[test]
    fn an_ipv4_address_hidden_in_ipv6_keeps_its_class() {
        use AddressClass::*;
        check(
            Loopback,
            &["::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::127.0.0.1", "::127.0.0.1", "2002:7f00:1::"],
        );
        check(Loopback, &["::ffff:0:127.0.0.1", "2001:db9::5efe:127.0.0.1", "2001:db9::200:5efe:127.0.0.1"]);
        check(Private, &["::ffff:10.1.2.3", "64:ff9b::192.168.0.1", "2002:c0a8:1::1"]);
        check(
            Metadata,
            &["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "::169.254.169.254"],
        );
        // Teredo: the server's address plain, the client's flipped (127.0.0.1 is 80ff:fffe).
        check(Loopback, &["2001:0:808:808:0:0:80ff:fffe", "2001:0:7f00:1:0:0:f7f7:f7f7"]);
        check(
            Public,
            &["2001:0:808:808:0:0:f7f7:f7f7", "2002:808:808::", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"],
        );
        check(Unspecified, &["::ffff:0.0.0.0"]);
        check(Reserved, &["::8.8.8.8"]);
    }

    #[test]
    fn what_is_permitted_depends_on_what_the_operator_named() {
        use AddressClass::*;
        let all = [Public, Loopback, Private, LinkLocal, Shared, Metadata, Unspecified, Multicast, Reserved];
        let permitted = |allow_private, literal| {
            all.into_iter().filter(|class| permits(*class, allow_private, literal)).collect::<Vec<_>>()
        };
        assert_eq!(permitted(false, false), [Public]);
        assert_eq!(permitted(false, true), [Public]);
        assert_eq!(permitted(true, false), [Public, Loopback, Private, LinkLocal, Shared]);
        assert_eq!(
            permitted(true, true),
            [Public, Loopback, Private, LinkLocal, Shared, Metadata, Unspecified]
        );
    }
}
