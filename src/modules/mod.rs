//! The modules a task can name, one file each.
//!
//! To add one: write `src/modules/<name>.rs`, then add its two lines below (`mod` and the entry of [`ALL`]). Docs, schema,
//! argument checks, check mode and the tests over the whole table follow from that.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, schema_for};
use serde::de::DeserializeOwned;

use crate::change::doubt::Names;
use crate::change::tree::Below;
use crate::change::{Done, Failure, Plan, Probe};
use crate::value::{Map, Value, arguments};

mod add_host;
mod alternatives;
mod apache2_module;
mod apt;
mod apt_key;
mod apt_repository;
mod assemble;
mod assert;
mod async_status;
mod authorized_key;
mod blockinfile;
mod certificate;
mod certificate_authority;
mod command;
mod copy;
mod cron;
mod deb822_repository;
mod debconf;
mod debug;
mod dpkg_selections;
mod elasticsearch_cluster_settings;
mod elasticsearch_cross_cluster_api_key;
mod elasticsearch_health;
mod elasticsearch_keystore;
mod elasticsearch_reload_secure_settings;
mod elasticsearch_remote_cluster;
mod elasticsearch_remote_info;
mod expect;
mod fail;
mod fetch;
mod file;
mod find;
mod gather_facts;
mod get_url;
mod getent;
mod git;
mod group;
mod group_by;
mod hostname;
mod include_vars;
mod ini_file;
pub mod instead;
mod iptables;
mod known_hosts;
mod lineinfile;
mod locale_gen;
mod meta;
mod modprobe;
mod mount;
mod mount_facts;
mod openssl_csr;
mod openssl_privatekey;
mod package;
mod package_facts;
mod pause;
mod ping;
mod pip;
mod postgresql_db;
mod postgresql_privs;
mod postgresql_user;
mod raw;
mod reboot;
mod replace;
mod script;
pub mod script_module;
mod service;
mod service_facts;
mod set_fact;
mod set_stats;
mod setup;
mod shell;
mod slurp;
mod stat;
mod sysctl;
mod systemd;
mod systemd_service;
mod sysvinit;
mod tempfile;
mod template;
mod timezone;
mod ufw;
mod unarchive;
mod uri;
mod user;
mod validate_argument_spec;
mod wait_for;
mod wait_for_connection;
mod yaml_settings;

/// Every module, in the order of the alphabet.
pub const ALL: &[Entry] = &[
    Entry::of::<add_host::AddHost>(),
    Entry::of::<alternatives::Alternatives>(),
    Entry::of::<apache2_module::Apache2Module>(),
    Entry::of::<apt::Apt>(),
    Entry::of::<apt_key::AptKey>(),
    Entry::of::<apt_repository::AptRepository>(),
    Entry::of::<assemble::Assemble>(),
    Entry::of::<assert::Assert>(),
    Entry::of::<async_status::AsyncStatus>(),
    Entry::of::<authorized_key::AuthorizedKey>(),
    Entry::of::<blockinfile::BlockInFile>(),
    Entry::of::<certificate::CertificateModule>(),
    Entry::of::<certificate_authority::CertificateAuthority>(),
    Entry::of::<command::Command>(),
    Entry::of::<copy::Copy>(),
    Entry::of::<cron::Cron>(),
    Entry::of::<deb822_repository::Deb822Repository>(),
    Entry::of::<debconf::Debconf>(),
    Entry::of::<debug::Debug>(),
    Entry::of::<dpkg_selections::DpkgSelections>(),
    Entry::of::<elasticsearch_cluster_settings::ElasticsearchClusterSettings>(),
    Entry::of::<elasticsearch_cross_cluster_api_key::ElasticsearchCrossClusterApiKey>(),
    Entry::of::<elasticsearch_health::ElasticsearchHealth>(),
    Entry::of::<elasticsearch_keystore::ElasticsearchKeystore>(),
    Entry::of::<elasticsearch_reload_secure_settings::ElasticsearchReloadSecureSettings>(),
    Entry::of::<elasticsearch_remote_cluster::ElasticsearchRemoteCluster>(),
    Entry::of::<elasticsearch_remote_info::ElasticsearchRemoteInfo>(),
    Entry::of::<expect::Expect>(),
    Entry::of::<fail::Fail>(),
    Entry::of::<fetch::Fetch>(),
    Entry::of::<file::File>(),
    Entry::of::<find::Find>(),
    Entry::of::<gather_facts::GatherFacts>(),
    Entry::of::<get_url::GetUrl>(),
    Entry::of::<getent::Getent>(),
    Entry::of::<git::Git>(),
    Entry::of::<group::Group>(),
    Entry::of::<group_by::GroupBy>(),
    Entry::of::<hostname::Hostname>(),
    Entry::of::<include_vars::IncludeVars>(),
    Entry::of::<ini_file::IniFile>(),
    Entry::of::<iptables::Iptables>(),
    Entry::of::<known_hosts::KnownHosts>(),
    Entry::of::<lineinfile::LineInFile>(),
    Entry::of::<locale_gen::LocaleGen>(),
    Entry::of::<meta::Meta>(),
    Entry::of::<modprobe::Modprobe>(),
    Entry::of::<mount::Mount>(),
    Entry::of::<mount_facts::MountFacts>(),
    Entry::of::<openssl_csr::OpensslCsr>(),
    Entry::of::<openssl_privatekey::OpensslPrivatekey>(),
    Entry::of::<package::Package>(),
    Entry::of::<package_facts::PackageFacts>(),
    Entry::of::<pause::Pause>(),
    Entry::of::<ping::Ping>(),
    Entry::of::<pip::Pip>(),
    Entry::of::<postgresql_db::PostgresqlDb>(),
    Entry::of::<postgresql_privs::PostgresqlPrivs>(),
    Entry::of::<postgresql_user::PostgresqlUser>(),
    Entry::of::<raw::Raw>(),
    Entry::of::<reboot::Reboot>(),
    Entry::of::<replace::Replace>(),
    Entry::of::<script::Script>(),
    Entry::of::<script_module::ScriptModule>(),
    Entry::of::<service::Service>(),
    Entry::of::<service_facts::ServiceFacts>(),
    Entry::of::<set_fact::SetFact>(),
    Entry::of::<set_stats::SetStats>(),
    Entry::of::<setup::Setup>(),
    Entry::of::<shell::Shell>(),
    Entry::of::<slurp::Slurp>(),
    Entry::of::<stat::StatModule>(),
    Entry::of::<sysctl::Sysctl>(),
    Entry::of::<systemd::Systemd>(),
    Entry::of::<systemd_service::SystemdService>(),
    Entry::of::<sysvinit::Sysvinit>(),
    Entry::of::<tempfile::Tempfile>(),
    Entry::of::<template::Template>(),
    Entry::of::<timezone::Timezone>(),
    Entry::of::<ufw::Ufw>(),
    Entry::of::<unarchive::Unarchive>(),
    Entry::of::<uri::Uri>(),
    Entry::of::<user::User>(),
    Entry::of::<validate_argument_spec::ValidateArgumentSpec>(),
    Entry::of::<wait_for::WaitFor>(),
    Entry::of::<wait_for_connection::WaitForConnection>(),
    Entry::of::<yaml_settings::YamlSettings>(),
];

/// Modules of which no change can be undone, or not every one: they run programs or send requests whose effects nobody knows how to
/// take back. `tests/modules.rs` compares it with what their examples would do.
pub const ONE_WAY: &[&str] = &[
    "alternatives",
    "apache2_module",
    "apt_repository",
    "command",
    "cron",
    "debconf",
    "dpkg_selections",
    "expect",
    "git",
    "hostname",
    "iptables",
    "locale_gen",
    "modprobe",
    "mount",
    "pip",
    "postgresql_db",
    "postgresql_privs",
    "postgresql_user",
    "raw",
    "reboot",
    "script",
    "script_module",
    "shell",
    "sysctl",
    "ufw",
    "uri",
];

/// A module: its arguments are the fields, its manual is the doc comments, its examples are tests.
pub trait Module: DeserializeOwned + JsonSchema {
    /// The name a task has for it.
    const NAME: &'static str;
    /// Tasks that are documentation and test at once.
    const EXAMPLES: &'static [Example];
    /// The collection whose module of this name it stands for.
    const COLLECTION: &'static str = "ansible.builtin";
    /// Arguments that are paths of the host: a `~` at their beginning and `$NAME` in them are replaced there.
    const PATHS: &'static [&'static str] = &["path", "dest", "src"];
    /// Where `plan` runs.
    const RUNS: Runs = Runs::OnHost;
    /// Whether a second run changes nothing. A command cannot promise that.
    const RESTS: bool = true;
    /// The argument that takes free text (`command: ls -l`).
    const FREE_FORM: Option<&'static str> = None;
    /// Whether any argument name goes (`set_fact`): the struct then has a flattened map.
    const ANY_ARGUMENT: bool = false;
    /// Arguments that stay templates and are not rendered before `prepare` sees them (`that`, `var`).
    const UNRENDERED: &'static [&'static str] = &[];
    /// Whether it can plan although an argument is not known in a check ([`Value::Unknown`]). Other modules are not asked then.
    const COPES_WITH_UNKNOWN: bool = false;
    /// Whether it only looks: a check does with it what a run does.
    const LOOKS: bool = false;
    /// How its arguments name what it changes. Where a check cannot tell what it would do, sight of that is lost.
    const CHANGES: &'static [Names] = &[Names::Path("path"), Names::Path("dest")];

    /// Does the controller's part before the arguments go to the host: reads files, renders templates. Puts what it
    /// found into `arguments`, under names that begin with `_`.
    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let _ = (arguments, controller);
        Ok(())
    }

    /// Returns the facts that it looks up. Where a check cannot know what it would find, these are unknown, and not missing.
    fn facts(arguments: &Map) -> Option<String> {
        let _ = arguments;
        None
    }

    /// Whether it asks the world itself, and in a check not only the picture of the host.
    fn asks(arguments: &Map) -> bool {
        let _ = arguments;
        false
    }

    /// Returns the users of the host whose sessions, windlass' own among them, have to end before.
    fn ends(arguments: &Map) -> Vec<String> {
        let _ = arguments;
        Vec::new()
    }

    /// Says what has to change on `host` for it to be as the arguments ask.
    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure>;

    /// Returns what `register` gets, after the changes of `plan` were made. `done` has one entry a change.
    /// Return [`Failure::Failed`] here when a program or a server said no.
    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let _ = (done, host);
        Ok(plan.values.clone())
    }
}

/// Where a module's `plan` runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// On the host, in the agent.
    OnHost,
    /// On the controller, looking at the host from afar: for modules with secrets or files that must not travel.
    OnController,
    /// On the controller; there need not be a host at all (`debug`).
    WithoutHost,
}

/// What a module's `prepare` may ask of the controller.
pub trait Controller {
    /// Returns the file that a task means by `name`: looked for in the role's `folder` (`files`, `templates`, `vars`), then as Ansible does.
    fn find(&self, folder: &str, name: &str) -> Result<PathBuf, Failure>;

    /// Returns a file's content, decrypted where it is a vault.
    fn read(&self, path: &Path) -> Result<Vec<u8>, Failure>;

    /// Returns what a file is on the controller: `None` where there is nothing.
    fn stat(&self, path: &Path) -> Result<Option<crate::change::probe::Stat>, Failure>;

    /// Returns what is below a folder, links followed or kept.
    fn walk(&self, path: &Path, follow: bool) -> Result<Vec<Below>, Failure>;

    /// Makes a large file ready to be streamed, and returns its `_content` argument ({`sha256`, `size`}).
    fn blob(&self, path: &Path) -> Result<Value, Failure>;

    /// Renders a template file. `options`: `trim_blocks`, `lstrip_blocks`, `newline_sequence`, `variable_start_string`, ... as the template module has them.
    fn render_file(&self, path: &Path, options: &Map) -> Result<Value, Failure>;

    /// Renders a value of the task.
    fn render(&self, value: &Value) -> Result<Value, Failure>;

    /// Evaluates an expression (without braces).
    fn expression(&self, text: &str) -> Result<Value, Failure>;

    /// Evaluates a condition; the error is [`Failure::Unknown`] where it cannot be told.
    fn condition(&self, text: &Value) -> Result<bool, Failure>;

    /// Loads a YAML or JSON variables file.
    fn variables(&self, path: &Path) -> Result<Map, Failure>;

    /// Whether a file of the controller is encrypted.
    fn is_vaulted(&self, path: &Path) -> bool {
        let _ = path;
        false
    }

    /// Whether a text stands in one of the user's own files.
    fn is_own(&self, text: &str) -> bool {
        let _ = text;
        false
    }

    /// Keeps a text out of every output of this run.
    fn secret(&self, text: &str);

    /// How much the user wants to see (`-v` is 1).
    fn verbosity(&self) -> u8;
}

/// A task that is documentation and test at once.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// A sentence.
    pub title: &'static str,
    /// The arguments, YAML.
    pub task: &'static str,
    /// Files on the host before the task: path and text. A path that ends in `/` is a directory, `GET https://...` is what a server answers.
    pub given: &'static [(&'static str, &'static str)],
    /// Whether it changes something on that host.
    pub changes: bool,
}

/// A module with its type forgotten, so that all of them fit one table.
#[derive(Clone, Copy)]
pub struct Entry {
    /// See [`Module::NAME`].
    pub name: &'static str,
    /// See [`Module::COLLECTION`].
    pub collection: &'static str,
    /// See [`Module::EXAMPLES`].
    pub examples: &'static [Example],
    /// See [`Module::RUNS`].
    pub runs: Runs,
    /// See [`Module::RESTS`].
    pub rests: bool,
    /// See [`Module::FREE_FORM`].
    pub free_form: Option<&'static str>,
    /// See [`Module::ANY_ARGUMENT`].
    pub any_argument: bool,
    /// See [`Module::UNRENDERED`].
    pub unrendered: &'static [&'static str],
    /// See [`Module::COPES_WITH_UNKNOWN`].
    pub copes_with_unknown: bool,
    /// See [`Module::LOOKS`].
    pub looks: bool,
    /// See [`Module::facts`].
    pub facts: fn(&Map) -> Option<String>,
    /// See [`Module::asks`].
    pub asks: fn(&Map) -> bool,
    /// See [`Module::ends`].
    pub ends: fn(&Map) -> Vec<String>,
    /// Returns the JSON schema of the arguments, with the doc comments.
    pub schema: fn() -> Schema,
    /// Checks arguments without a host; they must be rendered.
    pub check: fn(&Map) -> Result<(), Failure>,
    /// See [`Module::prepare`].
    pub prepare: fn(&mut Map, &dyn Controller) -> Result<(), Failure>,
    /// Reads the arguments and plans.
    pub plan: fn(&Map, &dyn Probe) -> Result<Plan, Failure>,
    /// Reads the arguments and makes the result.
    pub result: MakesResult,
}

/// Makes what `register` gets, of a task's arguments, its plan and what was done.
pub type MakesResult = fn(&Map, &Plan, &[Done], &dyn Probe) -> Result<Map, Failure>;

impl Entry {
    const fn of<M: Module>() -> Self {
        Self {
            name: M::NAME,
            collection: M::COLLECTION,
            examples: M::EXAMPLES,
            runs: M::RUNS,
            rests: M::RESTS,
            free_form: M::FREE_FORM,
            any_argument: M::ANY_ARGUMENT,
            unrendered: M::UNRENDERED,
            copes_with_unknown: M::COPES_WITH_UNKNOWN,
            looks: M::LOOKS,
            facts: M::facts,
            asks: M::asks,
            ends: M::ends,
            schema: || schema_for!(M),
            check: |map| Ok(arguments::from_map::<M>(map).map(|_| ())?),
            prepare: M::prepare,
            plan: planned::<M>,
            result: |map, plan, done, host| arguments::from_map::<M>(with_paths::<M>(map, host)?.as_ref())?.result(plan, done, host),
        }
    }

    /// Returns the names of the arguments, aliases last, hidden ones left out.
    pub fn argument_names(&self) -> Vec<String> {
        let schema = serde_json::Value::from((self.schema)());
        let properties = schema.get("properties").and_then(serde_json::Value::as_object);
        properties.map(|map| map.keys().filter(|name| !name.starts_with('_')).cloned().collect()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Reads the arguments and plans. What cannot be told is as unknown as what the arguments name.
fn planned<M: Module>(map: &Map, host: &dyn Probe) -> Result<Plan, Failure> {
    let map = with_paths::<M>(map, host)?;
    let unknown = if M::COPES_WITH_UNKNOWN || M::RUNS == Runs::WithoutHost { None } else { map.values().find_map(Value::unknown_part) };
    let plan = match unknown {
        Some(unknown) => Err(Failure::unknown(unknown.why.clone())),
        None => arguments::from_map::<M>(&map)?.plan(host),
    };
    plan.map_err(|failure| match failure {
        Failure::Unknown { why, .. } => Failure::Unknown {
            why,
            lost: if M::LOOKS { Vec::new() } else { M::CHANGES.iter().flat_map(|names| names.things(&map, host)).collect() },
        },
        failure => failure,
    })
}

/// Returns the arguments with the host's own meaning of `~` and `$NAME` in paths.
fn with_paths<'a, M: Module>(map: &'a Map, host: &dyn Probe) -> Result<std::borrow::Cow<'a, Map>, Failure> {
    let means_more = |value: &Value| value.as_str().is_some_and(|text| text.starts_with('~') || text.contains('$'));
    let mut map = std::borrow::Cow::Borrowed(map);
    if M::RUNS != Runs::OnHost {
        return Ok(map);
    }
    for name in M::PATHS {
        let expanded = match map.get(*name) {
            Some(Value::Str(text)) if means_more(&Value::Str(text.clone())) => Value::from(command::expand(host, text)?),
            Some(Value::List(items)) if items.iter().any(means_more) => {
                let expanded = |item: &Value| match item {
                    Value::Str(text) => command::expand(host, text).map(Value::from),
                    other => Ok(other.clone()),
                };
                Value::list(items.iter().map(expanded).collect::<Result<Vec<_>, _>>()?)
            }
            _ => continue,
        };
        map.to_mut().insert((*name).into(), expanded);
    }
    Ok(map)
}

/// Keeps the texts of these arguments out of every output.
pub(crate) fn keep_secret(arguments: &Map, controller: &dyn Controller, names: &[&str]) {
    for name in names {
        if let Some(text) = arguments.get(*name).and_then(Value::as_str) {
            controller.secret(text);
        }
    }
}

/// Collections whose modules are meant by their short names too.
const COLLECTIONS: &[&str] = &["ansible.builtin.", "ansible.legacy.", "windlass."];

/// Returns the short name of a module: `ansible.builtin.copy` is `copy`, and `ansible.posix.sysctl` is `sysctl`.
pub fn short_name(name: &str) -> &str {
    let ours = |(collection, short): &(&str, &str)| ALL.iter().any(|entry| entry.collection == *collection && entry.name == *short);
    let of_collection = || name.rsplit_once('.').filter(ours).map(|(_, short)| short);
    COLLECTIONS.iter().find_map(|prefix| name.strip_prefix(prefix)).or_else(of_collection).unwrap_or(name)
}

/// Groups of modules whose arguments `module_defaults` can give together: `group/NAME`.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("community.postgresql.all", &["postgresql_db", "postgresql_privs", "postgresql_user"]),
    (
        "windlass.elasticsearch",
        &[
            "elasticsearch_cluster_settings",
            "elasticsearch_cross_cluster_api_key",
            "elasticsearch_health",
            "elasticsearch_reload_secure_settings",
            "elasticsearch_remote_cluster",
            "elasticsearch_remote_info",
        ],
    ),
];

/// Returns the modules of a group; the group may be without its collection where that is ours.
pub fn group(name: &str) -> Option<&'static [&'static str]> {
    let is_it = |known: &str| known == name || known.strip_prefix("windlass.") == Some(name);
    GROUPS.iter().find(|(known, _)| is_it(known)).map(|(_, modules)| *modules)
}

/// Returns the module called `name`, short (`copy`) or full (`ansible.builtin.copy`).
pub fn find(name: &str) -> Option<&'static Entry> {
    let short = short_name(name);
    ALL.iter().find(|entry| entry.name == short)
}
