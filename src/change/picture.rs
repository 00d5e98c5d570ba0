//! The tree of files as it would be: what is foreseen laid over what is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::probe::{FileKind, Stat};
use super::{Attributes, Content, Failure, digest};

/// Links that are followed before a path counts as a circle, as the kernel does.
const MOST_LINKS: usize = 40;

/// The files that are really there. Every path given to it has no links in its folders.
pub trait Ground {
    /// Returns what is at `path`; a link is not followed.
    fn lstat(&self, path: &Path) -> Result<Option<Stat>, Failure>;
    /// Returns the content of the file at `path`.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure>;
    /// Returns the digest of the file at `path`.
    fn digest(&self, path: &Path, algorithm: &str) -> Result<Option<String>, Failure>;
    /// Returns the names in the directory at `path`, in any order.
    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, Failure>;
    /// Returns user, group and permission mask that new files get.
    fn newborn(&self) -> (u32, u32, u32);
}

/// What is foreseen to be at a path.
#[derive(Clone, Debug)]
pub struct Node {
    kind: NodeKind,
    stat: Stat,
    /// Why `stat`, but for its kind, is not known.
    doubt: Option<String>,
}

#[derive(Clone, Debug)]
enum NodeKind {
    /// Nothing: what was there is removed, with all below it.
    Gone,
    /// A file with this content.
    File(Content),
    /// The content that is at this path of the host; only its attributes are foreseen.
    AsIs(PathBuf),
    /// A new directory: nothing of the host is below it.
    Fresh,
    /// Something whose kind and content are not known.
    Somehow(String),
    /// It is not known whether anything is here, or below it.
    Perhaps(String),
}

/// The foreseen part of the tree. Paths in it have no links in their folders.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    /// Inodes of foreseen files, counted from the top so that they are no real ones.
    inodes: u64,
}

impl Tree {
    /// Whether nothing is foreseen.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the tree as seen over `ground`.
    pub fn over<'a>(&'a self, ground: &'a dyn Ground) -> View<'a> {
        View { tree: self, ground }
    }

    /// Forgets what was foreseen at `path` and below it: it was really changed.
    pub fn forget(&mut self, path: &Path) {
        self.nodes.retain(|known, _| !known.starts_with(path));
    }

    /// Whether anything is foreseen at `path`, above it or below it.
    pub fn touches(&self, path: &Path) -> bool {
        self.nodes.iter().any(|(known, node)| known == path || known.starts_with(path) || (path.starts_with(known) && node.hides()))
    }

    fn put(&mut self, path: PathBuf, kind: NodeKind, stat: Stat) {
        self.nodes.insert(path, Node { kind, stat, doubt: None });
    }

    fn fresh_stat(&mut self, ground: &dyn Ground, kind: FileKind, attributes: &Attributes, found: Option<&Stat>) -> Stat {
        let (uid, gid, mask) = ground.newborn();
        let found = found.filter(|stat| stat.kind == kind);
        let default = if kind == FileKind::Directory { 0o777 } else { 0o666 } & !mask;
        self.inodes += 1;
        Stat {
            kind,
            mode: attributes.mode.or(found.map(|stat| stat.mode)).unwrap_or(default),
            uid: attributes.uid.or(found.map(|stat| stat.uid)).unwrap_or(uid),
            gid: attributes.gid.or(found.map(|stat| stat.gid)).unwrap_or(gid),
            inode: u64::MAX - self.inodes,
            links: 1,
            atime: attributes.atime.unwrap_or_default(),
            mtime: attributes.mtime.unwrap_or_default(),
            block_size: 4096,
            foreseen: true,
            ..Stat::default()
        }
    }

    /// Foresees a file with this content.
    pub fn write(&mut self, ground: &dyn Ground, path: &Path, content: &Content, attributes: &Attributes) -> Result<(), Failure> {
        let path = self.over(ground).resolve(path, false)?;
        let found = self.over(ground).lstat(&path)?;
        let size = match content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Blob { size, .. } => *size,
            Content::Unknown(_) => 0,
        };
        let stat = Stat { size, blocks: size.div_ceil(512), ..self.fresh_stat(ground, FileKind::File, attributes, found.as_ref()) };
        self.put(path, NodeKind::File(content.clone()), stat);
        Ok(())
    }

    /// Foresees a directory.
    pub fn directory(&mut self, ground: &dyn Ground, path: &Path, attributes: &Attributes) -> Result<(), Failure> {
        let path = self.over(ground).resolve(path, true)?;
        match self.over(ground).lstat(&path)? {
            Some(found) if found.kind == FileKind::Directory => self.attributes(ground, &path, attributes, false),
            _ => {
                let stat = Stat { links: 2, size: 4096, ..self.fresh_stat(ground, FileKind::Directory, attributes, None) };
                self.put(path, NodeKind::Fresh, stat);
                Ok(())
            }
        }
    }

    /// Foresees owner, mode and times.
    pub fn attributes(&mut self, ground: &dyn Ground, path: &Path, after: &Attributes, follow: bool) -> Result<(), Failure> {
        let path = self.over(ground).resolve(path, follow)?;
        let Some(found) = self.over(ground).lstat(&path)? else { return Ok(()) };
        let kind = self.nodes.get(&path).map_or_else(|| NodeKind::AsIs(path.clone()), |node| node.kind.clone());
        let stat = Stat {
            mode: after.mode.unwrap_or(found.mode),
            uid: after.uid.unwrap_or(found.uid),
            gid: after.gid.unwrap_or(found.gid),
            atime: after.atime.unwrap_or(found.atime),
            mtime: after.mtime.unwrap_or(found.mtime),
            ..found
        };
        self.put(path, kind, stat);
        Ok(())
    }

    /// Foresees a link.
    pub fn link(&mut self, ground: &dyn Ground, path: &Path, target: &Path, hard: bool) -> Result<(), Failure> {
        let path = self.over(ground).resolve(path, false)?;
        self.remove(ground, &path)?;
        if !hard {
            let stat = self.fresh_stat(ground, FileKind::Link, &Attributes { mode: Some(0o777), ..Attributes::default() }, None);
            self.put(path, NodeKind::Fresh, Stat { target: Some(target.to_owned()), ..stat });
            return Ok(());
        }
        let source = self.over(ground).resolve(target, false)?;
        let Some(stat) = self.over(ground).lstat(&source)? else { return Ok(()) };
        let kind = self.nodes.get(&source).map_or(NodeKind::AsIs(source), |node| node.kind.clone());
        self.put(path, kind, stat);
        Ok(())
    }

    /// Foresees that nothing is at `path` any more.
    pub fn remove(&mut self, ground: &dyn Ground, path: &Path) -> Result<(), Failure> {
        let path = self.over(ground).resolve(path, false)?;
        self.forget(&path);
        self.put(path, NodeKind::Gone, Stat::default());
        Ok(())
    }

    /// Foresees that something is at `path`, of which nothing else is known. A path that ends in `/` is a directory.
    pub fn creates(&mut self, ground: &dyn Ground, path: &Path, why: &str) -> Result<(), Failure> {
        let kind = if path.as_os_str().to_string_lossy().ends_with('/') { FileKind::Directory } else { FileKind::File };
        let path = self.over(ground).resolve(path, true)?;
        if matches!(self.over(ground).lstat(&path), Ok(Some(_))) {
            return Ok(());
        }
        for folder in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            if matches!(self.over(ground).lstat(folder), Ok(None)) {
                self.directory(ground, folder, &Attributes::default())?;
            }
        }
        let stat = self.fresh_stat(ground, kind, &Attributes::default(), None);
        self.put(path, NodeKind::Somehow(why.to_owned()), stat);
        Ok(())
    }

    /// Loses sight of what is at `path`, and below it.
    pub fn lose(&mut self, ground: &dyn Ground, path: &Path, why: &str) {
        // What cannot be resolved is lost already, or leads nowhere.
        let ends = [false, true].map(|follow| self.over(ground).resolve(path, follow));
        for path in ends.into_iter().flatten() {
            self.forget(&path);
            self.put(path, NodeKind::Perhaps(why.to_owned()), Stat::default());
        }
    }

    /// Loses sight of the file at `path`. Where one is there, it stays there.
    pub fn lose_file(&mut self, ground: &dyn Ground, path: &Path, why: &str) {
        let Ok(path) = self.over(ground).resolve(path, false) else { return };
        match self.over(ground).look(&path) {
            Ok(Some(stat)) if stat.kind == FileKind::File => {
                let doubt = Some(why.to_owned());
                self.nodes.insert(path, Node { kind: NodeKind::File(Content::Unknown(why.to_owned())), stat, doubt });
            }
            Ok(_) => self.lose(ground, &path, why),
            Err(_) => {}
        }
    }

    /// Loses sight of owner, mode and times.
    pub fn lose_attributes(&mut self, ground: &dyn Ground, path: &Path, follow: bool, why: &str) {
        let Ok(path) = self.over(ground).resolve(path, follow) else { return };
        let Ok(Some(stat)) = self.over(ground).look(&path) else { return };
        let kind = self.nodes.get(&path).map_or_else(|| NodeKind::AsIs(path.clone()), |node| node.kind.clone());
        self.nodes.insert(path, Node { kind, stat, doubt: Some(why.to_owned()) });
    }

    /// Returns every foreseen path with what is there: for the test that a check equals a run.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.nodes.keys().cloned().collect()
    }
}

impl Node {
    /// Whether nothing of the host shows below this path.
    fn hides(&self) -> bool {
        match self.kind {
            NodeKind::AsIs(_) => false,
            NodeKind::Gone | NodeKind::File(_) | NodeKind::Fresh | NodeKind::Somehow(_) | NodeKind::Perhaps(_) => true,
        }
    }
}

/// A tree over a ground.
#[derive(Clone, Copy)]
pub struct View<'a> {
    tree: &'a Tree,
    ground: &'a dyn Ground,
}

impl View<'_> {
    /// Returns `path` without links in its folders, and with `follow` without one at its end.
    ///
    /// # Errors
    /// When links go in a circle, or a folder cannot be read.
    pub fn resolve(&self, path: &Path, follow: bool) -> Result<PathBuf, Failure> {
        // The folder of a bare name is the one that the work is done in.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let absolute = std::path::absolute(path).map_err(|error| Failure::io("resolve", path, &error))?;
        let mut rest: VecDeque<OsString> = parts(&absolute);
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(&part);
            if rest.is_empty() && !follow {
                break;
            }
            let Some(Stat { kind: FileKind::Link, target: Some(target), .. }) = self.look(&done)? else { continue };
            links += 1;
            if links > MOST_LINKS {
                return Err(Failure::failed(format!("`{}` leads in a circle of links", path.display())));
            }
            done = if target.is_absolute() { PathBuf::from("/") } else { done.parent().map(Path::to_owned).unwrap_or_default() };
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
        }
        Ok(done)
    }

    /// Returns what is at `path`, which has no links in its folders.
    pub fn lstat(&self, path: &Path) -> Result<Option<Stat>, Failure> {
        match self.tree.nodes.get(path).and_then(|node| node.doubt.as_ref()) {
            Some(why) => Err(Failure::unknown(why)),
            None => self.look(path),
        }
    }

    /// As [`View::lstat`], where only the kind and a link's target are of interest.
    fn look(&self, path: &Path) -> Result<Option<Stat>, Failure> {
        match self.tree.nodes.get(path) {
            Some(Node { kind: NodeKind::Gone, .. }) => return Ok(None),
            Some(Node { kind: NodeKind::Perhaps(why), .. }) => return Err(Failure::unknown(why)),
            Some(node) => return Ok(Some(node.stat.clone())),
            None => {}
        }
        match self.cover(path) {
            None => self.ground.lstat(path),
            Some(Node { kind: NodeKind::Somehow(why) | NodeKind::Perhaps(why), .. }) => Err(Failure::unknown(why)),
            Some(_) => Ok(None),
        }
    }

    /// See [`super::Probe::kind`].
    pub fn kind(&self, path: &Path) -> Result<Option<FileKind>, Failure> {
        Ok(self.look(&self.resolve(path, true)?)?.map(|stat| stat.kind))
    }

    /// Returns the nearest foreseen folder above `path` that hides what the host has there.
    fn cover(&self, path: &Path) -> Option<&Node> {
        path.ancestors().skip(1).filter_map(|folder| self.tree.nodes.get(folder)).find(|node| node.hides())
    }

    /// See [`super::Probe::stat`].
    pub fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, Failure> {
        self.lstat(&self.resolve(path, follow)?)
    }

    /// See [`super::Probe::read`].
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
        let path = self.resolve(path, true)?;
        match self.tree.nodes.get(&path).map(|node| &node.kind) {
            None if self.look(&path)?.is_none() => Ok(None),
            None => self.ground.read(&path),
            Some(NodeKind::AsIs(source)) => self.ground.read(source),
            Some(NodeKind::Gone) => Ok(None),
            Some(NodeKind::Fresh) => Err(is_directory(&path)),
            Some(NodeKind::File(Content::Bytes(bytes))) => Ok(Some(bytes.clone())),
            Some(NodeKind::File(Content::Blob { .. })) => {
                Err(Failure::unknown(format!("`{}` would get the content of a large file", path.display())))
            }
            Some(NodeKind::File(Content::Unknown(why)) | NodeKind::Somehow(why) | NodeKind::Perhaps(why)) => Err(Failure::unknown(why)),
        }
    }

    /// See [`super::Probe::digest`].
    pub fn digest(&self, path: &Path, algorithm: &str) -> Result<Option<String>, Failure> {
        let resolved = self.resolve(path, true)?;
        match self.tree.nodes.get(&resolved).map(|node| &node.kind) {
            None if self.look(&resolved)?.is_none() => Ok(None),
            None => self.ground.digest(&resolved, algorithm),
            Some(NodeKind::AsIs(source)) => self.ground.digest(source, algorithm),
            Some(NodeKind::File(Content::Blob { sha256, .. })) if algorithm == "sha256" => Ok(Some(sha256.clone())),
            _ => match self.read(path)? {
                None => Ok(None),
                Some(bytes) => digest::of_bytes(&bytes, algorithm).map(Some).ok_or_else(|| digest::unknown_algorithm(algorithm)),
            },
        }
    }

    /// See [`super::Probe::list`].
    pub fn list(&self, path: &Path) -> Result<Option<Vec<String>>, Failure> {
        let path = self.resolve(path, true)?;
        match self.look(&path)? {
            None => return Ok(None),
            Some(stat) if stat.kind != FileKind::Directory => return Ok(None),
            Some(_) => {}
        }
        let own = self.tree.nodes.get(&path);
        if let Some(Node { kind: NodeKind::Somehow(why), .. }) = own {
            return Err(Failure::unknown(why));
        }
        let hidden = own.is_some_and(Node::hides) || self.cover(&path).is_some();
        let mut names: BTreeSet<String> = BTreeSet::new();
        if !hidden {
            names.extend(self.ground.list(&path)?.unwrap_or_default());
        }
        for (child, node) in self.tree.nodes.iter().filter(|(child, _)| child.parent() == Some(&path)) {
            let Some(name) = child.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            match &node.kind {
                NodeKind::Gone => names.remove(&name),
                NodeKind::Perhaps(why) => return Err(Failure::unknown(why)),
                _ => names.insert(name),
            };
        }
        Ok(Some(names.into_iter().collect()))
    }
}

/// Returns the failure of reading a directory as a file.
pub fn is_directory(path: &Path) -> Failure {
    Failure::Io { doing: "read".to_owned(), path: path.to_owned(), message: "it is a directory".to_owned(), errno: 21 }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}
