//! `git`: a copy of a repository on a host.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Change, Done, Effect, Failure, Plan, Probe, Program};
use crate::value::{Map, Value};

/// Clones a repository, and brings the clone to the version asked for. The server is asked first, so a check tells what would change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Git {
    /// The repository: an address, or a path of the host.
    #[serde(alias = "name")]
    repo: String,
    /// The folder of the clone.
    dest: Option<String>,
    /// A branch, a tag, a commit, or `HEAD`.
    #[serde(default = "head")]
    version: String,
    /// The name that the clone has for the repository.
    #[serde(default = "origin")]
    remote: String,
    /// Whether local changes are thrown away.
    #[serde(default)]
    force: bool,
    /// Whether a clone that is there is brought up to date.
    #[serde(default = "super::command::yes")]
    update: bool,
    /// Whether a missing clone is made.
    #[serde(default = "super::command::yes")]
    clone: bool,
    /// How many commits of the past come along.
    depth: Option<u32>,
    /// Whether the clone is bare.
    #[serde(default)]
    bare: bool,
    /// Whether submodules come along.
    #[serde(default = "super::command::yes")]
    recursive: bool,
    /// Whether submodules are brought to the newest commit of their branch.
    #[serde(default)]
    track_submodules: bool,
    /// Whether an unknown host key of the server is accepted. It is never changed once known.
    #[serde(default)]
    accept_hostkey: bool,
    /// The same.
    #[serde(default)]
    accept_newhostkey: bool,
    /// Options for `ssh`.
    ssh_opts: Option<String>,
    /// A private key of the host.
    key_file: Option<String>,
    /// Something else to fetch, such as `+refs/pull/*:refs/heads/*`.
    refspec: Option<String>,
    /// Whether only the branch asked for is cloned.
    #[serde(default)]
    single_branch: bool,
    /// A repository of the host to borrow from.
    reference: Option<String>,
    /// The program, instead of the one that is found.
    executable: Option<String>,
    /// Mask for the modes of new files, such as `"022"`.
    umask: Option<String>,
    /// Whether the signature of the commit is verified.
    #[serde(default)]
    verify_commit: bool,
    /// The folder of the repository itself, apart from the clone.
    separate_git_dir: Option<String>,
    /// An archive (`.zip`, `.tar`, `.tar.gz`, `.tgz`) to make of the version, where it is missing or the clone has moved.
    archive: Option<String>,
    /// What stands before the names in the archive.
    archive_prefix: Option<String>,
    /// Keys whose signatures count with `verify_commit`; the host's own keyring decides.
    #[serde(default, rename = "gpg_allowlist", alias = "gpg_whitelist")]
    _gpg_allowlist: Vec<String>,
}

fn head() -> String {
    "HEAD".to_owned()
}
fn origin() -> String {
    "origin".to_owned()
}

/// What the server calls a version.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    Branch(String),
    Tag(String),
    Commit(String),
}

impl Module for Git {
    const NAME: &'static str = "git";
    const RESTS: bool = false;
    const PATHS: &'static [&'static str] = &["dest", "repo", "name", "key_file", "reference", "separate_git_dir", "archive"];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Clone a tag",
        task: "{repo: 'https://git.example.net/app.git', dest: /srv/app, version: v1.2}",
        given: &[],
        changes: true,
    }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if host.find_program(self.program())?.is_none() && !self.program().contains('/') {
            return Err(Failure::failed("the host has no git").hint("install the package `git` first"));
        }
        for (argument, word) in [("repo", &self.repo), ("version", &self.version), ("remote", &self.remote)] {
            if word.starts_with('-') {
                return Err(Failure::argument(argument, format!("`{word}` begins with `-`")));
            }
        }
        let Some(dest) = &self.dest else {
            if self.clone {
                return Err(Failure::argument("dest", "`dest` is needed to clone"));
            }
            let after = self.remote_version(host)?.1;
            return Ok(Plan::nothing("the server was asked").value("before", Value::Null).value("after", after));
        };
        let config = Path::new(dest).join(if self.bare { "config" } else { ".git" });
        if host.stat(&config, true)?.is_none() {
            return self.new_clone(host, dest);
        }
        let before = self.ask(host, &["-C", dest, "rev-parse", "HEAD"])?;
        let told =
            |plan: Plan, after: Value| plan.value("before", before.as_str()).value("after", after).value("remote_url_changed", false);
        if !self.update {
            return Ok(told(Plan::nothing("the clone is there, and `update: false` leaves it"), before.as_str().into()));
        }
        let local = if self.bare { String::new() } else { self.ask(host, &["-C", dest, "status", "--porcelain", "--untracked-files=no"])? };
        if !local.is_empty() && !self.force {
            return Err(Failure::failed(format!("Local modifications exist in the destination: {dest} (force=no)."))
                .hint("`force: true` throws them away"));
        }
        let (meant, commit) = self.remote_version(host)?;
        let mut changes = Vec::new();
        let url = self.ask(host, &["-C", dest, "config", "--get", &format!("remote.{}.url", self.remote)]).unwrap_or_default();
        if url != self.repo {
            let verb = if url.is_empty() { "add" } else { "set-url" };
            changes.push(self.run(&["-C", dest, "remote", verb, &self.remote, &self.repo], dest, "set the address of the repository in"));
        }
        if !local.is_empty() {
            changes.push(self.run(&["-C", dest, "reset", "--hard"], dest, "throw local changes away in"));
        }
        if before != commit {
            self.bring_to(dest, &meant, &commit, &mut changes);
        }
        let because = if changes.is_empty() { "the clone is at the version asked for" } else { "the clone is at another version" };
        let moved = before != commit || !local.is_empty();
        if moved && self.recursive && !self.bare {
            changes.extend(self.submodules(dest));
        }
        if self.verify_commit {
            changes.push(self.run(&["-C", dest, "verify-commit", &commit], dest, "verify the commit in"));
        }
        changes.extend(self.archive(host, dest, &commit, moved)?);
        Ok(told(Plan::all(because, changes), commit.into()))
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        if let (Some(dest), false) = (&self.dest, done.is_empty()) {
            values.insert("after".into(), self.ask(host, &["-C", dest, "rev-parse", "HEAD"])?.into());
        }
        Ok(values)
    }
}

impl Git {
    fn program(&self) -> &str {
        self.executable.as_deref().unwrap_or("git")
    }

    /// Returns the options that every call gets: how `ssh` is run.
    fn ssh(&self) -> Vec<String> {
        let mut words = vec!["ssh".to_owned(), "-o".to_owned(), "BatchMode=yes".to_owned()];
        if self.accept_hostkey || self.accept_newhostkey {
            words.extend(["-o".to_owned(), "StrictHostKeyChecking=accept-new".to_owned()]);
        }
        if let Some(key) = &self.key_file {
            words.extend(["-i".to_owned(), key.clone(), "-o".to_owned(), "IdentitiesOnly=yes".to_owned()]);
        }
        words.extend(self.ssh_opts.clone());
        if words.len() == 3 { Vec::new() } else { vec!["-c".to_owned(), format!("core.sshCommand={}", words.join(" "))] }
    }

    /// Asks git, and returns the first line of what it prints, or all of them for a listing.
    fn ask(&self, host: &dyn Probe, words: &[&str]) -> Result<String, Failure> {
        let ssh = self.ssh();
        let argv: Vec<&str> = [self.program()].into_iter().chain(ssh.iter().map(String::as_str)).chain(words.iter().copied()).collect();
        let output = host.query(&argv)?;
        if output.rc == 0 {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let first = stderr.lines().find(|line| line.starts_with("fatal:") || line.starts_with("error:")).or(stderr.lines().next());
        Err(Failure::failed(format!("git refuses: {}", first.unwrap_or("no reason was given")))
            .with("stderr", stderr.clone())
            .with("rc", output.rc))
    }

    fn run(&self, words: &[&str], dest: &str, verb: &str) -> Change {
        let argv = [self.program().to_owned()].into_iter().chain(self.ssh()).chain(words.iter().map(|word| (*word).to_owned())).collect();
        let umask = self.umask.as_deref().and_then(|mask| u32::from_str_radix(mask, 8).ok());
        let environment = vec![("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()), ("LC_ALL".to_owned(), "C".to_owned())];
        // What git would tell of the clone afterwards is not known, nor what is in it.
        let effects = vec![Effect::QueryUnknown(vec![self.program().to_owned(), "-C".to_owned(), dest.to_owned()])];
        Change::Run {
            program: Program { argv, environment, umask, accept: vec![0], ..Program::default() },
            effects,
            summary: format!("{verb} {dest}"),
        }
    }

    /// Returns what the version is on the server, and its commit.
    fn remote_version(&self, host: &dyn Probe) -> Result<(Meant, String), Failure> {
        let version = self.version.as_str();
        if version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok((Meant::Commit(version.to_owned()), version.to_lowercase()));
        }
        let listing = self.ask(host, &["ls-remote", "--symref", &self.repo, "HEAD", "refs/heads/*", "refs/tags/*"])?;
        let refs: Vec<(&str, &str)> = listing.lines().filter_map(|line| line.split_once('\t')).collect();
        let of = |name: String| refs.iter().find(|(_, known)| *known == name).map(|(commit, _)| (*commit).to_owned());
        if version == "HEAD" {
            let branch =
                refs.iter().find_map(|(target, name)| (*name == "HEAD").then(|| target.strip_prefix("ref: refs/heads/")).flatten());
            let commit =
                refs.iter().find(|(target, name)| *name == "HEAD" && !target.starts_with("ref:")).map(|(commit, _)| (*commit).to_owned());
            let Some(commit) = commit else { return Err(Failure::argument("repo", format!("`{}` is empty", self.repo))) };
            return Ok((branch.map_or_else(|| Meant::Commit(commit.clone()), |branch| Meant::Branch(branch.to_owned())), commit));
        }
        let branch = version.strip_prefix("refs/heads/").unwrap_or(version);
        if let Some(commit) = of(format!("refs/heads/{branch}")) {
            return Ok((Meant::Branch(branch.to_owned()), commit));
        }
        let tag = version.strip_prefix("refs/tags/").unwrap_or(version);
        if let Some(commit) = of(format!("refs/tags/{tag}^{{}}")).or_else(|| of(format!("refs/tags/{tag}"))) {
            return Ok((Meant::Tag(tag.to_owned()), commit));
        }
        // The beginning of a commit, which only the clone itself can tell.
        if version.len() >= 7 && version.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let known =
                self.dest.as_ref().and_then(|dest| self.ask(host, &["-C", dest, "rev-parse", &format!("{version}^{{commit}}")]).ok());
            return Ok((Meant::Commit(version.to_owned()), known.unwrap_or_else(|| version.to_owned())));
        }
        Err(Failure::argument("version", format!("`{}` has neither a branch nor a tag `{version}`", self.repo)))
    }

    fn new_clone(&self, host: &dyn Probe, dest: &str) -> Result<Plan, Failure> {
        if host.list(Path::new(dest)).ok().flatten().is_some_and(|names| !names.is_empty()) && !self.force {
            return Err(Failure::argument("dest", format!("`{dest}` is there and is no clone, so it stays as it is")));
        }
        let (meant, commit) = self.remote_version(host)?;
        if !self.clone {
            return Ok(Plan::nothing("there is no clone, and `clone: false` makes none")
                .value("before", Value::Null)
                .value("after", commit));
        }
        let depth = self.depth.filter(|depth| *depth > 0).map(|depth| depth.to_string());
        let mut words = vec!["clone", "--origin", self.remote.as_str()];
        if self.bare {
            words.push("--bare");
        }
        if let (Meant::Branch(name) | Meant::Tag(name), false) = (&meant, self.version == "HEAD") {
            words.extend(["--branch", name]);
        }
        if let (Some(depth), false) = (&depth, matches!(meant, Meant::Commit(_))) {
            words.extend(["--depth", depth]);
        }
        words.extend(self.single_branch.then_some("--single-branch"));
        if let Some(reference) = &self.reference {
            words.extend(["--reference", reference]);
        }
        if let Some(folder) = &self.separate_git_dir {
            words.extend(["--separate-git-dir", folder]);
        }
        words.extend(["--", self.repo.as_str(), dest]);
        let mut changes = vec![self.run(&words, dest, &format!("clone {} into", self.repo))];
        if let Some(Change::Run { effects, .. }) = changes.first_mut() {
            effects.insert(0, Effect::Creates(PathBuf::from(dest)));
        }
        if let (Some(refspec), false) = (&self.refspec, self.bare) {
            changes.push(self.run(&["-C", dest, "fetch", &self.remote, refspec], dest, "fetch more into"));
        }
        if let (Meant::Commit(commit), false) = (&meant, self.bare) {
            changes.push(self.run(&["-C", dest, "checkout", "--detach", commit], dest, "check the commit out in"));
        }
        if self.recursive && !self.bare {
            changes.extend(self.submodules(dest));
        }
        if self.verify_commit {
            changes.push(self.run(&["-C", dest, "verify-commit", &commit], dest, "verify the commit in"));
        }
        changes.extend(self.archive(host, dest, "HEAD", true)?);
        Ok(Plan::all("there is no clone yet", changes).value("before", Value::Null).value("after", commit))
    }

    /// Plans what brings a clone to another version.
    fn bring_to(&self, dest: &str, meant: &Meant, commit: &str, changes: &mut Vec<Change>) {
        let depth = self.depth.filter(|depth| *depth > 0).map(|depth| format!("--depth={depth}"));
        let mut fetch = vec!["-C", dest, "fetch", "--force", "--tags"];
        fetch.extend(depth.as_deref());
        fetch.push(&self.remote);
        let branch = format!("refs/heads/{0}:refs/remotes/{1}/{0}", if let Meant::Branch(name) = meant { name } else { "" }, self.remote);
        if self.bare {
            fetch.push("+refs/heads/*:refs/heads/*");
            changes.push(self.run(&fetch, dest, "fetch what is new into"));
            return;
        }
        if let Meant::Branch(_) = meant {
            fetch.push(&branch);
        }
        fetch.extend(self.refspec.as_deref());
        changes.push(self.run(&fetch, dest, "fetch what is new into"));
        match meant {
            Meant::Branch(name) => {
                changes.push(self.run(
                    &["-C", dest, "checkout", "--force", "-B", name, commit],
                    dest,
                    &format!("check the branch {name} out in"),
                ));
            }
            Meant::Tag(name) | Meant::Commit(name) => {
                changes.push(self.run(&["-C", dest, "checkout", "--force", "--detach", commit], dest, &format!("check {name} out in")));
            }
        }
    }

    /// Plans the archive.
    fn archive(&self, host: &dyn Probe, dest: &str, commit: &str, moved: bool) -> Result<Option<Change>, Failure> {
        let Some(path) = &self.archive else { return Ok(None) };
        let kinds = [(".tar.gz", "tar.gz"), (".tgz", "tgz"), (".tar", "tar"), (".zip", "zip")];
        let Some((_, format)) = kinds.iter().find(|(ending, _)| path.ends_with(ending)) else {
            return Err(Failure::argument("archive", format!("`{path}` has to end with .zip, .tar, .tar.gz or .tgz")));
        };
        if !moved && host.stat(Path::new(path), true)?.is_some() {
            return Ok(None);
        }
        let (format, prefix) = (format!("--format={format}"), format!("--prefix={}", self.archive_prefix.as_deref().unwrap_or_default()));
        let mut change = self.run(&["-C", dest, "archive", &format, &prefix, "-o", path, commit], dest, "make an archive of");
        if let Change::Run { effects, .. } = &mut change {
            effects.push(Effect::Creates(PathBuf::from(path)));
        }
        Ok(Some(change))
    }

    /// Plans the submodules; `git` does nothing where there are none.
    fn submodules(&self, dest: &str) -> Option<Change> {
        let mut words = vec!["-C", dest, "submodule", "update", "--init", "--recursive"];
        words.extend(self.track_submodules.then_some("--remote"));
        Some(self.run(&words, dest, "bring the submodules up to date in"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    const LISTING: &str = "ref: refs/heads/main\tHEAD\naaaa\tHEAD\naaaa\trefs/heads/main\nbbbb\trefs/tags/v1\ncccc\trefs/tags/v1^{}\n";

    fn module(arguments: &[(&str, &str)]) -> Git {
        let base = [("repo", "https://x/app.git"), ("dest", "/srv/app"), ("recursive", "no")];
        let map = base.iter().chain(arguments).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        crate::value::arguments::from_map::<Git>(&map).expect("fits")
    }

    fn host(at: &str, local: &str) -> FakeHost {
        FakeHost::with(&[("/usr/bin/git", ""), ("/srv/app/.git/config", "")])
            .prints(&["git", "ls-remote"], 0, LISTING)
            .prints(&["git", "-C", "/srv/app", "rev-parse"], 0, at)
            .prints(&["git", "-C", "/srv/app", "status"], 0, local)
            .prints(&["git", "-C", "/srv/app", "config"], 0, "https://x/app.git")
    }

    #[test]
    fn a_tag_is_the_commit_that_it_names() {
        let meant = |version: &str| module(&[("version", version)]).remote_version(&host("", "")).expect("known");
        assert_eq!(meant("HEAD"), (Meant::Branch("main".into()), "aaaa".into()));
        assert_eq!(meant("v1"), (Meant::Tag("v1".into()), "cccc".into()));
        assert!(module(&[("version", "v2")]).remote_version(&host("", "")).is_err());
    }

    #[test]
    fn a_clone_is_changed_only_where_it_is_elsewhere() {
        assert!(module(&[]).plan(&host("aaaa", "")).expect("plan").changes.is_empty());
        assert_eq!(module(&[]).plan(&host("ffff", "")).expect("plan").changes.len(), 2);
        assert!(module(&[]).plan(&host("aaaa", " M file")).is_err());
        assert_eq!(module(&[("force", "yes")]).plan(&host("aaaa", " M file")).expect("plan").changes.len(), 1);
    }
}
