//! Settings: variables of the environment, and under them `ansible.cfg`. They have the names that Ansible gave them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::load::settings::{self, Setting};
use crate::value::{Value, arguments};

/// Where a setting was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This variable of the environment.
    Variable(String),
    /// The file of settings.
    File,
}

/// A setting that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What was said.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

/// What is set; flags win over it. Asking for a setting by a name that [`settings::ALL`] does not have gives nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The file of settings in use.
    pub file: Option<PathBuf>,
    /// Settings that make no sense, each with why.
    pub warnings: Vec<String>,
    said: HashMap<&'static str, Said>,
    home: Option<String>,
}

impl Config {
    /// Reads the environment of this process, and the file of settings that counts in this folder.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let mut warnings = Vec::new();
        let file = find(&variable, &mut warnings);
        let text = file.as_ref().and_then(|path| match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) => {
                warnings.push(format!("cannot read the settings `{}`: {error}", path.display()));
                None
            }
        });
        let mut config = Self::read(&variable, &text.unwrap_or_default());
        config.file = file;
        config.warnings.splice(0..0, warnings);
        config
    }

    /// Reads the settings that `variable` knows, and those of a file's text.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>, file: &str) -> Self {
        let mut warnings = Vec::new();
        let keys = ini(file, &mut warnings);
        let mut said = HashMap::new();
        for setting in settings::ALL {
            if let Some(found) = find_setting(setting, variable, &keys) {
                said.insert(setting.name, found);
            }
        }
        let home = variable("HOME").filter(|home| !home.is_empty());
        let mut config = Self { file: None, warnings, said, home };
        for setting in settings::ALL {
            let Some(text) = config.text(setting.name) else { continue };
            let is_word = matches!(setting.name, "ANSIBLE_NOCOLOR" | "DEFAULT_VAULT_ID_MATCH");
            let is_number = setting.default.parse::<i64>().is_ok() || matches!(setting.name, "DEFAULT_REMOTE_PORT" | "LOG_VERBOSITY");
            let wrong = match setting.default {
                "True" | "False" if !is_word && arguments::to_bool(&Value::str(text)).is_none() => "neither yes nor no",
                _ if is_number && text.parse::<i64>().is_err() => "no whole number",
                _ => continue,
            };
            let origin = match config.said(setting.name).map(|said| &said.origin) {
                Some(Origin::Variable(name)) => format!("env: {name}"),
                _ => "the file of settings".to_owned(),
            };
            let name = setting.name;
            let warning = format!("Config '{name}' from '{origin}' has an invalid value: `{text}` is {wrong}, so it counts for nothing");
            config.warnings.push(warning);
        }
        config
    }

    /// Returns what was said of a setting.
    pub fn said(&self, name: &str) -> Option<&Said> {
        self.said.get(name)
    }

    /// Returns what a variable of the environment stands for: itself, or what the file says in its place.
    pub fn variable(&self, name: &str) -> Option<String> {
        let setting = settings::ALL.iter().find(|setting| setting.environment.split(' ').any(|variable| variable == name))?;
        self.said.get(setting.name).map(|said| said.text.clone())
    }

    /// Returns a setting's text, where one is set that is not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.said.get(name).map(|said| said.text.trim()).filter(|text| !text.is_empty())
    }

    /// Returns yes or no, where one is set.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.text(name).and_then(|text| arguments::to_bool(&Value::str(text)))
    }

    /// Whether a setting is on, by default too.
    pub fn is_on(&self, name: &str) -> bool {
        let default = || settings::ALL.iter().any(|setting| setting.name == name && setting.default == "True");
        self.flag(name).unwrap_or_else(default)
    }

    /// Returns a whole number, where one is set.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(|text| text.parse().ok())
    }

    /// Returns the items of a list, which commas separate.
    pub fn list(&self, name: &str) -> Vec<String> {
        parts(self.text(name).unwrap_or_default(), ',')
    }

    /// Returns what a setting is, with the type it has; `None` where there is no such setting.
    pub fn value(&self, name: &str) -> Option<Value> {
        let setting = settings::ALL.iter().find(|setting| setting.name == name)?;
        let text = self.text(name).unwrap_or(setting.default);
        let typed = || match setting.default {
            "True" | "False" => arguments::to_bool(&Value::str(text)).map(Value::Bool),
            number if number.parse::<i64>().is_ok() => text.parse().ok().map(Value::Int),
            _ => None,
        };
        Some(match name {
            _ if PATH_LISTS.contains(&name) => Value::list(self.paths(name).iter().map(|path| Value::from(path.display().to_string()))),
            _ if LISTS.contains(&name) => Value::list(parts(text, ',').into_iter().map(Value::from)),
            _ if text.is_empty() => Value::Null,
            _ => typed().unwrap_or_else(|| Value::str(text)),
        })
    }

    /// Returns a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|text| self.resolved(name, text))
    }

    /// Returns the paths of a list, which colons separate; the default's where none is set.
    pub fn paths(&self, name: &str) -> Vec<PathBuf> {
        let default = || settings::ALL.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
        let text = self.text(name).unwrap_or_else(default);
        parts(text, ':').iter().map(|part| self.resolved(name, part)).collect()
    }

    /// Returns what `-i` would name. A list of hosts keeps its comma.
    pub fn inventory(&self) -> Vec<String> {
        let text = self.text("DEFAULT_HOST_LIST").unwrap_or_default();
        match text.strip_suffix(',') {
            Some(_) => vec![text.to_owned()],
            None => parts(text, ',').iter().map(|part| self.resolved("DEFAULT_HOST_LIST", part).display().to_string()).collect(),
        }
    }

    /// A path is relative to the file that names it, else to the working folder.
    fn resolved(&self, name: &str, text: &str) -> PathBuf {
        let path = match (text.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => PathBuf::from(format!("{home}{rest}")),
            _ => PathBuf::from(text),
        };
        let in_file = self.said.get(name).is_some_and(|said| said.origin == Origin::File);
        match self.file.as_ref().and_then(|file| file.parent()).filter(|_| in_file && path.is_relative()) {
            Some(folder) => folder.join(path),
            None => path,
        }
    }
}

/// Settings that are lists of paths.
const PATH_LISTS: &[&str] = &["COLLECTIONS_PATHS", "DEFAULT_MODULE_PATH", "DEFAULT_ROLES_PATH"];

/// Settings that are lists.
const LISTS: &[&str] = &["CALLBACKS_ENABLED", "DEFAULT_VAULT_IDENTITY_LIST", "INVENTORY_ENABLED", "TAGS_RUN", "TAGS_SKIP"];

fn parts(text: &str, separator: char) -> Vec<String> {
    text.split(separator).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn find_setting(setting: &Setting, variable: &dyn Fn(&str) -> Option<String>, keys: &HashMap<String, String>) -> Option<Said> {
    for name in setting.environment.split(' ').filter(|name| !name.is_empty()) {
        if let Some(text) = variable(name) {
            return Some(Said { text, origin: Origin::Variable(name.to_owned()) });
        }
    }
    let text = setting.keys.split(' ').find_map(|key| keys.get(key))?;
    Some(Said { text: text.clone(), origin: Origin::File })
}

/// Returns the file of settings that counts: that of `ANSIBLE_CONFIG`, of this folder, of the user, of the machine. One in a
/// folder that everybody may write to does not count: anybody could have put it there.
fn find(variable: &dyn Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Option<PathBuf> {
    if let Some(named) = variable("ANSIBLE_CONFIG").filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        let path = if path.is_dir() { path.join("ansible.cfg") } else { path };
        return path.is_file().then(|| std::path::absolute(&path).unwrap_or(path));
    }
    if let Ok(folder) = std::env::current_dir() {
        let here = folder.join("ansible.cfg");
        if here.is_file() {
            if !is_open_to_all(&folder) {
                return Some(here);
            }
            warnings.push(format!("everybody may write to {}, so its ansible.cfg does not count", folder.display()));
        }
    }
    let home = variable("HOME").map(|home| Path::new(&home).join(".ansible.cfg"));
    home.into_iter().chain([PathBuf::from("/etc/ansible/ansible.cfg")]).find(|path| path.is_file())
}

fn is_open_to_all(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o002 != 0)
}

/// Returns `section.key` and the text of each entry.
fn ini(text: &str, warnings: &mut Vec<String>) -> HashMap<String, String> {
    let mut keys: HashMap<String, String> = HashMap::new();
    let mut section = "defaults".to_owned();
    let mut last: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        let value_of = |text: &str| text.split(" ;").next().unwrap_or_default().trim().to_owned();
        if line.starts_with(char::is_whitespace)
            && let Some(entry) = last.as_ref().and_then(|key| keys.get_mut(key))
        {
            entry.push('\n');
            entry.push_str(&value_of(trimmed));
        } else if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim().to_owned();
            last = None;
        } else if let Some((key, value)) = trimmed.split_once(['=', ':']) {
            let key = format!("{section}.{}", key.trim().to_lowercase());
            keys.insert(key.clone(), value_of(value));
            last = Some(key);
        } else {
            warnings.push(format!("line {} of the settings is not `key = value`: {trimmed}", number + 1));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)], file: &str) -> Config {
        Config::read(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()), file)
    }

    #[test]
    fn nothing_said_is_nothing_set() {
        assert_eq!(with(&[], ""), Config::default());
        assert!(with(&[], "").is_on("HOST_KEY_CHECKING") && !with(&[], "").is_on("DEFAULT_NO_LOG"));
    }

    #[test]
    fn settings_are_read_and_nonsense_is_told() {
        let config = with(
            &[
                ("HOME", "/home/x"),
                ("ANSIBLE_HOST_KEY_CHECKING", "False"),
                ("ANSIBLE_ROLES_PATH", "~/roles:/srv/roles"),
                ("ANSIBLE_VAULT_IDENTITY_LIST", "dev@a, prod@b"),
                ("ANSIBLE_FORKS", "20"),
                ("ANSIBLE_FORCE_COLOR", "maybe"),
                ("ANSIBLE_TIMEOUT", "soon"),
            ],
            "[defaults]\n# not this\nforks = 7\nremote_user: ops ; the user\n[tags]\nrun = a,\n  b\nnonsense\n",
        );
        assert_eq!(config.flag("HOST_KEY_CHECKING"), Some(false));
        assert_eq!(config.paths("DEFAULT_ROLES_PATH"), [PathBuf::from("/home/x/roles"), PathBuf::from("/srv/roles")]);
        assert_eq!(config.list("DEFAULT_VAULT_IDENTITY_LIST"), ["dev@a", "prod@b"]);
        assert_eq!((config.number("DEFAULT_FORKS"), config.text("DEFAULT_REMOTE_USER")), (Some(20), Some("ops")));
        assert_eq!(config.list("TAGS_RUN"), ["a", "b"]);
        assert_eq!(config.variable("ANSIBLE_REMOTE_USER").as_deref(), Some("ops"));
        assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
        let told = "Config 'DEFAULT_TIMEOUT' from 'env: ANSIBLE_TIMEOUT' has an invalid value: `soon` is no whole number";
        assert!(config.warnings.iter().any(|warning| warning.starts_with(told)), "{:?}", config.warnings);
        assert_eq!(with(&[("ANSIBLE_INVENTORY", "a,b")], "").inventory(), ["a", "b"]);
        assert_eq!(with(&[("ANSIBLE_INVENTORY", "a,b,")], "").inventory(), ["a,b,"]);
    }

    #[test]
    fn settings_have_types() {
        let config = with(&[("HOME", "/home/x"), ("ANSIBLE_PRIVATE_ROLE_VARS", "1"), ("ANSIBLE_RUN_TAGS", "a,b")], "");
        assert_eq!(config.value("DEFAULT_PRIVATE_ROLE_VARS"), Some(Value::Bool(true)));
        assert_eq!(config.value("TAGS_RUN"), Some(Value::list([Value::str("a"), Value::str("b")])));
        assert!(matches!(config.value("DEFAULT_FORKS"), Some(Value::Int(_))));
        assert_eq!(config.value("DEFAULT_LOG_PATH"), Some(Value::Null));
        assert_eq!(config.value("NOTHING"), None);
    }

    #[test]
    fn paths_of_a_file_start_from_its_folder() {
        let config = Config { file: Some("/srv/site/ansible.cfg".into()), ..with(&[], "[defaults]\ninventory = hosts, /etc/hosts.ini\n") };
        assert_eq!(config.inventory(), ["/srv/site/hosts", "/etc/hosts.ini"]);
    }
}
