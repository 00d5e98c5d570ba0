//! What a module's `prepare` may ask of the controller.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::change::probe::{FileKind, Stat};
use crate::change::tree::{self, Below};
use crate::change::{Failure, Host, Probe, digest};
use crate::modules::Controller;
use crate::run::Run;
use crate::run::scope::TaskVariables;
use crate::run::search::{Search, Seen, absolute};
use crate::source::suggest::did_you_mean;
use crate::source::{Diagnostic, Span};
use crate::value::{Map, Value};
use crate::vars::{Engine, Truth, Variables as _};

/// The controller as one task on one host sees it.
pub(super) struct Desk<'a> {
    pub(super) run: &'a Run,
    pub(super) engine: &'a Engine,
    pub(super) variables: &'a TaskVariables,
    pub(super) search: &'a Search,
    pub(super) span: Span,
    pub(super) seen: Seen,
    /// Whether the arguments came out of a template as a whole, so that no text in them is sure to be the user's own.
    pub(super) is_given: bool,
    /// The first diagnostic met: it has the place, which a `Failure` cannot carry.
    pub(super) diagnostic: std::cell::RefCell<Option<Diagnostic>>,
}

/// Returns what the setting `ansible_managed` comes to: times as `strftime` writes them, names in single braces replaced. What
/// is put in is data, whatever braces it has.
fn managed(setting: &str, names: &[(&str, &str)], changed: &jiff::Zoned) -> String {
    let text = jiff::fmt::strtime::format(setting, changed).unwrap_or_else(|_| setting.to_owned());
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        let (before, behind) = rest.split_at(at);
        out.push_str(before);
        let known = names.iter().find_map(|(name, value)| Some((behind.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?, value)));
        (rest, _) = match known {
            Some((rest, value)) => (rest, out.push_str(&value.replace('{', "{{ '{' }}"))),
            None => {
                let brace = behind.chars().next().unwrap_or_default();
                let rest = behind.get(1..).unwrap_or_default();
                (rest.strip_prefix(brace).unwrap_or(rest), out.push(brace))
            }
        };
    }
    out.push_str(rest);
    out
}

impl Desk<'_> {
    /// Returns the variables with those that only a template has.
    fn of_template(&self, path: &Path, destination: Option<&Value>) -> TaskVariables {
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let metadata = std::fs::metadata(path).ok();
        let changed = metadata.as_ref().and_then(|metadata| jiff::Zoned::try_from(metadata.modified().ok()?).ok()).unwrap_or_default();
        let uid = metadata.as_ref().map(MetadataExt::uid).unwrap_or_default();
        let owner = nix::unistd::User::from_uid(uid.into()).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let setting = &self.run.settings.managed;
        let managed = match self.variables.get("ansible_managed") {
            // The setting has places for what is known of the template; a variable of that name is what it is.
            Some(own) if own != Value::text(setting, self.span) && own.to_string() != *setting => own,
            _ => Value::text(
                &managed(setting, &[("host", &host), ("uid", &owner), ("file", &absolute(path).display().to_string())], &changed),
                self.span,
            ),
        };
        let destination = destination.map(|destination| ("template_destpath", destination.clone()));
        self.variables.with(destination.into_iter().chain([
            ("ansible_managed", managed),
            ("template_host", Value::from(host)),
            ("template_path", Value::from(path.display().to_string())),
            ("template_fullpath", Value::from(absolute(path).display().to_string())),
            ("template_mtime", Value::from(changed.strftime("%Y-%m-%d %H:%M:%S").to_string())),
            ("template_uid", Value::from(owner)),
            ("template_run_date", Value::from(jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S%.6f").to_string())),
        ]))
    }

    fn failure(&self, diagnostic: Diagnostic) -> Failure {
        let mut failure = Failure::failed(diagnostic.message.clone());
        if let Some(hint) = diagnostic.hints.first() {
            failure = failure.hint(hint.clone());
        }
        self.diagnostic.borrow_mut().get_or_insert(diagnostic);
        failure
    }

    fn known(&self, value: Result<Value, Diagnostic>) -> Result<Value, Failure> {
        value.map_err(|diagnostic| self.failure(diagnostic))
    }
}

impl Controller for Desk<'_> {
    fn find(&self, folder: &str, name: &str) -> Result<PathBuf, Failure> {
        self.search.find(folder, name, &self.seen).map_err(|places| {
            let near = places.iter().find_map(|path| similar(path));
            let places: Vec<_> = places.iter().map(|path| format!("`{}`", path.display())).collect();
            let hint = format!("{}looked for {}", near.map(|near| format!("{near} ")).unwrap_or_default(), places.join(", "));
            Failure::failed(format!("Could not find or access '{name}' on the controller")).hint(hint)
        })
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        match self.seen.foreseen(path) {
            Some(bytes) => bytes,
            None => self.run.library.read(path).map_err(Failure::failed),
        }
    }

    fn stat(&self, path: &Path) -> Result<Option<Stat>, Failure> {
        if let Some(host) = self.seen.host() {
            return host.stat(&absolute(path), true);
        }
        match std::fs::metadata(path) {
            Ok(metadata) => Ok(Some(to_stat(&metadata))),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Failure::io("look at", path, &error)),
        }
    }

    fn walk(&self, path: &Path, follow: bool) -> Result<Vec<Below>, Failure> {
        match self.seen.host() {
            Some(host) => tree::below(host, &absolute(path), follow),
            None => tree::below(&Host::new(), &absolute(path), follow),
        }
    }

    fn blob(&self, path: &Path) -> Result<Value, Failure> {
        // What a check foresees on the controller can be told, but is nothing that a host could ask for.
        if let Some(bytes) = self.seen.foreseen(path) {
            let bytes = bytes?;
            return Ok(Value::map([("sha256", Value::from(digest::sha256(&bytes))), ("size", bytes.len().into())]));
        }
        let mut file = std::fs::File::open(path).map_err(|error| Failure::io("read", path, &error))?;
        let mut hash = Sha256::new();
        let size = std::io::copy(&mut file, &mut hash).map_err(|error| Failure::io("read", path, &error))?;
        let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.run.hands.offer(&sha256, path);
        Ok(Value::map([("sha256", Value::from(sha256)), ("size", Value::from(size))]))
    }

    fn render_file(&self, path: &Path, options: &Map) -> Result<Value, Failure> {
        let bytes = self.read(path)?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::failed(format!("the template `{}` is not UTF-8 text", path.display())))?;
        self.known(self.engine.render_file(path, &text, options, &self.of_template(path, options.get("dest"))))
    }

    fn is_own(&self, text: &str) -> bool {
        self.run.sources.tell(text)
    }

    fn render(&self, value: &Value) -> Result<Value, Failure> {
        self.known(self.engine.render(value, self.variables))
    }

    fn expression(&self, text: &str) -> Result<Value, Failure> {
        self.known(self.engine.expression(text, self.span, self.variables))
    }

    fn condition(&self, text: &Value) -> Result<bool, Failure> {
        let truth = match self.is_given {
            true => self.engine.given_condition(text, self.span, self.variables),
            false => self.engine.condition(text, self.span, self.variables),
        };
        match truth {
            Ok(Truth::Yes) => Ok(true),
            Ok(Truth::No) => Ok(false),
            Ok(Truth::Unknown(why)) => Err(Failure::unknown(why)),
            Err(diagnostic) => Err(self.failure(diagnostic)),
        }
    }

    fn variables(&self, path: &Path) -> Result<Map, Failure> {
        self.run.library.variables(path, Some(self.span)).map_err(|errors| match errors.into_iter().next() {
            Some(first) => self.failure(first),
            None => Failure::failed(format!("cannot read `{}`", path.display())),
        })
    }

    fn is_vaulted(&self, path: &Path) -> bool {
        crate::load::vault::Vault::default().is_vaulted(path)
    }

    fn secret(&self, text: &str) {
        self.run.redactor.learn(text);
    }

    fn verbosity(&self) -> u8 {
        self.run.settings.verbosity
    }
}

/// Returns a question for the file beside `path` whose name is nearly its name.
fn similar(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let names: Vec<String> =
        std::fs::read_dir(path.parent()?).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    did_you_mean(wanted, names.iter().map(String::as_str))
}

fn to_stat(metadata: &std::fs::Metadata) -> Stat {
    let kind = metadata.file_type();
    let kind = if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Link
    } else if kind.is_socket() {
        FileKind::Socket
    } else if kind.is_fifo() {
        FileKind::Fifo
    } else if kind.is_char_device() {
        FileKind::CharDevice
    } else if kind.is_block_device() {
        FileKind::BlockDevice
    } else {
        FileKind::File
    };
    let seconds = |time: std::io::Result<std::time::SystemTime>| {
        time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|time| time.as_secs_f64()).unwrap_or_default()
    };
    #[allow(clippy::cast_precision_loss)]
    Stat {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.size(),
        atime: seconds(metadata.accessed()),
        mtime: seconds(metadata.modified()),
        ctime: metadata.ctime() as f64,
        inode: metadata.ino(),
        device: metadata.dev(),
        links: metadata.nlink(),
        blocks: metadata.blocks(),
        block_size: metadata.blksize(),
        rdev: metadata.rdev(),
        target: None,
        foreseen: false,
    }
}

/// Kept beside the desk, as both are made for each task.
pub(super) type SharedEngine = Arc<Engine>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_managed_files_have_places_for_names_and_times() {
        let changed = jiff::civil::date(2026, 1, 31).at(9, 30, 0, 0).in_tz("UTC").expect("a moment");
        let with = |setting: &str| managed(setting, &[("file", "/t/{{ 1 }}%Y.j2"), ("host", "h1")], &changed);
        assert_eq!(with("Ansible managed"), "Ansible managed");
        assert_eq!(with("{file} of {host} on %Y-%m-%d ({{{{ x }}}})"), "/t/{{ '{' }}{{ '{' }} 1 }}%Y.j2 of h1 on 2026-01-31 ({{ x }})");
    }
}
