//! The counts at the end.

use super::event::Counts;

/// Returns Ansible's counts in Ansible's words: `ok=3 changed=1 unreachable=0 ...`. Unknown ones are added where there are any.
pub fn counts(counts: &Counts) -> String {
    let Counts { ok, changed, unreachable, failed, skipped, rescued, ignored, unknown } = counts;
    let unknown = if *unknown > 0 { format!(" unknown={unknown}") } else { String::new() };
    format!(
        "ok={ok} changed={changed} unreachable={unreachable} failed={failed} skipped={skipped} rescued={rescued} ignored={ignored}{unknown}"
    )
}

/// Returns the sentence on how much a check could predict.
pub fn prediction(predicted: usize, unknown: &[String]) -> String {
    let all = predicted + unknown.len();
    match unknown {
        [] => format!("all {all} steps predicted"),
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
        let line = prediction(41, &["a".into(), "b".into(), "a".into()]);
        assert_eq!(line, "41 of 44 steps predicted, 3 unknown: a; b");
    }
}
