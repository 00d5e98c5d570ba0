//! The account of a run as one HTML page for a change board: it needs nothing but itself, runs no script, is readable in light and
//! dark and can be printed. All text goes through `escape`.

use std::fmt::Write as _;

use super::account::{Account, Done, Part, clock, folded, is_failure, place, seconds};
use super::summary::facts;
use crate::report::escape::escape;
use crate::report::event::{Counts, Status};
use crate::report::fold;
use crate::report::json::status_word;

/// Up to so many steps, the list of all is open when the page is.
const OPEN_STEPS: usize = 300;

/// Returns the account as an HTML page.
pub fn html(account: &Account) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let title = account.ticket.clone().unwrap_or_else(|| format!("Run {}", account.run));
    // Nothing is loaded and nothing is run, whatever a host may have smuggled in.
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n",
    );
    let _ = writeln!(out, "<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>", escape(&title), include_str!("page.css"));
    head(&mut out, account, &title);
    recap(&mut out, account);
    timeline(&mut out, account);
    failures(&mut out, account);
    unknowns(&mut out, account);
    changes(&mut out, account);
    parts(&mut out, account);
    handlers(&mut out, account);
    said(&mut out, account);
    steps(&mut out, account);
    proof(&mut out, account);
    out.push_str("</body>\n</html>\n");
    out
}

fn head(out: &mut String, account: &Account, title: &str) {
    let class = match account.code {
        Some(0) => "good",
        None | Some(13 | 130) => "unknown",
        Some(_) => "failed",
    };
    let _ = writeln!(out, "<header>\n<h1>{}</h1>", escape(title));
    let _ = writeln!(
        out,
        "<p><span class=\"badge {class}\">{}</span> <span class=\"dim\">windlass run {}</span></p>\n<p>{}.</p>",
        escape(&account.state),
        escape(&account.run),
        escape(&account.sentence())
    );
    out.push_str("<table class=\"facts\">\n");
    for (name, text) in facts(account) {
        let _ = writeln!(out, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escape(&text));
    }
    let _ = writeln!(out, "<tr><th scope=\"row\">result</th><td>{}</td></tr>\n</table>\n</header>", escape(&result(account)));
}

/// What the exit code says.
fn result(account: &Account) -> String {
    match account.code {
        Some(0) => "everything was done".to_owned(),
        Some(1) => "stopped: something is wrong in the files (exit code 1)".to_owned(),
        Some(2) => "tasks failed on hosts (exit code 2)".to_owned(),
        Some(4) => "hosts could not be reached (exit code 4)".to_owned(),
        Some(13) => "stopped at a safe point, as its window closed (exit code 13)".to_owned(),
        Some(130) => "interrupted by its user (exit code 130)".to_owned(),
        Some(code) => format!("exit code {code}"),
        None => "it broke off, or still goes on: its end is not recorded".to_owned(),
    }
}

/// A column of the recap: its name, the class of a count that is not 0, and the count.
type Column = (&'static str, &'static str, fn(&Counts) -> u32);

fn recap(out: &mut String, account: &Account) {
    out.push_str("<h2>Recap</h2>\n<div class=\"wide\"><table>\n<tr><th>host</th>");
    let columns: [Column; 8] = [
        ("ok", "", |counts| counts.ok),
        ("changed", "changed", |counts| counts.changed),
        ("unreachable", "unreachable", |counts| counts.unreachable),
        ("failed", "failed", |counts| counts.failed),
        ("skipped", "", |counts| counts.skipped),
        ("rescued", "", |counts| counts.rescued),
        ("ignored", "", |counts| counts.ignored),
        ("unknown", "unknown", |counts| counts.unknown),
    ];
    for (name, _, _) in columns {
        let _ = write!(out, "<th class=\"n\">{name}</th>");
    }
    out.push_str("</tr>\n");
    for (host, counts) in &account.hosts {
        let _ = write!(out, "<tr><td>{}</td>", escape(host));
        for (_, class, count) in columns {
            let count = count(counts);
            let class = if count == 0 { "zero" } else { class };
            let _ = write!(out, "<td class=\"n {class}\">{count}</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn timeline(out: &mut String, account: &Account) {
    out.push_str("<h2>Timeline</h2>\n<p class=\"key\">");
    for word in ["ok", "changed", "failed", "unknown", "skipped"] {
        let _ = write!(out, "<span><svg aria-hidden=\"true\"><rect class=\"{word}\" width=\"100%\" height=\"100%\"/></svg>{word}</span>");
    }
    out.push_str("</p>\n");
    for (number, part) in account.parts.iter().enumerate() {
        if account.parts.len() > 1 {
            let _ = writeln!(out, "<h3>Part {} of {}: {}</h3>", number + 1, account.parts.len(), escape(&part.end));
        }
        lanes(out, account, number, part);
    }
}

fn lanes(out: &mut String, account: &Account, number: usize, part: &Part) {
    let whole = part.to.duration_since(part.from).as_secs_f64().max(0.001);
    out.push_str("<table class=\"lanes\">\n");
    let mut any = false;
    for host in account.hosts.keys() {
        let steps: Vec<_> = account.steps().filter(|done| done.part == number && done.step.host == *host).collect();
        if steps.is_empty() {
            continue;
        }
        any = true;
        let _ = write!(
            out,
            "<tr><th scope=\"row\" title=\"{0}\">{0}</th><td><svg role=\"img\" aria-label=\"{1} steps\">",
            escape(host),
            steps.len()
        );
        for done in steps {
            let from = (done.from.duration_since(part.from).as_secs_f64() / whole).clamp(0.0, 0.997);
            // What is too short to be seen is as wide as a line.
            let width = (done.step.seconds / whole).clamp(0.003, 1.0 - from);
            let _ = write!(
                out,
                "<rect class=\"{}\" x=\"{:.2}%\" width=\"{:.2}%\" height=\"100%\"><title>{}</title></rect>",
                status_word(done.step.status),
                from * 100.0,
                width * 100.0,
                escape(&format!("{}: {}, {}", done.step.task, status_word(done.step.status), seconds(done.step.seconds)))
            );
        }
        out.push_str("</svg></td></tr>\n");
    }
    if any {
        let middle = part.from.checked_add(part.to.duration_since(part.from) / 2).unwrap_or(part.from);
        let _ = writeln!(
            out,
            "<tr class=\"axis\"><th></th><td><div><span>{}</span><span>{}</span><span>{}</span></div></td></tr>",
            clock(part.from),
            of_day(middle),
            of_day(part.to)
        );
    }
    out.push_str("</table>\n");
    if !any {
        out.push_str("<p class=\"dim\">no step of this part is the last of its kind</p>\n");
    }
}

fn of_day(time: jiff::Timestamp) -> String {
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// Tells steps of one task that came to the same.
fn group(out: &mut String, hosts: &[&str], done: &Done, told: &str) {
    let step = &done.step;
    let kind = if step.handler { "handler " } else { "" };
    let _ = writeln!(
        out,
        "<h3>{kind}{}</h3>\n<p><span class=\"badge {word}\">{word}</span> {} <span class=\"dim\">· {} · <code>{}</code></span></p>",
        escape(&step.task),
        escape(&fold::hosts(hosts)),
        escape(&step.module),
        escape(place(&step.key)),
        word = status_word(step.status),
    );
    if let Some(other) = &step.delegated_to {
        let _ = writeln!(out, "<p class=\"dim\">done on {}</p>", escape(other));
    }
    for (is, text) in [
        (step.ignored, "It failed, which was ignored: the play went on."),
        (step.rescued, "It failed, in a block that rescues."),
        (done.again, "Its block was broken off: it is done again when the run is resumed."),
    ] {
        if is {
            let _ = writeln!(out, "<p>{text}</p>");
        }
    }
    for earlier in &done.earlier {
        let _ = writeln!(
            out,
            "<p class=\"dim\">an earlier try, at {}: {} {}</p>",
            clock(earlier.time),
            status_word(earlier.status),
            escape(&earlier.because)
        );
    }
    for warning in &step.warnings {
        let _ = writeln!(out, "<p>warning: {}</p>", escape(warning));
    }
    if let Some(diagnostic) = &step.diagnostic {
        let _ = writeln!(out, "<pre>{}</pre>", escape(diagnostic));
    }
    difference(out, told);
}

/// Tells what was changed, lines that were added and taken away in their colours.
fn difference(out: &mut String, told: &str) {
    let lines: Vec<_> = told.lines().collect();
    let begins = lines.iter().position(|line| line.starts_with("--- before: ")).unwrap_or(lines.len());
    let (plain, diff) = lines.split_at(begins);
    for line in plain.iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "<p>{}</p>", escape(line));
    }
    if diff.is_empty() {
        return;
    }
    out.push_str("<pre class=\"diff\">");
    for line in diff {
        let class = match line.chars().next() {
            _ if line.starts_with("--- ") || line.starts_with("+++ ") => "at",
            Some('+') => "plus",
            Some('-') => "minus",
            Some('@' | '\\' | '(') => "at",
            _ => "",
        };
        let _ = write!(out, "<span class=\"{class}\">{}</span>", if line.is_empty() { " ".to_owned() } else { escape(line) });
    }
    out.push_str("</pre>\n");
}

fn failures(out: &mut String, account: &Account) {
    out.push_str("<h2>Failures</h2>\n");
    let failed = folded(account.steps().filter(|done| is_failure(done) && !done.step.unsure));
    if failed.is_empty() && account.stopped.is_empty() {
        out.push_str("<p>None.</p>\n");
    }
    for same in &failed {
        group(out, &same.hosts, same.done, "");
    }
    for said in &account.stopped {
        let _ = writeln!(out, "<p class=\"dim\">{}</p>\n<pre>{}</pre>", clock(said.time), escape(&said.text));
    }
    let passed =
        folded(account.steps().filter(|done| matches!(done.step.status, Status::Failed | Status::Unreachable) && !is_failure(done)));
    if !passed.is_empty() {
        out.push_str("<h3>Failed, and that was ignored or rescued</h3>\n");
    }
    for same in &passed {
        group(out, &same.hosts, same.done, "");
    }
}

fn unknowns(out: &mut String, account: &Account) {
    let unknown = folded(account.steps().filter(|done| done.step.status == Status::Unknown || done.step.unsure));
    out.push_str("<h2>Unknown</h2>\n");
    if unknown.is_empty() && account.unsure.is_empty() {
        out.push_str("<p>Nothing.</p>\n");
    }
    for same in &unknown {
        group(out, &same.hosts, same.done, &same.told);
    }
    for unsure in &account.unsure {
        let _ = writeln!(
            out,
            "<p>{} <code>{}</code> began at {} and did not end: nobody knows how far it came.</p>",
            escape(&unsure.host),
            escape(&unsure.key),
            clock(unsure.time)
        );
    }
}

fn changes(out: &mut String, account: &Account) {
    out.push_str("<h2>Changes</h2>\n");
    let mut any = false;
    for play in &account.plays {
        let changed = folded(play.steps.iter().filter(|done| done.step.status == Status::Changed));
        if changed.is_empty() {
            continue;
        }
        any = true;
        if account.plays.len() > 1 {
            let _ = writeln!(out, "<p class=\"dim\">Play {}</p>", escape(&play.name));
        }
        for same in &changed {
            group(out, &same.hosts, same.done, &same.told);
        }
    }
    if !any {
        out.push_str("<p>None.</p>\n");
    }
}

fn parts(out: &mut String, account: &Account) {
    out.push_str("<h2>Interruptions and resumes</h2>\n");
    if account.parts.len() < 2 {
        out.push_str("<p>None: the run went through in one part.</p>\n");
        return;
    }
    out.push_str("<div class=\"wide\"><table>\n<tr><th>part</th><th>began</th><th>last recorded</th><th>by</th><th>ended</th></tr>\n");
    for (number, part) in account.parts.iter().enumerate() {
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            number + 1,
            clock(part.from),
            clock(part.to),
            escape(&format!("{} on {}", part.who.user, part.who.machine)),
            escape(&part.end)
        );
    }
    out.push_str("</table></div>\n");
}

fn handlers(out: &mut String, account: &Account) {
    out.push_str("<h2>Handlers</h2>\n");
    let run = folded(account.steps().filter(|done| done.step.handler));
    for same in &run {
        let _ = writeln!(
            out,
            "<p><span class=\"{word}\">{word}</span> {} on {}</p>",
            escape(&same.done.step.task),
            escape(&fold::hosts(&same.hosts)),
            word = status_word(same.done.step.status)
        );
    }
    for (host, names) in &account.owed {
        let _ = writeln!(out, "<p class=\"failed\">owed to {}: {}</p>", escape(host), escape(&names.join(", ")));
    }
    if account.owed.is_empty() {
        let _ = writeln!(out, "<p>{}</p>", if run.is_empty() { "None was notified, and none is owed." } else { "None is owed." });
    }
}

fn said(out: &mut String, account: &Account) {
    if account.warnings.is_empty() {
        return;
    }
    out.push_str("<h2>Warnings</h2>\n");
    for said in &account.warnings {
        let _ = writeln!(out, "<p><span class=\"dim\">{}</span> {}</p>", clock(said.time), escape(&said.text));
    }
}

fn steps(out: &mut String, account: &Account) {
    let count = account.steps().count();
    let open = if count <= OPEN_STEPS { " open" } else { "" };
    let _ = writeln!(out, "<h2>All steps</h2>\n<details{open}><summary>{count} steps</summary>");
    for play in &account.plays {
        let _ = writeln!(
            out,
            "<h3>{}</h3>\n<div class=\"wide\"><table>\n<tr><th>ended</th><th>host</th><th>task</th><th>result</th><th class=\"n\">took</th></tr>",
            escape(&play.name)
        );
        for done in &play.steps {
            let again = match done.earlier.len() {
                0 => String::new(),
                1 => " (after an earlier try)".to_owned(),
                more => format!(" (after {more} earlier tries)"),
            };
            let _ = writeln!(
                out,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td><span class=\"{word}\">{word}</span>{again}</td><td class=\"n\">{}</td></tr>",
                clock(done.to),
                escape(&done.step.host),
                escape(&done.step.task),
                seconds(done.step.seconds),
                word = status_word(done.step.status),
            );
        }
        out.push_str("</table></div>\n");
    }
    out.push_str("</details>\n");
}

fn proof(out: &mut String, account: &Account) {
    out.push_str("<h2>Proof</h2>\n");
    let _ = writeln!(
        out,
        "<p>This page was made from the record of the run alone. The record has {} lines, each with the hash of the line before it; \
         the chain was checked and is <span class=\"good\">unbroken</span>. The SHA-256 of its last line is</p>\n<p class=\"hash\">{}</p>\n\
         <p>Whoever has the record can check that it is the same: <code>windlass runs verify {} --hash {}</code></p>",
        account.lines,
        escape(&account.hash),
        escape(&account.run),
        escape(&account.hash)
    );
    if account.files.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "<details><summary>{} files were read before anything ran, with their SHA-256</summary>\n<table>",
        account.files.len()
    );
    for (path, hash) in &account.files {
        let _ = writeln!(out, "<tr><td>{}</td><td class=\"hash\">{}</td></tr>", escape(path), escape(hash));
    }
    out.push_str("</table></details>\n");
}
