//! Restarting a host: what `reboot` asks of the run, as the agent does not outlive it.

use std::time::{Duration, Instant};

use crate::agent::protocol;
use crate::change::{Failure, Mode, Outcome};
use crate::run::hands::Lost;
use crate::run::looping::seconds;
use crate::run::step::{Ready, Step};
use crate::value::{Map, Value};

/// Tells one start of a Linux host from another.
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

impl Step {
    /// Restarts the host, and waits until it answers after another start.
    pub(super) async fn reboot(&self, ready: &Ready) -> Result<Outcome, Lost> {
        let failed = |failure: Failure| Ok(Outcome { failure: Some(failure), ..Outcome::default() });
        if ready.seat.target.connection == "local" {
            return failed(
                Failure::failed("restarting this machine would end the run itself").hint("`reboot` is for hosts that are reached over SSH"),
            );
        }
        let because = "a restart is asked for".to_owned();
        let summary = vec!["restart the host".to_owned()];
        if ready.mode == Mode::Check {
            return Ok(Outcome { changed: true, because, summary, ..Outcome::default() });
        }
        let text = |name: &str| ready.arguments.get(name).filter(|value| !value.is_null()).map(ToString::to_string);
        let number = |name: &str, otherwise: f64| seconds(&ready.arguments, name, otherwise).clamp(0.0, 1e9);
        let boot_id = text("boot_time_command").unwrap_or_else(|| BOOT_ID.to_owned());
        let before = match self.said(ready, &boot_id).await? {
            Ok(before) => before,
            Err(failure) => return failed(failure),
        };
        let minutes = (number("pre_reboot_delay", 0.0) / 60.0).floor();
        let message = text("msg").unwrap_or_else(|| "This host is restarted by windlass".to_owned());
        let usual = || format!("shutdown -r +{minutes:.0} '{}'", message.replace('\'', "'\\''"));
        // The connection may be gone before the answer comes.
        if let Ok(Err(failure)) = self.said(ready, &text("reboot_command").unwrap_or_else(usual)).await {
            return failed(failure);
        }
        let began = Instant::now();
        let limit = Duration::from_secs_f64(number("reboot_timeout", 600.0) + minutes * 60.0);
        let single = Duration::from_secs_f64(number("connect_timeout", 5.0).max(1.0));
        let test = text("test_command").unwrap_or_else(|| "whoami".to_owned());
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.run.hands.close(&ready.seat.target).await;
            let is_back = tokio::time::timeout(single.max(limit / 20), async {
                let after = self.said(ready, &boot_id).await.ok().and_then(Result::ok)?;
                if after == before { None } else { self.said(ready, &test).await.ok().and_then(Result::ok) }
            });
            if let Ok(Some(_)) = is_back.await {
                break;
            }
            if began.elapsed() >= limit || self.run.is_interrupted() {
                return failed(Failure::failed(format!("the host was not back within {} seconds", limit.as_secs())).with("rebooted", true));
            }
        }
        tokio::time::sleep(Duration::from_secs_f64(number("post_reboot_delay", 0.0))).await;
        let values = Map::from_iter([("rebooted".into(), Value::Bool(true)), ("elapsed".into(), Value::from(began.elapsed().as_secs()))]);
        Ok(Outcome { changed: true, because, summary, values, ..Outcome::default() })
    }

    /// Runs a line of shell on the host, and returns what it prints.
    async fn said(&self, ready: &Ready, line: &str) -> Result<Result<String, Failure>, Lost> {
        let arguments = Map::from_iter([("cmd".into(), Value::str(line))]);
        let task = protocol::Task { module: "shell".to_owned(), items: vec![arguments], steps: Vec::new(), ..ready.message(Vec::new()) };
        let mut came = None;
        let mut keep = |_: u32, outcome: Outcome| came = Some(outcome);
        self.run.hands.task(&ready.seat, task, &mut keep).await?;
        let outcome = came.unwrap_or_default();
        Ok(match outcome.failure {
            Some(failure) => Err(failure),
            None => Ok(outcome.values.get("stdout").map(ToString::to_string).unwrap_or_default()),
        })
    }
}
