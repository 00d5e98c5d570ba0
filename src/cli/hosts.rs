//! The hosts of a run: the inventory as the runner sees it, and the hands that reach them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use indexmap::IndexMap;

use crate::agent::protocol::Task;
use crate::change::{Blobs, Failure, Host, Mode, Outcome, Output, Plan, carry_out, run_module};
use crate::connect::Target;
use crate::load::config::Config;
use crate::load::loader::{Errors, Loader};
use crate::modules;
use crate::report::Listener;
use crate::run::Site;
use crate::run::hands::{Control, Hands, Lost, OnItem, Seat};
use crate::source::Diagnostic;
use crate::value::Map;
use crate::vars::scope::Layer;

/// Provisional.
pub fn site(_loader: &Loader, inventory: &[String], _limit: &[String], _folder: &Path) -> Result<Arc<dyn Site>, Errors> {
    let mut hosts: Vec<Arc<str>> = Vec::new();
    let mut vars = HashMap::new();
    for source in inventory {
        let text = std::fs::read_to_string(source).unwrap_or_else(|_| source.replace(',', "\n"));
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(name) = words.next().filter(|n| !n.starts_with('[')) else { continue };
            let name: Arc<str> = name.into();
            let map: Map = words.filter_map(|w| w.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect();
            vars.insert(name.clone(), map);
            hosts.push(name);
        }
    }
    Ok(Arc::new(Plain { hosts, vars }))
}

struct Plain {
    hosts: Vec<Arc<str>>,
    vars: HashMap<Arc<str>, Map>,
}

impl Site for Plain {
    fn hosts(&self) -> Vec<Arc<str>> {
        self.hosts.clone()
    }
    fn select(&self, pattern: &str) -> Result<Vec<Arc<str>>, Diagnostic> {
        Ok(match pattern {
            "all" => self.hosts.clone(),
            "localhost" => vec!["localhost".into()],
            p => self.hosts.iter().filter(|h| p.split([',', ':']).any(|p| p == &***h)).cloned().collect(),
        })
    }
    fn layers(&self, host: &str) -> Vec<Layer> {
        self.vars
            .get(host)
            .map(|m| Layer { level: crate::vars::scope::Level::InventoryHost, variables: Arc::new(m.clone()) })
            .into_iter()
            .collect()
    }
    fn groups(&self) -> IndexMap<String, Vec<Arc<str>>> {
        [("all".to_owned(), self.hosts.clone())].into_iter().collect()
    }
    fn groups_of(&self, _host: &str) -> Vec<String> {
        Vec::new()
    }
    fn add_host(&self, _: &str, _: &[String], _: &Map) -> bool {
        false
    }
    fn add_to_group(&self, _: &str, _: &str, _: &[String]) -> bool {
        false
    }
    fn file(&self, _: &str) -> Option<PathBuf> {
        None
    }
    fn refresh(&self) -> Result<(), Diagnostic> {
        Ok(())
    }
}

/// Provisional.
pub fn hands(_config: &Config, _listener: Arc<dyn Listener>) -> Local {
    Local { here: Arc::new(Mutex::new(Host::new())), blobs: Arc::default() }
}

/// Provisional.
pub struct Local {
    here: Arc<Mutex<Host>>,
    blobs: Arc<Offered>,
}

#[derive(Default)]
struct Offered(Mutex<HashMap<String, PathBuf>>);

impl Blobs for Offered {
    fn fetch(&self, sha256: &str) -> Result<Box<dyn std::io::Read + '_>, Failure> {
        let path = self.0.lock().ok().and_then(|m| m.get(sha256).cloned()).ok_or_else(|| Failure::failed("no such file"))?;
        Ok(Box::new(std::fs::File::open(&path).map_err(|e| Failure::io("read", path, &e))?))
    }
}

impl Hands for Local {
    fn task<'a>(&'a self, _seat: &'a Seat, task: Task, on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>> {
        let here = self.here.clone();
        let blobs = self.blobs.clone();
        Box::pin(async move {
            let outcomes = tokio::task::spawn_blocking(move || {
                let Some(entry) = modules::find(&task.module) else { return Vec::new() };
                let Ok(mut host) = here.lock() else { return Vec::new() };
                host.set_blobs(blobs);
                host.set_environment(task.environment.clone());
                task.items
                    .iter()
                    .map(|a| run_module(|h| (entry.plan)(a, h), |p, d, h| (entry.result)(a, p, d, h), &mut host, task.mode, task.diff))
                    .collect()
            })
            .await
            .unwrap_or_default();
            for (i, o) in outcomes.into_iter().enumerate() {
                on_item(i as u32, o);
            }
            Ok(())
        })
    }
    fn control<'a>(&'a self, _seat: &'a Seat, c: Control) -> BoxFuture<'a, Result<Outcome, Lost>> {
        let here = self.here.clone();
        Box::pin(async move {
            Ok(tokio::task::spawn_blocking(move || {
                let Ok(mut host) = here.lock() else { return Outcome::default() };
                run_module(
                    |h| (c.entry.plan)(&c.arguments, h),
                    |p, d, h| (c.entry.result)(&c.arguments, p, d, h),
                    &mut host,
                    c.mode,
                    c.diff,
                )
            })
            .await
            .unwrap_or_default())
        })
    }
    fn raw<'a>(&'a self, _seat: &'a Seat, _line: &'a str) -> BoxFuture<'a, Result<Output, Lost>> {
        Box::pin(async { Err(Lost { message: "no".into(), hint: None }) })
    }
    fn here(&self, plan: Plan, mode: Mode, diff: bool) -> BoxFuture<'_, Outcome> {
        let here = self.here.clone();
        Box::pin(async move { here.lock().map(|mut h| carry_out(&mut h, &plan, mode, diff).1).unwrap_or_default() })
    }
    fn offer(&self, sha256: &str, path: &Path) {
        if let Ok(mut m) = self.blobs.0.lock() {
            m.insert(sha256.into(), path.into());
        }
    }
    fn close<'a>(&'a self, _target: &'a Target) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
    fn cancel(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
