//! `apt`: packages of Debian and Ubuntu.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Content, Done, Effect, Failure, Plan, Probe, Program};
use crate::value::{Map, Value};

/// Installs, upgrades and removes packages of Debian and its relatives.
///
/// What would happen is asked of `apt-get --simulate`, so a check tells every package that comes along or goes, by version.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apt {
    /// The packages: `name`, `name=version` or `name=1.2*`.
    #[serde(default, alias = "pkg", alias = "package")]
    pub(super) name: Vec<String>,
    /// What they shall be.
    #[serde(default)]
    pub(super) state: State,
    /// Whether the lists of packages are fetched first, where that can matter.
    #[serde(default, alias = "update-cache")]
    update_cache: Option<bool>,
    /// Seconds for which the lists count as fresh.
    #[serde(default)]
    cache_valid_time: u64,
    /// Whether settings go along with what is removed.
    #[serde(default)]
    purge: bool,
    /// Whether packages go that nothing needs any more.
    #[serde(default)]
    autoremove: bool,
    /// Whether old downloads are deleted.
    #[serde(default)]
    autoclean: bool,
    /// Whether all downloads are deleted.
    #[serde(default)]
    clean: bool,
    /// Whether everything is upgraded, and how far that may go.
    #[serde(default)]
    upgrade: Upgrade,
    /// A package file of the host.
    deb: Option<String>,
    /// The release to take packages from.
    default_release: Option<String>,
    /// Whether recommended packages come along; without it, as apt is set.
    install_recommends: Option<bool>,
    /// Whether downgrades, removals and packages without signature are accepted.
    #[serde(default)]
    force: bool,
    /// Options for dpkg, separated by commas.
    #[serde(default = "dpkg_defaults")]
    dpkg_options: String,
    /// Whether only packages that are installed are upgraded.
    #[serde(default)]
    only_upgrade: bool,
    /// Whether a lower version may replace a higher one.
    #[serde(default)]
    allow_downgrade: bool,
    /// Whether packages without signature are accepted.
    #[serde(default)]
    allow_unauthenticated: bool,
    /// Whether packages that are held may change.
    #[serde(default)]
    allow_change_held_packages: bool,
    /// Whether to fail rather than remove a package.
    #[serde(default)]
    fail_on_autoremove: bool,
    /// Seconds to wait while another program has the package database.
    #[serde(default = "minute")]
    lock_timeout: u64,
    /// Return code that `policy-rc.d` gives meanwhile: 101 keeps services that a package brings from starting.
    policy_rc_d: Option<i64>,
    /// Accepted for old playbooks: no Python is needed on the host.
    #[serde(rename = "auto_install_module_deps")]
    _auto_install_module_deps: Option<bool>,
    /// Accepted for old playbooks; it is always `apt-get`.
    #[serde(default, rename = "force_apt_get")]
    _force_apt_get: bool,
    /// Accepted for old playbooks.
    #[serde(rename = "update_cache_retries")]
    _update_cache_retries: Option<u32>,
    /// Accepted for old playbooks.
    #[serde(rename = "update_cache_retry_max_delay")]
    _update_cache_retry_max_delay: Option<u32>,
}

/// What packages shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) enum State {
    /// Installed, in any version.
    #[default]
    #[serde(rename = "present", alias = "installed")]
    Present,
    /// Not installed.
    #[serde(rename = "absent", alias = "removed")]
    Absent,
    /// Installed, in the newest version.
    #[serde(rename = "latest")]
    Latest,
    /// Everything is installed that is needed to build them.
    #[serde(rename = "build-dep")]
    BuildDep,
    /// Broken dependencies are mended.
    #[serde(rename = "fixed")]
    Fixed,
}

/// How far an upgrade of everything may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Upgrade {
    /// There is none.
    #[default]
    No,
    /// New packages may come, none may go.
    Yes,
    /// The same.
    Safe,
    /// Packages may come and go.
    Full,
    /// The same.
    Dist,
}

fn dpkg_defaults() -> String {
    "force-confdef,force-confold".to_owned()
}
fn minute() -> u64 {
    60
}

impl Module for Apt {
    const NAME: &'static str = "apt";
    const RESTS: bool = false;
    const CHANGES: &'static [Names] =
        &[Names::Packages("name"), Names::Packages("pkg"), Names::Packages("package"), Names::Program("apt-get")];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Install two packages", task: "{name: [openssl, curl], state: present}", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if host.find_program("apt-get")?.is_none() {
            return Err(Failure::failed("the host has no apt-get").hint("`package` uses whatever manager the host has"));
        }
        let mut plan = Plan::nothing("the packages are as asked");
        let jobs = self.jobs(host)?;
        let stale = self.update_cache.unwrap_or(self.cache_valid_time > 0) && self.cache_is_old(host)?;
        // Lists matter only where something is to be fetched, or where nothing else is asked.
        let fetches = jobs.iter().any(|job| job.fetches);
        let update = stale && (jobs.is_empty() || fetches);
        if update {
            let argv = self.argv(&["update"]);
            let effects = vec![Effect::QueryUnknown(vec!["apt-get".to_owned(), "-s".to_owned()]), Effect::NothingElse];
            plan.changes.push(Change::Run { program: program(argv), effects, summary: "fetch the lists of packages".to_owned() });
            plan.because = "the lists of packages are old".to_owned();
        }
        for job in jobs {
            self.foresee(host, &job, update && job.fetches, &mut plan)?;
        }
        if let Some(code) = self.policy_rc_d.filter(|_| !plan.changes.is_empty()) {
            hold_services(host, code, &mut plan)?;
        }
        Ok(plan.value("cache_updated", update))
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        if let Some(Done::Ran(output)) = done.last() {
            for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
                let text = String::from_utf8_lossy(bytes);
                values.insert(format!("{name}_lines").into(), text.lines().collect::<Vec<_>>().into());
                values.insert(name.into(), text.as_ref().into());
            }
        }
        Ok(values)
    }
}

/// Puts a `policy-rc.d` around the changes that keeps services as they are.
fn hold_services(host: &dyn Probe, code: i64, plan: &mut Plan) -> Result<(), Failure> {
    let path = Path::new("/usr/sbin/policy-rc.d");
    let target = Target::find(host, path, "policy_rc_d")?;
    let executable = Attributes { mode: Some(0o755), ..Attributes::default() };
    let manner = Manner { for_new: executable.clone(), ..Manner::default() };
    let held = target.write(Content::Bytes(format!("#!/bin/sh\nexit {code}\n").into_bytes()), &manner);
    let back = match &target.content {
        None => Change::Remove { path: path.to_owned(), before: Before::Any },
        Some(bytes) => Change::Write {
            path: path.to_owned(),
            before: Before::Any,
            after: Content::Bytes(bytes.clone()),
            attributes: executable,
            backup: false,
            validate: None,
            secret: false,
            in_place: false,
        },
    };
    plan.changes.insert(0, held);
    plan.changes.push(back);
    Ok(())
}

/// One call of apt-get.
#[derive(Debug)]
struct Job {
    /// The command and its operands.
    words: Vec<String>,
    /// Why.
    because: String,
    /// Whether it depends on the lists of packages.
    fetches: bool,
}

fn program(argv: Vec<String>) -> Program {
    let environment = [("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C.UTF-8"), ("APT_LISTCHANGES_FRONTEND", "none")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Program { argv, environment, accept: vec![0], ..Program::default() }
}

impl Apt {
    /// Returns what has to be asked of apt-get; nothing where dpkg tells that all is as asked.
    fn jobs(&self, host: &dyn Probe) -> Result<Vec<Job>, Failure> {
        let mut jobs = Vec::new();
        let mut job = |words: Vec<String>, because: &str, fetches| jobs.push(Job { words, because: because.to_owned(), fetches });
        let verb = |verb: &str, names: Vec<String>| [verb.to_owned()].into_iter().chain(names).collect::<Vec<_>>();
        match self.upgrade {
            Upgrade::No => {}
            Upgrade::Yes | Upgrade::Safe => job(verb("upgrade", vec!["--with-new-pkgs".to_owned()]), "newer versions are there", true),
            Upgrade::Full | Upgrade::Dist => job(verb("dist-upgrade", Vec::new()), "newer versions are there", true),
        }
        let names: Vec<String> = self.name.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        if let Some(wrong) = names.iter().find(|name| name.starts_with('-') || name.contains(char::is_whitespace)) {
            return Err(Failure::argument("name", format!("`{wrong}` is not the name of a package")));
        }
        if let Some(deb) = &self.deb {
            if let Some(path) = self.deb_to_install(host, deb)? {
                job(verb("install", vec![path]), "the package file is not installed", false);
            }
        } else if self.state == State::Fixed {
            job(verb("install", vec!["-f".to_owned()]), "dependencies are broken", true);
        } else if !names.is_empty() {
            match self.state {
                State::Latest => job(verb("install", names), "a newer version is there", true),
                State::BuildDep => job(verb("build-dep", names), "packages to build with are missing", true),
                State::Absent => {
                    let mut there = Vec::new();
                    for name in names {
                        if self.is_there(host, &name)? {
                            there.push(name);
                        }
                    }
                    let word = if self.purge { "purge" } else { "remove" };
                    if !there.is_empty() {
                        job(verb(word, there), "the package is installed", false);
                    }
                }
                _ => {
                    let mut missing = Vec::new();
                    for name in names {
                        let installed = host.package(bare(&name))?;
                        let fits = installed.as_deref().is_some_and(|version| fits(&name, version));
                        let left_out = self.only_upgrade && installed.is_none();
                        if !fits && !left_out {
                            missing.push(name);
                        }
                    }
                    if !missing.is_empty() {
                        job(verb("install", missing), "the package is not installed as asked", true);
                    }
                }
            }
        }
        if self.autoremove && self.name.is_empty() {
            job(verb("autoremove", self.purge.then(|| "--purge".to_owned()).into_iter().collect()), "nothing needs them any more", false);
        }
        if self.autoclean {
            job(verb("autoclean", Vec::new()), "old downloads are there", false);
        }
        if self.clean {
            job(verb("clean", Vec::new()), "downloads are there", false);
        }
        Ok(jobs)
    }

    /// Adds a job to the plan, with what a simulation says that it does; nothing where it does nothing.
    fn foresee(&self, host: &dyn Probe, job: &Job, after_update: bool, plan: &mut Plan) -> Result<(), Failure> {
        let words: Vec<&str> = job.words.iter().map(String::as_str).collect();
        let line = job.words.join(" ");
        if after_update || words == ["clean"] {
            // What the new lists will offer is not known.
            let effects = match (words.first(), self.state) {
                (Some(&"install"), _) => {
                    let installed = words.iter().skip(1).map(|name| Effect::Package { name: bare(name).to_owned(), version: None });
                    installed.chain([Effect::NothingElse]).collect()
                }
                _ => Vec::new(),
            };
            plan.changes.push(Change::Run { program: program(self.argv(&words)), effects, summary: format!("run `apt-get {line}`") });
            plan.because.clone_from(&job.because);
            return Ok(());
        }
        let mut argv = self.argv(&words);
        argv.insert(1, "-s".to_owned());
        let output = host.query(&argv.iter().map(String::as_str).collect::<Vec<_>>())?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        if output.rc != 0 {
            return Err(refused(&String::from_utf8_lossy(&output.stderr), output.rc));
        }
        let effects = simulated(&stdout);
        if effects.is_empty() && !stdout.lines().any(|line| line.starts_with("Del ")) {
            return Ok(());
        }
        let summary = effects.iter().map(told).collect::<Vec<_>>().join(", ");
        let summary = if summary.is_empty() { format!("run `apt-get {line}`") } else { summary };
        let effects = effects.into_iter().chain([Effect::NothingElse]).collect();
        plan.changes.push(Change::Run { program: program(self.argv(&words)), effects, summary });
        plan.because.clone_from(&job.because);
        Ok(())
    }

    /// Returns the command line with the options that the arguments ask for.
    fn argv(&self, words: &[&str]) -> Vec<String> {
        let mut argv = vec!["apt-get".to_owned(), "-q".to_owned(), "-y".to_owned()];
        let mut option = |text: String| argv.extend(["-o".to_owned(), text]);
        option(format!("DPkg::Lock::Timeout={}", self.lock_timeout));
        for dpkg in self.dpkg_options.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            option(format!("Dpkg::Options::=--{}", dpkg.trim_start_matches("--")));
        }
        if let Some(recommends) = self.install_recommends {
            option(format!("APT::Install-Recommends={}", if recommends { "yes" } else { "no" }));
        }
        if let Some(release) = &self.default_release {
            argv.extend(["-t".to_owned(), release.clone()]);
        }
        let removes = matches!(words.first(), Some(&("remove" | "purge")));
        for (flag, wanted) in [
            ("--allow-downgrades", self.allow_downgrade || self.force),
            ("--allow-unauthenticated", self.allow_unauthenticated || self.force),
            ("--allow-remove-essential", self.force),
            ("--allow-change-held-packages", self.allow_change_held_packages || self.force),
            ("--no-remove", self.fail_on_autoremove),
            ("--only-upgrade", self.only_upgrade),
            ("--auto-remove", self.autoremove && (removes || !self.name.is_empty())),
        ] {
            argv.extend(wanted.then(|| flag.to_owned()));
        }
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        argv
    }

    /// Whether a package is installed or, for `purge`, has left settings behind.
    fn is_there(&self, host: &dyn Probe, name: &str) -> Result<bool, Failure> {
        let name = bare(name);
        if name.contains('*') || host.package(name)?.is_some() {
            return Ok(true);
        }
        if !self.purge {
            return Ok(false);
        }
        let output = host.query(&["dpkg-query", "-W", "-f", "${db:Status-Status}\\n", name])?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("config-files"))
    }

    /// Returns the path of a package file that is not installed.
    fn deb_to_install(&self, host: &dyn Probe, deb: &str) -> Result<Option<String>, Failure> {
        if deb.contains("://") {
            return Err(Failure::argument("deb", "an address is not supported").hint("download it with `get_url` first"));
        }
        if host.stat(Path::new(deb), true)?.is_none() {
            return Err(Failure::Missing { path: deb.into(), argument: "deb".to_owned() });
        }
        let output = host.query(&["dpkg", "--field", deb, "Package", "Version"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(|value| value.trim().to_owned());
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else {
            return Err(Failure::argument("deb", format!("`{deb}` is not a Debian package")));
        };
        Ok(if host.package(&name)?.as_deref() == Some(version.as_str()) { None } else { Some(deb.to_owned()) })
    }

    fn cache_is_old(&self, host: &dyn Probe) -> Result<bool, Failure> {
        let mut newest = 0.0_f64;
        for path in ["/var/lib/apt/periodic/update-success-stamp", "/var/lib/apt/lists"] {
            newest = newest.max(host.stat(Path::new(path), true)?.map_or(0.0, |stat| stat.mtime));
        }
        #[allow(clippy::cast_precision_loss)]
        let valid = self.cache_valid_time as f64;
        Ok(host.now() - newest >= valid)
    }
}

/// Returns the name of a package without version and release.
fn bare(name: &str) -> &str {
    name.split(['=', '/']).next().unwrap_or(name)
}

/// Whether an installed version is the one that `name=version` asks for, which may end in `*`.
fn fits(name: &str, installed: &str) -> bool {
    let Some((_, wanted)) = name.split_once('=') else { return true };
    match wanted.split_once('*') {
        Some((start, _)) => installed.starts_with(start),
        None => installed == wanted,
    }
}

/// Returns what a simulation says that will be installed and removed.
fn simulated(stdout: &str) -> Vec<Effect> {
    let effect = |line: &str| {
        let mut words = line.split_whitespace();
        let (verb, name) = (words.next()?, words.next()?.to_owned());
        match verb {
            "Inst" => {
                let version = line.split_once('(').and_then(|(_, rest)| rest.split_whitespace().next()).map(str::to_owned);
                Some(Effect::Package { name, version })
            }
            "Remv" | "Purg" => Some(Effect::PackageGone(name)),
            _ => None,
        }
    };
    stdout.lines().filter_map(effect).collect()
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::Package { name, version: Some(version) } => format!("install {name} {version}"),
        Effect::Package { name, version: None } => format!("install {name}"),
        Effect::PackageGone(name) => format!("remove {name}"),
        other => format!("{other:?}"),
    }
}

/// Turns the complaint of apt-get into a failure with advice.
fn refused(stderr: &str, rc: i32) -> Failure {
    let lines: Vec<_> = stderr.lines().filter_map(|line| line.strip_prefix("E: ")).collect();
    let first = lines.first().copied().unwrap_or("apt-get gave no reason");
    let failure = Failure::failed(format!("apt-get refuses: {first}")).with("rc", i64::from(rc)).with("stderr", Value::str(stderr));
    if first.starts_with("Unable to locate") || first.contains("has no installation candidate") || first.contains("was not found") {
        failure.hint("the lists of packages may be old: `update_cache: true` fetches them; or a repository is missing")
    } else if first.contains("lock") {
        failure.hint("another program is at work on the packages; `lock_timeout` waits longer")
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_tells_what_comes_and_goes() {
        let text = "NOTE: ...\nRemv old [1.0]\nInst hello (2.10-3 Debian:12.1/stable [amd64])\nInst a [1] (2 x [amd64]) []\nConf hello (2.10-3 x)\n";
        let effects = simulated(text);
        assert_eq!(effects.iter().map(told).collect::<Vec<_>>(), ["remove old", "install hello 2.10-3", "install a 2"]);
    }

    #[test]
    fn a_version_may_be_a_beginning() {
        assert!(fits("a", "1") && fits("a=1.2*", "1.2.3-1") && fits("a=1.2.3-1", "1.2.3-1") && !fits("a=1.3*", "1.2.3"));
        assert_eq!(bare("a=1.2*"), "a");
    }

    #[test]
    fn an_unknown_package_gets_advice() {
        let failure = refused("E: Unable to locate package nope\n", 100);
        assert_eq!(failure.to_string(), "apt-get refuses: Unable to locate package nope");
    }
}
