//! What `ansible_ssh_common_args` and its like may say: the options of `ssh`, understood one by one. What is not understood is
//! named, never ignored: an option that a user relies on must not be lost silently.

use super::Unreachable;

/// An option as ssh_config has it: a keyword in lower case, and its value.
pub type Setting = (String, String);

/// Keywords that make no difference here, each known not to weaken anything: windlass keeps one connection of its own.
const HARMLESS: &[&str] = &[
    "addkeystoagent",
    "batchmode",
    "canonicalizehostname",
    "checkhostip",
    "ciphers",
    "compression",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "escapechar",
    "exitonforwardfailure",
    "forwardagent",
    "forwardx11",
    "gssapiauthentication",
    "gssapidelegatecredentials",
    "hashknownhosts",
    "hostkeyalgorithms",
    "ipqos",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "loglevel",
    "macs",
    "numberofpasswordprompts",
    "passwordauthentication",
    "permitlocalcommand",
    "preferredauthentications",
    "protocol",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
    "pubkeyauthentication",
    "requesttty",
    "sendenv",
    "setenv",
    "tcpkeepalive",
    "updatehostkeys",
    "verifyhostkeydns",
    "visualhostkey",
];

/// Keywords that are understood, besides the harmless ones.
pub const KNOWN: &[&str] = &[
    "connecttimeout",
    "globalknownhostsfile",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "port",
    "proxyjump",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "user",
    "userknownhostsfile",
];

/// Whether a keyword makes no difference here.
pub fn is_harmless(keyword: &str) -> bool {
    HARMLESS.contains(&keyword)
}

/// What a text of options says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Settings, the first of a keyword counts.
    pub settings: Vec<Setting>,
    /// `-F`: this file instead of `~/.ssh/config`; `none` for no file.
    pub config_file: Option<String>,
}

/// Reads options; `origin` is the name of the variable, for messages.
///
/// # Errors
/// Names the option that is not understood.
pub fn parse(text: &str, origin: &str) -> Result<Options, Unreachable> {
    let words = words(text).ok_or_else(|| Unreachable::new(format!("`{origin}` has a quote that is not closed")))?;
    let mut options = Options::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-').and_then(|rest| rest.chars().next()) else {
            return Err(not_understood(&word, origin));
        };
        if matches!(flag, 'C' | 'q' | 'v' | 'T' | 't' | 'x' | 'a' | '4' | '6') && word.chars().skip(1).all(|c| c == flag) {
            continue;
        }
        let attached = word.get(2..).unwrap_or_default().to_owned();
        let mut value = || if attached.is_empty() { words.next() } else { Some(attached.clone()) };
        let missing = || Unreachable::new(format!("`-{flag}` in `{origin}` has no value"));
        match flag {
            'o' => {
                let setting = value().ok_or_else(missing)?;
                options.settings.push(understood(&setting, origin)?);
            }
            'F' => options.config_file = Some(value().ok_or_else(missing)?),
            'i' => options.settings.push(("identityfile".to_owned(), value().ok_or_else(missing)?)),
            'J' => options.settings.push(("proxyjump".to_owned(), value().ok_or_else(missing)?)),
            'p' => options.settings.push(("port".to_owned(), value().ok_or_else(missing)?)),
            'l' => options.settings.push(("user".to_owned(), value().ok_or_else(missing)?)),
            _ => return Err(not_understood(&word, origin)),
        }
    }
    Ok(options)
}

fn understood(setting: &str, origin: &str) -> Result<Setting, Unreachable> {
    let (keyword, value) = setting.split_once(['=', ' ']).unwrap_or((setting, ""));
    let lower = keyword.trim().to_ascii_lowercase();
    if KNOWN.contains(&lower.as_str()) || is_harmless(&lower) {
        return Ok((lower, value.trim().trim_matches('"').to_owned()));
    }
    Err(not_understood(&format!("-o {keyword}"), origin))
}

fn not_understood(what: &str, origin: &str) -> Unreachable {
    Unreachable::new(format!("the SSH option `{what}` in `{origin}` is not understood")).hint(
        "windlass makes its own SSH connections and does not call `ssh`; remove the option, or use ProxyJump (-J) where it is a ProxyCommand",
    )
}

/// Splits as a shell does: blanks, quotes, backslashes.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, '\\') => word.get_or_insert_default().push(chars.next()?),
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return None;
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_in_all_their_spellings() {
        let options = parse("-F none -o UserKnownHostsFile=/k -oStrictHostKeyChecking=yes -o 'ProxyJump a,b' -C -p2222 -l ops", "x")
            .expect("understood");
        assert_eq!(options.config_file.as_deref(), Some("none"));
        let text: Vec<_> = options.settings.iter().map(|(keyword, value)| format!("{keyword}={value}")).collect();
        assert_eq!(text, ["userknownhostsfile=/k", "stricthostkeychecking=yes", "proxyjump=a,b", "port=2222", "user=ops"]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let error = parse("-o ProxyCommand='nc %h %p'", "ansible_ssh_common_args").expect_err("named");
        assert_eq!(error.message, "the SSH option `-o ProxyCommand` in `ansible_ssh_common_args` is not understood");
        assert!(parse("-W x", "x").is_err());
    }
}
