//! Units as the service manager tells of them, and the command lines that change them.

use std::path::Path;

use super::{Failure, Program, UnitAction, UnitState, programs};

/// The kinds of unit that systemd knows; a name without one of them is a service.
const SUFFIXES: &[&str] =
    &[".service", ".socket", ".timer", ".target", ".path", ".mount", ".automount", ".swap", ".slice", ".scope", ".device"];

/// Returns the full name of a unit: `ssh` is `ssh.service`.
pub fn full_name(name: &str) -> String {
    if SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) { name.to_owned() } else { format!("{name}.service") }
}

/// Whether this machine runs systemd.
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir() && programs::find("systemctl", &[]).is_some()
}

/// Returns what the service manager knows of a unit.
pub fn show(name: &str, scope: &str, environment: &[(String, String)]) -> Result<UnitState, Failure> {
    if name.is_empty() || name.starts_with('-') {
        return Err(Failure::argument("name", format!("`{name}` is not the name of a unit")));
    }
    if !has_systemd() && programs::find("systemctl", &[]).is_none() {
        return script_state(name, environment);
    }
    let mut argv = systemctl(scope);
    argv.extend(["show".to_owned(), "--no-pager".to_owned(), "--".to_owned(), full_name(name)]);
    let output = programs::run(&asking(argv.clone()), environment)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.rc != 0 && (stderr.contains("not been booted") || stderr.contains("connect to bus")) && scope == "system" {
        return script_state(name, environment);
    }
    if output.rc != 0 {
        return Err(Failure::Program { program: programs::shown(&argv), rc: output.rc, stdout, stderr });
    }
    let mut state = parse(&stdout);
    if matches!(property(&state, "UnitFileState"), "indirect" | "alias") {
        // Such a unit counts as enabled where something is installed for it.
        let mut argv = systemctl(scope);
        argv.extend(["is-enabled".to_owned(), "-l".to_owned(), "--".to_owned(), full_name(name)]);
        let output = programs::run(&asking(argv), environment)?;
        state.enabled = output.rc == 0 && String::from_utf8_lossy(&output.stdout).trim().lines().count() > 1;
    }
    if state.exists && property(&state, "UnitFileState").is_empty() {
        // A service of an init script: only `is-enabled` knows.
        let mut argv = systemctl(scope);
        argv.extend(["is-enabled".to_owned(), "--".to_owned(), full_name(name)]);
        state.enabled = programs::run(&asking(argv), environment)?.rc == 0;
    }
    Ok(state)
}

/// Returns the command line that does `action`.
pub fn command(name: &str, action: UnitAction, scope: &str) -> Vec<String> {
    let word = word(action);
    if scope == "system" && programs::find("service", &[]).is_some() && !systemctl_answers(name) {
        let bare = name.strip_suffix(".service").unwrap_or(name);
        let argv: &[&str] = match action {
            UnitAction::Enable if programs::find("update-rc.d", &[]).is_some() => &["update-rc.d", bare, "defaults"],
            UnitAction::Disable if programs::find("update-rc.d", &[]).is_some() => &["update-rc.d", bare, "remove"],
            UnitAction::Enable if programs::find("rc-update", &[]).is_some() => &["rc-update", "add", bare],
            UnitAction::Disable if programs::find("rc-update", &[]).is_some() => &["rc-update", "del", bare],
            UnitAction::Enable => &["chkconfig", bare, "on"],
            UnitAction::Disable => &["chkconfig", bare, "off"],
            UnitAction::DaemonReload | UnitAction::DaemonReexec => &["true"],
            _ => &["service", bare, word],
        };
        return argv.iter().map(|word| (*word).to_owned()).collect();
    }
    let mut argv = systemctl(scope);
    argv.push(word.to_owned());
    if !matches!(action, UnitAction::DaemonReload | UnitAction::DaemonReexec) {
        argv.extend(["--".to_owned(), full_name(name)]);
    }
    argv
}

/// Whether `systemctl` works here: in containers it may be installed without a systemd to talk to.
fn systemctl_answers(name: &str) -> bool {
    let mut argv = systemctl("system");
    argv.extend(["show".to_owned(), "--no-pager".to_owned(), "--".to_owned(), full_name(name)]);
    has_systemd() || (programs::find("systemctl", &[]).is_some() && programs::run(&asking(argv), &[]).is_ok_and(|output| output.rc == 0))
}

/// Returns the word that the service manager has for `action`.
pub fn word(action: UnitAction) -> &'static str {
    match action {
        UnitAction::Start => "start",
        UnitAction::Stop => "stop",
        UnitAction::Restart => "restart",
        UnitAction::Reload => "reload",
        UnitAction::Enable => "enable",
        UnitAction::Disable => "disable",
        UnitAction::Mask => "mask",
        UnitAction::Unmask => "unmask",
        UnitAction::DaemonReload => "daemon-reload",
        UnitAction::DaemonReexec => "daemon-reexec",
    }
}

fn systemctl(scope: &str) -> Vec<String> {
    let mut argv = vec!["systemctl".to_owned()];
    if matches!(scope, "user" | "global") {
        argv.push(format!("--{scope}"));
    }
    argv
}

fn asking(argv: Vec<String>) -> Program {
    Program { argv, environment: vec![("LC_ALL".to_owned(), "C".to_owned())], timeout: Some(60), ..Program::default() }
}

/// Returns the state that `systemctl show` printed.
pub fn parse(text: &str) -> UnitState {
    let properties: Vec<_> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut state = UnitState { properties, ..UnitState::default() };
    let (load, active, file) = (property(&state, "LoadState"), property(&state, "ActiveState"), property(&state, "UnitFileState"));
    let (exists, masked) = (!matches!(load, "not-found" | ""), load == "masked" || file.starts_with("masked"));
    let active = matches!(active, "active" | "activating" | "reloading");
    let enabled = file == "enabled";
    state.exists = exists;
    state.masked = masked;
    state.active = active;
    state.enabled = enabled;
    state
}

/// Returns a property, empty where it is not told.
pub fn property<'a>(state: &'a UnitState, name: &str) -> &'a str {
    state.properties.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// Returns what init scripts tell, on a machine without systemd.
fn script_state(name: &str, environment: &[(String, String)]) -> Result<UnitState, Failure> {
    let bare = name.strip_suffix(".service").unwrap_or(name);
    if bare.contains('/') {
        return Ok(UnitState::default());
    }
    let exists = Path::new("/etc/init.d").join(bare).exists();
    if !exists || programs::find("service", &[]).is_none() {
        return Ok(UnitState { exists, ..UnitState::default() });
    }
    let argv = vec!["service".to_owned(), bare.to_owned(), "status".to_owned()];
    let active = programs::run(&asking(argv), environment)?.rc == 0;
    Ok(UnitState { exists, active, enabled: starts_at_boot(bare), ..UnitState::default() })
}

/// Whether a start link of the usual run levels names this script.
fn starts_at_boot(name: &str) -> bool {
    let levels = ["/etc/rc2.d", "/etc/rc3.d", "/etc/rc5.d", "/etc/runlevels/default"];
    levels.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten().any(|entry| {
        let file = entry.file_name().to_string_lossy().into_owned();
        file == name || file.strip_prefix('S').is_some_and(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()) == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemctl_shows_becomes_a_state() {
        let state = parse("Id=ssh.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n");
        assert!(state.exists && state.active && state.enabled && !state.masked);
        assert!(!parse("LoadState=not-found\nActiveState=inactive\nUnitFileState=\n").exists);
        assert!(parse("LoadState=masked\nUnitFileState=masked\n").masked);
    }

    #[test]
    fn a_name_without_a_kind_is_a_service() {
        assert_eq!(full_name("ssh"), "ssh.service");
        assert_eq!(full_name("apt-daily.timer"), "apt-daily.timer");
        assert_eq!(full_name("getty@tty1"), "getty@tty1.service");
    }
}
