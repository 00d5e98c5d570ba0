//! `windlass doc --language`: what of Ansible's language is supported, what differs on purpose, and what is not there.

use serde_json::json;

/// How far something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Support {
    /// As ansible-core 2.19 has it.
    Whole,
    /// There, but different on purpose.
    Differs,
    /// Not there.
    Missing,
}

use Support::{Differs, Missing, Whole};

/// One thing: what it is, how far it goes, and what there is to know.
type Row = (&'static str, Support, &'static str);

/// The table, by topic.
const TABLE: &[(&str, &[Row])] = &[
    (
        "Plays",
        &[
            ("hosts, name, order, vars, vars_files, vars_prompt, tags, environment, user", Whole, ""),
            (
                "gather_facts, gather_subset, gather_timeout, fact_path",
                Differs,
                "facts have Ansible's names, for Linux hosts; those of cloud and exotic hardware are not gathered",
            ),
            ("roles, pre_tasks, tasks, post_tasks, handlers, force_handlers", Whole, ""),
            ("serial, max_fail_percentage, any_errors_fatal", Whole, "lists of batches, too"),
            ("strategy", Differs, "linear, free, host_pinned and debug; strategies that are Python plugins are refused"),
            (
                "stages, gate, quorum, max_hosts, verify, on_failure",
                Differs,
                "keywords of windlass, for change windows; Ansible does not know them",
            ),
            ("validate_argspec", Differs, "accepted, and counts for nothing: it belongs to a later Ansible"),
        ],
    ),
    (
        "Tasks and blocks",
        &[
            ("block, rescue, always, when, register, changed_when, failed_when, ignore_errors, ignore_unreachable", Whole, ""),
            ("loop, with_..., loop_control, until, retries, delay", Whole, "every lookup of ansible-core after with_"),
            ("notify, listen", Whole, ""),
            ("run_once, throttle, delegate_to, delegate_facts, timeout, args, action, local_action", Whole, ""),
            ("async, poll", Whole, "the job goes on in the agent's care; async_status looks after it"),
            ("check_mode, diff, no_log, port, remote_user, connection, collections", Whole, ""),
            ("become, become_user, become_method, become_exe, become_flags", Differs, "sudo, su and doas; others are Python plugins"),
            (
                "module_defaults",
                Differs,
                "groups are community.postgresql.all and windlass.elasticsearch; others have no modules here and are refused",
            ),
            ("debugger", Differs, "the same commands; expressions are those of templates, not Python"),
            ("reads", Differs, "a keyword of windlass: a command that only reads runs in a check too, and counts as no change"),
            ("before, after and serial of a handler", Differs, "keywords of windlass: the handler rolls over the hosts that changed"),
        ],
    ),
    (
        "Reuse",
        &[
            ("import_playbook, import_tasks, import_role, include_tasks, include_role, include_vars", Whole, ""),
            ("roles: defaults, vars, meta, dependencies, argument specs, allow_duplicates, tasks_from and the like, public", Whole, ""),
            ("roles of a project", Differs, "also looked for in roles/ beside the playbook's folder"),
            ("collections on disk", Differs, "their roles, playbooks and script modules are found; their Python plugins do not run"),
            (
                "meta",
                Whole,
                "clear_facts, clear_host_errors, end_batch, end_host, end_play, end_role, flush_handlers, noop, refresh_inventory, reset_connection",
            ),
        ],
    ),
    (
        "Variables",
        &[
            (
                "the 22 levels of precedence, group depth and ansible_group_priority",
                Whole,
                "compared with ansible-core over random layouts",
            ),
            ("hash_behaviour = merge", Whole, ""),
            ("precedence, a setting that reorders groups", Missing, "the default order always holds"),
            ("magic variables", Differs, "all but role_uuid and ansible_delegated_vars"),
            ("hostvars", Differs, "may be used in a variable that is itself seen through hostvars"),
            ("the order of hosts of equally deep groups", Differs, "that of the files; in Ansible it is by chance"),
            (
                "fact_caching, cacheable facts",
                Differs,
                "memory and jsonfile; a check keeps nothing, files are private, values with secrets are not kept",
            ),
            ("set_stats, show_custom_stats", Whole, "windlass's own form always tells them"),
        ],
    ),
    (
        "Templates",
        &[
            ("filters, tests and lookups of ansible-core", Whole, "every name; of collections those that many repositories use"),
            ("conditions", Whole, "the strict rules of 2.19; --lenient-conditionals takes what 2.18 took"),
            ("numbers", Differs, "whole numbers have 64 bits; more is an error"),
            ("tuples, sets, ranges and generators", Differs, "they are lists, and keep their order"),
            ("union, intersect, difference", Differs, "keep the order in which items came, and take lists of lists"),
            ("fileglob", Differs, "sorts"),
            ("batch and slice of 0", Differs, "an error"),
            ("an unknown filter or test", Differs, "told when the template is read, also where it would not be reached"),
            ("values from hosts", Differs, "never rendered, whatever is in them"),
            ("what provenance alone tells", Missing, "ansible._protomatter.tagged_with and origin: where a text came from is not kept"),
            ("filters, tests and lookups of your own", Missing, "they are Python; the message names them"),
        ],
    ),
    (
        "Modules",
        &[
            ("modules of ansible-core for Debian and systemd hosts", Whole, "`windlass doc` lists them"),
            ("dnf, dnf5, rpm_key, yum_repository", Missing, "a task with one fails before anything is run, unless a `when` guards it"),
            ("subversion", Missing, "likewise"),
            (
                "script modules in library/",
                Differs,
                "scripts and programs that read their arguments from the file they are given; not those with Ansible's Python library",
            ),
            ("an unknown argument", Differs, "an error before anything is run"),
            ("action plugins, Windows and network devices", Missing, "only raw works where no agent can run"),
        ],
    ),
    (
        "Check mode",
        &[
            ("--check", Differs, "later tasks see what earlier ones would do; what cannot be known is unknown, never ok, skipped or false"),
            ("command, shell, script, raw", Differs, "unknown in a check, unless creates, removes, reads or check_mode says more"),
            ("a failure after a command that was not run", Differs, "unknown: the command may make what is missing"),
            ("validate", Differs, "asked in a check too, about the new content in memory; what it refuses there is unknown"),
        ],
    ),
    (
        "Inventories",
        &[
            ("INI, YAML, JSON, TOML, folders of them, lists of hosts, programs", Whole, ""),
            ("group_vars, host_vars", Whole, ""),
            ("patterns and --limit", Whole, "globs, regular expressions, indexes, & and !, @file"),
            (
                "inventory plugins",
                Differs,
                "constructed and generator; the others are Python, a program that prints JSON takes their place",
            ),
        ],
    ),
    (
        "Connections",
        &[
            (
                "ssh",
                Differs,
                "windlass's own client: host keys are checked, a changed one is always refused; ~/.ssh/config with Include and the usual Match",
            ),
            ("local", Whole, ""),
            ("winrm, psrp, paramiko_ssh and those of collections", Missing, ""),
        ],
    ),
    (
        "Programs and settings",
        &[
            ("ansible.cfg and ANSIBLE_...", Differs, "`windlass config list` has the settings that count; the others are passed over"),
            ("forks", Differs, "50 hosts at a time where nothing is said, not 5"),
            ("vault", Whole, "labels, password files, password programs, encrypted variables"),
            (
                "ansible-playbook, ansible, ansible-inventory, ansible-vault, ansible-doc, ansible-config, ansible-pull",
                Differs,
                "by a link of that name, with their flags and form",
            ),
            ("ansible-galaxy, ansible-console, ansible-test", Missing, ""),
            ("callbacks", Differs, "default, minimal, oneline and junit, tree for ad hoc tasks, and windlass's own forms; not Python ones"),
        ],
    ),
];

/// Returns the table as text, or as JSON.
pub(super) fn shown(as_json: bool) -> String {
    if as_json {
        let rows = |(topic, rows): &(&str, &[Row])| {
            let row = |(what, support, note): &Row| json!({"topic": topic, "what": what, "support": word(*support), "note": note});
            rows.iter().map(row).collect::<Vec<_>>()
        };
        let all: Vec<_> = TABLE.iter().flat_map(rows).collect();
        return serde_json::to_string_pretty(&all).unwrap_or_default();
    }
    let mut lines = vec!["What of the language of ansible-core 2.19 is supported.".to_owned()];
    for (topic, rows) in TABLE {
        lines.push(format!("\n{topic}"));
        for (what, support, note) in *rows {
            lines.push(format!("  {:<8} {what}", word(*support)));
            if !note.is_empty() {
                lines.push(format!("           {note}"));
            }
        }
    }
    lines.join("\n")
}

fn word(support: Support) -> &'static str {
    match support {
        Whole => "yes",
        Differs => "differs",
        Missing => "no",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{keywords, plays, tasks};
    use crate::modules;

    fn words() -> Vec<&'static str> {
        let rows = TABLE.iter().flat_map(|(_, rows)| rows.iter()).flat_map(|(what, ..)| what.split([',', ' ', ':']));
        rows.filter(|word| !word.is_empty()).collect()
    }

    #[test]
    fn every_keyword_stands_in_the_table() {
        let known = words();
        for name in [plays::OF_PLAYS, tasks::OF_TASKS, tasks::OF_BLOCKS, keywords::SHARED].concat() {
            assert!(known.contains(&name), "`{name}` is not in the table");
        }
    }

    #[test]
    fn what_the_table_misses_is_missing_and_the_groups_are_those_there_are() {
        for start in ["dnf", "subversion"] {
            let (what, ..) = TABLE.iter().flat_map(|(_, rows)| *rows).find(|(what, ..)| what.starts_with(start)).expect("a row");
            assert!(what.split(", ").all(|name| modules::find(name).is_none()), "{what}");
        }
        let (.., note) = TABLE.iter().flat_map(|(_, rows)| *rows).find(|(what, ..)| *what == "module_defaults").expect("a row");
        assert!(modules::GROUPS.iter().all(|(group, _)| note.contains(group)), "{note}");
    }
}
