//! Tests of IP addresses and networks: those of `ansible.utils`.

use std::net::IpAddr;

use crate::value::Value;
use crate::vars::filters::address::{Mac, Net};
use crate::vars::template::live::Outcome;

use super::{Given, Test, known};

pub(super) const TESTS: &[Test] = &[
    known("ip", |given| Ok(network(&given.subject).is_some())),
    known("ipv4", |given| Ok(network(&given.subject).is_some_and(|net| !net.is_v6))),
    known("ipv6", |given| Ok(network(&given.subject).is_some_and(|net| net.is_v6))),
    known("ip_address", |given| Ok(address(&given.subject).is_some())),
    known("ipv4_address", |given| Ok(address(&given.subject).is_some_and(|net| !net.is_v6))),
    known("ipv6_address", |given| Ok(address(&given.subject).is_some_and(|net| net.is_v6))),
    known("in_network", within),
    known("subnet_of", within),
    known("supernet_of", |given| {
        let (outer, inner) = (network(&given.subject), network(given.needed(0, "network_b")?));
        Ok(outer.zip(inner).is_some_and(|(outer, inner)| outer.contains(inner)))
    }),
    known("loopback", |given| Ok(address(&given.subject).is_some_and(|net| net.is_in(&["127.0.0.0/8", "::1/128"])))),
    known("multicast", |given| Ok(address(&given.subject).is_some_and(Net::is_multicast))),
    known("private", |given| Ok(address(&given.subject).is_some_and(|net| !net.is_global()))),
    known("public", |given| Ok(address(&given.subject).is_some_and(|net| net.is_global() && !net.is_multicast()))),
    known("mac", |given| Ok(given.subject.as_str().is_some_and(|text| Mac::read(text).is_some()))),
];

/// Reads a network, or one address; a network with bits of a host is none.
fn network(value: &Value) -> Option<Net> {
    Net::read(value.as_str()?).filter(|net| net.is_first())
}

fn address(value: &Value) -> Option<Net> {
    value.as_str()?.parse::<IpAddr>().ok().and_then(|ip| Net::read(&ip.to_string()))
}

fn within(given: &Given<'_, '_>) -> Outcome<bool> {
    let (inner, outer) = (network(&given.subject), network(given.needed(0, "network")?));
    Ok(inner.zip(outer).is_some_and(|(inner, outer)| outer.contains(inner)))
}
