//! Whose request it is when proxies stand in between: the address of the client, as far as it can be believed.
//!
//! Each proxy adds whom it got the request from at the end of `Forwarded` (RFC 7239) or `X-Forwarded-For`. What a proxy
//! of ours has added is true; what stands left of that was sent by whoever it names. So the way is gone from the right,
//! from the peer on, as long as the address reached is a trusted proxy; the first that is not is the client. Where an
//! entry is missing, malformed, `unknown` or obfuscated, the way ends at the last address that is known.
//!
//! A proxy should write one of the two fields and drop or overwrite the other, which else passes as the client sent it.
//! The host cannot know which that is: `Forwarded` counts where both are there and agree; where they name different
//! clients, neither is believed, and the request counts for the proxy. So nobody evades a limit by sending the other
//! field.

mod forwarded;
mod trusted_proxies;

pub use trusted_proxies::{TRUSTED_PROXIES_MAX, TrustedProxies, TrustedProxyError};

use std::net::{IpAddr, SocketAddr};

/// The most proxies that are followed from the right; further left nothing is believed.
pub const FORWARDED_HOPS_MAX: usize = 32;

/// An address that a proxy reports; none where it says nothing that can be used.
type Hop = Option<IpAddr>;

/// The address of the client: that of `peer`, unless it is a trusted proxy that names another. IPv4 addresses that are
/// written as IPv6 ones come out as IPv4.
///
/// `forwarded` and `x_forwarded_for` are the values of all fields of these names, in the order of the message. They are
/// looked at only if `peer` is trusted.
pub fn client_address<'a>(
    peer: SocketAddr,
    forwarded: impl Iterator<Item = &'a [u8]>,
    x_forwarded_for: impl Iterator<Item = &'a [u8]>,
    trusted: &TrustedProxies,
) -> IpAddr {
    let peer = peer.ip().to_canonical();
    if !trusted.contains(peer) {
        return peer;
    }
    let mut standard = LastHops::default();
    forwarded.for_each(|line| forwarded::elements(line, |hop| standard.push(hop)));
    let mut customary = LastHops::default();
    x_forwarded_for.for_each(|line| forwarded::addresses(line, |hop| customary.push(hop)));
    match (standard.is_empty(), customary.is_empty()) {
        (true, _) => customary.client(peer, trusted),
        (false, true) => standard.client(peer, trusted),
        (false, false) => {
            let client = standard.client(peer, trusted);
            if client == customary.client(peer, trusted) { client } else { peer }
        }
    }
}

/// The last hops of a way, as many as are followed. On the stack, since most requests have one.
#[derive(Default)]
struct LastHops {
    hops: [Hop; FORWARDED_HOPS_MAX],
    /// How many there were in all.
    count: usize,
}

impl LastHops {
    fn push(&mut self, hop: Hop) {
        if let Some(place) = self.hops.get_mut(self.count % FORWARDED_HOPS_MAX) {
            *place = hop;
        }
        self.count += 1;
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Goes from the peer to the left until an address is not a proxy's, or is not known.
    fn client(&self, peer: IpAddr, trusted: &TrustedProxies) -> IpAddr {
        let first = self.count.saturating_sub(FORWARDED_HOPS_MAX);
        let mut known = peer;
        for index in (first..self.count).rev() {
            let hop = self.hops.get(index % FORWARDED_HOPS_MAX).copied().flatten();
            match hop {
                Some(address) if trusted.contains(known) => known = address.to_canonical(),
                _ => break,
            }
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::parse(["10.0.0.0/8", "2001:db8:ffff::/48"]).unwrap()
    }

    fn address(peer: &str, forwarded: &[&str], x_forwarded_for: &[&str], trusted: &TrustedProxies) -> String {
        let peer: IpAddr = peer.parse().unwrap();
        let forwarded = forwarded.iter().map(|line| line.as_bytes());
        let x_forwarded_for = x_forwarded_for.iter().map(|line| line.as_bytes());
        client_address(SocketAddr::new(peer, 4711), forwarded, x_forwarded_for, trusted).to_string()
    }

    #[test]
    fn forwarded_is_followed_from_the_right_as_far_as_it_is_trusted() {
        let check = |lines: &[&str], expected| {
            assert_eq!(address("10.0.0.1", lines, &[], &trusted()), expected, "{lines:?}");
        };
        check(&[], "10.0.0.1");
        check(&["for=192.0.2.60"], "192.0.2.60");
        check(&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60");
        check(&["For=\"192.0.2.60:4711\""], "192.0.2.60");
        check(&["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17");
        check(&["for=\"[2001:db8:cafe::17]\""], "2001:db8:cafe::17");
        check(&["for=\"[::ffff:192.0.2.60]\""], "192.0.2.60");
        check(&["proto=https;FOR=192.0.2.60"], "192.0.2.60");
        check(&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17");
        check(&["for=192.0.2.43", "for=198.51.100.17"], "198.51.100.17");
        check(&["for=192.0.2.43, for=10.1.1.1"], "192.0.2.43");
        check(&["for=192.0.2.43,for=10.1.1.1,for=10.2.2.2"], "192.0.2.43");
        check(&["for=203.0.113.9, for=192.0.2.43, for=10.1.1.1"], "192.0.2.43");
        check(&["for=192.0.2.43, for=\"[2001:db8:ffff::1]\""], "192.0.2.43");
        check(&["for=10.3.3.3, for=10.2.2.2"], "10.3.3.3");
        check(&[", ,for=192.0.2.43, ,"], "192.0.2.43");
        // Nobody knows what is left of these.
        check(&["for=192.0.2.43, for=unknown"], "10.0.0.1");
        check(&["for=192.0.2.43, for=_hidden, for=10.2.2.2"], "10.2.2.2");
        check(&["for=192.0.2.43, proto=http"], "10.0.0.1");
        check(&["for=192.0.2.43, for=, for=10.2.2.2"], "10.2.2.2");
        check(&["for=192.0.2.43, for=\"\""], "10.0.0.1");
        check(&["for=192.0.2.43, for=192.0.2.999"], "10.0.0.1");
        check(&["for=192.0.2.43;for=192.0.2.44"], "10.0.0.1");
        check(&["garbage"], "10.0.0.1");
    }

    #[test]
    fn x_forwarded_for_is_followed_likewise() {
        let check = |lines: &[&str], expected| {
            assert_eq!(address("10.0.0.1", &[], lines, &trusted()), expected, "{lines:?}");
        };
        check(&["192.0.2.60"], "192.0.2.60");
        check(&[" 192.0.2.60 ,\t10.2.2.2 "], "192.0.2.60");
        check(&["203.0.113.9, 192.0.2.60", "10.2.2.2"], "192.0.2.60");
        check(&["2001:db8::1"], "2001:db8::1");
        check(&["[2001:db8::1]:80"], "2001:db8::1");
        check(&["192.0.2.60:80"], "192.0.2.60");
        check(&["192.0.2.60, nonsense, 10.2.2.2"], "10.2.2.2");
        check(&["192.0.2.60, fe80::1%eth0"], "10.0.0.1");
        check(&["192.0.2.60:, 192.0.2.61:x"], "10.0.0.1");
        check(&[""], "10.0.0.1");
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        let lines = ["for=10.0.0.7"];
        assert_eq!(address("192.0.2.1", &lines, &["10.0.0.7"], &trusted()), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &lines, &["10.0.0.7"], &TrustedProxies::default()), "10.0.0.1");
        assert_eq!(address("::ffff:10.0.0.1", &["for=192.0.2.1"], &[], &trusted()), "192.0.2.1");
        assert_eq!(address("::ffff:192.0.2.1", &["for=192.0.2.2"], &[], &trusted()), "192.0.2.1");
    }

    #[test]
    fn two_fields_that_contradict_each_other_are_not_believed() {
        let check = |forwarded: &str, x_forwarded_for: &str, expected| {
            assert_eq!(address("10.0.0.1", &[forwarded], &[x_forwarded_for], &trusted()), expected);
        };
        check("for=192.0.2.1", "192.0.2.1", "192.0.2.1");
        check("for=192.0.2.1", "203.0.113.5, 192.0.2.1, 10.2.2.2", "192.0.2.1");
        check("for=203.0.113.5", "192.0.2.1", "10.0.0.1");
        check("nonsense", "192.0.2.1", "10.0.0.1");
        check("", "192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn a_quote_that_a_client_leaves_open_cannot_hide_what_a_proxy_adds() {
        let check = |sent: &str, added: &str| {
            let line = format!("{sent}, {added}");
            let found = address("10.0.0.1", &[&line], &[], &trusted());
            assert!(["10.0.0.1", "192.0.2.1", "2001:db8::1"].contains(&&*found), "{line}: {found}");
        };
        for sent in
            ["for=203.0.113.5;by=\"", "for=203.0.113.5, for=\"", "for=203.0.113.5;by=\"\\", "\"", "\\"]
        {
            for added in ["for=192.0.2.1", "for=\"192.0.2.1\"", "for=\"[2001:db8::1]:80\";proto=\"https\""] {
                check(sent, added);
            }
        }
    }

    #[test]
    fn only_so_many_hops_are_followed() {
        let way = |proxies: usize| format!("192.0.2.1{}", ", 10.9.9.9".repeat(proxies));
        let client = |proxies| address("10.0.0.1", &[], &[&way(proxies)], &trusted());
        assert_eq!(client(FORWARDED_HOPS_MAX - 1), "192.0.2.1");
        assert_eq!(client(FORWARDED_HOPS_MAX), "10.9.9.9");
        assert_eq!(client(10_000), "10.9.9.9");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_without_proxies_the_peer_is_the_client(
            forwarded in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..4),
            text in proptest::collection::vec("[for=;,\"\\\\ :\\[\\]0-9a-f._]{0,60}", 0..4),
        ) {
            let peer: SocketAddr = "10.0.0.1:80".parse().unwrap();
            let lines = || forwarded.iter().map(Vec::as_slice).chain(text.iter().map(String::as_bytes));
            let _ = client_address(peer, lines(), lines(), &trusted());
            prop_assert_eq!(client_address(peer, lines(), lines(), &TrustedProxies::default()), peer.ip());
        }

        #[test]
        fn what_a_trusted_proxy_adds_decides_whatever_was_sent(
            sent in proptest::collection::vec("[for=;,\"\\\\ :\\[\\]0-9a-f._]{0,60}", 0..4),
            last in any::<[u8; 4]>(),
        ) {
            let added = IpAddr::from(last);
            prop_assume!(!trusted().contains(added));
            let peer: SocketAddr = "10.0.0.1:80".parse().unwrap();
            let (forwarded, customary) = (format!("for={added}"), added.to_string());
            let with = |line: &'_ str| -> Vec<Vec<u8>> {
                sent.iter().map(String::as_str).chain([line]).map(|line| line.as_bytes().to_vec()).collect()
            };
            let (forwarded, customary) = (with(&forwarded), with(&customary));
            let none = || std::iter::empty::<&[u8]>();
            let lines = forwarded.iter().map(Vec::as_slice);
            prop_assert_eq!(client_address(peer, lines, none(), &trusted()), added);
            let lines = customary.iter().map(Vec::as_slice);
            prop_assert_eq!(client_address(peer, none(), lines, &trusted()), added);
        }
    }
}
