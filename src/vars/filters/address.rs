//! Addresses of networks as the `ipaddr` filters see them: an IP address with its prefix, and hardware addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and how many of its bits name the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vars) struct Net {
    /// The address as a number.
    pub ip: u128,
    pub is_v6: bool,
    pub prefix: u32,
}

impl Net {
    /// Returns how many bits an address has.
    pub(in crate::vars) fn width(self) -> u32 {
        if self.is_v6 { 128 } else { 32 }
    }

    /// Returns the network of one address.
    pub(in crate::vars) fn of(ip: u128, is_v6: bool) -> Self {
        Self { ip, is_v6, prefix: if is_v6 { 128 } else { 32 } }
    }

    /// Reads `10.0.0.1`, `10.0.0.1/8`, `10.0.0.1/255.0.0.0` or the same of version 6.
    pub(in crate::vars) fn read(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address = match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(ip) => Self::of(u32::from(ip).into(), false),
            IpAddr::V6(ip) => Self::of(ip.into(), true),
        };
        let Some(prefix) = prefix else { return Some(address) };
        if let Ok(prefix) = prefix.parse::<u32>() {
            return (prefix <= address.width() && !text.ends_with('+')).then_some(Self { prefix, ..address });
        }
        let mask = Self::read(prefix).filter(|mask| mask.is_v6 == address.is_v6 && !prefix.contains('/'))?;
        let all = Self { prefix: 0, ..address }.hostmask();
        // A mask has its ones in front, or, turned over, behind.
        let inverted = all & !mask.ip;
        let prefix = if inverted & inverted.wrapping_add(1) == 0 {
            address.width() - inverted.count_ones()
        } else if mask.ip & mask.ip.wrapping_add(1) == 0 {
            address.width() - mask.ip.count_ones()
        } else {
            return None;
        };
        Some(Self { prefix, ..address })
    }

    pub(in crate::vars) fn hostmask(self) -> u128 {
        match self.width() - self.prefix {
            128 => u128::MAX,
            bits => (1 << bits) - 1,
        }
    }

    pub(in crate::vars) fn netmask(self) -> u128 {
        Self { prefix: 0, ..self }.hostmask() & !self.hostmask()
    }

    pub(in crate::vars) fn first(self) -> u128 {
        self.ip & self.netmask()
    }

    pub(in crate::vars) fn last(self) -> u128 {
        self.ip | self.hostmask()
    }

    /// Returns how many addresses there are, less one.
    pub(in crate::vars) fn more(self) -> u128 {
        self.hostmask()
    }

    /// Whether the address is the network's own.
    pub(in crate::vars) fn is_first(self) -> bool {
        self.ip == self.first()
    }

    /// Returns the broadcast address; networks of one or two addresses have none.
    pub(in crate::vars) fn broadcast(self) -> Option<u128> {
        (self.more() > 1).then(|| self.last())
    }

    /// Returns the first and last address that a host may have; a single address has none.
    pub(in crate::vars) fn usable(self) -> Option<(u128, u128)> {
        match self.more() {
            0 => None,
            1 => Some((self.first(), self.last())),
            _ => Some((self.first() + 1, self.last() - 1)),
        }
    }

    /// Returns the network, without the bits of the host.
    pub(in crate::vars) fn cidr(self) -> Self {
        Self { ip: self.first(), ..self }
    }

    pub(in crate::vars) fn contains(self, other: Self) -> bool {
        self.is_v6 == other.is_v6 && self.first() <= other.first() && other.last() <= self.last()
    }

    /// Writes an address of this version.
    pub(in crate::vars) fn show(self, ip: u128) -> String {
        if self.is_v6 {
            return Ipv6Addr::from(ip).to_string();
        }
        Ipv4Addr::from(u32::try_from(ip).unwrap_or(u32::MAX)).to_string()
    }

    pub(in crate::vars) fn shown_ip(self) -> String {
        self.show(self.ip)
    }

    /// Whether the address is in one of these networks.
    pub(in crate::vars) fn is_in(self, networks: &[&str]) -> bool {
        let own = Self::of(self.ip, self.is_v6);
        networks.iter().filter_map(|network| Self::read(network)).any(|network| network.contains(own))
    }

    pub(in crate::vars) fn is_multicast(self) -> bool {
        ["224.0.0.0/4", "ff00::/8"].iter().filter_map(|network| Self::read(network)).any(|network| network.contains(self))
    }

    /// Whether the address can be reached from everywhere, by IANA's registries of special addresses.
    pub(in crate::vars) fn is_global(self) -> bool {
        !self.is_in(NOT_GLOBAL) || self.is_in(GLOBAL_AFTER_ALL)
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.shown_ip(), self.prefix)
    }
}

const NOT_GLOBAL: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
];

const GLOBAL_AFTER_ALL: &[&str] =
    &["192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", "2001:3::/32", "2001:4:112::/48", "2001:20::/28", "2001:30::/28"];

/// Joins networks that are in, or beside, one another: version 4 first, in order of addresses.
pub(in crate::vars) fn merged(networks: &[Net]) -> Vec<Net> {
    let mut sorted: Vec<Net> = networks.iter().map(|network| network.cidr()).collect();
    sorted.sort_by_key(|network| (network.is_v6, network.ip, network.prefix));
    let mut out: Vec<Net> = Vec::new();
    for network in sorted {
        if out.last().is_some_and(|last| last.contains(network)) {
            continue;
        }
        out.push(network);
        // Two halves become their whole, and that may be a half again.
        while let [.., low, high] = out.as_slice() {
            let whole = Net { prefix: low.prefix.saturating_sub(1), ..*low };
            let halves = low.prefix == high.prefix && low.prefix > 0 && low.ip != high.ip && whole.contains(*high) && whole.is_first();
            if !halves {
                break;
            }
            out.truncate(out.len() - 2);
            out.push(whole);
        }
    }
    out
}

/// Returns the smallest network that has all of these in it; `None` for different versions.
pub(in crate::vars) fn spanning(networks: &[Net]) -> Option<Net> {
    let low = networks.iter().min_by_key(|network| network.first())?;
    let high = networks.iter().map(|network| network.last()).max()?;
    if networks.iter().any(|network| network.is_v6 != low.is_v6) {
        return None;
    }
    let differing = 128 - (low.first() ^ high).leading_zeros();
    Some(Net { prefix: low.width() - differing, ..*low }.cidr())
}

/// A hardware address of six bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vars) struct Mac(pub [u8; 6]);

impl Mac {
    /// Reads `1a:2b:3c:4d:5e:6f`, and the same with `-`, as three groups of four (`.`, `:` or `-`), two of six, or without any mark.
    pub(in crate::vars) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let groups: Vec<&str> = text.split([':', '-', '.']).collect();
        let widest = match groups.len() {
            6 if !text.contains('.') => 2,
            3 => 4,
            2 if !text.contains('.') => 6,
            1 if text.len() >= 11 => 12,
            _ => return None,
        };
        let fits = |group: &&str| !group.is_empty() && group.len() <= widest && group.chars().all(|c| c.is_ascii_hexdigit());
        if !groups.iter().all(fits) {
            return None;
        }
        let digits: String = groups.iter().map(|group| format!("{group:0>widest$}")).collect();
        let number = u64::from_str_radix(&digits, 16).ok()?;
        let [_, _, bytes @ ..] = number.to_be_bytes();
        Some(Self(bytes))
    }

    /// Writes groups of so many bytes with a mark between them.
    pub(in crate::vars) fn grouped(self, bytes: usize, mark: &str) -> String {
        let groups = self.0.chunks(bytes).map(|chunk| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        groups.collect::<Vec<_>>().join(mark)
    }

    pub(in crate::vars) fn number(self) -> i64 {
        self.0.iter().fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }

    /// Returns the part of an IPv6 address that the card gives itself.
    pub(in crate::vars) fn interface(self) -> u128 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]).into()
    }
}
