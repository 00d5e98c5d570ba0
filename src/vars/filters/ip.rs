//! Filters of IP and hardware addresses: what `ansible.utils` has of them.

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};
use crate::vars::template::operators::plain_truth;

use super::address::{Mac, Net, merged, spanning};
use super::{Call, Filter, items_of, known};

pub(super) const FILTERS: &[Filter] = &[
    known("ipaddr", |call| filtered(call, None)),
    known("ipv4", |call| filtered(call, Some(false))),
    known("ipv6", |call| filtered(call, Some(true))),
    known("ipwrap", ipwrap),
    known("ipsubnet", ipsubnet),
    known("ipmath", ipmath),
    known("nthhost", nthhost),
    known("next_nth_usable", |call| nth_usable(call, 1)),
    known("previous_nth_usable", |call| nth_usable(call, -1)),
    known("network_in_network", |call| in_range(call, |network| Some((network.first(), end(network))))),
    known("network_in_usable", |call| in_range(call, |network| Some(network.usable().unwrap_or((network.ip, network.ip))))),
    known("reduce_on_network", reduce_on_network),
    known("cidr_merge", cidr_merge),
    known("hwaddr", hwaddr),
    known("macaddr", hwaddr),
    known("slaac", slaac),
    known("ip4_hex", ip4_hex),
];

/// An address as it was given.
struct Given {
    net: Net,
    /// Whether it was given with a prefix.
    with_prefix: bool,
    text: String,
}

/// Reads an address: a text, or the number of one.
fn given(value: &Value, wanted: Option<bool>) -> Option<Given> {
    let text = match value {
        Value::Str(text) if !text.is_empty() => text.to_string(),
        Value::Int(number) if *number != 0 => number.to_string(),
        _ => return None,
    };
    let number = |text: &str| (!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())).then(|| text.parse::<u128>().ok()).flatten();
    if let Some(ip) = number(&text) {
        let net = Net::of(ip, wanted == Some(true) || ip > u128::from(u32::MAX));
        return Some(Given { net, with_prefix: false, text: net.to_string() });
    }
    if let Some(net) = Net::read(&text) {
        return Some(Given { net, with_prefix: text.contains('/'), text });
    }
    let (ip, prefix) = text.split_once('/')?;
    let (ip, prefix) = (number(ip)?, prefix.parse::<u32>().ok()?);
    let net = Net { prefix, ..Net::of(ip, ip > u128::from(u32::MAX) || prefix > 32) };
    (prefix <= net.width()).then(|| Given { net, with_prefix: true, text: net.to_string() })
}

fn filtered(call: &mut Call<'_, '_>, wanted: Option<bool>) -> Outcome<Value> {
    let query = call.text_or(0, "query", "")?;
    match &call.subject {
        Value::List(items) => {
            let found = items.iter().map(|item| ask(item, &query, wanted)).collect::<Outcome<Vec<_>>>()?;
            Ok(Value::list(found.into_iter().filter(plain_truth)))
        }
        Value::Str(_) | Value::Int(_) | Value::Bool(_) => ask(&call.subject, &query, wanted),
        other => fail(format!("the filter `{}` takes an address or a list of them, not {}", call.name, other.type_name())),
    }
}

/// Answers one query; `false` for what is no address, or none of the version that is wanted.
fn ask(value: &Value, query: &str, wanted: Option<bool>) -> Outcome<Value> {
    let no = Ok(Value::Bool(false));
    let Some(given) = given(value, wanted) else { return no };
    if wanted.is_some_and(|v6| given.net.is_v6 != v6) {
        return no;
    }
    let net = given.net;
    match text_of(net, query) {
        Some(answer) => return Ok(answer.map_or(Value::Null, Value::from)),
        None if ["bool", "prefix", "version", "size", "size_usable", "int"].contains(&query) => return Ok(number_of(&given, query)),
        None => {}
    }
    if let Some(holds) = kind_of(net, query) {
        return Ok(if holds { Value::from(given.text) } else { Value::Null });
    }
    match query {
        "" if !given.with_prefix => Ok(Value::from(net.shown_ip())),
        "" => Ok(Value::from(net.to_string())),
        "address/prefix" | "gateway" | "gw" | "host/prefix" | "hostnet" | "router" => {
            let of_network = net.more() > 1 && (net.is_first() || Some(net.ip) == net.broadcast());
            if of_network { no } else { Ok(Value::from(net.to_string())) }
        }
        "ipv4" | "v4" if net.is_v6 => {
            let mapped = net.ip >> 32 == 0xffff;
            let fits = (mapped || net.ip >> 32 == 0) && net.prefix >= 96;
            if fits { Ok(Value::from(Net { ip: net.ip & 0xffff_ffff, is_v6: false, prefix: net.prefix - 96 }.to_string())) } else { no }
        }
        "ipv6" | "v6" if !net.is_v6 => Ok(Value::from(Net { ip: net.ip | 0xffff << 32, is_v6: true, prefix: net.prefix + 96 }.to_string())),
        "ipv4" | "v4" | "ipv6" | "v6" => Ok(Value::from(given.text)),
        "6to4" => Ok(six_to_four(&given).map_or(Value::Bool(false), Value::from)),
        "wrap" => Ok(Value::from(wrapped(&given))),
        "first_usable" | "last_usable" | "next_usable" | "previous_usable" | "range_usable" | "peer" => usable(&given, query),
        _ => match Net::read(query) {
            Some(network) if network.contains(net) => Ok(Value::from(given.text)),
            Some(_) => Ok(Value::Null),
            None => nth(&given, query),
        },
    }
}

/// Answers queries that give a text, or nothing for what has no such part.
fn text_of(net: Net, query: &str) -> Option<Option<String>> {
    let inside = net.more() > 0 && (net.more() == 1 || !net.is_first());
    let show = |ip: u128| net.show(ip);
    Some(match query {
        "address" | "ip" => (net.more() == 0 || !net.is_first() || net.broadcast().is_none() || net.is_v6).then(|| net.shown_ip()),
        "broadcast" => net.broadcast().map(show),
        "cidr" => Some(net.to_string()),
        "host" => (net.more() == 0 || !net.is_first() || net.broadcast().is_none()).then(|| net.to_string()),
        "hostmask" | "wildcard" => Some(show(net.hostmask())),
        "ip/prefix" => inside.then(|| net.to_string()),
        "ip_netmask" => inside.then(|| format!("{} {}", net.shown_ip(), show(net.netmask()))),
        "net" => (net.more() > 0 && net.is_first()).then(|| net.to_string()),
        "netmask" => Some(show(net.netmask())),
        "network" | "network_id" => Some(show(net.first())),
        "network/prefix" | "subnet" => Some(net.cidr().to_string()),
        "network_netmask" => Some(format!("{} {}", show(net.first()), show(net.netmask()))),
        "network_wildcard" => Some(format!("{} {}", show(net.first()), show(net.hostmask()))),
        "revdns" => Some(reverse_name(net)),
        "type" => Some(if net.more() > 0 && net.is_first() { "network" } else { "address" }.to_owned()),
        _ => return None,
    })
}

/// Answers queries that give a number; one of more than 64 bits is a text.
fn number_of(given: &Given, query: &str) -> Value {
    let net = given.net;
    let number = |number: u128| i64::try_from(number).map_or_else(|_| Value::from(number.to_string()), Value::Int);
    match query {
        "bool" => Value::Bool(true),
        "prefix" => Value::Int(net.prefix.into()),
        "version" => Value::Int(if net.is_v6 { 6 } else { 4 }),
        "int" if given.with_prefix => Value::from(format!("{}/{}", net.ip, net.prefix)),
        "int" => number(net.ip),
        "size" if net.more() == u128::MAX => Value::str("340282366920938463463374607431768211456"),
        "size" => number(net.more() + 1),
        _ => match net.more() {
            0 => Value::Int(0),
            1 => Value::Int(2),
            more => number(more - 1),
        },
    }
}

/// Whether the address is of a kind; `None` when the query asks for no kind.
fn kind_of(net: Net, query: &str) -> Option<bool> {
    Some(match query {
        "link-local" => net.is_in(&["169.254.0.0/16", "fe80::/10"]),
        "lo" | "loopback" => net.is_in(&["127.0.0.0/8", "::1/128"]),
        "multicast" => net.is_multicast(),
        "unicast" => !net.is_multicast(),
        "private" => !net.is_global(),
        "public" => {
            let all = Net { prefix: 0, ..net }.hostmask();
            let is_mask = |bits: u128| bits & bits.wrapping_add(1) == 0;
            net.is_global() && !Net::of(net.ip, net.is_v6).is_multicast() && !is_mask(net.ip) && !is_mask(all & !net.ip)
        }
        _ => return None,
    })
}

fn reverse_name(net: Net) -> String {
    if net.is_v6 {
        let digits: Vec<String> = format!("{:032x}", net.ip).chars().rev().map(String::from).collect();
        return format!("{}.ip6.arpa.", digits.join("."));
    }
    let octets: Vec<_> = net.shown_ip().split('.').rev().map(str::to_owned).collect();
    format!("{}.in-addr.arpa.", octets.join("."))
}

fn six_to_four(given: &Given) -> Option<String> {
    let net = given.net;
    if !net.is_v6 {
        let host = net.more() == 0 || !net.is_first();
        return host.then(|| format!("2002:{:04x}:{:04x}::1/48", net.ip >> 16, net.ip & 0xffff));
    }
    let asked = if given.with_prefix { !net.is_first() } else { true };
    (asked && net.is_in(&["2002::/16"])).then(|| given.text.clone())
}

fn wrapped(given: &Given) -> String {
    match (given.net.is_v6, given.with_prefix) {
        (false, _) => given.text.clone(),
        (true, false) => format!("[{}]", given.net.shown_ip()),
        (true, true) => format!("[{}]/{}", given.net.shown_ip(), given.net.prefix),
    }
}

fn usable(given: &Given, query: &str) -> Outcome<Value> {
    let net = given.net;
    if !given.with_prefix {
        return fail(format!("`{}` has no prefix, so it has no `{query}`", given.text));
    }
    let text = |ip: u128| Ok(Value::from(net.show(ip)));
    if query == "peer" {
        return match (net.more(), net.ip % 4) {
            (1, _) => text(net.ip ^ 1),
            (3, 0) => fail("the network address of a /30 has no peer"),
            (3, 3) => fail("the broadcast address of a /30 has no peer"),
            (3, _) => text(net.ip ^ 3),
            _ => fail(format!("`{}` is no point-to-point network", given.text)),
        };
    }
    let Some((first, last)) = net.usable() else { return Ok(Value::Null) };
    let among = |ip: Option<u128>| ip.filter(|ip| (first..=last).contains(ip)).map_or(Ok(Value::Null), text);
    match query {
        "first_usable" => text(first),
        "last_usable" => text(last),
        "next_usable" => among(net.ip.checked_add(1)),
        "previous_usable" => among(net.ip.checked_sub(1)),
        _ => Ok(Value::from(format!("{}-{}", net.show(first), net.show(last)))),
    }
}

/// Returns the address at a position of a network, negative ones counted from its end.
fn at(net: Net, index: i128) -> Option<u128> {
    let distance = index.unsigned_abs();
    if index < 0 {
        return net.last().checked_sub(distance - 1).filter(|ip| *ip >= net.first());
    }
    net.first().checked_add(distance).filter(|ip| *ip <= net.last())
}

fn nth(given: &Given, query: &str) -> Outcome<Value> {
    let net = given.net;
    if query.trim().parse::<f64>().is_err() {
        return fail(format!("`{query}` is no query of an address"));
    }
    if net.more() == 0 {
        return Ok(Value::from(if given.with_prefix { net.to_string() } else { net.shown_ip() }));
    }
    let found = query.trim().parse().ok().and_then(|index| at(net, index));
    Ok(found.map_or(Value::Bool(false), |ip| Value::from(Net { ip, ..net }.to_string())))
}

fn ipwrap(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let wrap = |value: &Value| given(value, None).map_or_else(|| value.clone(), |given| Value::from(wrapped(&given)));
    match &call.subject {
        Value::List(items) => Ok(Value::list(items.iter().map(wrap))),
        value @ (Value::Str(_) | Value::Bool(_)) => Ok(match given(value, None) {
            Some(given) if !given.net.is_v6 && given.with_prefix => Value::from(given.net.to_string()),
            _ => wrap(value),
        }),
        other => fail(format!("`ipwrap` takes an address or a list of them, not {}", other.type_name())),
    }
}

fn ipsubnet(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let query = call.text_or(0, "query", "")?;
    let index = call.int(1, "index")?;
    let no = Ok(Value::Bool(false));
    let Some(given) = given(&call.subject, None) else { return no };
    let net = given.net.cidr();
    if query.is_empty() {
        return Ok(Value::from(net.to_string()));
    }
    let Ok(prefix) = query.parse::<u32>() else { return rank(net, &query) };
    if prefix > net.width() {
        return no;
    }
    let network = |prefix: u32| Ok(Value::from(Net { prefix, ..net }.cidr().to_string()));
    let bits = net.width() - prefix;
    let index = index.map(i128::from);
    if net.more() == 0 {
        // Of one address: the networks around it, the largest first.
        let index = index.unwrap_or(0);
        if index > i128::from(net.width()) + 1 - index || index < i128::from(prefix) - i128::from(net.width()) {
            return no;
        }
        let place = if index < 0 { index + i128::from(bits) } else { index };
        return match u32::try_from(place).ok().filter(|place| *place < bits) {
            Some(place) => network(prefix + place),
            None => fail(format!("there is no such network around `{net}`")),
        };
    }
    let Some(more_bits) = prefix.checked_sub(net.prefix) else {
        return if index.is_some() { no } else { fail(format!("`{net}` is too small for a subnet /{prefix}")) };
    };
    let count = 1_u128.checked_shl(more_bits);
    let Some(index) = index else {
        return Ok(Value::from(count.map_or_else(|| "340282366920938463463374607431768211456".to_owned(), |count| count.to_string())));
    };
    let place = if index < 0 { count.and_then(|count| count.checked_sub(index.unsigned_abs())) } else { u128::try_from(index).ok() };
    match place.filter(|place| count.is_none_or(|count| *place < count)) {
        Some(place) => Ok(Value::from(Net { ip: net.ip + place.checked_shl(bits).unwrap_or(0), prefix, ..net }.to_string())),
        None => no,
    }
}

/// Returns which of its size a network is within a larger one, from 1.
fn rank(net: Net, within: &str) -> Outcome<Value> {
    let Some(outer) = given(&Value::str(within), None) else {
        return fail(format!("`ipsubnet` takes a size, a network or an address, not `{within}`"));
    };
    let outer = outer.net;
    if !outer.contains(net) {
        return fail(format!("`{net}` is not in `{}`", outer.cidr()));
    }
    let place = (net.ip - outer.first()).checked_shr(net.width() - net.prefix).unwrap_or(0);
    Ok(Value::from((place + 1).to_string()))
}

fn ipmath(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let amount = call.needed(0, "amount")?;
    let text = call.subject_text()?;
    let Some(net) = Net::read(&text) else { return fail(format!("`ipmath` takes an address, not `{text}`")) };
    let Some(amount) = amount.number().and_then(|number| {
        Value::as_int(&match number {
            crate::value::Number::Int(number) => Value::Int(number),
            crate::value::Number::Float(_) => Value::Null,
        })
    }) else {
        return fail("`ipmath` takes a whole number to add");
    };
    let distance = u128::from(amount.unsigned_abs());
    let sum = if amount < 0 { net.ip.checked_sub(distance) } else { net.ip.checked_add(distance) };
    let most = Net { prefix: 0, ..net }.hostmask();
    sum.filter(|sum| *sum <= most).map_or_else(|| fail("there is no address so far away"), |sum| Ok(Value::from(net.show(sum))))
}

fn nthhost(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let index = call.text_or(0, "query", "")?;
    let (Some(given), Ok(index)) = (given(&call.subject, None), index.parse::<i128>()) else { return Ok(Value::Bool(false)) };
    match at(given.net, index) {
        Some(ip) => Ok(Value::from(given.net.show(ip))),
        None if index < 0 => fail("the network has no address so far from its end"),
        None => Ok(Value::Bool(false)),
    }
}

fn nth_usable(call: &mut Call<'_, '_>, sign: i128) -> Outcome<Value> {
    let offset = call.int(0, "offset")?.unwrap_or(0);
    let Some(given) = given(&call.subject, None) else { return Ok(Value::Bool(false)) };
    let net = if given.net.is_first() { given.net.cidr() } else { given.net };
    let Some((first, last)) = net.usable() else { return Ok(Value::Null) };
    let offset = i128::from(offset) * sign;
    let moved = if offset < 0 { net.ip.checked_sub(offset.unsigned_abs()) } else { net.ip.checked_add(offset.unsigned_abs()) };
    Ok(moved.filter(|ip| (first..=last).contains(ip)).map_or(Value::Null, |ip| Value::from(net.show(ip))))
}

/// Returns the last address that counts as a network's own: its broadcast address where it has one.
fn end(network: Net) -> u128 {
    network.broadcast().unwrap_or(network.ip)
}

fn is_within(outer: Option<(u128, u128)>, inner: &Value) -> bool {
    let Some((first, last)) = outer else { return false };
    given(inner, None).is_some_and(|inner| {
        let inner = inner.net.cidr();
        (first..=last).contains(&inner.first()) && (first..=last).contains(&end(inner))
    })
}

fn in_range(call: &mut Call<'_, '_>, range: fn(Net) -> Option<(u128, u128)>) -> Outcome<Value> {
    let test = call.needed(0, "test")?;
    let range = given(&call.subject, None).and_then(|network| range(network.net.cidr()));
    Ok(Value::Bool(is_within(range, &test)))
}

fn reduce_on_network(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let network = call.needed(0, "network")?;
    let range = given(&network, None).map(|network| (network.net.first(), end(network.net.cidr())));
    let items = match &call.subject {
        Value::Str(text) => vec![Value::Str(text.clone())],
        _ => call.items()?,
    };
    Ok(Value::list(items.into_iter().filter(|item| is_within(range, item))))
}

fn cidr_merge(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let action = call.text_or(0, "action", "merge")?;
    let Some(items) = items_of(&call.subject) else { return fail("`cidr_merge` takes a list of networks") };
    let read = |item: &Value| match item.as_str().and_then(Net::read) {
        Some(net) => Ok(net),
        None => fail(format!("`cidr_merge` takes networks, not `{item}`")),
    };
    match action.as_str() {
        "merge" => {
            Ok(Value::list(merged(&items.iter().map(read).collect::<Outcome<Vec<_>>>()?).iter().map(|net| Value::from(net.to_string()))))
        }
        "span" => match items.iter().map(read).collect::<Outcome<Vec<_>>>()?.as_slice() {
            [] => Ok(Value::Null),
            [one] => Ok(Value::from(one.to_string())),
            several => match spanning(several) {
                Some(net) => Ok(Value::from(net.to_string())),
                None => fail("`cidr_merge`: no network spans addresses of both versions"),
            },
        },
        other => fail(format!("`cidr_merge` does merge or span, not `{other}`")),
    }
}

fn hwaddr(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let query = call.text_or(0, "query", "")?;
    let text = call.subject.to_string();
    let mac = match Mac::read(&text) {
        Some(mac) => mac,
        None if query.is_empty() || query == "bool" => return Ok(Value::Null),
        None => return fail(format!("`{text}` is no hardware address")),
    };
    Ok(match query.as_str() {
        "" => Value::from(text),
        "bool" => Value::Bool(true),
        "int" => Value::Int(mac.number()),
        "bare" => Value::from(mac.grouped(6, "").to_uppercase()),
        "cisco" => Value::from(mac.grouped(2, ".")),
        "eui48" | "win" => Value::from(mac.grouped(1, "-").to_uppercase()),
        "linux" => Value::from(mac.grouped(1, ":")),
        "pgsql" | "postgresql" | "psql" => Value::from(mac.grouped(3, ":")),
        "unix" => Value::from(mac.0.map(|byte| format!("{byte:x}")).join(":")),
        other => return fail(format!("`{other}` is no form of a hardware address")),
    })
}

fn slaac(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let query = call.text_or(0, "query", "")?;
    let network = given(&call.subject, None).map(|network| network.net).filter(|net| net.is_v6);
    let (Some(net), Some(mac)) = (network, Mac::read(&query)) else { return Ok(Value::Bool(false)) };
    Ok(Value::from(net.show(net.first() | mac.interface())))
}

fn ip4_hex(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let delimiter = call.text_or(0, "delimiter", "")?;
    let text = call.subject_text()?;
    let Ok(ip) = text.parse::<std::net::Ipv4Addr>() else { return fail(format!("`ip4_hex` takes an IPv4 address, not `{text}`")) };
    Ok(Value::from(ip.octets().map(|octet| format!("{octet:02x}")).join(&delimiter)))
}

#[cfg(test)]
mod tests {
    use crate::vars::suite::shown;

    #[test]
    fn addresses_answer_as_ansible_utils_does() {
        for line in include_str!("ip_cases.txt").lines() {
            let (template, wanted) = line.split_once(" => ").expect("a template and what it gives");
            let given = shown(template, "{}");
            let same = if wanted == "ERR" { given.starts_with("ERR") } else { given == wanted };
            assert!(same, "{template}\nwanted {wanted}\ngiven  {given}");
        }
    }
}
