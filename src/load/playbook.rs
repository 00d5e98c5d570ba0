//! Plays, blocks and tasks, as written but checked. Each keeps its place.
//!
//! Values of keywords are not rendered here: a [`Value`] may be a template still. What Ansible fixes when the playbook is
//! read (names of files to import, tags) is plain.

use std::path::PathBuf;
use std::sync::Arc;

use crate::source::{Node, Span};
use crate::value::{Map, Value};

/// A playbook: its plays, imported ones in place.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// The file.
    pub path: PathBuf,
    /// The plays.
    pub plays: Vec<Play>,
}

/// A play.
#[derive(Clone, Debug)]
pub struct Play {
    /// Its name; without one, the hosts pattern.
    pub name: Value,
    /// The whole play.
    pub span: Span,
    /// The folder of its file: what relative paths start from.
    pub folder: PathBuf,
    /// Which hosts.
    pub hosts: Value,
    /// Where `hosts` stands.
    pub hosts_span: Span,
    /// Keywords that plays, blocks and tasks share.
    pub keywords: Keywords,
    /// `gather_facts`; `None` is the default (yes).
    pub gather_facts: Option<Value>,
    /// `gather_subset`, for the setup task.
    pub gather_subset: Option<Value>,
    /// `gather_timeout`, seconds, for the setup task.
    pub gather_timeout: Option<Value>,
    /// `fact_path`, for the setup task.
    pub fact_path: Option<Value>,
    /// `vars_files`: each entry is a name, or a list of which the first that exists counts.
    pub vars_files: Vec<Located>,
    /// `vars_prompt`.
    pub vars_prompt: Vec<Node>,
    /// `serial`: one number, share or list of them.
    pub serial: Option<Located>,
    /// `strategy`: `linear`, `free`, `host_pinned`.
    pub strategy: Option<Value>,
    /// `max_fail_percentage`.
    pub max_fail_percentage: Option<Located>,
    /// `force_handlers`.
    pub force_handlers: Option<Value>,
    /// `order`.
    pub order: Option<Value>,
    /// `pre_tasks`.
    pub pre_tasks: Vec<Item>,
    /// `roles`, dependencies not yet unfolded.
    pub roles: Vec<Arc<RoleUse>>,
    /// `tasks`.
    pub tasks: Vec<Item>,
    /// `post_tasks`.
    pub post_tasks: Vec<Item>,
    /// `handlers`.
    pub handlers: Vec<Item>,
    /// How the change goes over the hosts.
    pub rollout: Rollout,
}

/// How a play's change goes over its hosts. These keywords are ours.
#[derive(Clone, Debug, Default)]
pub struct Rollout {
    /// `stages`: which hosts go first, and how long they are watched before the others follow.
    pub stages: Option<Located>,
    /// `gate`: tasks that have to hold on a stage's hosts before the next begins.
    pub gate: Vec<Item>,
    /// `verify`: tasks that have to hold on each batch after its work.
    pub verify: Vec<Item>,
    /// `on_failure`: what becomes of a batch on which `verify` does not hold.
    pub on_failure: Option<Located>,
    /// `max_hosts`: on more hosts than this the play does not run.
    pub max_hosts: Option<Located>,
    /// `quorum`: how many hosts of which groups have to stay up.
    pub quorum: Option<Located>,
}

/// How a handler goes over the hosts that notified it. These keywords are ours.
#[derive(Clone, Debug)]
pub struct Rolling {
    /// `serial`: how many at a time.
    pub serial: Located,
    /// `before`: tasks that run on them first.
    pub before: Vec<Item>,
    /// `after`: tasks that run on them then, even when something failed.
    pub after: Vec<Item>,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The value.
    pub value: Value,
    /// Where.
    pub span: Span,
}

/// Keywords that plays, roles, blocks and tasks share and inherit. `None`: not said here.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Keywords {
    pub vars: Arc<Map>,
    pub environment: Vec<Located>,
    pub when: Vec<Located>,
    pub tags: Vec<String>,
    pub r#become: Option<Located>,
    pub become_user: Option<Located>,
    pub become_method: Option<Located>,
    pub become_flags: Option<Located>,
    pub become_exe: Option<Located>,
    pub remote_user: Option<Located>,
    pub connection: Option<Located>,
    pub port: Option<Located>,
    pub check_mode: Option<Located>,
    pub diff: Option<Located>,
    pub no_log: Option<Located>,
    pub ignore_errors: Option<Located>,
    pub ignore_unreachable: Option<Located>,
    pub any_errors_fatal: Option<Located>,
    pub run_once: Option<Located>,
    pub delegate_to: Option<Located>,
    pub delegate_facts: Option<Located>,
    pub throttle: Option<Located>,
    pub timeout: Option<Located>,
    pub debugger: Option<Located>,
    pub module_defaults: Vec<Located>,
    pub collections: Vec<String>,
}

/// `apply` of an include: what holds for all that it brings in.
#[derive(Clone, Debug, Default)]
pub struct Apply {
    /// Shared keywords.
    pub keywords: Keywords,
    /// `notify`.
    pub notify: Vec<Located>,
}

/// A block, a task, or something that brings in more of them.
#[derive(Clone, Debug)]
pub enum Item {
    /// A block with its rescue and always.
    Block(Arc<Block>),
    /// A task.
    Task(Arc<Task>),
}

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name, if any.
    pub name: Option<Value>,
    /// Where it stands.
    pub span: Span,
    /// Shared keywords.
    pub keywords: Keywords,
    /// `notify` that its tasks inherit.
    pub notify: Vec<Located>,
    /// The tasks.
    pub block: Vec<Item>,
    /// What runs when one of them fails.
    pub rescue: Vec<Item>,
    /// What runs in any case.
    pub always: Vec<Item>,
    /// The role that this block is the body of: set on what `import_role` unfolds to. Its tasks are in `block`; its
    /// dependencies, handlers, defaults and vars are in the use's `role`.
    pub role: Option<Arc<RoleUse>>,
}

/// A task or a handler.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name, if any.
    pub name: Option<Value>,
    /// The whole task.
    pub span: Span,
    /// The folder of the file it stands in.
    pub folder: PathBuf,
    /// The role whose file it stands in: where files, templates and handlers are looked for first.
    pub role: Option<Arc<RoleHead>>,
    /// Shared keywords.
    pub keywords: Keywords,
    /// What it does.
    pub action: Action,
    /// `loop` or `with_x`.
    pub r#loop: Option<Loop>,
    /// `register`.
    pub register: Option<Located>,
    /// `until`.
    pub until: Vec<Located>,
    /// `retries`.
    pub retries: Option<Located>,
    /// `delay`, seconds.
    pub delay: Option<Located>,
    /// `changed_when`.
    pub changed_when: Vec<Located>,
    /// `failed_when`.
    pub failed_when: Vec<Located>,
    /// `notify`.
    pub notify: Vec<Located>,
    /// `listen`, of a handler.
    pub listen: Vec<Located>,
    /// `async`, seconds.
    pub r#async: Option<Located>,
    /// `poll`, seconds.
    pub poll: Option<Located>,
    /// `reads: true`: the task's command only reads, so it runs in a check too. A keyword of ours.
    pub reads: Option<Located>,
    /// How a handler goes over its hosts.
    pub rolling: Option<Box<Rolling>>,
}

impl Task {
    /// Returns a task that runs a module, with no keywords at all.
    pub fn of_module(module: &str, arguments: Map, span: Span, folder: PathBuf) -> Self {
        Self {
            name: None,
            span,
            folder,
            role: None,
            keywords: Keywords::default(),
            action: Action::Module { name: module.to_owned(), name_span: span, arguments: Arc::new(arguments), node: None, free: None },
            r#loop: None,
            register: None,
            until: Vec::new(),
            retries: None,
            delay: None,
            changed_when: Vec::new(),
            failed_when: Vec::new(),
            notify: Vec::new(),
            listen: Vec::new(),
            r#async: None,
            poll: None,
            reads: None,
            rolling: None,
        }
    }

    /// Returns a task of the runner's own (gathering facts), which runs whatever tags are chosen.
    pub fn implicit(name: &str, module: &str, arguments: Map, span: Span, folder: PathBuf) -> Self {
        let keywords = Keywords { tags: vec!["always".to_owned()], ..Keywords::default() };
        Self { name: Some(Value::str(name)), keywords, ..Self::of_module(module, arguments, span, folder) }
    }
}

/// What a task does.
#[derive(Clone, Debug)]
pub enum Action {
    /// A module.
    Module {
        /// Its name as written; it may not exist. Unknown ones fail when the task runs (guarded tasks for other systems are common).
        name: String,
        /// Where the name stands.
        name_span: Span,
        /// Its arguments, free text already under its own name (`_raw_params` for modules without one). A whole-arguments template is under `_template`.
        arguments: Arc<Map>,
        /// The node of the arguments, for places of single keys.
        node: Option<Node>,
        /// Raw text of `command: ...` forms that carried `k=v` (for messages).
        free: Option<String>,
    },
    /// `include_tasks`.
    IncludeTasks {
        /// The file.
        file: Located,
        /// `apply`.
        apply: Option<Box<Apply>>,
    },
    /// `include_role`. The name may be a template.
    IncludeRole {
        /// The role.
        role: Box<RoleUse>,
        /// `apply`.
        apply: Option<Box<Apply>>,
        /// `public`: its variables stay for the rest of the play.
        public: Option<Located>,
    },
}

/// A loop.
#[derive(Clone, Debug)]
pub struct Loop {
    /// `loop`, or the lookup of `with_x` (`items`, `dict`, ...).
    pub kind: String,
    /// The items, still a template perhaps.
    pub items: Located,
    /// `loop_control.loop_var`, `item` where not said.
    pub variable: String,
    /// `loop_control.index_var`.
    pub index_variable: Option<String>,
    /// `loop_control.label`.
    pub label: Option<Located>,
    /// `loop_control.pause`, seconds.
    pub pause: Option<Located>,
    /// `loop_control.extended`.
    pub extended: Option<Located>,
    /// `loop_control.extended_allitems`.
    pub extended_allitems: Option<Located>,
    /// `loop_control.break_when`.
    pub break_when: Vec<Located>,
}

/// A role as used in a place: in `roles:`, as a dependency, or by `include_role`.
#[derive(Clone, Debug)]
pub struct RoleUse {
    /// The name; it may be a template in `include_role`.
    pub name: Value,
    /// Where the name stands.
    pub span: Span,
    /// Keywords given with it.
    pub keywords: Keywords,
    /// Parameters given with it.
    pub parameters: Arc<Map>,
    /// `tasks_from`, `main` where not said.
    pub tasks_from: Option<Value>,
    /// `vars_from`.
    pub vars_from: Option<Value>,
    /// `defaults_from`.
    pub defaults_from: Option<Value>,
    /// `handlers_from`.
    pub handlers_from: Option<Value>,
    /// `allow_duplicates`.
    pub allow_duplicates: Option<Located>,
    /// `rolespec_validate`.
    pub rolespec_validate: Option<Located>,
    /// `public`; `None`: not said.
    pub public: Option<bool>,
    /// The role itself, where the name was plain.
    pub role: Option<Arc<Role>>,
}

/// A role, read from its folder, with one set of entry files (`tasks_from` and the like).
#[derive(Clone, Debug)]
pub struct Role {
    /// What its tasks need to know of it.
    pub head: Arc<RoleHead>,
    /// `tasks/main.yml` (or `tasks_from`).
    pub tasks: Vec<Item>,
    /// `handlers/main.yml` (or `handlers_from`).
    pub handlers: Vec<Item>,
    /// `meta/main.yml`: dependencies, run before it.
    pub dependencies: Vec<Arc<RoleUse>>,
    /// `meta/main.yml`: `allow_duplicates`.
    pub allow_duplicates: bool,
    /// The specification of this entry point's arguments, from `meta/argument_specs.yml` or `meta/main.yml`: a dictionary with `options`.
    pub argument_spec: Option<Node>,
}

impl Role {
    /// Returns all roles that it depends on, in the order in which they are run.
    pub fn all_dependencies(&self) -> Vec<&Arc<Role>> {
        let direct = self.dependencies.iter().filter_map(|r#use| r#use.role.as_ref());
        direct.flat_map(|role| role.all_dependencies().into_iter().chain([role]).collect::<Vec<_>>()).collect()
    }
}

/// What the tasks of a role need to know of it.
#[derive(Clone, Debug)]
pub struct RoleHead {
    /// Its name, as it was asked for.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// `defaults/`.
    pub defaults: Arc<Map>,
    /// `vars/`.
    pub vars: Arc<Map>,
    /// The collection it is of.
    pub collection: Option<String>,
    /// Collections in which its roles and modules are looked for.
    pub collections: Vec<String>,
    /// The entry point: `main`, or what `tasks_from` said, without suffix.
    pub entry: String,
}
