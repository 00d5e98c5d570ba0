//! No host at all: what modules see that need none.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::change::probe::{Probe, Stat};
use crate::change::{Failure, GroupEntry, Output, Program, Request, Response, UnitState, UserEntry};

/// No host at all.
pub(super) struct NoHost;

fn none<T>() -> Result<T, Failure> {
    Err(Failure::failed("this module works without a host, so it cannot look at one"))
}

impl Probe for NoHost {
    fn stat(&self, _: &Path, _: bool) -> Result<Option<Stat>, Failure> {
        none()
    }
    fn read(&self, _: &Path) -> Result<Option<Vec<u8>>, Failure> {
        none()
    }
    fn digest(&self, _: &Path, _: &str) -> Result<Option<String>, Failure> {
        none()
    }
    fn list(&self, _: &Path) -> Result<Option<Vec<String>>, Failure> {
        none()
    }
    fn user(&self, _: &str) -> Result<Option<UserEntry>, Failure> {
        none()
    }
    fn group(&self, _: &str) -> Result<Option<GroupEntry>, Failure> {
        none()
    }
    fn groups_of(&self, _: &str) -> Result<Vec<String>, Failure> {
        none()
    }
    fn unit(&self, _: &str, _: &str) -> Result<UnitState, Failure> {
        none()
    }
    fn package(&self, _: &str) -> Result<Option<String>, Failure> {
        none()
    }
    fn query(&self, _: &[&str]) -> Result<Output, Failure> {
        none()
    }
    fn vouched(&self, _: &Program) -> Result<Output, Failure> {
        none()
    }
    fn http(&self, _: &Request) -> Result<Response, Failure> {
        none()
    }
    fn connect(&self, _: &str, _: u16, _: Duration) -> Result<Result<(), String>, Failure> {
        none()
    }
    fn environment(&self, _: &str) -> Option<String> {
        None
    }
    fn environment_all(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    fn now(&self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64()).unwrap_or_default()
    }
    fn wait(&self, _: Duration) {}
    fn moves(&self) -> bool {
        false
    }
    fn me(&self) -> Result<UserEntry, Failure> {
        none()
    }
    fn find_program(&self, _: &str) -> Result<Option<PathBuf>, Failure> {
        none()
    }
    fn free_space(&self, _: &Path) -> Option<(u64, u64)> {
        None
    }
}
