//! From a host's name to its addresses, without the C library's resolver: the static agent must not load NSS plugins.

use std::net::IpAddr;
use std::process::{Command, Stdio};

/// Returns the addresses of `name`: itself where it is one, then what `/etc/hosts` says, then what `getent` answers.
///
/// # Errors
/// Says in plain words that the name is not known.
pub fn addresses(name: &str) -> Result<Vec<IpAddr>, String> {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Ok(vec![address]);
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut found = in_hosts_file(&hosts, bare);
    if found.is_empty() && bare.eq_ignore_ascii_case("localhost") {
        found = vec![IpAddr::from([127, 0, 0, 1])];
    }
    if found.is_empty() {
        found = ask_getent(bare)?;
    }
    if found.is_empty() { Err(format!("the name `{bare}` is not known")) } else { Ok(found) }
}

/// Returns the addresses that the text of a hosts file has for `name`.
fn in_hosts_file(text: &str, name: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
        })
        .collect()
}

/// Asks the system's resolver through a program of its own, so that NSS plugins load there and not here.
fn ask_getent(name: &str) -> Result<Vec<IpAddr>, String> {
    if name.is_empty() || name.starts_with('-') {
        return Err(format!("`{name}` is not a host's name"));
    }
    #[allow(clippy::disallowed_methods, reason = "`change` starts processes; this one only reads")]
    let output = Command::new("getent").args(["ahosts", name]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.map_err(|error| format!("the name `{name}` cannot be looked up: `getent`: {error}"))?;
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(Ok(address)) = line.split_whitespace().next().map(str::parse)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_gives_every_address_of_a_name() {
        let text = "127.0.0.1 localhost # comment es\n10.0.0.1\tes1.example.net ES1\n::2 es1\nbroken es1\n";
        let found = in_hosts_file(text, "es1");
        assert_eq!(found, ["10.0.0.1".parse::<IpAddr>().expect("v4"), "::2".parse().expect("v6")]);
        assert_eq!(in_hosts_file(text, "es"), Vec::<IpAddr>::new());
    }

    #[test]
    fn an_address_is_its_own_answer() {
        assert_eq!(addresses("[::1]").expect("address"), ["::1".parse::<IpAddr>().expect("v6")]);
        assert!(addresses("--help").is_err());
    }
}
