//! SSH options by name, as `ssh_config` has them and as `-o` and the short flags in `ansible_ssh_common_args` give them.

use russh::MethodKind;

use super::trouble::{Kind, Trouble};

/// Options of one connection. What is said first holds, but identity files add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Options {
    pub host_name: Option<String>,
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<String>,
    pub identities_only: Option<bool>,
    pub by_key: Option<bool>,
    pub by_password: Option<bool>,
    pub by_questions: Option<bool>,
    pub preferred: Option<String>,
    pub identity_agent: Option<String>,
    pub proxy_jump: Option<String>,
    pub proxy_command: Option<String>,
    pub certificate_files: Vec<String>,
    pub forward_agent: Option<String>,
    pub user_known_hosts: Option<Vec<String>>,
    pub global_known_hosts: Option<Vec<String>>,
    pub strict: Option<Strict>,
    pub connect_timeout: Option<u64>,
    pub alive_interval: Option<u64>,
    pub alive_count_max: Option<usize>,
    pub host_key_alias: Option<String>,
}

/// What is done with a host whose key is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    /// Refuse it.
    Yes,
    /// Learn it; a changed key is refused.
    AcceptNew,
    /// Connect all the same, with a warning; a changed key is refused.
    No,
}

/// What became of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is used.
    Used,
    /// It asks for nothing that matters here.
    Harmless,
    /// OpenSSH knows it, windlass does not do it.
    Unsupported,
    /// Nobody knows it.
    Unknown,
}

/// Options that ask for nothing that matters here: sharing of connections is built in, no window is forwarded, no terminal
/// is used, and passwords are never asked for by SSH itself.
const HARMLESS: &[&str] = &[
    "addkeystoagent",
    "addressfamily",
    "batchmode",
    "canonicalizehostname",
    "checkhostip",
    "compression",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "escapechar",
    "exitonforwardfailure",
    "fingerprinthash",
    "forwardx11trusted",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "hashknownhosts",
    "loglevel",
    "numberofpasswordprompts",
    "permitlocalcommand",
    "sendenv",
    "setenv",
    "requesttty",
    "tcpkeepalive",
    "updatehostkeys",
    "useroaming",
    "visualhostkey",
    "verifyhostkeydns",
    "forwardx11",
    "ipqos",
    "tag",
    "xauthlocation",
    "nohostauthenticationforlocalhost",
    "connectionattempts",
    "rekeylimit",
    "enablesshkeysign",
    "usekeychain",
];

/// Options that OpenSSH knows and that change what a connection is.
const UNSUPPORTED: &[&str] = &[
    "bindaddress",
    "bindinterface",
    "casignaturealgorithms",
    "ciphers",
    "clearallforwardings",
    "dynamicforward",
    "gatewayports",
    "hostbasedauthentication",
    "hostkeyalgorithms",
    "kexalgorithms",
    "knownhostscommand",
    "localcommand",
    "localforward",
    "macs",
    "pkcs11provider",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
    "remotecommand",
    "remoteforward",
    "requiredrsasize",
    "revokedhostkeys",
    "securitykeyprovider",
    "sessiontype",
    "streamlocalbindmask",
    "tunnel",
    "tunneldevice",
    "userknownhostscommand",
];

impl Options {
    /// Takes in one option.
    ///
    /// # Errors
    /// Says why the value does not fit.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Taken, String> {
        let words = || value.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect::<Vec<_>>();
        let text = value.trim().trim_matches('"').to_owned();
        match name.to_ascii_lowercase().as_str() {
            "hostname" => first(&mut self.host_name, text),
            "user" => first(&mut self.user, text),
            "port" => first(&mut self.port, number(&text)?),
            "identityfile" => {
                if !text.eq_ignore_ascii_case("none") {
                    self.identity_files.push(text);
                }
            }
            "identitiesonly" => first(&mut self.identities_only, yes_or_no(&text)?),
            // `unbound` and `host-bound` are of the protocol, and both mean yes.
            "pubkeyauthentication" => first(&mut self.by_key, !text.eq_ignore_ascii_case("no")),
            "passwordauthentication" => first(&mut self.by_password, yes_or_no(&text)?),
            "kbdinteractiveauthentication" | "challengeresponseauthentication" => first(&mut self.by_questions, yes_or_no(&text)?),
            "preferredauthentications" => first(&mut self.preferred, text),
            "identityagent" => first(&mut self.identity_agent, text),
            "userknownhostsfile" => first(&mut self.user_known_hosts, words()),
            "globalknownhostsfile" => first(&mut self.global_known_hosts, words()),
            "stricthostkeychecking" => first(&mut self.strict, strict(&text)?),
            "connecttimeout" => first(&mut self.connect_timeout, seconds(&text)?),
            "serveraliveinterval" => first(&mut self.alive_interval, seconds(&text)?),
            "serveralivecountmax" => first(&mut self.alive_count_max, number(&text)?),
            "hostkeyalias" => first(&mut self.host_key_alias, text),
            // Of a jump and a command, the first that is said holds.
            "proxyjump" if self.proxy_command.is_none() => first(&mut self.proxy_jump, text),
            "proxycommand" if self.proxy_jump.is_none() => first(&mut self.proxy_command, value.trim().to_owned()),
            "proxyjump" | "proxycommand" => {}
            "certificatefile" => {
                if !text.eq_ignore_ascii_case("none") {
                    self.certificate_files.push(text);
                }
            }
            "forwardagent" => first(&mut self.forward_agent, text),
            known if HARMLESS.contains(&known) => return Ok(Taken::Harmless),
            known if UNSUPPORTED.contains(&known) => return Ok(Taken::Unsupported),
            _ => return Ok(Taken::Unknown),
        }
        Ok(Taken::Used)
    }

    /// Returns the ways to log in that are wanted, the preferred first: a key, a password, the password in answer to questions.
    pub fn methods(&self) -> Vec<MethodKind> {
        let known = [
            (MethodKind::PublicKey, self.by_key, "publickey"),
            (MethodKind::Password, self.by_password, "password"),
            (MethodKind::KeyboardInteractive, self.by_questions, "keyboard-interactive"),
        ];
        let wanted = known.into_iter().filter(|(_, wanted, _)| wanted.unwrap_or(true));
        let Some(preferred) = &self.preferred else { return wanted.map(|(method, ..)| method).collect() };
        let at = |name: &str| preferred.split(',').position(|word| word.trim().eq_ignore_ascii_case(name));
        let mut wanted: Vec<_> = wanted.filter_map(|(method, _, name)| Some((at(name)?, method))).collect();
        wanted.sort_by_key(|(at, _)| *at);
        wanted.into_iter().map(|(_, method)| method).collect()
    }

    /// Adds what `later` says and this does not.
    pub fn fill(&mut self, later: Self) {
        fn or<T>(ours: &mut Option<T>, theirs: Option<T>) {
            if ours.is_none() {
                *ours = theirs;
            }
        }
        or(&mut self.host_name, later.host_name);
        or(&mut self.user, later.user);
        or(&mut self.port, later.port);
        self.identity_files.extend(later.identity_files);
        or(&mut self.identities_only, later.identities_only);
        or(&mut self.by_key, later.by_key);
        or(&mut self.by_password, later.by_password);
        or(&mut self.by_questions, later.by_questions);
        or(&mut self.preferred, later.preferred);
        or(&mut self.identity_agent, later.identity_agent);
        if self.proxy_jump.is_none() && self.proxy_command.is_none() {
            self.proxy_jump = later.proxy_jump;
            self.proxy_command = later.proxy_command;
        }
        self.certificate_files.extend(later.certificate_files);
        or(&mut self.forward_agent, later.forward_agent);
        or(&mut self.user_known_hosts, later.user_known_hosts);
        or(&mut self.global_known_hosts, later.global_known_hosts);
        or(&mut self.strict, later.strict);
        or(&mut self.connect_timeout, later.connect_timeout);
        or(&mut self.alive_interval, later.alive_interval);
        or(&mut self.alive_count_max, later.alive_count_max);
        or(&mut self.host_key_alias, later.host_key_alias);
    }
}

fn first<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number that fits"))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("`{text}` is neither yes nor no")),
    }
}

fn strict(text: &str) -> Result<Strict, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "ask" => Ok(Strict::Yes),
        "accept-new" => Ok(Strict::AcceptNew),
        "no" | "false" | "off" => Ok(Strict::No),
        _ => Err(format!("`{text}` is none of yes, accept-new, no")),
    }
}

/// Reads a time as `ssh_config` has it: `30`, `90s`, `2m`, `1h30m`.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a time");
    let mut total: u64 = 0;
    let mut digits = String::new();
    for character in text.chars() {
        let unit = match character.to_ascii_lowercase() {
            '0'..='9' => {
                digits.push(character);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        digits.clear();
    }
    if !digits.is_empty() {
        total = digits.parse::<u64>().ok().and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    } else if text.is_empty() {
        return Err(wrong());
    }
    Ok(total)
}

/// What the arguments of an `ssh` command line say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The options among them.
    pub options: Options,
    /// `-F`: the file to read instead of the usual ones.
    pub config_file: Option<String>,
}

/// Reads arguments as they stand in `ansible_ssh_common_args` and the like: each text with the name it came from.
///
/// # Errors
/// Names the argument that is not understood.
pub fn arguments(texts: &[(String, String)]) -> Result<Arguments, Trouble> {
    let mut read = Arguments::default();
    for (source, text) in texts {
        let words = split(text).ok_or_else(|| refuse(source, text, "it has a quote that does not end"))?;
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix('-').and_then(|rest| rest.chars().next()) else {
                return Err(refuse(source, &word, "it is no option"));
            };
            match flag {
                'o' | 'F' | 'i' | 'J' | 'p' | 'l' => {
                    let attached = word[2..].to_owned();
                    let value = if attached.is_empty() { words.next() } else { Some(attached) };
                    let value = value.ok_or_else(|| refuse(source, &word, "its value is missing"))?;
                    take_flag(&mut read, flag, &value, source)?;
                }
                'A' if word.len() == 2 => take_flag(&mut read, flag, "yes", source)?,
                // Compression, quiet, verbose, no terminal, no forwarding, IP version.
                _ if word[1..].chars().all(|flag| "CqvTaxnk46".contains(flag)) => {}
                _ => return Err(refuse(source, &word, "windlass does not know it")),
            }
        }
    }
    Ok(read)
}

fn take_flag(read: &mut Arguments, flag: char, value: &str, source: &str) -> Result<(), Trouble> {
    let (name, value) = match flag {
        'F' => {
            read.config_file.get_or_insert_with(|| value.to_owned());
            return Ok(());
        }
        'A' => ("ForwardAgent", value),
        'i' => ("IdentityFile", value),
        'J' => ("ProxyJump", value),
        'p' => ("Port", value),
        'l' => ("User", value),
        _ => {
            let at = value.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(value.len());
            let (name, rest) = value.split_at(at);
            (name.trim(), rest.trim_start_matches(|c: char| c == '=' || c.is_whitespace()))
        }
    };
    match read.options.set(name, value) {
        Ok(Taken::Used | Taken::Harmless) => Ok(()),
        Ok(Taken::Unsupported) => Err(refuse(source, name, "windlass does not do it")),
        Ok(Taken::Unknown) => Err(refuse(source, name, "windlass does not know it")),
        Err(why) => Err(refuse(source, name, &why)),
    }
}

fn refuse(source: &str, what: &str, why: &str) -> Trouble {
    Trouble::new(Kind::Settings, format!("`{what}` in {source} cannot be followed: {why}"))
        .hint("remove it, or set it in ~/.ssh/config for other programs only")
}

/// Splits a line into words as a shell does, for quotes and backslashes; `None` where a quote does not end.
pub fn split(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                let text = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        other => text.push(other),
                    }
                }
            }
            '"' => {
                let text = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => text.push(characters.next()?),
                        other => text.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments, Trouble> {
        arguments(&[("ansible_ssh_common_args".to_owned(), text.to_owned())])
    }

    #[test]
    fn the_usual_arguments_are_understood() {
        let read = read(r#"-C -o ControlMaster=auto -o ControlPersist=60s -oPort=2200 -o "UserKnownHostsFile /a /b" -J "ops@gate" -F none -o StrictHostKeyChecking=accept-new -o ServerAliveInterval=1m"#)
            .expect("understood");
        assert_eq!(read.options.port, Some(2200));
        assert_eq!(read.options.user_known_hosts, Some(vec!["/a".to_owned(), "/b".to_owned()]));
        assert_eq!(read.options.proxy_jump.as_deref(), Some("ops@gate"));
        assert_eq!(read.options.strict, Some(Strict::AcceptNew));
        assert_eq!(read.options.alive_interval, Some(60));
        assert_eq!(read.config_file.as_deref(), Some("none"));
    }

    #[test]
    fn ways_to_log_in_can_be_left_out_and_put_in_order() {
        use MethodKind::{KeyboardInteractive, Password, PublicKey};
        for (text, wanted) in [
            ("-C", vec![PublicKey, Password, KeyboardInteractive]),
            ("-o PubkeyAuthentication=no", vec![Password, KeyboardInteractive]),
            ("-o PasswordAuthentication=no -o KbdInteractiveAuthentication=no", vec![PublicKey]),
            ("-o PreferredAuthentications=password,gssapi-with-mic,publickey", vec![Password, PublicKey]),
            ("-o PreferredAuthentications=publickey -o PubkeyAuthentication=no", vec![]),
        ] {
            assert_eq!(read(text).expect(text).options.methods(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_source() {
        for (text, wanted) in [
            ("-o Sorcery=yes", "`Sorcery` in ansible_ssh_common_args cannot be followed: windlass does not know it"),
            ("-o Ciphers=none", "`Ciphers` in ansible_ssh_common_args cannot be followed: windlass does not do it"),
            ("-L 80:x:80", "`-L` in ansible_ssh_common_args cannot be followed: windlass does not know it"),
            ("-o Port=many", "`Port` in ansible_ssh_common_args cannot be followed: `many` is not a number that fits"),
            ("-o", "`-o` in ansible_ssh_common_args cannot be followed: its value is missing"),
            ("host", "`host` in ansible_ssh_common_args cannot be followed: it is no option"),
        ] {
            assert_eq!(read(text).expect_err(text).message, wanted);
        }
    }

    #[test]
    fn what_is_said_first_holds() {
        let read = read("-o User=a -l b -i one -o IdentityFile=two").expect("understood");
        assert_eq!(read.options.user.as_deref(), Some("a"));
        assert_eq!(read.options.identity_files, ["one", "two"]);
    }

    #[test]
    fn of_a_jump_and_a_command_the_first_holds() {
        let options = read("-J gate -o ProxyCommand='nc %h %p'").expect("understood").options;
        assert_eq!((options.proxy_jump.as_deref(), options.proxy_command), (Some("gate"), None));
        let mut options = read("-A -o ProxyCommand='nc \"%h\" %p'").expect("understood").options;
        options.fill(read("-J gate").expect("understood").options);
        assert_eq!((options.proxy_jump, options.proxy_command.as_deref()), (None, Some("nc \"%h\" %p")));
        assert_eq!(options.forward_agent.as_deref(), Some("yes"));
    }

    #[test]
    fn times_have_units() {
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("10"), Ok(10));
        assert!(seconds("soon").is_err());
        assert!(seconds("").is_err());
    }
}
