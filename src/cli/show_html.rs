//! A plan as one page of HTML that needs nothing else, readable on a light and on a dark screen and on paper.

use std::fmt::Write as _;

use crate::change::diff::unified;
use crate::cli::show;
use crate::record::plan::Plan;
use crate::report::escape::escape;
use crate::report::fold;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1b1f24; --dim: #57606a; --ground: #ffffff; --panel: #f3f5f7; --line: #d0d7de;
  --change: #7d4e00; --unknown: #82318e; --ok: #1a6b34; --add: #dcf5e3; --remove: #fde3e1; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ec; --dim: #9aa4af; --ground: #14181d; --panel: #1d232a; --line: #39424c;
  --change: #e8b04b; --unknown: #dd9bea; --ok: #7ad39a; --add: #12361f; --remove: #47201d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground); }
h1 { font-size: 1.5rem; margin: 0 0 .75rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); padding: .75rem 0; break-inside: avoid; }
h3 { font-size: 1rem; margin: 0; } .dim { color: var(--dim); font-size: .875rem; font-weight: normal; overflow-wrap: anywhere; }
p { margin: .35rem 0; } .word { font-weight: 600; } .change { color: var(--change); } .unknown { color: var(--unknown); } .ok { color: var(--ok); }
pre { margin: .35rem 0; padding: .5rem; overflow-x: auto; background: var(--panel); border-radius: .25rem; font: .8125rem/1.45 ui-monospace, monospace; }
pre span { display: block; white-space: pre-wrap; overflow-wrap: anywhere; } .add { background: var(--add); } .remove { background: var(--remove); }
ul { margin: .25rem 0; padding-left: 1.25rem; }
";

/// Returns the page.
pub(super) fn page(plan: &Plan) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Plan {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Plan of a change</h1>\n<dl>\n",
        escape(plan.digest.get(..12).unwrap_or_default())
    );
    for (name, value) in show::facts(plan) {
        let _ = writeln!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(&value));
    }
    let _ = writeln!(page, "</dl>\n<p><strong>{}</strong></p>", escape(&show::sentence(&show::counts(plan))));
    for (title, lines) in
        [("Unknown: to be allowed by whoever applies the plan", show::unknown(plan)), ("Cannot be undone", show::irreversible(plan))]
    {
        if !lines.is_empty() {
            let items: String = lines.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
            let _ = writeln!(page, "<h2>{title}</h2>\n<ul>{items}</ul>");
        }
    }
    page.push_str("<h2>Steps</h2>\n");
    for task in show::tasks(plan) {
        let first = task.first;
        let kind = if first.handler { "Handler: " } else { "" };
        let _ = writeln!(
            page,
            "<section>\n<h3>{kind}{} <span class=\"dim\">{} {}</span></h3>",
            escape(&first.task),
            escape(&first.module),
            escape(&first.place)
        );
        for (step, hosts) in &task.rows {
            let word = show::word(step);
            let class = match word {
                "would change" => "change",
                "unknown" => "unknown",
                "ok" => "ok",
                _ => "dim",
            };
            let on = step.delegated_to.as_ref().map(|other| format!(" on {}", escape(other))).unwrap_or_default();
            let (hosts, what) = (escape(&fold::hosts(hosts)), escape(&show::what(step)));
            let _ = writeln!(page, "<p><span class=\"word {class}\">{word}</span> {hosts}{on}: {what}</p>");
            let text: String = step.diff.iter().map(unified).collect();
            if !text.is_empty() {
                let lines: String = text.lines().map(diff_line).collect();
                let _ = writeln!(page, "<pre>{lines}</pre>");
            }
        }
        page.push_str("</section>\n");
    }
    page.push_str("</body>\n</html>");
    page
}

fn diff_line(line: &str) -> String {
    let class = match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") => "dim",
        Some(b'+') => "add",
        Some(b'-') => "remove",
        _ => "same",
    };
    format!("<span class=\"{class}\">{}</span>", escape(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Difference;
    use crate::record::plan::{Head, Step};
    use crate::report::event::Status;

    #[test]
    fn what_a_host_says_is_text_and_nothing_is_fetched() {
        let evil = "<script>alert(1)</script>\u{1b}[31m";
        let step = Step {
            host: "h1".into(),
            task: evil.into(),
            status: Status::Changed,
            changes: vec![evil.into()],
            diff: vec![Difference { after: format!("{evil}\n"), ..Difference::default() }],
            ..Step::default()
        };
        let plan = Plan { head: Head::default(), steps: vec![step], digest: "0".repeat(64), signed_by: None };
        let page = page(&plan);
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains('\u{1b}'), "{page}");
        for outside in ["http://", "https://", "src=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
