//! `unarchive`: what is in an archive, in a folder of a host.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::command::Call;
use super::{Controller, Example, Module};
use crate::change::attributes::FileMode;
use crate::change::destination::{content_of, finished};
use crate::change::digest;
use crate::change::glob::glob;
use crate::change::probe::FileKind;
use crate::change::{Attributes, Before, Change, Content, Done, Failure, Plan, Probe, Request};
use crate::value::arguments::Anything;
use crate::value::{Map, Value};

/// Unpacks an archive (tar with any compression that the host's `tar` knows, zip) of the controller, of the host, or of an address.
///
/// The archive is compared with what is in the folder first; nothing is changed where all is there already. For an archive that is not on
/// the host yet this cannot be foreseen: a check calls it unknown, unless `creates` tells.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unarchive {
    /// The archive: a file of the controller, or with `remote_src` a path of the host or an address.
    src: String,
    /// The folder, which has to be there.
    dest: String,
    /// Whether the archive is on the host already.
    #[serde(default)]
    remote_src: bool,
    /// The opposite of `remote_src`, as it was called once.
    copy: Option<bool>,
    /// A path: where it exists already, nothing is done.
    creates: Option<String>,
    /// More options for `tar` or `unzip`.
    #[serde(default)]
    extra_opts: Vec<String>,
    /// What is left out.
    #[serde(default)]
    exclude: Vec<String>,
    /// What is taken, instead of everything.
    #[serde(default)]
    include: Vec<String>,
    /// Whether files that are newer in the folder stay.
    #[serde(default)]
    keep_newer: bool,
    /// Whether `register` gets the names of what is in the archive, as `files`.
    #[serde(default)]
    list_files: bool,
    /// Whether the server's certificate is verified.
    #[serde(default = "super::command::yes")]
    validate_certs: bool,
    /// Accepted for old playbooks: a vaulted archive is decrypted.
    #[serde(rename = "decrypt")]
    _decrypt: Option<bool>,
    /// Owner of all that is unpacked.
    owner: Option<String>,
    /// Group of all that is unpacked.
    group: Option<String>,
    /// Mode of all that is unpacked.
    mode: Option<Mode>,
    /// Accepted for old playbooks.
    #[serde(rename = "unsafe_writes")]
    _unsafe_writes: Option<bool>,
    /// The archive.
    #[schemars(skip)]
    _content: Option<Anything>,
}

/// A mode as `chmod` takes it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Mode {
    /// Permission bits.
    Bits(u32),
    /// Octal or clauses.
    Text(String),
}

/// Says on its last line whether anything differed. Its words: kind, archive, whether the archive goes, folder, owner, mode, whether the
/// names are listed, then the options.
const UNPACK: &str = r#"set -u; kind=$1 archive=$2 goes=$3 dest=$4 owner=$5 mode=$6 list=$7; shift 7
scratch=$(mktemp -d "${TMPDIR:-/tmp}/.windlass-XXXXXX") || exit 126
trap 'rm -rf "$scratch"; [ "$goes" = no ] || rm -f "$archive"' EXIT; trap 'exit 143' HUP INT TERM
changed=no
unpack() { if [ "$kind" = zip ]; then target=$1; shift; unzip -qq -o "$archive" "$@" -d "$target" >&2 || [ $? = 1 ]; else
  target=$1; shift; tar -xf "$archive" -C "$target" "$@"; fi; }
if [ "$kind" != tar ]; then
  mkdir "$scratch/new" && unpack "$scratch/new" "$@" || exit 1
  (cd "$scratch/new" && find . -mindepth 1 | sed 's|^\./||') >"$scratch/names" || exit 1
  while IFS= read -r name; do
    if [ -h "$scratch/new/$name" ]; then [ "$(readlink "$scratch/new/$name")" = "$(readlink "$dest/$name")" ] || changed=yes
    elif [ -d "$scratch/new/$name" ]; then [ -d "$dest/$name" ] || changed=yes
    else cmp -s "$scratch/new/$name" "$dest/$name" || changed=yes; fi
  done <"$scratch/names"
  if [ $changed = yes ]; then unpack "$dest" "$@" || exit 1; fi
else
  tar -tf "$archive" "$@" >"$scratch/names" || exit 1
  if [ -n "$owner$mode" ]; then
    # Owner and mode are given: only what is in the files is compared.
    tar -df "$archive" -C "$dest" "$@" 2>&1 | grep -Ev ': (Mode|Uid|Gid|Mod time) ' >"$scratch/diff"
  else
    tar -df "$archive" -C "$dest" "$@" >"$scratch/diff" 2>&1
  fi
  if [ -s "$scratch/diff" ]; then changed=yes; tar -xf "$archive" -C "$dest" "$@" || exit 1; fi
fi
while IFS= read -r name; do
  if [ -n "$owner" ]; then [ -z "$(chown -ch "$owner" "$dest/$name")" ] || changed=yes; fi
  if [ -n "$mode" ] && [ ! -h "$dest/$name" ]; then [ -z "$(chmod -c "$mode" "$dest/$name")" ] || changed=yes; fi
done <"$scratch/names"
[ "$list" = no ] || cat "$scratch/names"
echo "changed=$changed""#;

impl Module for Unarchive {
    const NAME: &'static str = "unarchive";
    const RESTS: bool = false;
    const PATHS: &'static [&'static str] = &["dest", "src", "creates"];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "An archive that was unpacked",
        task: "{src: /srv/app-1.0.tar.gz, dest: /opt, remote_src: true, creates: /opt/app-1.0}",
        given: &[("/opt/app-1.0/", ""), ("/srv/app-1.0.tar.gz", "x")],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let flag = |name: &str| arguments.get(name).and_then(crate::value::arguments::to_bool);
        let is_remote = flag("remote_src").unwrap_or(false) || flag("copy") == Some(false);
        let Some(src) = arguments.get("src").and_then(Value::as_str).filter(|src| !is_remote && !src.contains("://")) else {
            return Ok(());
        };
        let path = controller.find("files", src)?;
        let content = controller.blob(&path)?;
        arguments.insert("_content".into(), content);
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.remote_src && self.copy == Some(true) {
            return Err(Failure::argument("copy", "`copy` and `remote_src` are mutually exclusive"));
        }
        if !self.include.is_empty() && !self.exclude.is_empty() {
            return Err(Failure::argument("include", "`include` and `exclude` are mutually exclusive"));
        }
        if let Some(Mode::Text(mode)) = &self.mode
            && FileMode::parse(mode).is_err()
        {
            return Err(Failure::failed("mode must be in octal or symbolic form")
                .with("details", format!("bad symbolic permission for mode: {mode}"))
                .hint("write \"0644\" or clauses such as u=rw,g=r,o="));
        }
        if let Some(path) = &self.creates
            && !glob(host, path)?.is_empty()
        {
            return Ok(Plan::nothing(format!("`{path}` exists"))
                .value("msg", format!("skipped, since {path} exists"))
                .value("skipped", true));
        }
        let dest = Path::new(&self.dest);
        if !host.stat(dest, true)?.is_some_and(|stat| stat.kind == FileKind::Directory) {
            return Err(Failure::argument("dest", format!("dest '{}' must be an existing dir", self.dest))
                .hint("make it first, with `file: state=directory`"));
        }
        let mut changes = Vec::new();
        let (archive, goes) = match &self._content {
            Some(content) => (self.put(content_of(&content.0)?, &mut changes), true),
            None if self.src.contains("://") => (self.put(Content::Bytes(self.download(host)?), &mut changes), true),
            None => {
                let missing = || Failure::Missing { path: self.src.as_str().into(), argument: "src".to_owned() };
                host.stat(Path::new(&self.src), true)?.ok_or_else(missing)?;
                (PathBuf::from(&self.src), false)
            }
        };
        let is_zip = [".zip", ".jar", ".war", ".whl"]
            .iter()
            .any(|ending| self.src.to_lowercase().split('?').next().unwrap_or_default().ends_with(ending));
        let program = if is_zip { "unzip" } else { "tar" };
        if host.find_program(program)?.is_none() {
            let wanted = format!("Unable to find required `{program}` on the host");
            return Err(Failure::failed(wanted).hint(format!("install the package `{program}` first")));
        }
        let call = self.call(&archive, goes, is_zip);
        if !goes
            && !is_zip
            && !self.renames()
            && self.owner.is_none()
            && self.group.is_none()
            && self.mode.is_none()
            && self.is_same(host, &archive)?
        {
            let mut plan = self.told(Plan::nothing("everything in the archive is there"), is_zip);
            if self.list_files {
                let output = host.query(&["tar", "-tf", &archive.display().to_string()])?;
                plan = plan.value("files", String::from_utf8_lossy(&output.stdout).lines().map(Value::str).collect::<Vec<_>>());
            }
            return Ok(plan);
        }
        let mut plan = Call { argv: call, line: format!("unpack {} into {}", self.src, self.dest), ..Call::default() }.plan(host)?;
        plan.values.clear();
        changes.append(&mut plan.changes);
        for change in &mut changes {
            if let Change::Run { summary, .. } = change {
                *summary = format!("unpack {} into {}", self.src, self.dest);
            }
        }
        let plan = Plan { reported: true, ..Plan::all("the folder is compared with the archive when it is there", changes) };
        Ok(self.told(plan, is_zip))
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let skips = plan.values.get("skipped").is_some();
        let mut values = if skips { plan.values.clone() } else { finished(plan.values.clone(), &[], host, Path::new(&self.dest))? };
        let Some(output) = done.iter().find_map(|done| if let Done::Ran(output) = done { Some(output) } else { None }) else {
            return Ok(values);
        };
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let mut lines: Vec<_> = stdout.lines().collect();
        match lines.pop().and_then(|line| line.strip_prefix("changed=")) {
            Some(changed) if output.rc == 0 => {
                values.insert("changed".into(), (changed == "yes").into());
            }
            _ => {
                let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given");
                let failure = Failure::failed(format!("`{}` cannot be unpacked: {last}", self.src));
                return Err(failure.with("rc", output.rc).with("stderr", stderr.as_ref()));
            }
        }
        if self.list_files {
            values.insert("files".into(), lines.into());
        }
        Ok(values)
    }
}

impl Unarchive {
    fn told(&self, plan: Plan, is_zip: bool) -> Plan {
        let name = self.src.to_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let handler = match () {
            () if is_zip => "ZipArchive",
            () if ends(&[".gz", ".tgz"]) => "TgzArchive",
            () if ends(&[".bz2", ".tbz", ".tbz2"]) => "TarBzipArchive",
            () if ends(&[".xz", ".txz"]) => "TarXzArchive",
            () if ends(&[".zst", ".tzst"]) => "TarZstdArchive",
            () => "TarArchive",
        };
        plan.value("dest", self.dest.as_str()).value("src", self.src.as_str()).value("handler", handler)
    }

    /// Plans the archive into a private file, which goes when it was unpacked.
    fn put(&self, content: Content, changes: &mut Vec<Change>) -> PathBuf {
        let mark = digest::sha256(format!("{}\n{}", self.src, self.dest).as_bytes());
        let path = PathBuf::from(format!("/tmp/.windlass-archive-{}-{:016x}", mark.get(..8).unwrap_or_default(), rand::random::<u64>()));
        changes.push(Change::Write {
            path: path.clone(),
            before: Before::Absent,
            after: content,
            attributes: Attributes { mode: Some(0o600), ..Attributes::default() },
            backup: false,
            validate: None,
            secret: true,
            in_place: false,
        });
        path
    }

    fn download(&self, host: &dyn Probe) -> Result<Vec<u8>, Failure> {
        let request = Request {
            method: "GET".to_owned(),
            url: self.src.clone(),
            insecure: !self.validate_certs,
            follow_redirects: "safe".to_owned(),
            use_proxy: true,
            timeout: 600,
            ..Request::default()
        };
        let response = host.http(&request)?;
        if response.status == 200 {
            return Ok(response.body);
        }
        Err(Failure::argument("src", format!("`{}` answered {} {}", self.src, response.status, response.reason)))
    }

    /// Returns the options for `tar` or `unzip`, those after the archive's name.
    fn options(&self, is_zip: bool) -> Vec<String> {
        let mut words = self.extra_opts.clone();
        if is_zip {
            words.extend(self.keep_newer.then(|| "-u".to_owned()));
            words.extend(self.include.iter().cloned());
            words.extend(self.exclude.iter().flat_map(|name| ["-x".to_owned(), name.clone()]));
        } else {
            words.extend(self.keep_newer.then(|| "--keep-newer-files".to_owned()));
            words.extend(self.exclude.iter().map(|name| format!("--exclude={name}")));
            words.extend(self.include.iter().cloned());
        }
        words
    }

    fn call(&self, archive: &Path, goes: bool, is_zip: bool) -> Vec<String> {
        let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        let owner = match (&self.owner, &self.group) {
            (None, None) => String::new(),
            (owner, group) => {
                format!("{}{}", owner.as_deref().unwrap_or_default(), group.as_ref().map_or_else(String::new, |group| format!(":{group}")))
            }
        };
        let mode = match &self.mode {
            None => String::new(),
            Some(Mode::Bits(bits)) => format!("{bits:o}"),
            Some(Mode::Text(text)) if text == "preserve" => String::new(),
            Some(Mode::Text(text)) => text.clone(),
        };
        let words = [
            // Where names are changed on the way, `tar` cannot compare.
            if is_zip {
                "zip"
            } else if self.renames() {
                "tree"
            } else {
                "tar"
            }
            .to_owned(),
            archive.display().to_string(),
            yes(goes),
            self.dest.clone(),
            owner,
            mode,
            yes(self.list_files),
        ];
        ["/bin/sh", "-c", UNPACK, "unarchive"].map(str::to_owned).into_iter().chain(words).chain(self.options(is_zip)).collect()
    }

    fn renames(&self) -> bool {
        self.extra_opts.iter().any(|word| ["--strip", "--transform", "--xform"].iter().any(|start| word.starts_with(start)))
    }

    /// Whether everything in an archive of the host is in the folder as it is there.
    fn is_same(&self, host: &dyn Probe, archive: &Path) -> Result<bool, Failure> {
        let archive = archive.display().to_string();
        let options = self.options(false);
        let mut argv = vec!["tar", "-df", &archive, "-C", &self.dest];
        argv.extend(options.iter().map(String::as_str));
        let output = host.query(&argv)?;
        Ok(output.rc == 0 && output.stdout.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn unpacked(folder: &Path, opts: &[&str], mode: Option<&str>) -> String {
        let mut arguments = Map::from_iter([
            ("src".into(), folder.join("a.tar.gz").display().to_string().into()),
            ("dest".into(), folder.join("to").display().to_string().into()),
            ("remote_src".into(), true.into()),
            ("extra_opts".into(), Value::list(opts.iter().map(Value::str))),
        ]);
        if let Some(mode) = mode {
            arguments.insert("mode".into(), mode.into());
        }
        let module = crate::value::arguments::from_map::<Unarchive>(&arguments).expect("fits");
        let argv = module.call(&folder.join("a.tar.gz"), false, false);
        let output = run(&argv);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[allow(clippy::disallowed_methods, reason = "the test runs the program as apply would")]
    fn run(argv: &[String]) -> std::process::Output {
        Command::new(&argv[0]).args(&argv[1..]).output().expect("runs")
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test makes its own files")]
    fn a_second_time_nothing_changes() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("from/app")).expect("made");
        std::fs::create_dir(path("to")).expect("made");
        std::fs::write(path("from/app/file"), "text").expect("written");
        let tar =
            ["tar", "-czf", &path("a.tar.gz").display().to_string(), "-C", &path("from").display().to_string(), "app"].map(str::to_owned);
        assert!(run(&tar).status.success());
        for (opts, mode) in [(&[][..], None), (&[], Some("0600")), (&["--strip-components=1"], None)] {
            std::fs::remove_dir_all(path("to")).expect("removed");
            std::fs::create_dir(path("to")).expect("made");
            let mode = mode.filter(|_| opts.is_empty()).map(|_| "u=rwX,go=");
            assert_eq!(unpacked(folder.path(), opts, mode), "changed=yes\n", "{opts:?}");
            assert_eq!(unpacked(folder.path(), opts, mode), "changed=no\n", "{opts:?}");
        }
        assert!(path("to/file").exists());
    }
}
