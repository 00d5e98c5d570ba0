//! Facts about interfaces, addresses and default routes.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Facts;
use crate::value::{Map, Value};

/// An IPv4 address of an interface.
#[derive(Clone, Debug, PartialEq)]
struct Address {
    interface: String,
    address: Ipv4Addr,
    broadcast: String,
    prefix: u32,
}

impl Address {
    /// Reads a line of `ip -o -4 addr`.
    fn of(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let after = |name: &str| words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
        let interface = words.get(1)?.split('@').next()?.to_owned();
        let (address, prefix) = after("inet")?.split_once('/').unwrap_or((after("inet")?, "32"));
        let broadcast = after("brd").map_or_else(String::new, |text| (*text).to_owned());
        Some(Self { interface, address: address.parse().ok()?, broadcast, prefix: prefix.parse().ok()? })
    }

    fn netmask(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix)).unwrap_or(0))
    }

    fn entries(&self) -> Map {
        let netmask = self.netmask();
        let network = Ipv4Addr::from(u32::from(self.address) & u32::from(netmask));
        [
            ("address", self.address.to_string()),
            ("broadcast", self.broadcast.clone()),
            ("netmask", netmask.to_string()),
            ("network", network.to_string()),
            ("prefix", self.prefix.to_string()),
        ]
        .into_iter()
        .map(|(name, text)| (name.into(), text.into()))
        .collect()
    }
}

/// An IPv6 address of an interface.
#[derive(Clone, Debug, PartialEq)]
struct Address6 {
    interface: String,
    address: Ipv6Addr,
    prefix: u8,
    scope: &'static str,
}

impl Address6 {
    /// Reads a line of `/proc/net/if_inet6`.
    fn of(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [address, _, prefix, scope, _, interface] = words[..] else { return None };
        let scope = match u8::from_str_radix(scope, 16).ok()? & 0xf0 {
            0x10 => "host",
            0x20 => "link",
            0x40 => "site",
            _ => "global",
        };
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        Some(Self { interface: interface.to_owned(), address, prefix: u8::from_str_radix(prefix, 16).ok()?, scope })
    }

    fn entries(&self) -> Map {
        [("address", self.address.to_string()), ("prefix", self.prefix.to_string()), ("scope", self.scope.to_owned())]
            .into_iter()
            .map(|(name, text)| (name.into(), text.into()))
            .collect()
    }
}

/// Returns interface and gateway of the best default route in `/proc/net/route`.
fn default_route(text: &str) -> Option<(String, Ipv4Addr)> {
    let route = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [interface, "00000000", gateway, _, _, _, metric, "00000000", ..] = words[..] else { return None };
        let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.swap_bytes());
        Some((metric.parse::<u64>().ok()?, interface.to_owned(), gateway))
    };
    text.lines().skip(1).filter_map(route).min_by_key(|(metric, ..)| *metric).map(|(_, interface, gateway)| (interface, gateway))
}

/// Returns interface and gateway of the best default route in `/proc/net/ipv6_route`.
fn default_route6(text: &str) -> Option<(String, Ipv6Addr)> {
    let route = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [target, "00", _, _, gateway, metric, _, _, _, interface] = words[..] else { return None };
        let gateway = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
        let fits = target.bytes().all(|byte| byte == b'0') && !gateway.is_unspecified();
        fits.then(|| (u64::from_str_radix(metric, 16).unwrap_or(u64::MAX), interface.to_owned(), gateway))
    };
    text.lines().filter_map(route).min_by_key(|(metric, ..)| *metric).map(|(_, interface, gateway)| (interface, gateway))
}

/// Returns an interface's own facts, without addresses.
fn interface(facts: &Facts, name: &str) -> Map {
    let folder = format!("/sys/class/net/{name}");
    let read = |file: &str| facts.text(format!("{folder}/{file}")).filter(|text| !text.is_empty());
    let mut entry = Map::new();
    entry.insert("device".into(), name.into());
    if let Some(address) = read("address").filter(|text| text != "00:00:00:00:00:00") {
        entry.insert("macaddress".into(), address.into());
    }
    if let Some(mtu) = read("mtu").and_then(|text| text.parse::<i64>().ok()) {
        entry.insert("mtu".into(), mtu.into());
    }
    entry.insert("active".into(), read("operstate").is_some_and(|text| text != "down").into());
    if let Some(module) = facts.link_name(format!("{folder}/device/driver/module")) {
        entry.insert("module".into(), module.into());
    }
    if let Some(device) = facts.link_name(format!("{folder}/device")) {
        entry.insert("pciid".into(), device.into());
    }
    let mut kind = match read("type").as_deref() {
        Some("1") => "ether",
        Some("32") => "infiniband",
        Some("512") => "ppp",
        Some("772") => "loopback",
        Some("65534") => "tunnel",
        _ => "unknown",
    };
    if facts.exists(&format!("{folder}/bridge")) {
        kind = "bridge";
        entry.insert("interfaces".into(), facts.list(format!("{folder}/brif")).into());
        entry.insert("stp".into(), (read("bridge/stp_state").as_deref() == Some("1")).into());
    }
    if facts.exists(&format!("{folder}/bonding")) {
        kind = "bonding";
        let slaves = read("bonding/slaves").unwrap_or_default();
        entry.insert("slaves".into(), slaves.split_whitespace().map(Value::str).collect::<Vec<_>>().into());
        let mode = read("bonding/mode").unwrap_or_default();
        entry.insert("mode".into(), mode.split_whitespace().next().unwrap_or_default().into());
    }
    entry.insert("type".into(), kind.into());
    if let Some(speed) = read("speed").and_then(|text| text.parse::<i64>().ok()) {
        entry.insert("speed".into(), speed.into());
    }
    let flags = read("flags").and_then(|text| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()).unwrap_or(0);
    entry.insert("promisc".into(), (flags & 0x100 != 0).into());
    entry
}

pub(super) fn gather(facts: &mut Facts) {
    let names = facts.list("/sys/class/net");
    let names: Vec<_> = names.into_iter().filter(|name| facts.exists(&format!("/sys/class/net/{name}/mtu"))).collect();
    let answer = facts.query(&["ip", "-o", "-4", "addr", "show"]).unwrap_or_default();
    let v4: Vec<_> = answer.lines().filter_map(Address::of).collect();
    let mut v6: Vec<_> = facts.text("/proc/net/if_inet6").unwrap_or_default().lines().filter_map(Address6::of).collect();
    v6.sort_by_key(|address| address.scope != "global");
    for name in &names {
        let mut entry = interface(facts, name);
        let mut own = v4.iter().filter(|address| address.interface == *name).map(|address| Value::from(address.entries()));
        if let Some(first) = own.next() {
            entry.insert("ipv4".into(), first);
        }
        let others: Vec<_> = own.collect();
        if !others.is_empty() {
            entry.insert("ipv4_secondaries".into(), others.into());
        }
        let own: Vec<_> = v6.iter().filter(|address| address.interface == *name).map(Address6::entries).collect();
        if !own.is_empty() {
            entry.insert("ipv6".into(), own.into());
        }
        facts.set(&name.replace(['-', ':'], "_"), entry);
    }
    facts.set("interfaces", names);
    let all: Vec<_> = v4.iter().filter(|address| !address.address.is_loopback()).map(|address| address.address.to_string()).collect();
    facts.set("all_ipv4_addresses", all);
    let all: Vec<_> = v6.iter().filter(|address| !address.address.is_loopback()).map(|address| address.address.to_string()).collect();
    facts.set("all_ipv6_addresses", all);

    let route = default_route(&facts.text("/proc/net/route").unwrap_or_default());
    let default = route.map(|(name, gateway)| {
        let mut entry = v4.iter().find(|address| address.interface == name).map(Address::entries).unwrap_or_default();
        entry.insert("alias".into(), name.as_str().into());
        with_interface(facts, entry, &name, &gateway.to_string())
    });
    facts.set("default_ipv4", default.unwrap_or_default());
    let route = default_route6(&facts.text("/proc/net/ipv6_route").unwrap_or_default());
    let default = route.map(|(name, gateway)| {
        let own = v6.iter().find(|address| address.interface == name && address.scope == "global");
        with_interface(facts, own.map(Address6::entries).unwrap_or_default(), &name, &gateway.to_string())
    });
    facts.set("default_ipv6", default.unwrap_or_default());
}

/// Adds what a default route has besides the address.
fn with_interface(facts: &Facts, mut entry: Map, name: &str, gateway: &str) -> Map {
    entry.insert("gateway".into(), gateway.into());
    entry.insert("interface".into(), name.into());
    let own = interface(facts, name);
    for part in ["macaddress", "mtu", "type"] {
        if let Some(value) = own.get(part) {
            entry.insert(part.into(), value.clone());
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_network() {
        let line = "2: eth0@if7    inet 192.0.2.130/25 brd 192.0.2.255 scope global eth0\\       valid_lft forever preferred_lft forever";
        let address = Address::of(line).expect("address");
        assert_eq!(address.interface, "eth0");
        let shown = Value::from(address.entries()).to_string();
        assert_eq!(
            shown,
            "{'address': '192.0.2.130', 'broadcast': '192.0.2.255', 'netmask': '255.255.255.128', 'network': '192.0.2.128', 'prefix': '25'}"
        );
    }

    #[test]
    fn the_default_route_with_the_lowest_metric_counts() {
        let text = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                    wlan0 00000000 0101A8C0 0003 0 0 600 00000000 0 0 0\n\
                    eth0 00000000 010200C0 0003 0 0 100 00000000 0 0 0\n\
                    eth0 000200C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n";
        assert_eq!(default_route(text), Some(("eth0".to_owned(), Ipv4Addr::new(192, 0, 2, 1))));
    }

    #[test]
    fn ipv6_comes_from_proc() {
        let address = Address6::of("fe8000000000000000fc00fffe000001 02 40 20 80     eth0").expect("address");
        assert_eq!((address.address.to_string().as_str(), address.prefix, address.scope), ("fe80::fc:ff:fe00:1", 64, "link"));
        let zero = "0".repeat(32);
        let route = format!("{zero} 00 {zero} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n");
        assert_eq!(default_route6(&route).map(|(name, _)| name).as_deref(), Some("eth0"));
    }
}
