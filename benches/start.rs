//! Measures what a user waits for before anything runs: start-up, and reading an inventory of a thousand hosts. Fails
//! where a limit is passed: `cargo bench --bench start`.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, clippy::panic, clippy::disallowed_methods)]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windlass::load::inventory::Inventory;
use windlass::source::Sources;

/// How long `windlass --version` may take.
const VERSION: Duration = Duration::from_millis(20);
/// How long it may take to read a thousand hosts.
const INVENTORY: Duration = Duration::from_millis(50);

fn main() {
    let version = median(|| {
        let output = Command::new(env!("CARGO_BIN_EXE_windlass")).arg("--version").output().expect("starts");
        assert!(output.status.success());
    });
    let folder = tempfile::tempdir().expect("folder");
    let mut text = String::from("all:\n  children:\n");
    for group in 0..20 {
        text.push_str(&format!("    g{group}:\n      vars:\n        tier: {group}\n      hosts:\n"));
        for host in 0..50 {
            text.push_str(&format!("        web-{group}-{host}.example.net:\n          ansible_port: {}\n", 2200 + host));
        }
    }
    let yaml = folder.path().join("hosts.yml");
    std::fs::write(&yaml, text).expect("writes");
    let mut text = String::new();
    for group in 0..20 {
        text.push_str(&format!("[g{group}]\n"));
        for host in 0..50 {
            text.push_str(&format!("web-{group}-{host}.example.net ansible_port={} rack=r{host}\n", 2200 + host));
        }
        text.push_str(&format!("[g{group}:vars]\ntier={group}\n"));
    }
    let ini = folder.path().join("hosts.ini");
    std::fs::write(&ini, text).expect("writes");
    let read = |path: &std::path::Path| {
        median(|| {
            let inputs = [path.display().to_string()];
            let inventory = Inventory::load(&Sources::default(), &Arc::default(), &inputs).expect("reads");
            assert_eq!(inventory.hosts().len(), 1000);
        })
    };
    let results =
        [("--version", version, VERSION), ("1,000 hosts, YAML", read(&yaml), INVENTORY), ("1,000 hosts, INI", read(&ini), INVENTORY)];
    let mut is_slow = false;
    for (what, took, limit) in results {
        println!("{what:<20} {:>8.2} ms of {} ms", took.as_secs_f64() * 1000.0, limit.as_millis());
        is_slow |= took > limit;
    }
    assert!(!is_slow, "a limit is passed");
}

/// Returns the median of some runs.
fn median(run: impl Fn()) -> Duration {
    let mut took: Vec<Duration> = (0..11)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}
