//! Settings from the environment, read once. They have the names that Ansible gave them.

use std::path::PathBuf;

/// Settings of the environment; flags win over them. None: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `ANSIBLE_HOST_KEY_CHECKING`.
    pub host_key_checking: Option<bool>,
    /// `ANSIBLE_ROLES_PATH`: folders, separated by colons.
    pub roles_path: Vec<PathBuf>,
    /// `ANSIBLE_INVENTORY`: what `-i` would name, separated by commas.
    pub inventory: Vec<String>,
    /// `ANSIBLE_FORCE_COLOR`.
    pub force_colour: bool,
    /// `ANSIBLE_NOCOLOR` or `NO_COLOR`.
    pub no_colour: bool,
    /// `ANSIBLE_REMOTE_USER`.
    pub remote_user: Option<String>,
    /// `ANSIBLE_FORKS`: how many hosts at a time.
    pub forks: Option<usize>,
    /// `ANSIBLE_TIMEOUT`: seconds to wait for a connection.
    pub timeout: Option<u64>,
    /// `ANSIBLE_PRIVATE_KEY_FILE`.
    pub private_key_file: Option<PathBuf>,
    /// `ANSIBLE_VAULT_PASSWORD_FILE`.
    pub vault_password_file: Option<PathBuf>,
    /// `ANSIBLE_VAULT_IDENTITY_LIST`: what `--vault-id` would name, separated by commas.
    pub vault_identity_list: Vec<String>,
    /// `ANSIBLE_ASK_VAULT_PASS`.
    pub ask_vault_pass: bool,
    /// Settings that make no sense, each with why.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the environment of this process.
    pub fn from_environment() -> Self {
        Self::read(&|name| std::env::var(name).ok())
    }

    /// Reads the settings that `variable` knows.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let mut warnings = Vec::new();
        let mut flag = |name: &str| {
            let text = text(name)?;
            let flag = crate::value::arguments::to_bool(&crate::value::Value::str(&text));
            if flag.is_none() {
                warnings.push(format!("`{name}` is `{text}`, which is neither yes nor no; it counts for nothing"));
            }
            flag
        };
        let host_key_checking = flag("ANSIBLE_HOST_KEY_CHECKING");
        let force_colour = flag("ANSIBLE_FORCE_COLOR") == Some(true);
        let no_colour = flag("ANSIBLE_NOCOLOR") == Some(true) || text("NO_COLOR").is_some();
        let ask_vault_pass = flag("ANSIBLE_ASK_VAULT_PASS") == Some(true);
        let mut number = |name: &str| {
            let text = text(name)?;
            let number = text.parse::<u64>().ok();
            if number.is_none() {
                warnings.push(format!("`{name}` is `{text}`, which is not a whole number; it counts for nothing"));
            }
            number
        };
        let forks = number("ANSIBLE_FORKS").and_then(|forks| usize::try_from(forks).ok()).filter(|forks| *forks > 0);
        let timeout = number("ANSIBLE_TIMEOUT");
        let home = text("HOME");
        let path = |text: &str| match (text.strip_prefix("~/"), &home) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => PathBuf::from(text),
        };
        let list = |name: &str, separator: char| -> Vec<String> {
            let text = text(name).unwrap_or_default();
            text.split(separator).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        // `-i host,` keeps its comma: it says that this is a list of hosts.
        let inventory = text("ANSIBLE_INVENTORY").map_or_else(Vec::new, |text| match text.strip_suffix(',') {
            Some(_) => vec![text],
            None => list("ANSIBLE_INVENTORY", ','),
        });
        Self {
            host_key_checking,
            roles_path: list("ANSIBLE_ROLES_PATH", ':').iter().map(|part| path(part)).collect(),
            inventory,
            force_colour,
            no_colour,
            remote_user: text("ANSIBLE_REMOTE_USER"),
            forks,
            timeout,
            private_key_file: text("ANSIBLE_PRIVATE_KEY_FILE").map(|text| path(&text)),
            vault_password_file: text("ANSIBLE_VAULT_PASSWORD_FILE").map(|text| path(&text)),
            vault_identity_list: list("ANSIBLE_VAULT_IDENTITY_LIST", ','),
            ask_vault_pass,
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Config {
        Config::read(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn an_empty_environment_says_nothing() {
        assert_eq!(with(&[]), Config::default());
    }

    #[test]
    fn settings_are_read_and_nonsense_is_told() {
        let config = with(&[
            ("HOME", "/home/x"),
            ("ANSIBLE_HOST_KEY_CHECKING", "False"),
            ("ANSIBLE_ROLES_PATH", "~/roles:/srv/roles"),
            ("ANSIBLE_VAULT_IDENTITY_LIST", "dev@a, prod@b"),
            ("ANSIBLE_FORKS", "20"),
            ("ANSIBLE_TIMEOUT", "soon"),
            ("ANSIBLE_FORCE_COLOR", "maybe"),
            ("NO_COLOR", "1"),
        ]);
        assert!(config.host_key_checking == Some(false) && config.no_colour && !config.force_colour);
        assert_eq!(config.roles_path, [PathBuf::from("/home/x/roles"), PathBuf::from("/srv/roles")]);
        assert_eq!(config.vault_identity_list, ["dev@a", "prod@b"]);
        assert_eq!((config.forks, config.timeout, config.warnings.len()), (Some(20), None, 2));
        assert_eq!(with(&[("ANSIBLE_INVENTORY", "a,b")]).inventory, ["a", "b"]);
        assert_eq!(with(&[("ANSIBLE_INVENTORY", "a,b,")]).inventory, ["a,b,"]);
    }
}
