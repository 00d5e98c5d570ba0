//! The counts at the end.

use super::event::Counts;
use super::fold;

/// Returns Ansible's counts in Ansible's words: `ok=3 changed=1 unreachable=0 ...`. Unknown ones are added where there are any.
pub fn counts(counts: &Counts) -> String {
    let Counts { ok, changed, unreachable, failed, skipped, rescued, ignored, unknown } = counts;
    let unknown = if *unknown > 0 { format!(" unknown={unknown}") } else { String::new() };
    format!(
        "ok={ok} changed={changed} unreachable={unreachable} failed={failed} skipped={skipped} rescued={rescued} ignored={ignored}{unknown}"
    )
}

/// Returns the sentence on how much a check could predict. What comes after a failure on a host was not come to, and of a host
/// that cannot be reached nothing is known.
pub fn prediction<T: AsRef<str>>(predicted: usize, unknown: &[String], hosts: &[(T, Counts)]) -> String {
    let of = |is: fn(&Counts) -> bool| hosts.iter().filter(|(_, counts)| is(counts)).map(|(host, _)| host).collect::<Vec<_>>();
    let failed = of(|counts| counts.failed > 0 && counts.unreachable == 0);
    let lost = of(|counts| counts.unreachable > 0);
    let refused: usize = hosts.iter().map(|(_, counts)| counts.unreachable as usize).sum();
    let mut sentence = steps(predicted.saturating_sub(refused), unknown, lost.is_empty());
    if !failed.is_empty() {
        sentence.push_str(&format!("; nothing is known of what comes after the failure on {}", fold::hosts(&failed)));
    }
    if !lost.is_empty() {
        sentence.push_str(&format!("; nothing is known of {}, which cannot be reached", fold::hosts(&lost)));
    }
    sentence
}

fn steps(predicted: usize, unknown: &[String], is_all: bool) -> String {
    let all = predicted + unknown.len();
    match unknown {
        [] if is_all => format!("all {all} steps predicted"),
        [] => format!("{all} steps predicted"),
        some => {
            let mut names: Vec<&str> = Vec::new();
            for name in some {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            format!("{predicted} of {all} steps predicted, {} unknown: {}", some.len(), names.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_ansibles() {
        let line = counts(&Counts { ok: 3, changed: 1, ..Counts::default() });
        assert_eq!(line, "ok=3 changed=1 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0");
    }

    #[test]
    fn unknown_steps_are_named_once() {
        let line = prediction::<&str>(41, &["a".into(), "b".into(), "a".into()], &[]);
        assert_eq!(line, "41 of 44 steps predicted, 3 unknown: a; b");
    }

    #[test]
    fn hosts_that_a_check_did_not_get_through_are_named() {
        let fine = Counts { ok: 2, ..Counts::default() };
        let failed = Counts { failed: 1, ..fine };
        let lost = Counts { unreachable: 1, ..Counts::default() };
        assert_eq!(prediction(2, &[], &[("a", fine)]), "all 2 steps predicted");
        assert_eq!(
            prediction(5, &[], &[("a", fine), ("b", failed)]),
            "all 5 steps predicted; nothing is known of what comes after the failure on b"
        );
        assert_eq!(prediction(2, &[], &[("a", lost), ("b", lost)]), "0 steps predicted; nothing is known of a b, which cannot be reached");
    }
}
