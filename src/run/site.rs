//! The hosts and groups of a run: what the inventory says, and what the run itself adds to it.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::source::Diagnostic;
use crate::value::Map;
use crate::vars::scope::Layer;

/// The hosts and groups of a run. What the run adds (`add_host`, `group_by`) is kept inside.
pub trait Site: Send + Sync {
    /// Returns every host, in the order of the inventory, without an implicit localhost.
    fn hosts(&self) -> Vec<Arc<str>>;

    /// Returns the hosts that a pattern means, in the order of the inventory; an implicit localhost where it is meant.
    fn select(&self, pattern: &str) -> Result<Vec<Arc<str>>, Diagnostic>;

    /// Returns what the inventory knows of a host, weakest first. Empty for one that it does not know.
    fn layers(&self, host: &str) -> Vec<Layer>;

    /// Returns every group with its hosts, `all` and `ungrouped` included.
    fn groups(&self) -> IndexMap<String, Vec<Arc<str>>>;

    /// Returns the groups of a host, sorted, without `all`.
    fn groups_of(&self, host: &str) -> Vec<String>;

    /// Adds a host, and says whether that changed anything.
    fn add_host(&self, name: &str, groups: &[String], variables: &Map) -> bool;

    /// Puts a host into a group below `parents`, and says whether that changed anything.
    fn add_to_group(&self, host: &str, group: &str, parents: &[String]) -> bool;

    /// Returns the inventory file that names the host.
    fn file(&self, host: &str) -> Option<PathBuf>;

    /// Reads the inventory anew (`meta: refresh_inventory`).
    fn refresh(&self) -> Result<(), Diagnostic>;
}
