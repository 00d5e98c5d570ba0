//! From what the user says to where a connection goes: options of all sources brought together, for the host and for
//! each host on the way to it.

use std::path::PathBuf;
use std::time::Duration;

use russh::MethodKind;

use super::Target;
use super::config::Config;
use super::options::{self, Options, Strict};
use super::settings::Settings;
use super::trouble::{Kind, Trouble};
use crate::value::secret::Secret;

/// Where a connection goes, and how.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The name for messages.
    pub name: String,
    /// The address: a name or a number.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// The password, if one is known.
    pub password: Option<Secret<String>>,
    /// Key files that the user named.
    pub identities: Vec<PathBuf>,
    /// The passphrase of those files.
    pub passphrase: Option<Secret<String>>,
    /// Key files that are tried because they have the usual names.
    pub usual_identities: Vec<PathBuf>,
    /// The socket of the ssh-agent, if it is to be asked.
    pub agent_socket: Option<PathBuf>,
    /// Whether of the agent's keys only those are used that a named file has too.
    pub identities_only: bool,
    /// The ways to log in that are tried, the preferred first.
    pub methods: Vec<MethodKind>,
    /// The name in `known_hosts`.
    pub known_as: String,
    /// Whether the plain name without the port counts too.
    pub known_without_port: Option<String>,
    /// Where known hosts are looked for; the user's first, as new ones go there.
    pub known_hosts: Vec<PathBuf>,
    /// What is done with an unknown host.
    pub strict: Strict,
    /// How long connecting may take.
    pub timeout: Duration,
    /// How often to see whether a silent host is still there.
    pub alive_interval: Option<Duration>,
    /// How often it may stay silent.
    pub alive_count: usize,
    /// The hosts on the way, `user@host:port,...`.
    pub jump: Option<String>,
    /// The shell line of a program that leads to the host instead.
    pub proxy_command: Option<String>,
    /// Files with certificates for the user's keys, besides those that lie beside the keys.
    pub certificates: Vec<PathBuf>,
    /// The socket of the ssh-agent that programs on the host may ask, if any.
    pub forwarded_agent: Option<PathBuf>,
}

/// The names that key files usually have.
const USUAL_IDENTITIES: &[&str] = &["id_ed25519", "id_ecdsa", "id_rsa"];

/// Seconds that connecting may take where nobody says.
const TIMEOUT: u64 = 10;

/// Seconds of silence after which a host is asked whether it is there, and how often, where nobody says: without it a
/// host that lost its power would hold up a run for hours.
const ALIVE: (u64, usize) = (15, 4);

/// Returns where the connection to `target` goes. `config_of` gives the configuration for a `-F`.
///
/// # Errors
/// Says which option of which source cannot be followed.
pub fn to(
    target: &Target,
    settings: &Settings,
    config_of: impl Fn(Option<&str>) -> std::sync::Arc<Config>,
) -> Result<(Hop, Option<String>), Trouble> {
    let arguments = options::arguments(&target.arguments)?;
    if let Some(key) = target.key_file.as_ref().map(|key| key.to_string_lossy()).filter(|key| !key.contains('%'))
        && !settings.untilded(&key).exists()
    {
        settings.warnings.say(&format!("the key {key} is not there: other keys are tried"));
    }
    let config = config_of(arguments.config_file.as_deref());
    let mut options = Options {
        user: target.user.clone(),
        port: target.port,
        identity_files: target.key_file.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
        connect_timeout: target.timeout,
        ..Options::default()
    };
    options.strict = match target.host_key_checking {
        Some(false) => Some(Strict::No),
        // "yes" still allows a finer word in the arguments or the configuration.
        Some(true) | None => None,
    };
    options.fill(arguments.options);
    let said = config.options(&target.host, &options, settings)?;
    options.fill(said);
    let mut hop = assemble(&target.name, &target.host, options, settings);
    hop.password.clone_from(&target.password);
    hop.passphrase.clone_from(&target.key_passphrase);
    Ok((hop, arguments.config_file))
}

/// Returns where a host on the way is: `text` is one entry of `ProxyJump`, `last` the hop it leads to.
///
/// # Errors
/// As [`to`], and when the entry is no host.
pub fn jump(text: &str, last: &Hop, settings: &Settings, config: &Config) -> Result<Hop, Trouble> {
    let (user, host, port) = parse_jump(text).ok_or_else(|| {
        Trouble::new(Kind::Settings, format!("`{text}` in the ProxyJump of {} is no host: it is written user@host:port", last.name))
    })?;
    let mut options = Options { user, port, connect_timeout: Some(last.timeout.as_secs()), ..Options::default() };
    let said = config.options(&host, &options, settings)?;
    options.fill(said);
    let own_files = options.user_known_hosts.is_some() || options.global_known_hosts.is_some();
    let mut hop = assemble(&host, &host, options, settings);
    // The way to a host is usually open to the key that opens the host.
    hop.identities.extend(last.identities.iter().cloned());
    hop.passphrase.clone_from(&last.passphrase);
    if !own_files {
        hop.known_hosts.clone_from(&last.known_hosts);
    }
    Ok(hop)
}

fn parse_jump(text: &str) -> Option<(Option<String>, String, Option<u16>)> {
    let text = text.trim().trim_start_matches("ssh://").trim_end_matches('/');
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, text),
    };
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, after.strip_prefix(':'))
    } else {
        match place.split_once(':') {
            // Several colons without brackets: an IPv6 address.
            Some((_, rest)) if rest.contains(':') => (place, None),
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let port = port.map(str::parse).transpose().ok()?;
    (!host.is_empty()).then(|| (user, host.to_owned(), port))
}

fn assemble(name: &str, alias: &str, options: Options, settings: &Settings) -> Hop {
    let (methods, port) = (options.methods(), options.port.unwrap_or(22));
    let user = options.user.unwrap_or_else(|| settings.login.clone());
    let host = options.host_name.map_or_else(|| alias.to_owned(), |text| text.replace("%h", alias).replace("%%", "%"));
    let expand = |text: &String| {
        let expanded = text
            .replace("%%", "\0")
            .replace("%d", &settings.home.to_string_lossy())
            .replace("%h", &host)
            .replace("%n", alias)
            .replace("%p", &port.to_string())
            .replace("%r", &user)
            .replace("%u", &settings.login)
            .replace('\0', "%");
        settings.untilded(&expanded)
    };
    let usual = USUAL_IDENTITIES.iter().map(|name| settings.home.join(".ssh").join(name));
    let named: Vec<_> = options.identity_files.iter().map(expand).collect();
    let users = options.user_known_hosts.map_or_else(
        || vec![settings.home.join(".ssh/known_hosts"), settings.home.join(".ssh/known_hosts2")],
        |files| files.iter().filter(|file| !file.eq_ignore_ascii_case("none")).map(expand).collect(),
    );
    let global = options.global_known_hosts.map_or_else(
        || settings.global_known_hosts.clone(),
        |files| files.iter().filter(|file| !file.eq_ignore_ascii_case("none")).map(expand).collect(),
    );
    let socket = |text: &str| match text.strip_prefix('$') {
        Some(variable) => std::env::var_os(variable).map(PathBuf::from),
        None => Some(expand(&text.to_owned())),
    };
    let agent_socket = match options.identity_agent.as_deref() {
        Some("none") => None,
        Some("SSH_AUTH_SOCK") | None => settings.agent_socket.clone(),
        Some(other) => socket(other),
    };
    let forwarded_agent = match options.forward_agent.as_deref() {
        None | Some("no" | "false") => None,
        Some("yes" | "true") => agent_socket.clone(),
        Some(other) => socket(other),
    };
    let command = options.proxy_command.filter(|line| !line.eq_ignore_ascii_case("none"));
    let proxy_command = command.map(|line| {
        let pairs = [("%h", host.as_str()), ("%n", alias), ("%p", &port.to_string()), ("%r", &user), ("%u", &settings.login)];
        pairs.iter().fold(line.replace("%%", "\0"), |line, (token, text)| line.replace(token, text)).replace('\0', "%")
    });
    let known_as = options.host_key_alias.unwrap_or_else(|| super::known_hosts::name_of(&host, port));
    let alive = options.alive_interval.unwrap_or(ALIVE.0);
    Hop {
        name: name.to_owned(),
        known_without_port: (known_as != host.to_lowercase() && known_as.starts_with('[')).then(|| host.to_lowercase()),
        known_as,
        usual_identities: if named.is_empty() { usual.collect() } else { Vec::new() },
        identities: named,
        identities_only: options.identities_only.unwrap_or(false),
        methods,
        agent_socket,
        known_hosts: users.into_iter().chain(global).collect(),
        strict: options.strict.unwrap_or(Strict::Yes),
        timeout: Duration::from_secs(options.connect_timeout.filter(|seconds| *seconds > 0).unwrap_or(TIMEOUT)),
        alive_interval: (alive > 0).then(|| Duration::from_secs(alive)),
        alive_count: options.alive_count_max.unwrap_or(ALIVE.1),
        proxy_command,
        certificates: options.certificate_files.iter().map(expand).collect(),
        forwarded_agent,
        jump: options.proxy_jump.filter(|jump| !jump.eq_ignore_ascii_case("none")),
        host,
        port,
        user,
        password: None,
        passphrase: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::settings::Warnings;

    #[test]
    fn a_host_on_the_way_has_user_and_port() {
        assert_eq!(parse_jump("ops@gate:2200"), Some((Some("ops".into()), "gate".into(), Some(2200))));
        assert_eq!(parse_jump("[2001:db8::1]:22"), Some((None, "2001:db8::1".into(), Some(22))));
        assert_eq!(parse_jump("2001:db8::1"), Some((None, "2001:db8::1".into(), None)));
        assert_eq!(parse_jump("ops@"), None);
        assert_eq!(parse_jump("gate:none"), None);
    }

    #[test]
    fn the_inventory_ranks_above_the_arguments_and_these_above_the_configuration() {
        let mut settings = Settings::of_this_user(Warnings::to(|_| {}));
        settings.home = PathBuf::from("/home/me");
        let target = Target {
            name: "web1".into(),
            host: "web1".into(),
            port: Some(2200),
            arguments: vec![("x".into(), "-o Port=1 -o User=ops -i ~/k_%r -o HostName=%h.example.net".into())],
            ..Target::default()
        };
        let (hop, file) = to(&target, &settings, |_| std::sync::Arc::default()).expect("fits");
        assert_eq!((hop.host.as_str(), hop.port, hop.user.as_str(), file), ("web1.example.net", 2200, "ops", None));
        assert_eq!(hop.identities, [PathBuf::from("/home/me/k_ops")]);
        assert_eq!(hop.known_as, "[web1.example.net]:2200");
        assert!(hop.usual_identities.is_empty());
    }
}
