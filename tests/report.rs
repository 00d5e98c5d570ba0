//! What is told of a run afterwards: the report in its forms, the proof of its record, and what has drifted since.
#![allow(clippy::panic, clippy::print_stderr, clippy::disallowed_methods, reason = "tests set up files and start programs of their own")]

mod harness;

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Run, Site};

/// Changes with differences, a failure that is rescued, a handler, and words of a host that are no words of ours.
const PLAYBOOK: &str = r#"
- name: The <web> servers
  hosts: localhost
  gather_facts: false
  vars: {word: correcthorse}
  tasks:
    - name: Greeting
      copy: {content: "hello <b>you</b>\n", dest: "{{ playbook_dir }}/motd"}
      notify: tell
    - name: Words of a host
      shell: "printf '<script>alert(1)</script>\\033[2J' >&2; exit 3"
      ignore_errors: true
    - name: Nobody may see this
      copy: {content: "{{ word }}\n", dest: "{{ playbook_dir }}/secret"}
      no_log: true
    - block:
        - name: Fails
          fail: {msg: on purpose}
      rescue:
        - name: Rescues
          copy: {content: "rescued\n", dest: "{{ playbook_dir }}/rescued"}
    - name: Needs the file go
      shell: test -e {{ playbook_dir }}/go
  handlers:
    - name: tell
      copy: {content: "told\n", dest: "{{ playbook_dir }}/told"}
"#;

/// A site whose run broke off and was taken up again.
fn resumed() -> Site {
    let site = Site::new().file("site.yml", PLAYBOOK);
    let _ = site.run(["playbook", "site.yml", "--ticket", "CHG-7 <greeting>"]).code(2);
    let broken = site.run(["report"]).success();
    for part in ["owed to localhost: tell", "windlass resume", "+hello <b>you</b>", "site.yml:"] {
        assert!(broken.stdout.contains(part), "no `{part}` in\n{}", broken.stdout);
    }
    site.write("go", "");
    let _ = site.run(["resume"]).success();
    site
}

#[test]
fn a_page_tells_all_and_is_harmless() {
    let site = resumed();
    let _ = site.run(["report", "--html", "page.html"]).success();
    let page = site.read("page.html");
    for part in [
        "CHG-7 &lt;greeting&gt;",
        "The &lt;web&gt; servers",
        "<span class=\"plus\">+hello &lt;b&gt;you&lt;/b&gt;</span>",
        "on purpose",
        "hidden by no_log",
        "Part 2 of 2",
        "an earlier try",
        "prefers-color-scheme: dark",
        "tester on ",
        "None is owed.",
    ] {
        assert!(page.contains(part), "no `{part}` in\n{page}");
    }
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script") && !page.contains('\u{1b}'), "{page}");
    assert!(!page.contains("correcthorse"), "{page}");
    // Nothing is loaded from anywhere.
    for part in ["src=", "href=", "url(", "@import", "http://", "https://", "<link", "<iframe", "<img"] {
        assert!(!page.contains(part), "`{part}` in\n{page}");
    }
    let same = site.run(["report", "--html", "-"]).success();
    assert_eq!(same.stdout, page.replace(&site.path().display().to_string(), "$SITE"));
}

#[test]
fn machines_read_junit_and_json() {
    let site = resumed();
    let _ = site.run(["report", "last", "--junit", "junit.xml"]).success();
    // An independent reader: that of Python.
    let script = "import sys, xml.etree.ElementTree as t\nr = t.parse(sys.argv[1]).getroot()\n\
                  s = r.find('testsuite')\nprint(s.get('name'), s.get('tests'), s.get('failures'), s.get('errors'), s.get('skipped'))\n\
                  print([c.get('name') for c in s.findall('testcase')])\n\
                  print([o.text for o in s.iter('system-out') if 'ignored' in o.text])\n";
    let output = Command::new("python3").args(["-c", script]).arg(site.path().join("junit.xml")).output().expect("python3");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("The <web> servers 7 0 0 0\n"), "{said}");
    assert!(
        said.contains("'Greeting', 'Words of a host', 'Nobody may see this', 'Fails', 'Rescues', 'Needs the file go', 'tell'"),
        "{said}"
    );

    let json = site.run(["report", "--json"]).success();
    let account: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!((&account["state"], &account["ticket"]), (&"done".into(), &"CHG-7 <greeting>".into()));
    assert_eq!(account["parts"].as_array().map(Vec::len), Some(2));
    assert_eq!(account["hosts"]["localhost"]["changed"], 6);
}

#[test]
fn a_record_that_was_changed_is_found_out() {
    let site = resumed();
    let told = site.run(["runs", "verify"]).success();
    let hash = told.stdout.lines().next().and_then(|line| line.rsplit(' ').next()).expect("hash").to_owned();
    assert_eq!(hash.len(), 64, "{}", told.stdout);
    let _ = site.run(["runs", "verify", "last", "--hash", &hash]).success();
    let _ = site.run(["runs", "verify", "last", "--hash", &"0".repeat(64)]).code(1);

    let runs = site.path().join("home/.local/state/windlass/runs");
    let journal = std::fs::read_dir(runs).expect("runs").next().expect("one").expect("entry").path().join("journal");
    let text = std::fs::read_to_string(&journal).expect("journal");
    // Lines taken off the end leave a chain that is whole, but not the one whose hash is known.
    let cut = text.trim_end().rsplit_once('\n').expect("lines").0.to_owned() + "\n";
    std::fs::write(&journal, cut).expect("write");
    let told = site.run(["runs", "verify", "last", "--hash", &hash]).code(1);
    assert!(told.stderr.contains("not the one that was meant"), "{}", told.stderr);
    std::fs::write(&journal, text.replacen("on purpose", "by mistake", 1)).expect("write");
    for words in [&["runs", "verify"][..], &["report"], &["report", "--html", "-"]] {
        let told = site.run(words).code(1);
        assert!(told.stderr.contains("it was changed"), "{}", told.all());
    }
}

#[test]
fn differences_are_recorded_and_shown_only_when_asked_for() {
    let playbook = "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - copy: {content: \"shown\\n\", dest: \"{{ playbook_dir }}/a\"}\n    - copy: {content: \"quiet\\n\", dest: \"{{ playbook_dir }}/b\"}\n      diff: false\n";
    let site = Site::new().file("site.yml", playbook);
    let run = site.playbook("site.yml").success();
    assert!(!run.stdout.contains("+shown"), "{}", run.stdout);
    let report = site.run(["report"]).success();
    assert!(report.stdout.contains("+shown") && !report.stdout.contains("+quiet"), "{}", report.stdout);
}

const DRIFTS: &str = r#"
- hosts: localhost
  gather_facts: false
  vars: {base: "{{ playbook_dir }}/etc"}
  tasks:
    - file: {path: "{{ base }}", state: directory}
    - name: Settings
      copy: {content: "ours\n", dest: "{{ base }}/app.conf"}
      notify: restart
    - name: Allocation off
      copy: {content: "off\n", dest: "{{ base }}/allocation"}
    - name: Allocation on
      copy: {content: "on\n", dest: "{{ base }}/allocation"}
  handlers:
    - name: restart
      shell: echo restarted >> {{ playbook_dir }}/log
"#;

#[test]
fn what_goes_with_a_handler_and_what_only_reads_is_no_drift() {
    let playbook = r#"
- hosts: localhost
  gather_facts: false
  verify:
    - command: grep good {{ playbook_dir }}/conf
      reads: true
  tasks:
    - copy: {content: "good\n", dest: "{{ playbook_dir }}/conf"}
      notify: restart
  handlers:
    - name: restart
      command: "true"
      serial: 1
      before: [{file: {path: "{{ playbook_dir }}/hold", state: touch}}]
      after: [{file: {path: "{{ playbook_dir }}/hold", state: absent}}]
"#;
    let site = Site::new().file("site.yml", playbook);
    let _ = site.playbook("site.yml").success();
    let none = site.run(["drift"]).code(0);
    assert!(none.stdout.contains("no drift") && none.stdout.contains("0 unknown"), "{}", none.stdout);
    site.write("conf", "bad\n");
    let drift = site.run(["drift"]).code(10);
    assert!(drift.stdout.contains("1 step drifted") && drift.stdout.contains("might then notify: restart"), "{}", drift.stdout);
}

#[test]
fn drift_is_told_and_who_is_not_to_blame() {
    let site = Site::new().file("site.yml", DRIFTS);
    let _ = site.playbook("site.yml").success();
    let none = site.run(["drift"]).success();
    assert!(none.stdout.contains("no drift"), "{}", none.stdout);

    site.write("etc/app.conf", "by hand\n");
    let drift = site.run(["drift"]).code(10);
    for part in ["drift  localhost  Settings", "not this windlass", "-by hand", "+ours", "1 step drifted", "might then notify: restart"] {
        assert!(drift.stdout.contains(part), "no `{part}` in\n{}", drift.all());
    }
    assert_eq!(site.read("etc/app.conf"), "by hand\n", "nothing is mended");
    assert_eq!(site.read("log"), "restarted\n");

    // Another run did it this time.
    site.write("other.yml", "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - copy: {content: \"theirs\\n\", dest: \"{{ playbook_dir }}/etc/app.conf\"}\n");
    let first = site.run(["runs"]).success().stdout.split_whitespace().next().expect("run").to_owned();
    let _ = site.playbook("other.yml").success();
    let drift = site.run(["drift", &first, "--limit", "localhost"]).code(10);
    assert!(drift.stdout.contains("who changed it: run ") && drift.stdout.contains("by tester"), "{}", drift.stdout);
}

#[test]
fn what_cannot_be_compared_is_said() {
    let playbook =
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - name: Opaque\n      shell: echo x >> {{ playbook_dir }}/log\n";
    let site = Site::new().file("site.yml", playbook);
    let _ = site.playbook("site.yml").success();
    let drift = site.run(["drift"]).code(11);
    assert!(drift.stdout.contains("cannot be compared") && drift.stdout.contains("Opaque"), "{}", drift.stdout);
    assert_eq!(site.read("log"), "x\n");
    let json = site.run(["drift", "--json"]).code(11);
    let compared: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(compared["unknown"].as_array().map(Vec::len), Some(1));
}

/// Returns the colour of the first pixel of a PNG of 8 bits: no filter changes it.
fn first_pixel(png: &Path) -> [u8; 3] {
    let bytes = std::fs::read(png).expect("screenshot");
    let (mut at, mut packed) = (8, Vec::new());
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes(head[..4].try_into().expect("length")) as usize;
        if &head[4..] == b"IDAT" {
            packed.extend_from_slice(&bytes[at + 8..at + 8 + length]);
        }
        at += 12 + length;
    }
    let mut row = [0; 4];
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_exact(&mut row).expect("pixels");
    [row[1], row[2], row[3]]
}

#[test]
fn a_browser_shows_the_page_in_light_and_in_dark() {
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let is_there = |name: &&&str| Command::new(**name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let Some(browser) = browsers.iter().find(is_there) else {
        eprintln!("SKIPPED: the page is not looked at in a browser, as there is no chromium");
        return;
    };
    let site = resumed();
    let _ = site.run(["report", "--html", "page.html"]).success();
    let page = format!("file://{}", site.path().join("page.html").display());
    let look = |scheme: &str, more: &[&str]| -> Run {
        let mut command = Command::new(browser);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1200,900",
            "--enable-logging=stderr",
        ]);
        command.arg(format!("--blink-settings=preferredColorScheme={scheme}")).args(more).arg(&page);
        command.env("HOME", site.path().join("home")).current_dir(site.path()).stdin(Stdio::null());
        site.finish(command.output().expect("chromium"))
    };
    for (scheme, name, ground) in [("1", "light.png", [0xff, 0xff, 0xff]), ("0", "dark.png", [0x11, 0x15, 0x1a])] {
        let run = look(scheme, &[&format!("--screenshot={}", site.path().join(name).display())]).success();
        assert!(!run.stderr.contains("CONSOLE"), "the browser complains: {}", run.stderr);
        assert_eq!(first_pixel(&site.path().join(name)), ground, "{name}");
    }
    let text = look("1", &["--dump-dom"]).success();
    assert!(text.stdout.contains("<h1>CHG-7 &lt;greeting&gt;</h1>"), "{}", text.stdout);
}
