//! How a run ended.

use std::collections::HashMap;
use std::sync::Arc;

use crate::report::event::Counts;

/// The exit code of a run for the rest of which its window left no time.
pub const OUT_OF_TIME: u8 = 13;

/// The exit code of a run that was ended in the debugger.
const QUIT: u8 = 99;

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recap {
    /// The counts of each host, in order of their names.
    pub hosts: Vec<(Arc<str>, Counts)>,
    /// What of the counts `clear_host_errors` forgave: it makes no difference to the exit code.
    pub forgiven: HashMap<Arc<str>, Counts>,
    /// How many results of a check could be predicted.
    pub predicted: usize,
    /// The tasks that a check could not predict, each as often as it was met.
    pub unknown: Vec<String>,
    /// Something in the user's files was wrong, apart from any host.
    pub broken: bool,
    /// The user pressed Ctrl-C.
    pub interrupted: bool,
    /// The change window left no time for what came next.
    pub out_of_time: bool,
    /// The user ended the run in the debugger.
    pub quit: bool,
}

impl Recap {
    /// Returns the exit code: 0 all went well, 1 something is wrong in the files, 2 hosts failed, 4 hosts could not be
    /// reached (whether others failed or not), 13 the window left no time for the rest, 99 ended in the debugger,
    /// 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        let forgiven = |host: &str, count: fn(&Counts) -> u32| self.forgiven.get(host).map_or(0, count);
        let any = |count: fn(&Counts) -> u32| self.hosts.iter().any(|(host, counts)| count(counts) > forgiven(host, count));
        match self {
            _ if self.quit => QUIT,
            _ if self.out_of_time => OUT_OF_TIME,
            // Where the record cannot be written, the run is interrupted too, by itself.
            _ if self.broken => 1,
            _ if self.interrupted => 130,
            _ if any(|counts| counts.unreachable) => 4,
            _ if any(|counts| counts.failed) => 2,
            _ => 0,
        }
    }

    /// Returns the exit code of a check that is to tell more: 10 something would change, 11 some of it cannot be
    /// predicted, and else as [`Recap::exit_code`].
    pub fn detailed_exit_code(&self) -> u8 {
        match self.exit_code() {
            0 if !self.unknown.is_empty() => 11,
            0 if self.hosts.iter().any(|(_, counts)| counts.changed > 0) => 10,
            code => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreachable_hosts_outweigh_failed_ones() {
        let counts = |failed, unreachable| Counts { failed, unreachable, ..Counts::default() };
        let code =
            |hosts: &[Counts]| Recap { hosts: hosts.iter().map(|counts| ("h".into(), *counts)).collect(), ..Recap::default() }.exit_code();
        assert_eq!(code(&[counts(0, 0)]), 0);
        assert_eq!(code(&[counts(1, 0)]), 2);
        assert_eq!(code(&[counts(1, 0), counts(0, 1)]), 4);
    }

    #[test]
    fn what_was_forgiven_does_not_count() {
        let failed = |failed| Counts { failed, ..Counts::default() };
        let recap = |now, then| Recap {
            hosts: vec![("h".into(), failed(now))],
            forgiven: HashMap::from([("h".into(), failed(then))]),
            ..Recap::default()
        };
        assert_eq!((recap(1, 1).exit_code(), recap(2, 1).exit_code()), (0, 2));
    }

    #[test]
    fn a_check_can_tell_more_by_its_code() {
        let recap = |counts, unknown: &[&str]| Recap {
            hosts: vec![("h".into(), counts)],
            unknown: unknown.iter().map(ToString::to_string).collect(),
            ..Recap::default()
        };
        let changed = Counts { ok: 1, changed: 1, ..Counts::default() };
        assert_eq!(recap(Counts::default(), &[]).detailed_exit_code(), 0);
        assert_eq!(recap(changed, &[]).detailed_exit_code(), 10);
        assert_eq!(recap(changed, &["make"]).detailed_exit_code(), 11);
        assert_eq!(recap(Counts { failed: 1, ..changed }, &["make"]).detailed_exit_code(), 2);
    }
}
