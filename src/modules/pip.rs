//! `pip`: packages of Python.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Done, Effect, Failure, Plan, Probe, Program};
use crate::value::Map;

/// Installs and removes packages of Python, in a virtual environment or for the whole host, with the host's own `pip`.
///
/// A package that is there in the version asked for is left. What `latest`, a file of requirements or a range of versions bring is known to
/// `pip` alone: a check calls it unknown.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pip {
    /// The packages: `name`, `name==1.2`, `name>=1.2`, or addresses.
    #[serde(default)]
    name: Vec<String>,
    /// The version, where one package is named.
    version: Option<String>,
    /// A file of the host with requirements.
    requirements: Option<String>,
    /// What they shall be.
    #[serde(default)]
    state: State,
    /// The folder of a virtual environment, which is made where it is missing.
    virtualenv: Option<String>,
    /// What makes it, such as `python3 -m venv` or `virtualenv`.
    virtualenv_command: Option<String>,
    /// The Python in it.
    virtualenv_python: Option<String>,
    /// Whether it sees the packages of the host.
    #[serde(default)]
    virtualenv_site_packages: bool,
    /// More options for `pip`.
    extra_args: Option<String>,
    /// Whether the packages are installed as they stand in their folders.
    #[serde(default)]
    editable: bool,
    /// The folder to run in.
    chdir: Option<String>,
    /// The `pip` to run.
    executable: Option<String>,
    /// Mask for the modes of new files, such as `"0022"`.
    umask: Option<String>,
    /// Whether packages go beside those of the host's own package manager.
    #[serde(default)]
    break_system_packages: bool,
}

/// What packages shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// Installed.
    #[default]
    Present,
    /// Not installed.
    Absent,
    /// Installed in the newest version.
    Latest,
    /// Installed once more.
    ForceReinstall,
}

impl Module for Pip {
    const NAME: &'static str = "pip";
    const RESTS: bool = false;
    const PATHS: &'static [&'static str] = &["virtualenv", "chdir", "requirements", "executable"];
    const CHANGES: &'static [Names] = &[Names::Path("virtualenv"), Names::Program("pip"), Names::Program("pip3")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "A package in a virtual environment",
        task: "{name: 'requests==2.32.3', virtualenv: /opt/app/venv}",
        given: &[],
        changes: true,
    }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.name.is_empty() && self.requirements.is_none() && self.virtualenv.is_none() {
            return Err(Failure::argument("name", "one of the following is required: `name`, `requirements`, `virtualenv`"));
        }
        if self.version.is_some() && self.name.len() != 1 {
            return Err(Failure::argument("version", "`version` goes with one package"));
        }
        let mut changes = Vec::new();
        let pip = self.pip(host, &mut changes)?;
        let is_new = !changes.is_empty();
        let installed = if is_new { Vec::new() } else { self.installed(host, &pip)? };
        let (mut wanted, mut is_certain) = (Vec::new(), true);
        for spec in self.specs() {
            let name = bare(&spec);
            let found = installed.iter().find(|(known, _)| *known == normal(name)).map(|(_, version)| version.as_str());
            let exact = spec.get(name.len()..).unwrap_or_default();
            let acts = match (self.state, found) {
                (State::Absent, found) => found.is_some(),
                (State::Present, None) => true,
                (State::Present, Some(version)) => match exact.strip_prefix("==") {
                    Some(asked) => asked != version,
                    None if exact.is_empty() || exact.starts_with('[') => false,
                    None => {
                        is_certain = false;
                        true
                    }
                },
                (State::Latest | State::ForceReinstall, _) => {
                    is_certain = is_certain && found.is_none();
                    true
                }
            };
            if acts {
                wanted.push(spec);
            }
        }
        is_certain = is_certain && self.requirements.is_none();
        if !wanted.is_empty() || self.requirements.is_some() {
            changes.push(self.change(&pip, wanted, is_certain)?);
        }
        let because = if changes.is_empty() { "the packages are as asked" } else { "packages are missing, or may be newer" };
        let reported = !changes.is_empty();
        Ok(Plan { reported, ..Plan::all(because, changes) }
            .value("name", self.name.clone())
            .value("version", self.version.clone())
            .value("virtualenv", self.virtualenv.clone())
            .value("requirements", self.requirements.clone())
            .value("changed", is_new))
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        for output in done.iter().filter_map(|done| if let Done::Ran(output) = done { Some(output) } else { None }) {
            let stdout = String::from_utf8_lossy(&output.stdout);
            let acted = ["Successfully installed", "Successfully uninstalled", "Uninstalling "].iter().any(|mark| stdout.contains(mark));
            if acted {
                values.insert("changed".into(), true.into());
            }
            values.insert("stdout".into(), stdout.as_ref().into());
            values.insert("stderr".into(), String::from_utf8_lossy(&output.stderr).as_ref().into());
        }
        Ok(values)
    }
}

impl Pip {
    fn specs(&self) -> Vec<String> {
        let version = self
            .version
            .as_deref()
            .map(|version| if version.starts_with(['=', '<', '>', '!', '~']) { version.to_owned() } else { format!("=={version}") });
        let names = self.name.iter().flat_map(|name| name.split(',').map(str::trim).collect::<Vec<_>>()).filter(|name| !name.is_empty());
        let mut specs: Vec<String> = Vec::new();
        for name in names {
            // `a>=1,<2` was taken apart.
            match specs.last_mut() {
                Some(last) if name.starts_with(['=', '<', '>', '!', '~']) => last.push_str(&format!(",{name}")),
                _ => specs.push(format!("{name}{}", version.as_deref().unwrap_or_default())),
            }
        }
        specs
    }

    /// Returns the `pip` to run, and plans its environment where that is missing.
    fn pip(&self, host: &dyn Probe, changes: &mut Vec<Change>) -> Result<String, Failure> {
        if let Some(folder) = &self.virtualenv {
            let pip = Path::new(folder).join("bin/pip");
            if host.stat(&pip, true)?.is_none() {
                changes.push(self.environment(host, folder)?);
            }
            return Ok(pip.display().to_string());
        }
        if let Some(executable) = &self.executable {
            return Ok(executable.clone());
        }
        for name in ["pip3", "pip"] {
            if host.find_program(name)?.is_some() {
                return Ok(name.to_owned());
            }
        }
        Err(Failure::failed("the host has no pip").hint("install the package `python3-pip`, or use `virtualenv`"))
    }

    fn environment(&self, host: &dyn Probe, folder: &str) -> Result<Change, Failure> {
        let mut argv = match &self.virtualenv_command {
            Some(line) => super::command::split(line)?,
            None if host.find_program("virtualenv")?.is_some() => vec!["virtualenv".to_owned()],
            None => ["python3", "-m", "venv"].map(str::to_owned).to_vec(),
        };
        argv.extend(self.virtualenv_site_packages.then(|| "--system-site-packages".to_owned()));
        if let Some(python) = &self.virtualenv_python {
            argv.push(format!("-p{python}"));
        }
        argv.push(folder.to_owned());
        let effects = vec![Effect::Creates(PathBuf::from(folder)), Effect::Creates(Path::new(folder).join("bin/pip"))];
        Ok(Change::Run { program: self.program(argv), effects, summary: format!("make the virtual environment {folder}") })
    }

    fn program(&self, argv: Vec<String>) -> Program {
        let umask = self.umask.as_deref().and_then(|mask| u32::from_str_radix(mask, 8).ok());
        let environment = vec![("LC_ALL".to_owned(), "C.UTF-8".to_owned()), ("PIP_DISABLE_PIP_VERSION_CHECK".to_owned(), "1".to_owned())];
        Program { argv, umask, environment, chdir: self.chdir.as_ref().map(PathBuf::from), accept: vec![0], ..Program::default() }
    }

    /// Returns name and version of what is installed.
    fn installed(&self, host: &dyn Probe, pip: &str) -> Result<Vec<(String, String)>, Failure> {
        let output = host.query(&[pip, "list", "--format=freeze", "--disable-pip-version-check"])?;
        if output.rc != 0 {
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Failure::failed("pip cannot list what is installed").with("stderr", stderr));
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        Ok(stdout
            .lines()
            .filter_map(|line| line.split_once("=="))
            .map(|(name, version)| (normal(name), version.trim().to_owned()))
            .collect())
    }

    fn change(&self, pip: &str, wanted: Vec<String>, is_certain: bool) -> Result<Change, Failure> {
        let mut argv = vec![pip.to_owned()];
        argv.extend(match self.state {
            State::Absent => vec!["uninstall".to_owned(), "-y".to_owned()],
            State::Latest => vec!["install".to_owned(), "-U".to_owned()],
            State::ForceReinstall => vec!["install".to_owned(), "-U".to_owned(), "--force-reinstall".to_owned()],
            State::Present => vec!["install".to_owned()],
        });
        argv.extend((self.break_system_packages && self.virtualenv.is_none()).then(|| "--break-system-packages".to_owned()));
        if let Some(extra) = &self.extra_args {
            argv.extend(super::command::split(extra)?);
        }
        if let Some(path) = &self.requirements {
            argv.extend(["-r".to_owned(), path.clone()]);
        }
        let is_absent = self.state == State::Absent;
        let listed = if wanted.is_empty() { self.requirements.clone().unwrap_or_default() } else { wanted.join(", ") };
        for spec in wanted {
            argv.extend((self.editable && !is_absent).then(|| "-e".to_owned()));
            argv.push(if is_absent { bare(&spec).to_owned() } else { spec });
        }
        let verb = if is_absent { "remove" } else { "install" };
        // Where nothing is said of what it does, a check calls it unknown.
        let effects = if is_certain { vec![Effect::QueryUnknown(vec![pip.to_owned()])] } else { Vec::new() };
        Ok(Change::Run { program: self.program(argv), effects, summary: format!("{verb} the Python packages {listed}") })
    }
}

/// Returns the name of a package without version and extras.
fn bare(spec: &str) -> &str {
    spec.split(['=', '<', '>', '!', '~', '[', ' ', ';', '@']).next().unwrap_or(spec)
}

/// Returns a name as indexes compare it.
fn normal(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;
    use crate::value::Value;

    fn plan(arguments: &[(&str, Value)]) -> Plan {
        let host =
            FakeHost::with(&[("/usr/bin/pip3", ""), ("/usr/bin/python3", "")]).prints(&["pip3", "list"], 0, "Some_Pkg==1.0\nother==2\n");
        let map = arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        crate::value::arguments::from_map::<Pip>(&map).expect("fits").plan(&host).expect("plan")
    }

    fn line(plan: &Plan) -> String {
        match plan.changes.last() {
            Some(Change::Run { program, .. }) => program.argv.join(" "),
            _ => String::new(),
        }
    }

    #[test]
    fn what_is_there_in_the_version_asked_for_is_left() {
        assert_eq!(line(&plan(&[("name", Value::str("some-pkg"))])), "");
        assert_eq!(line(&plan(&[("name", Value::str("some-pkg==1.0"))])), "");
        assert_eq!(line(&plan(&[("name", Value::str("some-pkg")), ("version", Value::str("1.1"))])), "pip3 install some-pkg==1.1");
        let names = Value::list([Value::str("other"), Value::str("new[x]>=1,<2")]);
        assert_eq!(line(&plan(&[("name", names)])), "pip3 install new[x]>=1,<2");
        assert_eq!(line(&plan(&[("name", Value::str("other==2")), ("state", Value::str("absent"))])), "pip3 uninstall -y other");
    }

    #[test]
    fn a_missing_environment_is_made_first() {
        let plan = plan(&[("name", Value::str("a")), ("virtualenv", Value::str("/v"))]);
        assert_eq!(plan.changes.len(), 2);
        assert_eq!(line(&plan), "/v/bin/pip install a");
    }
}
