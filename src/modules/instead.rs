//! What to use in place of a module that windlass does not have.

/// Names, or their beginnings, and what to use instead.
const INSTEAD: &[(&str, &str)] = &[
    ("win_", "Windows hosts are not reached; leave such tasks out with `when`"),
    ("docker_", "`command: docker ...` with `changed_when`, or a systemd unit that runs the container"),
    ("podman_", "`command: podman ...` with `changed_when`, or a systemd unit that runs the container"),
    ("k8s", "`command: kubectl apply -f ...` with `changed_when`"),
    ("helm", "`command: helm upgrade --install ...` with `changed_when`"),
    ("mysql_", "`command: mysql ...` with `changed_when`, its password in `environment` or in an option file"),
    ("rabbitmq_", "`command: rabbitmqctl ...` with `changed_when`"),
    ("mongodb_", "`command: mongosh ...` with `changed_when`"),
    ("ec2", "`command: aws ...`, or a tool made for the cloud, run before"),
    ("azure_", "`command: az ...`, or a tool made for the cloud, run before"),
    ("gcp_", "`command: gcloud ...`, or a tool made for the cloud, run before"),
    ("yum", "`package`, which uses the host's own manager"),
    ("dnf", "`package`, which uses the host's own manager"),
    ("zypper", "`command: zypper ...`; packages of this system are not supported yet"),
    ("pacman", "`command: pacman ...`; packages of this system are not supported yet"),
    ("apk", "`command: apk ...`; packages of this system are not supported yet"),
    ("firewalld", "`command: firewall-cmd ...` with `changed_when`"),
    ("selinux", "`command: setenforce ...` and `lineinfile` for /etc/selinux/config"),
    ("seboolean", "`command: setsebool ...` with `changed_when`"),
    ("synchronize", "`copy`, which sends only what differs, or `command: rsync ...`"),
    ("npm", "`command: npm ...` with `creates`"),
    ("composer", "`command: composer ...` with `creates`"),
    ("make", "`command: make ...` with `creates`"),
    ("x509_certificate", "`certificate` and `certificate_authority`, which need no Python on the host"),
];

/// Returns what to use instead of the module `name`, short or with its collection, where something is known.
pub fn of(name: &str) -> Option<&'static str> {
    let short = name.rsplit('.').next().unwrap_or(name);
    INSTEAD.iter().find(|(start, _)| short.starts_with(start)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_name_counts_with_or_without_its_collection() {
        assert!(of("community.docker.docker_container").is_some_and(|text| text.contains("docker")));
        assert!(of("docker_image").is_some() && of("copy").is_none());
    }
}
