//! `package`: install or remove packages with whatever manager the host has.

/// The managers that facts know: a file that tells them, their name, and the families that have them first.
const MANAGERS: &[(&str, &str, &str)] = &[
    ("/usr/bin/apt-get", "apt", "Debian"),
    ("/usr/bin/dnf5", "dnf5", "RedHat"),
    ("/usr/bin/dnf-3", "dnf", "RedHat"),
    ("/usr/bin/dnf", "dnf", "RedHat"),
    ("/usr/bin/microdnf", "dnf", "RedHat"),
    ("/usr/bin/yum", "yum", "RedHat"),
    ("/usr/bin/zypper", "zypper", "Suse"),
    ("/sbin/apk", "apk", "Alpine"),
    ("/usr/bin/apk", "apk", "Alpine"),
    ("/usr/bin/pacman", "pacman", "Archlinux"),
    ("/usr/bin/emerge", "portage", "Gentoo"),
    ("/usr/bin/xbps-install", "xbps", "Void"),
    ("/run/current-system/sw/bin/nix", "nix", "NixOS"),
    ("/usr/bin/rpm-ostree", "atomic_container", "RedHat"),
];

/// Returns the name of the package manager, as the fact `ansible_pkg_mgr` has it: the family's own first.
pub(super) fn manager(exists: &dyn Fn(&str) -> bool, family: &str) -> Option<&'static str> {
    let there = |wanted: &dyn Fn(&str) -> bool| MANAGERS.iter().find(|(path, _, of)| wanted(of) && exists(path)).map(|(_, name, _)| *name);
    there(&|of| of == family).or_else(|| there(&|_| true))
}
