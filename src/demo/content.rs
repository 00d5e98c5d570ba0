//! The content that comes with windlass: playbooks, roles and the inventories, carried in the program for the demonstration.

/// Every file: its path in a project, and its text.
pub const FILES: &[(&str, &str)] = &[
    ("inventory/demo/group_vars/all/main.yml", include_str!("../../inventory/demo/group_vars/all/main.yml")),
    ("inventory/demo/group_vars/berlin/main.yml", include_str!("../../inventory/demo/group_vars/berlin/main.yml")),
    ("inventory/demo/group_vars/frankfurt/main.yml", include_str!("../../inventory/demo/group_vars/frankfurt/main.yml")),
    ("inventory/demo/hosts.yml", include_str!("../../inventory/demo/hosts.yml")),
    ("inventory/example/group_vars/all/main.yml", include_str!("../../inventory/example/group_vars/all/main.yml")),
    ("inventory/example/group_vars/all/vault.yml", include_str!("../../inventory/example/group_vars/all/vault.yml")),
    ("inventory/example/group_vars/berlin/main.yml", include_str!("../../inventory/example/group_vars/berlin/main.yml")),
    ("inventory/example/group_vars/frankfurt/main.yml", include_str!("../../inventory/example/group_vars/frankfurt/main.yml")),
    ("inventory/example/hosts.yml", include_str!("../../inventory/example/hosts.yml")),
    ("playbooks/disconnect.yml", include_str!("../../playbooks/disconnect.yml")),
    ("playbooks/remote-cluster.yml", include_str!("../../playbooks/remote-cluster.yml")),
    ("playbooks/renew-certificates.yml", include_str!("../../playbooks/renew-certificates.yml")),
    ("playbooks/rotate-api-key.yml", include_str!("../../playbooks/rotate-api-key.yml")),
    ("playbooks/verify.yml", include_str!("../../playbooks/verify.yml")),
    ("roles/elasticsearch_cross_cluster_key/README.md", include_str!("../../roles/elasticsearch_cross_cluster_key/README.md")),
    (
        "roles/elasticsearch_cross_cluster_key/defaults/main.yml",
        include_str!("../../roles/elasticsearch_cross_cluster_key/defaults/main.yml"),
    ),
    (
        "roles/elasticsearch_cross_cluster_key/meta/argument_specs.yml",
        include_str!("../../roles/elasticsearch_cross_cluster_key/meta/argument_specs.yml"),
    ),
    ("roles/elasticsearch_cross_cluster_key/meta/main.yml", include_str!("../../roles/elasticsearch_cross_cluster_key/meta/main.yml")),
    (
        "roles/elasticsearch_cross_cluster_key/tasks/invalidate.yml",
        include_str!("../../roles/elasticsearch_cross_cluster_key/tasks/invalidate.yml"),
    ),
    ("roles/elasticsearch_cross_cluster_key/tasks/main.yml", include_str!("../../roles/elasticsearch_cross_cluster_key/tasks/main.yml")),
    ("roles/elasticsearch_node/README.md", include_str!("../../roles/elasticsearch_node/README.md")),
    ("roles/elasticsearch_node/defaults/main.yml", include_str!("../../roles/elasticsearch_node/defaults/main.yml")),
    ("roles/elasticsearch_node/meta/argument_specs.yml", include_str!("../../roles/elasticsearch_node/meta/argument_specs.yml")),
    ("roles/elasticsearch_node/meta/main.yml", include_str!("../../roles/elasticsearch_node/meta/main.yml")),
    ("roles/elasticsearch_node/tasks/main.yml", include_str!("../../roles/elasticsearch_node/tasks/main.yml")),
    ("roles/elasticsearch_preflight/README.md", include_str!("../../roles/elasticsearch_preflight/README.md")),
    ("roles/elasticsearch_preflight/defaults/main.yml", include_str!("../../roles/elasticsearch_preflight/defaults/main.yml")),
    ("roles/elasticsearch_preflight/meta/argument_specs.yml", include_str!("../../roles/elasticsearch_preflight/meta/argument_specs.yml")),
    ("roles/elasticsearch_preflight/meta/main.yml", include_str!("../../roles/elasticsearch_preflight/meta/main.yml")),
    ("roles/elasticsearch_preflight/tasks/main.yml", include_str!("../../roles/elasticsearch_preflight/tasks/main.yml")),
    ("roles/elasticsearch_remote_client/README.md", include_str!("../../roles/elasticsearch_remote_client/README.md")),
    ("roles/elasticsearch_remote_client/defaults/main.yml", include_str!("../../roles/elasticsearch_remote_client/defaults/main.yml")),
    (
        "roles/elasticsearch_remote_client/meta/argument_specs.yml",
        include_str!("../../roles/elasticsearch_remote_client/meta/argument_specs.yml"),
    ),
    ("roles/elasticsearch_remote_client/meta/main.yml", include_str!("../../roles/elasticsearch_remote_client/meta/main.yml")),
    ("roles/elasticsearch_remote_client/tasks/connect.yml", include_str!("../../roles/elasticsearch_remote_client/tasks/connect.yml")),
    (
        "roles/elasticsearch_remote_client/tasks/disconnect.yml",
        include_str!("../../roles/elasticsearch_remote_client/tasks/disconnect.yml"),
    ),
    ("roles/elasticsearch_remote_client/tasks/main.yml", include_str!("../../roles/elasticsearch_remote_client/tasks/main.yml")),
    ("roles/elasticsearch_remote_server/README.md", include_str!("../../roles/elasticsearch_remote_server/README.md")),
    ("roles/elasticsearch_remote_server/defaults/main.yml", include_str!("../../roles/elasticsearch_remote_server/defaults/main.yml")),
    (
        "roles/elasticsearch_remote_server/meta/argument_specs.yml",
        include_str!("../../roles/elasticsearch_remote_server/meta/argument_specs.yml"),
    ),
    ("roles/elasticsearch_remote_server/meta/main.yml", include_str!("../../roles/elasticsearch_remote_server/meta/main.yml")),
    ("roles/elasticsearch_remote_server/tasks/main.yml", include_str!("../../roles/elasticsearch_remote_server/tasks/main.yml")),
    ("roles/elasticsearch_remote_verify/README.md", include_str!("../../roles/elasticsearch_remote_verify/README.md")),
    ("roles/elasticsearch_remote_verify/defaults/main.yml", include_str!("../../roles/elasticsearch_remote_verify/defaults/main.yml")),
    (
        "roles/elasticsearch_remote_verify/meta/argument_specs.yml",
        include_str!("../../roles/elasticsearch_remote_verify/meta/argument_specs.yml"),
    ),
    ("roles/elasticsearch_remote_verify/meta/main.yml", include_str!("../../roles/elasticsearch_remote_verify/meta/main.yml")),
    ("roles/elasticsearch_remote_verify/tasks/main.yml", include_str!("../../roles/elasticsearch_remote_verify/tasks/main.yml")),
    ("roles/elasticsearch_rolling_restart/README.md", include_str!("../../roles/elasticsearch_rolling_restart/README.md")),
    ("roles/elasticsearch_rolling_restart/defaults/main.yml", include_str!("../../roles/elasticsearch_rolling_restart/defaults/main.yml")),
    (
        "roles/elasticsearch_rolling_restart/meta/argument_specs.yml",
        include_str!("../../roles/elasticsearch_rolling_restart/meta/argument_specs.yml"),
    ),
    ("roles/elasticsearch_rolling_restart/meta/main.yml", include_str!("../../roles/elasticsearch_rolling_restart/meta/main.yml")),
    ("roles/elasticsearch_rolling_restart/tasks/before.yml", include_str!("../../roles/elasticsearch_rolling_restart/tasks/before.yml")),
    ("roles/elasticsearch_rolling_restart/tasks/main.yml", include_str!("../../roles/elasticsearch_rolling_restart/tasks/main.yml")),
    ("roles/elasticsearch_rolling_restart/tasks/needed.yml", include_str!("../../roles/elasticsearch_rolling_restart/tasks/needed.yml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_content_is_carried() {
        let mut missing = Vec::new();
        for folder in ["inventory", "playbooks", "roles"] {
            for entry in walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().map(|entry| entry.expect("entry")) {
                let path = entry.path().to_string_lossy().into_owned();
                if entry.file_type().is_file() && !FILES.iter().any(|(known, _)| *known == path) {
                    missing.push(format!("    (\"{path}\", include_str!(\"../../{path}\")),"));
                }
            }
        }
        assert!(missing.is_empty(), "add to FILES:\n{}", missing.join("\n"));
    }
}
