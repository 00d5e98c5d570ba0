//! Facts about what a host runs in, and what it can run.

use super::Facts;

/// What vendor or product name of the machine means which hypervisor; the first that fits counts.
const MACHINES: &[(&str, &str)] = &[
    ("VMware", "VMware"),
    ("VirtualBox", "virtualbox"),
    ("innotek", "virtualbox"),
    ("OpenStack", "openstack"),
    ("RHEV", "RHEV"),
    ("oVirt", "oVirt"),
    ("Parallels", "parallels"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Amazon EC2", "kvm"),
    ("Google", "kvm"),
    ("DigitalOcean", "kvm"),
    ("Hetzner", "kvm"),
    ("KVM", "kvm"),
    ("QEMU", "kvm"),
    ("Alibaba", "kvm"),
    ("Nutanix", "kvm"),
    ("Microsoft Corporation Virtual Machine", "VirtualPC"),
    ("Apple Virtualization", "kvm"),
];

fn by_machine(vendor: &str, product: &str) -> Option<&'static str> {
    let both = format!("{vendor} {product}");
    MACHINES.iter().find(|(name, _)| both.contains(name)).map(|(_, kind)| *kind)
}

/// Returns the container that the host is, if it is one.
fn container(facts: &Facts) -> Option<String> {
    if facts.exists("/.dockerenv") || facts.exists("/.dockerinit") {
        return Some("docker".to_owned());
    }
    if facts.exists("/run/.containerenv") {
        return Some("podman".to_owned());
    }
    let cgroup = facts.text("/proc/1/cgroup").unwrap_or_default();
    for (mark, kind) in [("/docker/", "docker"), ("docker-", "docker"), ("kubepods", "docker"), ("/lxc/", "lxc"), ("machine-lxc", "lxc")] {
        if cgroup.contains(mark) {
            return Some(kind.to_owned());
        }
    }
    if facts.exists("/proc/vz") && !facts.exists("/proc/lve") && !facts.exists("/proc/bc") {
        return Some("openvz".to_owned());
    }
    let environment = facts.text("/proc/1/environ").unwrap_or_default();
    let named = environment.split('\0').find_map(|entry| entry.strip_prefix("container=").map(str::to_owned));
    let named = named.or_else(|| facts.text("/run/systemd/container"));
    named.filter(|name| !name.is_empty()).map(|name| if name == "oci" { "container".to_owned() } else { name })
}

/// Returns the hypervisor that the host runs under, if it does.
fn hypervisor(facts: &Facts) -> Option<&'static str> {
    if facts.text("/sys/hypervisor/type").as_deref() == Some("xen") {
        return Some("xen");
    }
    let dmi = |file: &str| facts.text(format!("/sys/devices/virtual/dmi/id/{file}")).unwrap_or_default();
    if let Some(kind) = by_machine(&dmi("sys_vendor"), &dmi("product_name")) {
        return Some(kind);
    }
    let cpu = facts.text("/proc/cpuinfo").unwrap_or_default();
    if cpu.contains("QEMU Virtual CPU") || cpu.contains("Common KVM processor") {
        return Some("kvm");
    }
    if cpu.contains("User Mode Linux") {
        return Some("uml");
    }
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "hypervisor").then_some("kvm")
}

pub(super) fn gather(facts: &mut Facts) {
    let container = container(facts);
    let hypervisor = hypervisor(facts);
    let mut guest: Vec<String> = container.clone().into_iter().collect();
    if container.is_some() {
        guest.push("container".to_owned());
    }
    guest.extend(hypervisor.filter(|_| container.is_none()).map(str::to_owned));
    guest.dedup();
    let modules = facts.text("/proc/modules").unwrap_or_default();
    let mut host = Vec::new();
    if facts.exists("/dev/kvm") || modules.lines().any(|line| line.starts_with("kvm ")) {
        host.push("kvm".to_owned());
    }
    if modules.lines().any(|line| line.starts_with("vboxdrv ")) {
        host.push("virtualbox".to_owned());
    }
    let (kind, role) = match (container.as_deref().or(hypervisor), host.first()) {
        (Some(kind), _) => (kind.to_owned(), "guest"),
        (None, Some(kind)) => (kind.clone(), "host"),
        (None, None) => ("NA".to_owned(), "NA"),
    };
    facts.set("virtualization_type", kind);
    facts.set("virtualization_role", role);
    facts.set("virtualization_tech_guest", guest);
    facts.set("virtualization_tech_host", host);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_and_product_tell_the_hypervisor() {
        assert_eq!(by_machine("QEMU", "Standard PC (i440FX + PIIX, 1996)"), Some("kvm"));
        assert_eq!(by_machine("VMware, Inc.", "VMware7,1"), Some("VMware"));
        assert_eq!(by_machine("Microsoft Corporation", "Virtual Machine"), Some("VirtualPC"));
        assert_eq!(by_machine("Dell Inc.", "PowerEdge R640"), None);
    }
}
