//! Facts about the operating system, its users and its settings.

use std::path::Path;

use super::{Facts, assignments};
use crate::value::{Map, Value};

/// `ID` of os-release, the name that playbooks know, and the family.
const DISTRIBUTIONS: &[(&str, &str, &str)] = &[
    ("debian", "Debian", "Debian"),
    ("raspbian", "Debian", "Debian"),
    ("ubuntu", "Ubuntu", "Debian"),
    ("linuxmint", "Linux Mint", "Debian"),
    ("kali", "Kali", "Debian"),
    ("devuan", "Devuan", "Debian"),
    ("pop", "Pop!_OS", "Debian"),
    ("rhel", "RedHat", "RedHat"),
    ("centos", "CentOS", "RedHat"),
    ("fedora", "Fedora", "RedHat"),
    ("rocky", "Rocky", "RedHat"),
    ("almalinux", "AlmaLinux", "RedHat"),
    ("ol", "OracleLinux", "RedHat"),
    ("amzn", "Amazon", "RedHat"),
    ("scientific", "Scientific", "RedHat"),
    ("sles", "SLES", "Suse"),
    ("sled", "SLED", "Suse"),
    ("opensuse-leap", "openSUSE Leap", "Suse"),
    ("opensuse-tumbleweed", "openSUSE Tumbleweed", "Suse"),
    ("alpine", "Alpine", "Alpine"),
    ("arch", "Archlinux", "Archlinux"),
    ("manjaro", "Manjaro", "Archlinux"),
    ("gentoo", "Gentoo", "Gentoo"),
    ("nixos", "NixOS", "NixOS"),
    ("void", "Void", "Void"),
];

/// Returns name and family of a distribution by its os-release.
fn distribution_of(os: &dyn Fn(&str) -> Option<String>) -> (String, String) {
    let id = os("ID").unwrap_or_default();
    let known = |id: &str| DISTRIBUTIONS.iter().find(|(known, ..)| *known == id);
    if let Some((_, name, family)) = known(&id) {
        return ((*name).to_owned(), (*family).to_owned());
    }
    let name = os("NAME").unwrap_or_else(|| "Linux".to_owned());
    let like = os("ID_LIKE").unwrap_or_default();
    let family = like.split_whitespace().find_map(known).map_or_else(|| name.clone(), |(.., family)| (*family).to_owned());
    (name, family)
}

fn os_release(facts: &Facts) -> Vec<(String, String)> {
    let text = facts.text("/etc/os-release").or_else(|| facts.text("/usr/lib/os-release"));
    assignments(&text.unwrap_or_default())
}

pub(super) fn distribution(facts: &mut Facts) {
    facts.set("system", facts.text("/proc/sys/kernel/ostype").unwrap_or_else(|| "Linux".to_owned()));
    let entries = os_release(facts);
    let os = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).filter(|value| !value.is_empty());
    let (name, family) = distribution_of(&os);
    let mut version = os("VERSION_ID").unwrap_or_else(|| if name == "Archlinux" { "rolling".to_owned() } else { "NA".to_owned() });
    if name == "Debian" {
        // os-release has the major version only.
        let full = facts.text("/etc/debian_version").filter(|text| text.starts_with(|c: char| c.is_ascii_digit()));
        version = full.unwrap_or(version);
    }
    let in_brackets = || os("VERSION")?.split_once('(')?.1.split(')').next().map(str::to_owned);
    let stream = os("NAME").is_some_and(|name| name.contains("Stream"));
    let release = if stream { Some("Stream".to_owned()) } else { os("VERSION_CODENAME").or_else(in_brackets) };
    let mut parts = version.split('.');
    facts.set("distribution_major_version", parts.next().unwrap_or_default());
    if name == "Debian" {
        facts.set("distribution_minor_version", parts.next().unwrap_or_default());
    }
    let release = release.filter(|text| !text.is_empty()).unwrap_or_else(|| "NA".to_owned());
    facts.set("distribution_release", release);
    facts.set("distribution_version", version.as_str());
    let (path, variety) = match family.as_str() {
        "RedHat" if name == "Amazon" => ("/etc/os-release", "Amazon"),
        "RedHat" if name == "CentOS" => ("/etc/centos-release", "CentOS"),
        "RedHat" => ("/etc/redhat-release", "RedHat"),
        "Suse" => ("/etc/os-release", "SUSE"),
        "Alpine" => ("/etc/alpine-release", "Alpine"),
        "Archlinux" => ("/etc/arch-release", "Archlinux"),
        _ => ("/etc/os-release", family.as_str()),
    };
    facts.set("distribution_file_path", path);
    facts.set("distribution_file_variety", variety);
    facts.set("distribution_file_parsed", !entries.is_empty());
    facts.set("distribution", name);
    facts.set("os_family", family);
}

pub(super) fn platform(facts: &mut Facts) {
    let machine = facts.text("/proc/sys/kernel/arch").or_else(|| facts.query(&["uname", "-m"]).map(|text| text.trim().to_owned()));
    if let Some(machine) = machine {
        let bits = if machine.ends_with("64") || machine == "s390x" || machine == "ppc64le" { "64" } else { "32" };
        facts.set("machine", machine.as_str());
        facts.set("architecture", if matches!(machine.as_str(), "i586" | "i686") { "i386" } else { &machine });
        facts.set("userspace_bits", bits);
        facts.set("userspace_architecture", machine);
    }
    for (name, path) in [("kernel", "/proc/sys/kernel/osrelease"), ("kernel_version", "/proc/sys/kernel/version")] {
        if let Some(text) = facts.text(path) {
            facts.set(name, text);
        }
    }
    if let Some(id) = facts.text("/etc/machine-id").or_else(|| facts.text("/var/lib/dbus/machine-id")) {
        facts.set("machine_id", id);
    }
}

pub(super) fn names(facts: &mut Facts) {
    let Some(node) = facts.text("/proc/sys/kernel/hostname").or_else(|| facts.text("/etc/hostname")) else { return };
    let hosts = facts.text("/etc/hosts").unwrap_or_default();
    let fqdn = full_name(&hosts, &node).or_else(|| {
        // A name server that is away must not hold facts up where the host itself knows who it is.
        if node.contains('.') || is_listed(&hosts, &node) {
            return None;
        }
        let answer = facts.query(&["getent", "hosts", &node])?;
        full_name(&answer, &node)
    });
    let fqdn = fqdn.unwrap_or_else(|| node.clone());
    facts.set("hostname", node.split('.').next().unwrap_or_default());
    facts.set("nodename", node);
    facts.set("domain", fqdn.split_once('.').map_or("", |(_, domain)| domain));
    facts.set("fqdn", fqdn);
}

/// Returns the first name with a domain on the line of a hosts file that has `node`.
fn full_name(hosts: &str, node: &str) -> Option<String> {
    hosts.lines().find_map(|line| {
        let names: Vec<_> = line.split('#').next()?.split_whitespace().skip(1).collect();
        let full = names.iter().find(|name| name.contains('.'))?;
        names.iter().any(|name| name.eq_ignore_ascii_case(node)).then(|| (*full).to_owned())
    })
}

/// Whether the text of a hosts file has the name.
fn is_listed(hosts: &str, node: &str) -> bool {
    let names =
        |line: &str| line.split('#').next().is_some_and(|line| line.split_whitespace().skip(1).any(|name| name.eq_ignore_ascii_case(node)));
    hosts.lines().any(names)
}

pub(super) fn user(facts: &mut Facts) {
    let Ok(user) = facts.host.me() else { return };
    facts.set("user_id", user.name);
    facts.set("user_gecos", user.gecos);
    facts.set("user_dir", user.home);
    facts.set("user_shell", user.shell);
    if let (Some(uid), Some(gid)) = (user.uid, user.gid) {
        for name in ["user_uid", "real_user_id", "effective_user_id"] {
            facts.set(name, uid);
        }
        for name in ["user_gid", "real_group_id", "effective_group_id"] {
            facts.set(name, gid);
        }
    }
}

pub(super) fn environment(facts: &mut Facts) {
    let all = facts.host.environment_all();
    facts.set("env", Value::map(all.into_iter().map(|(name, value)| (name, Value::from(value)))));
}

pub(super) fn date_time(facts: &mut Facts) {
    #[allow(clippy::cast_possible_truncation)]
    let micros = (facts.host.now() * 1e6) as i64;
    let Ok(moment) = jiff::Timestamp::from_microsecond(micros) else { return };
    let zone = jiff::tz::TimeZone::system();
    let local = moment.to_zoned(zone.clone());
    let utc = moment.to_zoned(jiff::tz::TimeZone::UTC);
    let here = |format: &str| Value::from(local.strftime(format).to_string());
    let there = |format: &str| Value::from(utc.strftime(format).to_string());
    // The name of the time that is kept in the other half of the year, where there is one.
    let summer = zone.following(moment).find(|change| change.dst().is_dst()).map(|change| change.abbreviation().to_owned());
    let summer = summer.map_or_else(|| here("%Z"), Value::from);
    let entries = [
        ("date", here("%Y-%m-%d")),
        ("day", here("%d")),
        ("epoch", Value::from(moment.as_second().to_string())),
        ("epoch_int", Value::from(moment.as_second().to_string())),
        ("hour", here("%H")),
        ("iso8601", there("%Y-%m-%dT%H:%M:%SZ")),
        ("iso8601_basic", here("%Y%m%dT%H%M%S%6f")),
        ("iso8601_basic_short", here("%Y%m%dT%H%M%S")),
        ("iso8601_micro", there("%Y-%m-%dT%H:%M:%S.%6fZ")),
        ("minute", here("%M")),
        ("month", here("%m")),
        ("second", here("%S")),
        ("time", here("%H:%M:%S")),
        ("tz", here("%Z")),
        ("tz_dst", summer),
        ("tz_offset", here("%z")),
        ("weekday", here("%A")),
        ("weekday_number", here("%w")),
        ("weeknumber", here("%W")),
        ("year", here("%Y")),
    ];
    facts.set("date_time", Value::map(entries));
}

pub(super) fn cmdline(facts: &mut Facts) {
    let Some(text) = facts.text("/proc/cmdline") else { return };
    let mut last = Map::new();
    let mut all = Map::new();
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').map_or((word, Value::Bool(true)), |(name, value)| (name, Value::str(value)));
        last.insert(name.into(), value.clone());
        let merged = match all.get(name) {
            None => value,
            Some(Value::List(items)) => Value::list(items.iter().cloned().chain([value])),
            Some(one) => Value::list([one.clone(), value]),
        };
        all.insert(name.into(), merged);
    }
    facts.set("cmdline", last);
    facts.set("proc_cmdline", all);
}

pub(super) fn dns(facts: &mut Facts) {
    facts.set("dns", resolv_conf(&facts.text("/etc/resolv.conf").unwrap_or_default()));
}

fn resolv_conf(text: &str) -> Map {
    let mut dns = Map::new();
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split(['#', ';']).next().unwrap_or_default().split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.map(Value::str)),
            Some("domain") => {
                dns.insert("domain".into(), words.next().unwrap_or_default().into());
            }
            Some(list @ ("search" | "sortlist")) => {
                dns.insert(list.into(), Value::list(words.map(Value::str)));
            }
            Some("options") => {
                let options =
                    words.map(|word| word.split_once(':').map_or((word, Value::Bool(true)), |(name, value)| (name, Value::str(value))));
                dns.insert("options".into(), Value::map(options));
            }
            _ => {}
        }
    }
    if !servers.is_empty() {
        dns.insert("nameservers".into(), Value::list(servers));
    }
    dns
}

pub(super) fn lsb(facts: &mut Facts) {
    let file = assignments(&facts.text("/etc/lsb-release").unwrap_or_default());
    let program = matches!(facts.host.find_program("lsb_release"), Ok(Some(_)));
    let os = os_release(facts);
    let pick = |entries: &[(String, String)], name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let mut lsb = Map::new();
    for (name, in_lsb, in_os) in [
        ("id", "DISTRIB_ID", "ID"),
        ("release", "DISTRIB_RELEASE", "VERSION_ID"),
        ("codename", "DISTRIB_CODENAME", "VERSION_CODENAME"),
        ("description", "DISTRIB_DESCRIPTION", "PRETTY_NAME"),
    ] {
        // What `lsb_release` prints where there is no file of its own comes from os-release.
        let value = pick(&file, in_lsb).or_else(|| if program { pick(&os, in_os) } else { None });
        if let Some(value) = value {
            let value = if name == "id" && file.is_empty() { distribution_of(&|key| pick(&os, key)).0 } else { value };
            lsb.insert(name.into(), value.into());
        }
    }
    if let Some(release) = lsb.get("release").map(ToString::to_string) {
        lsb.insert("major_release".into(), release.split('.').next().unwrap_or_default().into());
    }
    facts.set("lsb", lsb);
}

pub(super) fn selinux(facts: &mut Facts) {
    let mut selinux = Map::new();
    let enforcing = facts.text("/sys/fs/selinux/enforce");
    selinux.insert("status".into(), if enforcing.is_some() { "enabled" } else { "disabled" }.into());
    if let Some(enforcing) = enforcing {
        selinux.insert("mode".into(), if enforcing == "1" { "enforcing" } else { "permissive" }.into());
        let config = assignments(&facts.text("/etc/selinux/config").unwrap_or_default());
        let pick = |name: &str| config.iter().find(|(key, _)| key == name).map_or_else(|| "unknown".to_owned(), |(_, value)| value.clone());
        selinux.insert("config_mode".into(), pick("SELINUX").into());
        selinux.insert("type".into(), pick("SELINUXTYPE").into());
        let policy = facts.text("/sys/fs/selinux/policyvers").and_then(|text| text.parse::<i64>().ok());
        selinux.insert("policyvers".into(), policy.into());
    }
    facts.set("selinux", selinux);
}

pub(super) fn apparmor(facts: &mut Facts) {
    let status = if facts.exists("/sys/kernel/security/apparmor") { "enabled" } else { "disabled" };
    facts.set("apparmor", Value::map([("status", Value::str(status))]));
}

pub(super) fn fips(facts: &mut Facts) {
    facts.set("fips", facts.text("/proc/sys/crypto/fips_enabled").as_deref() == Some("1"));
}

/// The capabilities of Linux, in the order of their bits.
const CAPABILITIES: &[&str] = &[
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

pub(super) fn capabilities(facts: &mut Facts) {
    let Some(status) = facts.text("/proc/self/status") else { return };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    let last = facts.text("/proc/sys/kernel/cap_last_cap").and_then(|text| text.parse::<u32>().ok());
    let (Some(effective), Some(last)) = (effective, last) else { return };
    let full = effective.count_ones() > last;
    let names = CAPABILITIES.iter().enumerate().filter(|(bit, _)| effective >> bit & 1 == 1).map(|(_, name)| format!("cap_{name}"));
    facts.set("system_capabilities", if full { Vec::new() } else { names.collect() });
    facts.set("system_capabilities_enforced", if full { "False" } else { "True" });
}

pub(super) fn pkg_mgr(facts: &mut Facts) {
    let family = facts.known("os_family").map(ToString::to_string).unwrap_or_default();
    let name = crate::modules::package::manager(&|path| facts.exists(path), &family);
    facts.set("pkg_mgr", name.unwrap_or("unknown"));
}

pub(super) fn service_mgr(facts: &mut Facts) {
    let first = facts.text("/proc/1/comm").unwrap_or_default();
    let by_files = || {
        let known = [
            ("/run/systemd/system", "systemd"),
            ("/run/openrc", "openrc"),
            ("/sbin/openrc", "openrc"),
            ("/etc/init", "upstart"),
            ("/etc/init.d", "sysvinit"),
        ];
        known.iter().find(|(path, _)| facts.exists(path)).map_or("service", |(_, name)| name).to_owned()
    };
    let name = match first.as_str() {
        _ if facts.exists("/run/systemd/system") => "systemd".to_owned(),
        "runit-init" | "runit" => "runit".to_owned(),
        "svscan" => "svc".to_owned(),
        "openrc-init" => "openrc".to_owned(),
        "" | "init" => by_files(),
        shell if shell.ends_with("sh") => by_files(),
        other => other.to_owned(),
    };
    facts.set("service_mgr", name);
}

/// The version of systemd where it manages services, and what it was built with.
pub(super) fn systemd(facts: &mut Facts) {
    if facts.known("service_mgr").and_then(Value::as_str) != Some("systemd") && !facts.exists("/run/systemd/system") {
        return;
    }
    let Some(text) = facts.query(&["systemctl", "--version"]) else { return };
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    facts.set("systemd", Value::map([("version", Value::str(version)), ("features", Value::str(lines.next().unwrap_or_default()))]));
}

/// Windlass needs no Python on the host, so this tells what the host has for others, without starting it.
pub(super) fn python(facts: &mut Facts) {
    let Some(path) = ["/usr/bin/python3", "python3", "python"].iter().find_map(|name| facts.host.find_program(name).ok().flatten()) else {
        return;
    };
    let mut python = Map::new();
    python.insert("executable".into(), path.to_string_lossy().as_ref().into());
    python.insert("type".into(), "cpython".into());
    let mut name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(target) = facts.link_name(&path) {
        name = target;
    }
    let numbers: Vec<i64> = name.trim_start_matches("python").split('.').map_while(|part| part.parse().ok()).collect();
    if let [major, minor, ..] = numbers[..] {
        python.insert("version".into(), Value::map([("major", Value::Int(major)), ("minor", Value::Int(minor))]));
        python.insert("version_info".into(), Value::list([Value::Int(major), Value::Int(minor)]));
        facts.set("python_version", format!("{major}.{minor}"));
    } else if let [major] = numbers[..] {
        python.insert("version".into(), Value::map([("major", Value::Int(major))]));
    }
    facts.set("python", python);
}

pub(super) fn ssh_keys(facts: &mut Facts) {
    for kind in ["dsa", "rsa", "ecdsa", "ed25519"] {
        let text = ["/etc/ssh", "/etc/openssh", "/etc"].iter().find_map(|folder| facts.text(format!("{folder}/ssh_host_{kind}_key.pub")));
        let Some(text) = text else { continue };
        let mut words = text.split_whitespace();
        if let (Some(keytype), Some(key)) = (words.next(), words.next()) {
            facts.set(&format!("ssh_host_key_{kind}_public"), key);
            facts.set(&format!("ssh_host_key_{kind}_public_keytype"), keytype);
        }
    }
}

pub(super) fn is_chroot(facts: &mut Facts) {
    let here = facts.stat("/");
    let init = facts.stat(Path::new("/proc/1/root/."));
    let is_chroot = match (here, init) {
        (Some(here), Some(init)) => (here.inode, here.device) != (init.inode, init.device),
        // Only root may look at the root of process 1. The roots of ext, XFS and Btrfs have these numbers.
        (Some(here), None) => ![2, 128, 256].contains(&here.inode),
        _ => return,
    };
    facts.set("is_chroot", is_chroot);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_unknown_by_name_is_known_by_its_family() {
        let os = |name: &str| match name {
            "ID" => Some("mine".to_owned()),
            "NAME" => Some("My Linux".to_owned()),
            "ID_LIKE" => Some("rhel fedora".to_owned()),
            _ => None,
        };
        assert_eq!(distribution_of(&os), ("My Linux".to_owned(), "RedHat".to_owned()));
    }

    #[test]
    fn the_full_name_stands_on_the_line_of_the_short_one() {
        let hosts = "127.0.0.1 localhost\n10.0.0.1 es1.example.net es1 # es1\n";
        assert_eq!(full_name(hosts, "es1").as_deref(), Some("es1.example.net"));
        assert_eq!(full_name(hosts, "es2"), None);
    }

    #[test]
    fn the_resolver_file_is_read_with_its_options() {
        let dns = resolv_conf("# made by\nnameserver 10.0.0.53\nsearch a.net b.net\noptions ndots:2 rotate\n");
        assert_eq!(
            Value::from(dns).to_string(),
            "{'search': ['a.net', 'b.net'], 'options': {'ndots': '2', 'rotate': True}, 'nameservers': ['10.0.0.53']}"
        );
    }
}
