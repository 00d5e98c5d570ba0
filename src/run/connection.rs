//! How to reach the host of a task, and as whom; and what is done on it without the agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::agent::protocol;
use crate::change::{Failure, Mode, Outcome};
use crate::connect::{Become, Target};
use crate::load::playbook::{Keywords, Located};
use crate::run::controller::SharedEngine;
use crate::run::hands::{Lost, Seat};
use crate::run::looping::seconds;
use crate::run::magic::is_localhost;
use crate::run::scope::TaskVariables;
use crate::run::step::{Ready, Step, Stop};
use crate::source::Diagnostic;
use crate::value::secret::Secret;
use crate::value::{Map, Value, arguments};

impl Step {
    /// Returns where the task is done, and as whom: on the host, or on the one it is delegated to, with that one's variables.
    pub(super) fn seat(&self, delegate: Option<&Arc<str>>, variables: &TaskVariables, engine: &SharedEngine) -> Result<Seat, Stop> {
        let others;
        let (host, variables) = match delegate {
            None => (&self.host, variables),
            Some(host) => {
                others = self.run.variables(&self.stage, &self.frame, Some(&self.task), host);
                (host, &others)
            }
        };
        let target = self.target(host, delegate.is_some(), variables, engine)?;
        let r#become = self.r#become(variables, engine)?;
        Ok(Seat { target, r#become })
    }

    fn target(&self, host: &Arc<str>, is_delegate: bool, variables: &TaskVariables, engine: &SharedEngine) -> Result<Target, Stop> {
        let settings = &self.run.settings;
        let text = |names: &[&str]| Ok::<_, Stop>(self.variable(names, variables, engine)?.map(|value| value.to_string()));
        let number = |names: &[&str]| match self.variable(names, variables, engine)? {
            None => Ok(None),
            Some(value) => arguments::from_value::<u64>(&value).map(Some).map_err(|_| {
                let name = names.first().copied().unwrap_or_default();
                Stop::from(Diagnostic::error(format!("`{name}` of `{host}` has to be a number, not `{value}`")).at(self.place_of(None)))
            }),
        };
        let secret = |names: &[&str]| {
            let value = text(names)?;
            if let Some(value) = &value {
                self.run.redactor.learn(value);
            }
            Ok::<_, Stop>(value.map(Secret::new))
        };
        // A task delegated elsewhere does not go there by its own host's keywords, but for those it has itself.
        let connection = match text(&["ansible_connection"])? {
            Some(connection) => Some(connection),
            None if is_delegate && is_localhost(host) => Some("local".to_owned()),
            None => self.keyword(|keywords| keywords.connection.as_ref(), variables, engine)?.or_else(|| settings.connection.clone()),
        };
        let connection = connection
            .unwrap_or_else(|| if is_localhost(host) && self.run.site.layers(host).is_empty() { "local" } else { "ssh" }.to_owned());
        let user = match text(&["ansible_user", "ansible_ssh_user"])? {
            Some(user) => Some(user),
            None => self.keyword(|keywords| keywords.remote_user.as_ref(), variables, engine)?.or_else(|| settings.remote_user.clone()),
        };
        let port = match number(&["ansible_port", "ansible_ssh_port"])? {
            Some(port) => Some(port),
            None => match self.keyword(|keywords| keywords.port.as_ref(), variables, engine)? {
                Some(port) => port.parse().ok(),
                None => None,
            },
        };
        let mut arguments = Vec::new();
        for name in ["ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args"] {
            if let Some(value) = text(&[name])?.filter(|value| !value.trim().is_empty()) {
                arguments.push((name.to_owned(), value));
            }
        }
        arguments.extend(settings.ssh_arguments.iter().cloned());
        let checking = self.variable(&["ansible_ssh_host_key_checking", "ansible_host_key_checking"], variables, engine)?;
        Ok(Target {
            name: host.to_string(),
            connection: connection.rsplit('.').next().unwrap_or(&connection).to_owned(),
            host: match text(&["ansible_host"])? {
                // The host's name is what stands there where nobody says anything.
                Some(address) if address == **host => text(&["ansible_ssh_host"])?.unwrap_or(address),
                Some(address) => address,
                None => text(&["ansible_ssh_host"])?.unwrap_or_else(|| host.to_string()),
            },
            port: port.and_then(|port| u16::try_from(port).ok()),
            user,
            password: secret(&["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])?.or_else(|| settings.password.clone()),
            key_file: text(&["ansible_ssh_private_key_file", "ansible_private_key_file"])?
                .map(PathBuf::from)
                .or_else(|| settings.private_key.clone()),
            key_passphrase: secret(&["ansible_ssh_private_key_passphrase"])?,
            arguments,
            host_key_checking: checking.and_then(|value| arguments::to_bool(&value)),
            timeout: number(&["ansible_ssh_timeout", "ansible_timeout"])?.or(settings.timeout),
            agent_folder: text(&["windlass_agent_folder"])?,
            linger: number(&["windlass_linger"])?.or(settings.linger),
        })
    }

    fn r#become(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<Become>, Stop> {
        let settings = &self.run.settings;
        let wanted = match self.variable(&["ansible_become"], variables, engine)? {
            Some(value) => arguments::to_bool(&value)
                .ok_or_else(|| Diagnostic::error(format!("`ansible_become` has to be yes or no, not `{value}`")).at(self.place_of(None)))?,
            None => self
                .flag(|keywords| keywords.r#become.as_ref(), variables, engine)?
                .or_else(|| settings.r#become.then_some(true))
                .or(settings.execution.r#become)
                .unwrap_or(false),
        };
        if !wanted {
            return Ok(None);
        }
        let text = |names: &[&str], pick: fn(&Keywords) -> Option<&Located>| match self.variable(names, variables, engine)? {
            Some(value) => Ok::<_, Stop>(Some(value.to_string())),
            None => self.keyword(pick, variables, engine),
        };
        let method = text(&["ansible_become_method"], |keywords| keywords.become_method.as_ref())?;
        let method = method
            .or_else(|| settings.become_method.clone())
            .or_else(|| settings.execution.become_method.clone())
            .unwrap_or_else(|| "sudo".to_owned());
        let method = method.rsplit('.').next().unwrap_or(&method).to_owned();
        let of_method = |what: &str| format!("ansible_{method}_{what}");
        let user = text(&[&of_method("user"), "ansible_become_user"], |keywords| keywords.become_user.as_ref())?;
        let user = user
            .or_else(|| settings.become_user.clone())
            .or_else(|| settings.execution.become_user.clone())
            .filter(|user| !user.is_empty())
            .unwrap_or_else(|| "root".to_owned());
        let own = [of_method("pass"), of_method("password")];
        let names = ["ansible_become_password", "ansible_become_pass", own[0].as_str(), own[1].as_str()];
        let password = self.variable(&names, variables, engine)?.map(|value| value.to_string());
        if let Some(password) = &password {
            self.run.redactor.learn(password);
        }
        Ok(Some(Become {
            password: password.map(Secret::new).or_else(|| settings.become_password.clone()),
            flags: text(&[&of_method("flags"), "ansible_become_flags"], |keywords| keywords.become_flags.as_ref())?
                .or_else(|| settings.execution.become_flags.clone()),
            folder: self
                .variable(&[&of_method("chdir")], variables, engine)?
                .map(|value| value.to_string())
                .filter(|folder| !folder.is_empty()),
            prompts: match self.variable(&[&of_method("prompt_l10n")], variables, engine)? {
                Some(value) => {
                    arguments::from_value(&value).map_err(|error| self.wrong_variable(&of_method("prompt_l10n"), &error.to_string()))?
                }
                None => Vec::new(),
            },
            patience: match self.variable(&["ansible_local_become_success_timeout"], variables, engine)? {
                Some(value) => {
                    let wrong = |_| self.wrong_variable("ansible_local_become_success_timeout", "it has to be a number of seconds");
                    Some(arguments::from_value(&value).map_err(wrong)?)
                }
                None => None,
            },
            program: text(&[&of_method("exe"), "ansible_become_exe"], |keywords| keywords.become_exe.as_ref())?
                .or_else(|| settings.execution.become_exe.clone()),
            method,
            user,
        }))
    }

    fn wrong_variable(&self, name: &str, why: &str) -> Stop {
        Diagnostic::error(format!("`{name}`: {why}")).at(self.place_of(None)).into()
    }

    /// Returns a keyword's text, of the task or of what is around it.
    fn keyword(
        &self,
        pick: impl Fn(&Keywords) -> Option<&Located>,
        variables: &TaskVariables,
        engine: &SharedEngine,
    ) -> Result<Option<String>, Stop> {
        for located in self.frame.outwards(&self.task, pick) {
            let value = self.rendered(&located.value, variables, engine)?;
            if !crate::vars::is_omit(&value) {
                return Ok((!value.is_null()).then(|| value.to_string()));
            }
        }
        Ok(None)
    }

    /// Runs a line in the login shell of the host.
    pub(super) async fn raw(&self, ready: &Ready) -> Result<Outcome, Lost> {
        let name = ready.entry.free_form.unwrap_or("_raw_params");
        let line = ready.arguments.get(name).or_else(|| ready.arguments.get("_raw_params")).map(ToString::to_string).unwrap_or_default();
        if ready.mode == Mode::Check {
            return Ok(Outcome { unknown: Some(format!("`{line}` is not run in a check")), ..Outcome::default() });
        }
        let shell = ready.arguments.get("executable").map(ToString::to_string).filter(|shell| !shell.is_empty());
        let line = match shell.and_then(|shell| shlex::try_join([shell.as_str(), "-c", line.as_str()]).ok()) {
            Some(whole) => whole,
            None => line,
        };
        let output = self.run.hands.raw(&ready.seat, &line).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        let values = Map::from_iter([
            ("rc".into(), Value::from(output.rc)),
            ("stdout".into(), Value::str(&stdout)),
            ("stderr".into(), Value::str(&stderr)),
        ]);
        let failure = (output.rc != 0).then(|| Failure::Program { program: line, rc: output.rc, stdout, stderr });
        Ok(Outcome { changed: true, because: "a command is run each time".to_owned(), values, failure, ..Outcome::default() })
    }

    /// Connects anew until that works, or the time is over.
    pub(super) async fn wait_for_connection(&self, ready: &Ready) -> Result<Outcome, Lost> {
        if ready.mode == Mode::Check {
            return Ok(Outcome { because: "a check does not wait".to_owned(), ..Outcome::default() });
        }
        let began = Instant::now();
        let argument = |name: &str, otherwise: f64| Duration::from_secs_f64(seconds(&ready.arguments, name, otherwise).clamp(0.0, 1e9));
        let (delay, pause, limit) = (argument("delay", 0.0), argument("sleep", 1.0), argument("timeout", 600.0));
        let single = argument("connect_timeout", 5.0).max(Duration::from_secs(1));
        tokio::time::sleep(delay).await;
        loop {
            self.run.hands.close(&ready.seat.target).await;
            let ping = protocol::Task { module: "ping".to_owned(), items: vec![Map::new()], ..ready.message(Vec::new()) };
            let mut ignore = |_: u32, _: Outcome| {};
            let tried = tokio::time::timeout(single.max(limit / 10), self.run.hands.task(&ready.seat, ping, &mut ignore)).await;
            let lost = match tried {
                Ok(Ok(())) => {
                    let values = Map::from_iter([("elapsed".into(), Value::from(began.elapsed().as_secs()))]);
                    return Ok(Outcome { because: "the host answers".to_owned(), values, ..Outcome::default() });
                }
                Ok(Err(lost)) => lost.message,
                Err(_) => "it did not answer in time".to_owned(),
            };
            if began.elapsed() >= limit || self.run.is_interrupted() {
                let failure = Failure::failed(format!("the host did not answer within {} seconds: {lost}", limit.as_secs()));
                return Ok(Outcome { failure: Some(failure), ..Outcome::default() });
            }
            tokio::time::sleep(pause).await;
        }
    }
}
