//! The table of settings that windlass heeds: Ansible's names, variables of the environment, keys of `ansible.cfg`, defaults.

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Variables of the environment, strongest first, separated by blanks.
    pub environment: &'static str,
    /// `section.key` of `ansible.cfg`, separated by blanks.
    pub keys: &'static str,
    /// What counts where nothing is said; empty: nothing.
    pub default: &'static str,
}

const fn setting(name: &'static str, environment: &'static str, keys: &'static str, default: &'static str) -> Setting {
    Setting { name, environment, keys, default }
}

/// Every setting, in order of their names.
pub const ALL: &[Setting] = &[
    setting("ALLOW_BROKEN_CONDITIONALS", "ANSIBLE_ALLOW_BROKEN_CONDITIONALS", "defaults.allow_broken_conditionals", "False"),
    setting("ANSIBLE_FORCE_COLOR", "ANSIBLE_FORCE_COLOR", "defaults.force_color", "False"),
    setting("ANSIBLE_NOCOLOR", "ANSIBLE_NOCOLOR NO_COLOR", "defaults.nocolor", "False"),
    setting("ANY_ERRORS_FATAL", "ANSIBLE_ANY_ERRORS_FATAL", "defaults.any_errors_fatal", "False"),
    setting("BECOME_ALLOW_SAME_USER", "ANSIBLE_BECOME_ALLOW_SAME_USER", "privilege_escalation.become_allow_same_user", "False"),
    setting("BECOME_PASSWORD_FILE", "ANSIBLE_BECOME_PASSWORD_FILE", "defaults.become_password_file", ""),
    setting("CACHE_PLUGIN", "ANSIBLE_CACHE_PLUGIN", "defaults.fact_caching", "memory"),
    setting("CACHE_PLUGIN_CONNECTION", "ANSIBLE_CACHE_PLUGIN_CONNECTION", "defaults.fact_caching_connection", ""),
    setting("CACHE_PLUGIN_PREFIX", "ANSIBLE_CACHE_PLUGIN_PREFIX", "defaults.fact_caching_prefix", ""),
    setting("CACHE_PLUGIN_TIMEOUT", "ANSIBLE_CACHE_PLUGIN_TIMEOUT", "defaults.fact_caching_timeout", "86400"),
    setting("CALLBACKS_ENABLED", "ANSIBLE_CALLBACKS_ENABLED", "defaults.callbacks_enabled", ""),
    setting(
        "COLLECTIONS_PATHS",
        "ANSIBLE_COLLECTIONS_PATH ANSIBLE_COLLECTIONS_PATHS",
        "defaults.collections_path defaults.collections_paths",
        "~/.ansible/collections:/usr/share/ansible/collections",
    ),
    setting("CONNECTION_PASSWORD_FILE", "ANSIBLE_CONNECTION_PASSWORD_FILE", "defaults.connection_password_file", ""),
    setting("DEFAULT_ASK_PASS", "ANSIBLE_ASK_PASS", "defaults.ask_pass", "False"),
    setting("DEFAULT_ASK_VAULT_PASS", "ANSIBLE_ASK_VAULT_PASS", "defaults.ask_vault_pass", "False"),
    setting("DEFAULT_BECOME", "ANSIBLE_BECOME", "privilege_escalation.become", "False"),
    setting("DEFAULT_BECOME_ASK_PASS", "ANSIBLE_BECOME_ASK_PASS", "privilege_escalation.become_ask_pass", "False"),
    setting("DEFAULT_BECOME_EXE", "ANSIBLE_BECOME_EXE", "privilege_escalation.become_exe", ""),
    setting("DEFAULT_BECOME_FLAGS", "ANSIBLE_BECOME_FLAGS", "privilege_escalation.become_flags", ""),
    setting("DEFAULT_BECOME_METHOD", "ANSIBLE_BECOME_METHOD", "privilege_escalation.become_method", "sudo"),
    setting("DEFAULT_BECOME_USER", "ANSIBLE_BECOME_USER", "privilege_escalation.become_user", "root"),
    setting("DEFAULT_DEBUG", "ANSIBLE_DEBUG", "defaults.debug", "False"),
    setting("DEFAULT_FORCE_HANDLERS", "ANSIBLE_FORCE_HANDLERS", "defaults.force_handlers", "False"),
    setting("DEFAULT_FORKS", "ANSIBLE_FORKS", "defaults.forks", "50"),
    setting("DEFAULT_GATHERING", "ANSIBLE_GATHERING", "defaults.gathering", "implicit"),
    setting("DEFAULT_HASH_BEHAVIOUR", "ANSIBLE_HASH_BEHAVIOUR", "defaults.hash_behaviour", "replace"),
    setting("DEFAULT_HOST_LIST", "ANSIBLE_INVENTORY", "defaults.inventory", "/etc/ansible/hosts"),
    setting("DEFAULT_LOAD_CALLBACK_PLUGINS", "ANSIBLE_LOAD_CALLBACK_PLUGINS", "defaults.bin_ansible_callbacks", "False"),
    setting("DEFAULT_LOG_PATH", "ANSIBLE_LOG_PATH", "defaults.log_path", ""),
    setting("DEFAULT_MANAGED_STR", "", "defaults.ansible_managed", "Ansible managed"),
    setting("DEFAULT_MODULE_ARGS", "ANSIBLE_MODULE_ARGS", "defaults.module_args", ""),
    setting("DEFAULT_MODULE_NAME", "", "defaults.module_name", "command"),
    setting("DEFAULT_MODULE_PATH", "ANSIBLE_LIBRARY", "defaults.library", "~/.ansible/plugins/modules:/usr/share/ansible/plugins/modules"),
    setting("DEFAULT_NO_LOG", "ANSIBLE_NO_LOG", "defaults.no_log", "False"),
    setting("DEFAULT_POLL_INTERVAL", "ANSIBLE_POLL_INTERVAL", "defaults.poll_interval", "15"),
    setting("DEFAULT_PRIVATE_KEY_FILE", "ANSIBLE_PRIVATE_KEY_FILE", "defaults.private_key_file", ""),
    setting("DEFAULT_PRIVATE_ROLE_VARS", "ANSIBLE_PRIVATE_ROLE_VARS", "defaults.private_role_vars", "False"),
    setting("DEFAULT_REMOTE_PORT", "ANSIBLE_REMOTE_PORT", "defaults.remote_port", ""),
    setting("DEFAULT_REMOTE_USER", "ANSIBLE_REMOTE_USER", "defaults.remote_user", ""),
    setting(
        "DEFAULT_ROLES_PATH",
        "ANSIBLE_ROLES_PATH",
        "defaults.roles_path",
        "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles",
    ),
    setting("DEFAULT_STDOUT_CALLBACK", "ANSIBLE_STDOUT_CALLBACK", "defaults.stdout_callback", "default"),
    setting("DEFAULT_STRATEGY", "ANSIBLE_STRATEGY", "defaults.strategy", "linear"),
    setting("DEFAULT_TIMEOUT", "ANSIBLE_TIMEOUT", "defaults.timeout", "10"),
    setting("DEFAULT_TRANSPORT", "ANSIBLE_TRANSPORT", "defaults.transport", "ssh"),
    setting("DEFAULT_VAULT_ENCRYPT_IDENTITY", "ANSIBLE_VAULT_ENCRYPT_IDENTITY", "defaults.vault_encrypt_identity", ""),
    setting("DEFAULT_VAULT_IDENTITY", "ANSIBLE_VAULT_IDENTITY", "defaults.vault_identity", "default"),
    setting("DEFAULT_VAULT_IDENTITY_LIST", "ANSIBLE_VAULT_IDENTITY_LIST", "defaults.vault_identity_list", ""),
    setting("DEFAULT_VAULT_ID_MATCH", "ANSIBLE_VAULT_ID_MATCH", "defaults.vault_id_match", "False"),
    setting("DEFAULT_VAULT_PASSWORD_FILE", "ANSIBLE_VAULT_PASSWORD_FILE", "defaults.vault_password_file", ""),
    setting("DEFAULT_VERBOSITY", "ANSIBLE_VERBOSITY", "defaults.verbosity", "0"),
    setting("DEPRECATION_WARNINGS", "ANSIBLE_DEPRECATION_WARNINGS", "defaults.deprecation_warnings", "True"),
    setting("DIFF_ALWAYS", "ANSIBLE_DIFF_ALWAYS", "diff.always", "False"),
    setting("DIFF_CONTEXT", "ANSIBLE_DIFF_CONTEXT", "diff.context", "3"),
    setting("DISPLAY_ARGS_TO_STDOUT", "ANSIBLE_DISPLAY_ARGS_TO_STDOUT", "defaults.display_args_to_stdout", "False"),
    setting("DISPLAY_SKIPPED_HOSTS", "ANSIBLE_DISPLAY_SKIPPED_HOSTS", "defaults.display_skipped_hosts", "True"),
    setting("EDITOR", "ANSIBLE_EDITOR EDITOR", "defaults.editor", "vi"),
    setting("DUPLICATE_YAML_DICT_KEY", "ANSIBLE_DUPLICATE_YAML_DICT_KEY", "defaults.duplicate_dict_key", "warn"),
    setting("ENABLE_TASK_DEBUGGER", "ANSIBLE_ENABLE_TASK_DEBUGGER", "defaults.enable_task_debugger", "False"),
    setting("ERROR_ON_MISSING_HANDLER", "ANSIBLE_ERROR_ON_MISSING_HANDLER", "defaults.error_on_missing_handler", "True"),
    setting("HOST_KEY_CHECKING", "ANSIBLE_HOST_KEY_CHECKING", "defaults.host_key_checking", "True"),
    setting("HOST_PATTERN_MISMATCH", "ANSIBLE_HOST_PATTERN_MISMATCH", "inventory.host_pattern_mismatch", "warning"),
    setting("INJECT_FACTS_AS_VARS", "ANSIBLE_INJECT_FACT_VARS", "defaults.inject_facts_as_vars", "True"),
    setting("INVENTORY_ANY_UNPARSED_IS_FAILED", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "inventory.any_unparsed_is_failed", "False"),
    setting("INVENTORY_ENABLED", "ANSIBLE_INVENTORY_ENABLED", "inventory.enable_plugins", "host_list,script,auto,yaml,ini,toml"),
    setting(
        "INVENTORY_IGNORE_EXTS",
        "ANSIBLE_INVENTORY_IGNORE",
        "defaults.inventory_ignore_extensions inventory.ignore_extensions",
        ".pyc,.pyo,.swp,.bak,~,.rpm,.md,.txt,.rst,.orig,.cfg,.retry",
    ),
    setting(
        "INVENTORY_IGNORE_PATTERNS",
        "ANSIBLE_INVENTORY_IGNORE_REGEX",
        "defaults.inventory_ignore_patterns inventory.ignore_patterns",
        "",
    ),
    setting("INVENTORY_UNPARSED_IS_FAILED", "ANSIBLE_INVENTORY_UNPARSED_FAILED", "inventory.unparsed_is_failed", "False"),
    setting("INVENTORY_UNPARSED_WARNING", "ANSIBLE_INVENTORY_UNPARSED_WARNING", "inventory.inventory_unparsed_warning", "True"),
    setting("LOCALHOST_WARNING", "ANSIBLE_LOCALHOST_WARNING", "defaults.localhost_warning", "True"),
    setting("LOG_VERBOSITY", "ANSIBLE_LOG_VERBOSITY", "defaults.log_verbosity", ""),
    setting("PLAYBOOK_DIR", "ANSIBLE_PLAYBOOK_DIR", "defaults.playbook_dir", ""),
    setting("SHOW_CUSTOM_STATS", "ANSIBLE_SHOW_CUSTOM_STATS", "defaults.show_custom_stats", "False"),
    setting("TAGS_RUN", "ANSIBLE_RUN_TAGS", "tags.run", ""),
    setting("TAGS_SKIP", "ANSIBLE_SKIP_TAGS", "tags.skip", ""),
    setting("TASK_DEBUGGER_IGNORE_ERRORS", "ANSIBLE_TASK_DEBUGGER_IGNORE_ERRORS", "defaults.task_debugger_ignore_errors", "True"),
    setting("TASK_TIMEOUT", "ANSIBLE_TASK_TIMEOUT", "defaults.task_timeout", "0"),
    setting("TRANSFORM_INVALID_GROUP_CHARS", "ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS", "defaults.force_valid_group_names", "never"),
    setting("VAULT_ENCRYPT_SALT", "ANSIBLE_VAULT_ENCRYPT_SALT", "defaults.vault_encrypt_salt", ""),
    setting("YAML_FILENAME_EXTENSIONS", "ANSIBLE_YAML_FILENAME_EXT", "defaults.yaml_valid_extensions", ".yml,.yaml,.json"),
    setting("callback_format_pretty", "ANSIBLE_CALLBACK_FORMAT_PRETTY", "defaults.callback_format_pretty", ""),
    setting("callback_result_format", "ANSIBLE_CALLBACK_RESULT_FORMAT", "defaults.callback_result_format", "json"),
    setting("callback_result_indentation", "ANSIBLE_CALLBACK_RESULT_INDENTATION", "defaults.callback_result_indentation", "4"),
    setting("check_mode_markers", "ANSIBLE_CHECK_MODE_MARKERS", "defaults.check_mode_markers", "False"),
    setting("display_failed_stderr", "ANSIBLE_DISPLAY_FAILED_STDERR", "defaults.display_failed_stderr", "False"),
    setting("display_ok_hosts", "ANSIBLE_DISPLAY_OK_HOSTS", "defaults.display_ok_hosts", "True"),
    setting("junit_output_dir", "JUNIT_OUTPUT_DIR", "", "~/.ansible.log"),
    setting("show_per_host_start", "ANSIBLE_SHOW_PER_HOST_START", "defaults.show_per_host_start", "False"),
    setting("show_task_path_on_failure", "ANSIBLE_SHOW_TASK_PATH_ON_FAILURE", "defaults.show_task_path_on_failure", "False"),
    setting("ssh_args", "ANSIBLE_SSH_ARGS", "ssh_connection.ssh_args", ""),
    setting("ssh_common_args", "ANSIBLE_SSH_COMMON_ARGS", "ssh_connection.ssh_common_args", ""),
    setting("ssh_extra_args", "ANSIBLE_SSH_EXTRA_ARGS", "ssh_connection.ssh_extra_args", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables_are_said_once() {
        let (mut names, mut seen) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        for setting in ALL {
            assert!(names.insert(setting.name), "{} is there twice", setting.name);
            for variable in setting.environment.split(' ').filter(|variable| !variable.is_empty()) {
                assert!(seen.insert(variable), "{variable} is there twice");
            }
            assert!(setting.keys.split(' ').all(|key| key.is_empty() || key.contains('.')), "{}", setting.keys);
        }
    }
}
