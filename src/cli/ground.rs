//! What playbooks and ad hoc tasks stand on before anything runs: settings, vault, `-e`, inventory.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::cli::early::early;
use crate::cli::flags::{Flags, inventory_options};
use crate::cli::inventory::inputs;
use crate::cli::keep::Kept;
use crate::cli::person::Person;
use crate::cli::{extra_vars, hosts};
use crate::load::config::Config;
use crate::load::inventory::Options;
use crate::load::loader::{DuplicateKeys, Errors, Loader};
use crate::load::playbook::Playbook;
use crate::report::Listener;
use crate::report::event::Event;
use crate::run::files::Files;
use crate::run::hands::Hands;
use crate::run::here::Here;
use crate::run::{Recap, Settings, Site, Surroundings};
use crate::source::{Diagnostic, Sources};
use crate::value::Map;
use crate::value::secret::Redactor;

/// Settings, vault, `-e` and inventory, read.
#[derive(Clone)]
pub struct Ground {
    /// Reads the user's files.
    pub loader: Arc<Loader>,
    /// Hosts and groups.
    pub site: Arc<dyn Site>,
    /// Knows every secret.
    pub redactor: Redactor,
    /// What is set.
    pub config: Config,
    extra_vars: Arc<Map>,
}

impl Ground {
    /// Reads what the flags and the settings name; `folder` is that of the playbook.
    ///
    /// # Errors
    /// Everything wrong in them.
    pub fn open(flags: &Flags, folder: &Path, sources: &Sources) -> Result<Self, Errors> {
        let redactor = Redactor::default();
        let config = Config::from_environment();
        let vault = Arc::new(flags.vault(&config, &redactor).map_err(|error| vec![error])?);
        let extra = Arc::new(Mutex::new(Map::new()));
        let early = early(sources, &vault, extra.clone());
        let duplicates = match config.text("DUPLICATE_YAML_DICT_KEY") {
            Some("error") => DuplicateKeys::Error,
            Some("ignore") => DuplicateKeys::Ignore,
            _ => DuplicateKeys::Warn,
        };
        let loader = Arc::new(
            Loader::new(sources.clone(), vault, config.paths("DEFAULT_ROLES_PATH"), early)
                .with_duplicate_keys(duplicates)
                .with_collections(config.paths("COLLECTIONS_PATHS")),
        );
        let extra_vars = Arc::new(extra_vars::read(&loader, &flags.extra_vars)?);
        if let Ok(mut known) = extra.lock() {
            known.clone_from(&extra_vars);
        }
        for warning in &config.warnings {
            loader.warn(Diagnostic::warning(warning));
        }
        let inventory = inputs(&flags.inventory, &config);
        let options = inventory_options(&config, &extra_vars);
        let site: Arc<dyn Site> = Arc::new(hosts::Hosts::read(&loader, &inventory, &flags.limit, folder, options)?);
        Ok(Self { loader, site, redactor, config, extra_vars })
    }

    /// Returns how inventories are read.
    pub fn inventory_options(&self) -> Options {
        inventory_options(&self.config, &self.extra_vars)
    }

    /// Returns the variables of `-e`.
    pub fn extra(&self) -> Map {
        (*self.extra_vars).clone()
    }

    /// Returns what the flags say about a run; passwords are asked for now.
    ///
    /// # Errors
    /// A password cannot be had.
    pub fn settings(&self, flags: &Flags) -> Result<Settings, Errors> {
        flags.settings(&self.config, self.extra_vars.clone(), &Person).map_err(|error| vec![error])
    }

    /// Returns everything a run needs.
    pub fn prepared(self, playbooks: Vec<Playbook>, settings: Settings, listener: Arc<dyn Listener>, kept: Kept) -> Prepared {
        for message in kept.notices {
            listener.tell(&Event::Warning { message });
        }
        let reach = hosts::Reach::new(listener.clone());
        if let Some(identity) = &kept.identity {
            reach.work_for(identity.clone());
        }
        let hands: Arc<dyn Hands> = Arc::new(Here::new(Arc::new(reach), kept.identity.as_ref()));
        let sources = self.loader.sources.clone();
        let library = Arc::new(Files::new(self.loader));
        let surroundings = Surroundings {
            site: self.site,
            hands,
            library,
            asker: Arc::new(Person),
            listener,
            sources,
            redactor: self.redactor,
            journal: kept.journal,
            known: kept.known,
            bond: kept.bond,
        };
        Prepared { playbooks, settings, surroundings }
    }
}

/// Everything a run needs, read and checked.
pub struct Prepared {
    playbooks: Vec<Playbook>,
    settings: Settings,
    pub(super) surroundings: Surroundings,
}

impl Prepared {
    async fn run(&self) -> Recap {
        let recap = crate::run::run(&self.playbooks, self.settings.clone(), self.surroundings.clone()).await;
        self.surroundings.hands.cancel().await;
        recap
    }
}

/// The stack of the threads that run plays, bytes: enough for as many includes within includes as there may be.
const STACK: usize = 64 * 1024 * 1024;

/// Runs what was prepared.
///
/// # Errors
/// When no threads can be started.
pub(super) fn drive(prepared: &Prepared) -> Result<Recap, String> {
    let trouble = |error: std::io::Error| format!("no threads can be started: {error}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build().map_err(trouble)?;
    let recap = std::thread::scope(|scope| {
        let run =
            std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || runtime.block_on(prepared.run())).map_err(trouble)?;
        run.join().map_err(|_| "windlass itself broke down; please report it".to_owned())
    })?;
    // A program on this machine that does not end must not hold windlass up.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    Ok(recap)
}

/// Returns the exit code of a run that ended.
pub(super) fn code(prepared: &Prepared, recap: &Recap) -> u8 {
    match recap.exit_code() {
        super::FAILED_HOSTS | super::OK if prepared.surroundings.bond.has_refused() => super::DRIFT,
        _ if prepared.settings.check && prepared.settings.detailed_exitcode => recap.detailed_exit_code(),
        code => code,
    }
}

/// Runs what was prepared, or tells what is wrong, and returns the exit code. `None`: there is nothing to run.
pub fn finish(sources: &Sources, prepared: Result<Option<Prepared>, Errors>) -> u8 {
    match prepared {
        Ok(Some(prepared)) => match drive(&prepared) {
            Ok(recap) => code(&prepared, &recap),
            Err(error) => {
                super::complain(sources, &[Diagnostic::error(error)]);
                super::ERROR
            }
        },
        Ok(None) => super::OK,
        Err(errors) => {
            super::complain(sources, &errors);
            // Ansible has a code of its own for files that cannot be read as what they are.
            let is_parsing = errors.iter().any(|error| error.span.is_some() && error.rule != Some("missing-role"));
            if super::is_like_ansible() && is_parsing { super::UNREACHABLE } else { super::ERROR }
        }
    }
}
