//! `windlass plan` and `windlass apply`: by day what a run would do is written down for somebody to approve; at night
//! exactly that is done, or nothing.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::flags::Form;
use crate::cli::keep::{self, Kept};
use crate::cli::person::Person;
use crate::cli::playbook::{self, Arguments, Ready};
use crate::cli::reporting;
use crate::cli::window::{self, WindowFlags};
use crate::cli::{ground, moved, show};
use crate::record::plan::{Draft, Head, Keys, Plan, Step, VERSION};
use crate::record::sign::{self, Signer};
use crate::record::{Folder, entry::Who};
use crate::report::{Event, Listener, event::Status, fold};
use crate::run::{Asker, Bond, Settings, Waited};
use crate::source::{Diagnostic, Sources};

/// Flags of `windlass plan`.
#[derive(Debug, Args)]
pub struct Make {
    /// Where the plan is written to
    #[arg(short = 'o', long = "out")]
    file: PathBuf,
    /// Sign the plan with this ed25519 key (as OpenSSH has it, or PEM), one without a passphrase
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    playbook: Arguments,
}

/// Flags of `windlass apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// The plan
    file: PathBuf,
    /// Allow a step that could not be predicted, by its task's name; `all` allows every one
    #[arg(long, value_name = "STEP")]
    allow_unknown: Vec<String>,
    /// Refuse a plan that is not signed by a trusted key
    #[arg(long, requires = "trusted_key")]
    require_signature: bool,
    /// File with public keys whose signatures are trusted; a plan without one is refused then
    #[arg(long, value_name = "FILE")]
    trusted_key: Vec<PathBuf>,
    /// What the change is for: the number or text of a ticket, kept with the run
    #[arg(long)]
    ticket: Option<String>,
    /// Take hosts from another run that holds them
    #[arg(long)]
    steal_lease: bool,
    /// When the run may be at work; without, as the plan says
    #[command(flatten)]
    window: WindowFlags,
    /// Show more
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// The form of the report
    #[arg(long, value_enum)]
    output: Option<Form>,
}

/// The plan that a run applies.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Approved {
    /// Its digest.
    pub digest: String,
    /// Where it is; a copy of it is kept with the run.
    #[serde(skip)]
    pub file: PathBuf,
}

/// What ended a command early: its exit code, and what is to be told.
type Ended = (u8, Vec<Diagnostic>);

fn error(message: String) -> Ended {
    (super::ERROR, vec![Diagnostic::error(message)])
}

fn finish(sources: &Sources, ended: Result<u8, Ended>) -> u8 {
    ended.unwrap_or_else(|(code, diagnostics)| {
        super::complain(sources, &diagnostics);
        code
    })
}

/// Writes down what a run would do.
pub fn make(command: &Make) -> u8 {
    let sources = Sources::default();
    finish(&sources, made(command, &sources))
}

fn made(command: &Make, sources: &Sources) -> Result<u8, Ended> {
    // A check may take long: what is known to fail after it is told before.
    if let Some(parent) = command.file.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        return Err(error(format!("the plan cannot be written: there is no folder `{}`", parent.display())));
    }
    let signer = command.sign_key.as_deref().map(Signer::of_file).transpose().map_err(error)?;
    let folder = Folder::of_this_user().map_err(error)?;
    let keys = Keys::random().map_err(error)?;
    let mut arguments = command.playbook.clone();
    arguments.flags.check = true;
    arguments.flags.diff = true;
    let Some(ready) = playbook::read(&arguments, sources).map_err(|errors| (super::ERROR, errors))? else {
        return Ok(super::OK);
    };
    let bond = Arc::new(Bond::noting(keys.clone()));
    let listener = reporting::listener(&arguments.flags, &ready.ground.config, &ready.ground.redactor, None);
    let listener = listener.map_err(|wrong| (super::ERROR, vec![wrong]))?;
    let redactor = ready.ground.redactor.clone();
    let prepared = ready.prepared(listener, Kept { bond: bond.clone(), ..Kept::default() });
    let recap = ground::drive(&prepared).map_err(error)?;
    if recap.exit_code() != 0 {
        let why = Diagnostic::error("no plan was written, as the check did not go through").hint("see above what failed");
        return Err((recap.exit_code(), vec![why]));
    }
    arguments.flags.check = false;
    let head = Head {
        windlass_plan: VERSION,
        windlass: env!("CARGO_PKG_VERSION").to_owned(),
        made: jiff::Timestamp::now(),
        who: Who::me(),
        folder: std::env::current_dir().unwrap_or_default().display().to_string(),
        playbooks: keep::absolute(&arguments),
        files: keep::files(sources),
        ticket: arguments.ticket.clone(),
        arguments: arguments.open(),
        ..Head::default()
    };
    let flags = json!({ "open": arguments.open(), "secret": arguments.secret() });
    let steps = bond.steps();
    let draft = Draft { head, flags, steps: steps.clone(), keys };
    let digest = draft.write(&command.file, &folder, &redactor, signer.as_ref()).map_err(error)?;
    tell(arguments.flags.output, &redactor.mask(&summary(&command.file, &digest, &steps)));
    Ok(if arguments.detailed_exitcode { recap.detailed_exit_code() } else { super::OK })
}

fn summary(file: &Path, digest: &str, steps: &[Step]) -> String {
    let changes = steps.iter().filter(|step| step.status == Status::Changed).count();
    let mut text = format!("plan {}: {changes} of {} steps would change something, sha256 {digest}", file.display(), steps.len());
    for line in unknown_lines(steps, |_| false) {
        text.push_str("\nunknown: ");
        text.push_str(&line);
    }
    text
}

/// Returns a line for each task with unknown steps that are not allowed.
fn unknown_lines(steps: &[Step], is_allowed: impl Fn(&Step) -> bool) -> Vec<String> {
    let mut tasks: Vec<(&str, Vec<&str>, &str)> = Vec::new();
    for step in steps.iter().filter(|step| step.unknown.is_some() && !is_allowed(step)) {
        match tasks.iter_mut().find(|(key, _, _)| *key == step.key) {
            Some((_, hosts, _)) => hosts.push(&step.host),
            None => tasks.push((&step.key, vec![&step.host], &step.task)),
        }
    }
    let line = |(_, hosts, task): (&str, Vec<&str>, &str)| format!("`{task}` on {}", fold::hosts(&hosts));
    tasks.into_iter().map(line).collect()
}

/// Says something beside the report: not among the lines of one that a program reads.
fn tell(form: Form, text: &str) {
    if form == Form::Json {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    } else {
        super::say(text);
    }
}

/// Does what was approved.
pub fn apply(command: &Apply) -> u8 {
    let sources = Sources::default();
    finish(&sources, applied(command, &sources))
}

fn applied(command: &Apply, sources: &Sources) -> Result<u8, Ended> {
    let file = std::path::absolute(&command.file).unwrap_or_else(|_| command.file.clone());
    let plan = Plan::read(&file).map_err(error)?;
    require_trust(command, &plan)?;
    if plan.head.windlass != env!("CARGO_PKG_VERSION") {
        let made = &plan.head.windlass;
        return Err(error(format!("the plan was made by windlass {made}, and this is {}: make it anew", env!("CARGO_PKG_VERSION"))));
    }
    let folder = Folder::of_this_user().map_err(error)?;
    let keys = plan.keys(&folder).map_err(error)?;
    let flags = plan.flags(&keys).map_err(error)?;
    let mut arguments = Arguments::restored(&flags["open"], &flags["secret"]).map_err(error)?;
    require_allowance(command, &plan)?;
    std::env::set_current_dir(&plan.head.folder)
        .map_err(|wrong| error(format!("the folder `{}` that the plan was made in: {wrong}", plan.head.folder)))?;
    arguments.ticket = command.ticket.clone().or(arguments.ticket);
    arguments.steal_lease = command.steal_lease;
    arguments.window.replace_by(&command.window);
    arguments.flags.verbose = arguments.flags.verbose.max(command.verbose);
    arguments.flags.output = command.output.unwrap_or(arguments.flags.output);

    let window = arguments.window.open(&keep::absolute(&arguments)).map_err(|wrong| (super::ERROR, vec![wrong]))?;
    arguments.flags.check = true;
    let Some(ready) = playbook::read(&arguments, sources).map_err(|errors| (super::ERROR, errors))? else {
        return Ok(super::OK);
    };
    let redactor = ready.ground.redactor.clone();
    let listener = reporting::listener(&arguments.flags, &ready.ground.config, &redactor, None);
    let listener = listener.map_err(|wrong| (super::ERROR, vec![wrong]))?;
    let asker: Arc<dyn Asker> = Arc::new(Remembering::default());
    let bond = Arc::new(Bond::noting(keys.clone()));
    tell(arguments.flags.output, "comparing every step with the plan; nothing is changed yet");
    let quiet = Arc::new(Quiet(listener.clone()));
    let mut again = ready.clone().prepared(quiet, Kept { bond: bond.clone(), ..Kept::default() });
    again.surroundings.asker = asker.clone();
    let recap = ground::drive(&again).map_err(error)?;
    if recap.interrupted || recap.broken {
        return Ok(recap.exit_code());
    }
    let moves = moved::compare(&plan, &keep::files(sources), &bond.steps(), &keys, &redactor);
    if let Some(text) = moved::unreachable(&moves, &bond.steps()) {
        tell(arguments.flags.output, &redactor.mask(&text));
        return Ok(super::UNREACHABLE);
    }
    if !moves.is_empty() {
        tell(arguments.flags.output, &redactor.mask(&moved::text(&moves)));
        return Ok(super::DRIFT);
    }

    let stays = show::irreversible(&plan);
    if !stays.is_empty() && arguments.flags.output == Form::Windlass {
        super::say(&redactor.mask(&format!("cannot be undone: {}", stays.join("; "))));
    }
    if let Some(window) = &window {
        tell(arguments.flags.output, &window::closing(window));
    }
    arguments.flags.check = false;
    arguments.approved = Some(Approved { digest: plan.digest.clone(), file });
    ready.ground.site.refresh().map_err(|wrong| (super::ERROR, vec![wrong]))?;
    let kept = keep::begin(&arguments, sources, &redactor);
    let kept = Kept { bond: Arc::new(Bond::approved(keys, &plan.steps)), ..kept };
    let settings = Settings { check: false, window, ..ready.settings.clone() };
    let mut run = Ready { settings, ..ready }.prepared(listener, kept);
    run.surroundings.asker = asker;
    let recap = ground::drive(&run).map_err(error)?;
    Ok(ground::code(&run, &recap))
}

fn require_trust(command: &Apply, plan: &Plan) -> Result<(), Ended> {
    if command.trusted_key.is_empty() {
        return Ok(());
    }
    let mut trusted = Vec::new();
    for path in &command.trusted_key {
        trusted.extend(sign::trusted(path).map_err(error)?);
    }
    match &plan.signed_by {
        Some(key) if trusted.contains(key) => Ok(()),
        Some(key) => Err(error(format!("the plan is signed with a key that is not trusted: {key}"))),
        None => Err(error("the plan is not signed, and a signature is asked for".to_owned())),
    }
}

/// Refuses a plan with unknown steps that nobody has allowed.
fn require_allowance(command: &Apply, plan: &Plan) -> Result<(), Ended> {
    for name in command.allow_unknown.iter().filter(|name| *name != "all") {
        if !plan.steps.iter().any(|step| step.unknown.is_some() && step.is_named(name)) {
            return Err(error(format!("--allow-unknown: the plan has no unknown step `{name}`")));
        }
    }
    let is_allowed = |step: &Step| command.allow_unknown.iter().any(|name| name == "all" || step.is_named(name));
    let lines = unknown_lines(&plan.steps, is_allowed);
    if lines.is_empty() {
        return Ok(());
    }
    let mut all: Vec<_> = lines.iter().map(|line| Diagnostic::warning(format!("not allowed: {line}"))).collect();
    all.push(
        Diagnostic::error("the plan has steps that could not be predicted; nothing was done")
            .hint("`--allow-unknown NAME` allows a task's steps by its name, `--allow-unknown all` every one; `windlass show` says why"),
    );
    Err((super::UNKNOWN, all))
}

/// Listens to the comparison, of which only what stops it is told.
struct Quiet(Arc<dyn Listener>);

impl Listener for Quiet {
    fn tell(&self, event: &Event) {
        if matches!(event, Event::Diagnostic { .. }) {
            self.0.tell(event);
        }
    }
}

/// Asks each question once: what was answered for the comparison holds for the run.
#[derive(Default)]
struct Remembering(Mutex<HashMap<String, Option<String>>>);

impl Asker for Remembering {
    fn ask(&self, prompt: &str, echo: bool) -> Option<String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(prompt.to_owned()).or_insert_with(|| Person.ask(prompt, echo)).clone()
    }

    fn wait(&self, prompt: &str, seconds: Option<f64>, echo: bool) -> Option<Waited> {
        Person.wait(prompt, seconds, echo)
    }
}
