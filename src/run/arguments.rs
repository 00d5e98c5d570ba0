//! From a task as written to a task ready to be carried out: conditions, keywords, arguments.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::change::{Bound, Doubt, Failure, Mode};
use crate::load::library;
use crate::load::playbook::{Action, Keywords, Located, Task};
use crate::modules::{self, Entry, Runs};
use crate::run::Run;
use crate::run::controller::{Desk, SharedEngine};
use crate::run::frame::Frame;
use crate::run::hands::Seat;
use crate::run::scope::TaskVariables;
use crate::run::search::Seen;
use crate::run::stage::Stage;
use crate::run::step::{Ready, Step, Stop};
use crate::source::Diagnostic;
use crate::value::{Key, Map, Value, arguments};
use crate::vars::{Truth, Variables, is_omit, without_omitted};

/// A task may take that many seconds at most.
const LONGEST_TIMEOUT: u64 = 100_000_000;

/// Words that templates read as something else than a variable.
const NO_VARIABLES: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except", "false", "False",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "none", "None", "nonlocal", "not", "or", "pass", "raise",
    "return", "true", "True", "try", "while", "with", "yield",
];

/// Arguments whose names have one of these words are not told.
const SECRET_NAMES: &[&str] = &["password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "private_key", "pass_"];

/// Whether a text can be the name of a variable that templates can name.
fn is_variable_name(text: &str) -> bool {
    crate::load::keywords::is_variable_name(text) && !NO_VARIABLES.contains(&text)
}

/// Says that a name cannot be that of a variable, and what it is where it is no text.
fn invalid_name(name: &Key) -> String {
    match name.as_str() {
        Some(text) => format!("Invalid variable name '{text}'."),
        None => {
            let kind = match name {
                Key::Null => "NoneType",
                Key::Bool(_) => "bool",
                Key::Int(_) => "int",
                Key::Str(_) => "str",
            };
            format!("Invalid variable name '{name}' of type '{kind}'.")
        }
    }
}

/// Keywords that say how all hosts go through a task together.
pub(super) struct Flags {
    pub(super) once: bool,
    pub(super) any_errors_fatal: bool,
    pub(super) throttle: Option<usize>,
}

/// Returns arguments as they may be told: without what their names call a secret.
fn told(module: &str, arguments: &Map) -> Value {
    let value = |name: &Key, value: &Value| match name.as_str() {
        Some("content") if module == "copy" && !value.is_null() => Value::str("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"),
        Some(name) if SECRET_NAMES.iter().any(|secret| name.contains(secret)) && !value.is_null() => {
            Value::str("VALUE_SPECIFIED_IN_NO_LOG_PARAMETER")
        }
        _ => value.clone(),
    };
    Value::from(arguments.iter().map(|(name, argument)| (name.clone(), value(name, argument))).collect::<Map>())
}

impl Run {
    /// Returns the keywords that hold for all hosts, as the first host sees them.
    pub(super) fn flags(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        frame: &Arc<Frame>,
        first: &Arc<str>,
    ) -> Result<Flags, Diagnostic> {
        let mut variables = None;
        let mut value = |pick: fn(&Keywords) -> Option<&Located>| -> Result<Option<(Value, &Located)>, Diagnostic> {
            let Some(located) = frame.nearest(task, pick) else { return Ok(None) };
            if !matches!(located.value, Value::Lazy(_)) {
                return Ok(Some((located.value.clone(), located)));
            }
            let variables = variables.get_or_insert_with(|| self.variables(stage, frame, Some(task), first));
            let engine = self.engine(&self.search(stage, frame, task));
            Ok(Some((engine.render(&located.value, variables)?, located)))
        };
        let boolean = |value: Option<(Value, &Located)>, name: &str, otherwise: Option<bool>| match value {
            None => Ok(otherwise.unwrap_or(false)),
            Some((value, located)) => arguments::to_bool(&value)
                .ok_or_else(|| Diagnostic::error(format!("`{name}` has to be yes or no, not `{value}`")).at(located.span)),
        };
        let once = boolean(value(|keywords| keywords.run_once.as_ref())?, "run_once", None)?;
        let any_errors_fatal =
            boolean(value(|keywords| keywords.any_errors_fatal.as_ref())?, "any_errors_fatal", self.settings.execution.any_errors_fatal)?;
        let throttle = value(|keywords| keywords.throttle.as_ref()).map_err(|mut wrong| {
            wrong.message = format!("Failed to convert the throttle value to an integer: {}", wrong.message.replace('`', "'"));
            wrong
        })?;
        let throttle = match throttle {
            None => None,
            Some((value, located)) => match arguments::from_value::<i64>(&value) {
                Ok(number) => usize::try_from(number).ok().filter(|number| *number > 0),
                Err(_) => {
                    let why = format!("invalid literal for int() with base 10: '{value}'");
                    return Err(Diagnostic::error(format!("Failed to convert the throttle value to an integer: {why}")).at(located.span));
                }
            },
        };
        Ok(Flags { once, any_errors_fatal, throttle })
    }
}

impl Run {
    /// Returns why a check does not know whether a host comes to this place.
    pub(super) fn doubt(&self, frame: &Frame, host: &str) -> Option<String> {
        frame.doubt(host).map(str::to_owned).or_else(|| self.hosts.with(host, |host| host.doubt.clone()))
    }

    /// Returns what `ansible_delegated_vars` tells of a host.
    fn told_of(&self, host: &str) -> Value {
        let mut all = Map::from_iter([("inventory_hostname".into(), Value::str(host)), ("ansible_host".into(), Value::str(host))]);
        for layer in self.site.layers(host) {
            all.extend(layer.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        Value::from(all)
    }
}

impl Step {
    /// Gets the task, or one item of its loop, ready to be carried out.
    pub(super) fn prepare(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Ready, Stop> {
        self.require_delegate(variables, engine)?;
        let Some(doubt) = self.require_conditions(variables, engine)? else { return self.prepared(variables, engine) };
        // What else is wrong with it may be what its condition is for.
        match self.prepared(variables, engine) {
            Ok(ready) if ready.is_foreseen() && self.run.settings.check => {
                Ok(Ready { doubt: Doubt { why: Some(doubt), ..ready.doubt }, ..ready })
            }
            _ => Err(Stop::Doubt(doubt)),
        }
    }

    /// As [`Step::prepare`], its conditions aside.
    fn prepared(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Ready, Stop> {
        let hidden = self.is_secret(variables, engine);
        let Action::Module { name, name_span, .. } = &self.task.action else {
            return Err(Diagnostic::error("an include is no module").at(self.task.span).into());
        };
        let named = match name.contains("{{") {
            true => self.rendered(&Value::text(name, *name_span), variables, engine)?.to_string(),
            false => name.clone(),
        };
        let own = self.own_module(&named);
        let entry = self.module(if own.is_some() { "script_module" } else { &named }, *name_span)?;
        let mode = self.mode(variables, engine)?;
        let asked = self.flag(|keywords| keywords.diff.as_ref(), variables, engine)?;
        let diff = asked.unwrap_or(self.run.settings.diff);
        // The record of a run has its differences, whether anybody wanted to see them or not; but those of `diff: false` nowhere.
        let records_diff = diff || (asked.is_none() && self.run.journal.run().is_some());
        let variables =
            variables.with([("ansible_check_mode", Value::Bool(mode == Mode::Check)), ("ansible_diff_mode", Value::Bool(diff))]);
        let delegate = self.delegate(&variables, engine)?;
        let variables = match &delegate {
            Some(host) => {
                let told = self.run.told_of(host);
                let has_address = self.run.site.layers(&self.host).iter().any(|layer| layer.variables.contains_key("ansible_host"));
                let address = told.get("ansible_host").cloned().filter(|_| !has_address).map(|address| ("ansible_host", address));
                variables.with(address.into_iter().chain([("ansible_delegated_vars", Value::map([(&**host, told)]))]))
            }
            None => variables,
        };
        let mut arguments = self.rendered_arguments(entry, &variables, engine)?;
        let unknown =
            arguments.values().find_map(Value::unknown_part).filter(|_| !entry.copes_with_unknown && entry.runs != Runs::WithoutHost);
        let unknown = unknown.map(|unknown| unknown.why.clone());
        let is_told = entry.runs != Runs::WithoutHost && (self.run.settings.verbosity >= 3 || self.task.r#loop.is_some());
        let invocation = is_told.then(|| Value::map([("module_args", told(entry.name, &arguments))]));
        if let Some(path) = &own {
            arguments = self.for_own_module(path, arguments, mode, diff);
        }
        let seat = match entry.runs {
            Runs::WithoutHost => Seat::default(),
            _ => self.seat(delegate.as_ref(), &variables, engine)?,
        };
        let environment = self.environment(&variables, engine)?;
        let timeout = self.timeout(&variables, engine)?;
        let background = self.background(entry, mode, &environment, &variables, engine)?;

        let search = self.run.search(&self.stage, &self.frame, &self.task);
        let desk = Desk {
            run: &self.run,
            engine,
            variables: &variables,
            search: &search,
            span: self.place_of(None),
            seen: Seen::of(&*self.run.hands),
            is_given: matches!(&self.task.action, Action::Module { arguments, .. } if arguments.contains_key("_template")),
            diagnostic: std::cell::RefCell::default(),
        };
        if unknown.is_none() {
            (entry.prepare)(&mut arguments, &desk).map_err(|failure| match (failure, desk.diagnostic.take()) {
                (Failure::Unknown { why, .. }, _) => Stop::Unknown(why),
                (_, Some(diagnostic)) => diagnostic.into(),
                (failure, None) => Stop::Failed(failure),
            })?;
        }
        if !arguments.values().any(|value| value.unknown_part().is_some()) {
            (entry.check)(&arguments).map_err(Stop::Failed)?;
        }
        let step = self.key.as_ref().filter(|_| mode == Mode::Apply).map(|key| self.run.known.name(&self.host, &key.text, key.ordinal));
        let alone = mode == Mode::Check && !self.run.settings.check;
        let ready = Ready {
            entry,
            arguments,
            seat,
            mode,
            attempt: None,
            diff: records_diff,
            shows_diff: diff,
            environment,
            timeout,
            delegate,
            background,
            step,
            alone,
            part: String::new(),
            bound: Bound::Free,
            doubt: Doubt { why: None, hidden },
            invocation,
        };
        match unknown {
            // The host loses sight of what it would change.
            Some(_) if ready.is_foreseen() && self.run.settings.check => Ok(ready),
            Some(why) => Err(Stop::Unknown(why)),
            None => Ok(ready),
        }
    }

    /// Returns the seconds that the task may take; `None`: as long as it likes.
    fn timeout(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<u64>, Stop> {
        let seconds = match self.frame.nearest(&self.task, |keywords| keywords.timeout.as_ref()) {
            None => return Ok(self.run.settings.execution.task_timeout.filter(|seconds| *seconds > 0)),
            Some(located) => self.typed::<i64>(located, variables, engine, "a number of seconds")?,
        };
        match u64::try_from(seconds).ok().filter(|seconds| *seconds <= LONGEST_TIMEOUT) {
            Some(seconds) => Ok(Some(seconds).filter(|seconds| *seconds > 0)),
            None => Err(Stop::Failed(Failure::failed(format!("Timeout {seconds} is invalid: it is from 0 to {LONGEST_TIMEOUT} seconds")))),
        }
    }

    /// Stops where `when`, of the task or of what is around it, does not hold. Returns why a check does not know whether it does, or
    /// whether it comes to this task.
    pub(super) fn require_conditions(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<String>, Stop> {
        let conditions = self.frame.all(&self.task, |keywords| &keywords.when);
        let doubt = self.run.doubt(&self.frame, &self.host);
        match self.hold(&conditions, variables, engine) {
            Ok((Truth::Yes, _)) => Ok(doubt),
            Ok((Truth::No, condition)) => Err(Stop::Skip(condition)),
            Ok((Truth::Unknown(why), _)) => Ok(doubt.or(Some(why))),
            Err(stop) => doubt.map_or(Err(stop), |doubt| Ok(Some(doubt))),
        }
    }

    fn module(&self, name: &str, span: crate::source::Span) -> Result<&'static Entry, Stop> {
        modules::find(name).ok_or_else(|| crate::load::check::unknown_module(name, span).into())
    }

    /// Returns the program of a module that the user brings along.
    fn own_module(&self, name: &str) -> Option<PathBuf> {
        let found = library::find(name, self.run.search(&self.stage, &self.frame, &self.task).folders());
        if found.is_some() || modules::find(name).is_some() {
            return found;
        }
        let of_role = self.task.role.iter().flat_map(|role| &role.collections);
        let of_task = self.task.keywords.collections.iter().chain(&self.stage.play.keywords.collections);
        let searched: Vec<_> = of_task.chain(of_role).cloned().collect();
        self.run.library.module(name, &searched, &self.stage.play.folder)
    }

    /// Returns the arguments with which the user's own module is run, the task's among them, and what Ansible tells modules besides.
    fn for_own_module(&self, path: &Path, mut arguments: Map, mode: Mode, diff: bool) -> Map {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (key, value) in [
            ("_ansible_check_mode", Value::Bool(mode == Mode::Check)),
            ("_ansible_diff", Value::Bool(diff)),
            ("_ansible_no_log", Value::Bool(false)),
            ("_ansible_debug", Value::Bool(false)),
            ("_ansible_verbosity", Value::from(i64::from(self.run.settings.verbosity))),
            ("_ansible_module_name", Value::from(name)),
        ] {
            arguments.insert(key.into(), value);
        }
        Map::from_iter([("path".into(), path.display().to_string().into()), ("arguments".into(), Value::from(arguments))])
    }

    /// Whether changes are made: not in a check, unless the task says `check_mode: false` or that it only reads.
    pub(super) fn mode(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Mode, Stop> {
        let reads = match &self.task.reads {
            Some(located) => self.boolean(located, variables, engine)?,
            None => false,
        };
        let check = self.flag(|keywords| keywords.check_mode.as_ref(), variables, engine)?.unwrap_or(self.run.settings.check);
        Ok(if check && !reads { Mode::Check } else { Mode::Apply })
    }

    /// Returns a keyword that is yes or no, of the task or of what is around it.
    pub(super) fn flag(
        &self,
        pick: impl Fn(&Keywords) -> Option<&Located>,
        variables: &TaskVariables,
        engine: &SharedEngine,
    ) -> Result<Option<bool>, Stop> {
        for located in self.frame.outwards(&self.task, pick) {
            let value = self.rendered(&located.value, variables, engine)?;
            // What is omitted is as if it were not there: what is around it counts.
            if !is_omit(&value) {
                return to_boolean(&value, located).map(Some);
            }
        }
        Ok(None)
    }

    fn boolean(&self, located: &Located, variables: &TaskVariables, engine: &SharedEngine) -> Result<bool, Stop> {
        to_boolean(&self.rendered(&located.value, variables, engine)?, located)
    }

    /// Whether nothing of the task may be shown. Where that cannot be told, nothing is.
    pub(super) fn is_secret(&self, variables: &TaskVariables, engine: &SharedEngine) -> bool {
        self.flag(|keywords| keywords.no_log.as_ref(), variables, engine)
            .unwrap_or(Some(true))
            .or(self.run.settings.execution.no_log)
            .unwrap_or(false)
    }

    /// Returns the module's arguments: those of `module_defaults` below the task's own, rendered, without the omitted.
    fn rendered_arguments(&self, entry: &Entry, variables: &TaskVariables, engine: &SharedEngine) -> Result<Map, Stop> {
        let Action::Module { arguments, .. } = &self.task.action else { return Ok(Map::new()) };
        if arguments.contains_key("_wrong") {
            let wrong = format!("The action '{}' does not support raw params: its text is not of the form name=value", entry.name);
            return Err(Diagnostic::error(wrong).at(self.place_of(None)).into());
        }
        let mut rendered = self.module_defaults(entry, variables, engine)?;
        if let Some(whole) = arguments.get("_template") {
            match engine.render(whole, variables)? {
                Value::Map(map) => rendered.extend(Arc::unwrap_or_clone(map)),
                Value::Unknown(unknown) => return Err(Stop::Unknown(unknown.why.clone())),
                Value::Null => {}
                omitted if is_omit(&omitted) => {}
                other => {
                    let wrong = format!("the arguments of `{}` have to be a dictionary, not {} `{other}`", entry.name, other.type_name());
                    let context = format!("Finalization of task args for '{}.{}' failed: ", entry.collection, entry.name);
                    return Err(Stop::Within(context, Box::new(Diagnostic::error(wrong).at(self.place_of(None)))));
                }
            }
        }
        let keyed = if entry.any_argument { engine.render_keys(arguments, self.place_of(None), variables)? } else { (**arguments).clone() };
        // Where the module's name is a template, free text could not be told from the rest when the playbook was read.
        let keyed = match (entry.free_form, keyed) {
            (Some(free), mut keyed) if free != "_raw_params" && !entry.any_argument => {
                if let Some(text) = keyed.shift_remove("_raw_params") {
                    keyed.insert(free.into(), text);
                }
                keyed
            }
            (_, keyed) => keyed,
        };
        for (name, value) in keyed {
            let text = name.as_str().unwrap_or_default();
            if text == "_template" {
                continue;
            }
            if entry.name == "set_fact" && !name.as_str().is_some_and(is_variable_name) {
                return Err(Diagnostic::error(invalid_name(&name)).at(self.place_of(None)).into());
            }
            if entry.unrendered.contains(&text) {
                let may_be_omitted = matches!(&value, Value::Lazy(_)) && value.to_string().contains("omit");
                if may_be_omitted && engine.render(&value, variables).is_ok_and(|value| is_omit(&value)) {
                    rendered.shift_remove(&name);
                } else {
                    rendered.insert(name, value);
                }
                continue;
            }
            let value = engine.render(&value, variables).map_err(|wrong| {
                let module = format!("{}.{}", entry.collection, entry.name);
                let context = format!("Finalization of task args for '{module}' failed: Error while resolving value for '{text}': ");
                Stop::Within(context, Box::new(wrong))
            })?;
            match without_omitted(&value) {
                Some(value) => rendered.insert(name, value),
                None => rendered.shift_remove(&name),
            };
        }
        Ok(rendered)
    }

    /// Returns the module's name as the task has it, without its collection.
    fn module_name<'a>(&'a self, entry: &'a Entry) -> &'a str {
        match &self.task.action {
            Action::Module { name, .. } if !name.contains("{{") => modules::short_name(name),
            _ => entry.name,
        }
    }

    /// Returns what `module_defaults` has for the module, inner ones over outer ones.
    fn module_defaults(&self, entry: &Entry, variables: &TaskVariables, engine: &SharedEngine) -> Result<Map, Stop> {
        let mut all = Map::new();
        // `service` and `package` hand on to the host's own manager, whose defaults count too.
        let stand_in = match entry.name {
            "service" => self.variable(&["ansible_service_mgr"], variables, engine)?,
            "package" => self.variable(&["ansible_pkg_mgr"], variables, engine)?,
            _ => None,
        };
        // What an inner `module_defaults` has for a module or group replaces what an outer one has for it.
        let (mut of_groups, mut of_modules) = (IndexMap::new(), IndexMap::new());
        for located in self.frame.all(&self.task, |keywords| &keywords.module_defaults) {
            let Some(defaults) = located.value.as_map() else { continue };
            for (name, value) in defaults {
                let Some(name) = name.as_str() else { continue };
                if let Some(group) = name.strip_prefix("group/") {
                    if modules::group(group).is_some_and(|modules| modules.contains(&entry.name)) {
                        of_groups.insert(group, value);
                    }
                    continue;
                }
                let name = modules::short_name(name);
                if name == self.module_name(entry) || stand_in.as_ref().is_some_and(|manager| manager.as_str() == Some(name)) {
                    of_modules.insert(name, value);
                }
            }
        }
        for value in of_groups.values().chain(of_modules.values()) {
            if let Value::Map(map) = engine.render(value, variables)? {
                all.extend(map.iter().filter(|(_, value)| !is_omit(value)).map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        Ok(all)
    }

    /// Returns the variables of the environment, inner ones over outer ones.
    fn environment(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Vec<(String, String)>, Stop> {
        let mut all: Vec<(String, String)> = Vec::new();
        for located in self.frame.all(&self.task, |keywords| &keywords.environment) {
            let value = match self.rendered(&located.value, variables, engine) {
                // What the facts are to tell is not known while they are gathered.
                Err(Stop::Wrong(_)) if self.gathers_facts() => self.without_facts(&located.value, variables, engine),
                value => value?,
            };
            let layers = match &value {
                Value::List(layers) => layers.to_vec(),
                Value::Null => continue,
                single => vec![single.clone()],
            };
            for layer in layers.into_iter().filter(|layer| !is_omit(layer)) {
                let Some(layer) = layer.as_map() else {
                    return Err(Diagnostic::error(format!("`environment` has to be a dictionary, not `{layer}`")).at(located.span).into());
                };
                for (name, value) in layer.iter().filter(|(_, value)| !is_omit(value)) {
                    let name = name.to_string();
                    all.retain(|(known, _)| *known != name);
                    all.push((name, value.to_string()));
                }
            }
        }
        Ok(all)
    }

    /// Returns those entries of an `environment` that need no facts.
    fn without_facts(&self, value: &Value, variables: &TaskVariables, engine: &SharedEngine) -> Value {
        match value {
            Value::Map(map) => {
                let known = map.iter().filter_map(|(name, value)| Some((name.clone(), self.rendered(value, variables, engine).ok()?)));
                Value::from(known.collect::<Map>())
            }
            Value::List(layers) => Value::list(layers.iter().map(|layer| self.without_facts(layer, variables, engine))),
            other => self.rendered(other, variables, engine).unwrap_or_default(),
        }
    }

    fn gathers_facts(&self) -> bool {
        matches!(&self.task.action, Action::Module { name, .. } if matches!(modules::short_name(name), "setup" | "gather_facts"))
    }

    /// Stops where `delegate_to` is empty, even if the task would be skipped: it means no host, and not the task's own.
    fn require_delegate(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<(), Stop> {
        let Some(located) = self.frame.nearest(&self.task, |keywords| keywords.delegate_to.as_ref()) else { return Ok(()) };
        match engine.render(&located.value, variables) {
            Ok(Value::Str(text)) if text.is_empty() => Err(Diagnostic::error("`delegate_to` names no host").at(located.span).into()),
            _ => Ok(()),
        }
    }

    /// Returns the host that the task is delegated to.
    pub(super) fn delegate(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<Arc<str>>, Stop> {
        let Some(located) = self.frame.nearest(&self.task, |keywords| keywords.delegate_to.as_ref()) else { return Ok(None) };
        let value = self.rendered(&located.value, variables, engine)?;
        if value.is_null() || is_omit(&value) {
            return Ok(None);
        }
        let name = value.to_string();
        if name.is_empty() {
            return Err(Diagnostic::error("`delegate_to` names no host").at(located.span).into());
        }
        Ok(Some(name.into()))
    }

    /// Returns a variable, rendered and known; `None` where it is not defined, null or omitted.
    pub(super) fn variable(&self, names: &[&str], variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<Value>, Stop> {
        for name in names {
            if let Some(value) = variables.get(name) {
                let value = self.rendered(&value, variables, engine)?;
                if !value.is_null() && !is_omit(&value) {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }
}
fn to_boolean(value: &Value, located: &Located) -> Result<bool, Stop> {
    arguments::to_bool(value).ok_or_else(|| {
        let wrong = Diagnostic::error(format!("The value '{value}' could not be converted to 'bool'")).at(located.span);
        wrong.hint("write yes or no").into()
    })
}
