//! Tests of templates as a whole, against what Ansible gives.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::source::{Diagnostic, Sources, Span};
use crate::value::{Map, Value, json};

use super::{Engine, Truth, Variables, World, without_omitted};

/// A world in memory.
#[derive(Default)]
pub(super) struct Fake {
    pub files: Vec<(PathBuf, String)>,
    pub secrets: Mutex<Vec<String>>,
}

impl World for Fake {
    fn unvault(&self, armoured: &str, _: Span) -> Result<Arc<str>, Diagnostic> {
        match armoured.strip_prefix("vault:") {
            Some(plain) => Ok(plain.into()),
            None => Err(Diagnostic::error("no secret fits")),
        }
    }
    fn find(&self, _: &str, name: &str) -> Option<PathBuf> {
        self.files.iter().map(|(path, _)| path).find(|path| path.ends_with(name)).cloned()
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.files
            .iter()
            .find(|(known, _)| known == path)
            .map(|(_, text)| text.clone().into_bytes())
            .ok_or_else(|| "no such file".to_owned())
    }
    fn secret(&self, text: &str) {
        self.secrets.lock().expect("lock").push(text.to_owned());
    }
    fn warn(&self, _: &str) {}
    fn folder(&self) -> PathBuf {
        PathBuf::from("/play")
    }
    fn pipe(&self, command: &str) -> Result<Vec<u8>, String> {
        Ok(format!("ran {command}\n").into_bytes())
    }
    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/me".to_owned())
    }
}

pub(super) struct Vars(pub Map);

impl Variables for Vars {
    fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }
}

pub(super) fn engine() -> Engine {
    Engine::new(Arc::new(Fake::default()), Sources::default())
}

/// Makes templates of texts, as the loader does with the user's files.
pub(super) fn lazy(value: &Value) -> Value {
    match value {
        Value::Str(text) => Value::text(text, Span::default()),
        Value::List(items) => Value::list(items.iter().map(lazy)),
        Value::Map(map) => Value::from(map.iter().map(|(key, item)| (key.clone(), lazy(item))).collect::<Map>()),
        other => other.clone(),
    }
}

pub(super) fn vars(text: &str) -> Vars {
    let value = lazy(&json::from_json(&serde_json::from_str(text).expect("json")));
    Vars(value.as_map().expect("a dictionary").clone())
}

/// Renders `template` and returns Python's `repr` of the result, or the message.
pub(super) fn shown(template: &str, variables: &str) -> String {
    match engine().render(&Value::text(template, Span::default()), &vars(variables)) {
        Ok(value) => super::template::format::repr(&value),
        Err(error) => format!("ERR {}", error.message),
    }
}

#[test]
fn one_expression_keeps_its_type_and_text_around_it_makes_a_text() {
    assert_eq!(shown("{{ n }}", r#"{"n": 5}"#), "5");
    assert_eq!(shown("x{{ n }}", r#"{"n": 5}"#), "'x5'");
    assert_eq!(shown("{{ a }}", r#"{"a": "{{ b }}", "b": [1, "{{ c }}"], "c": true}"#), "[1, True]");
}

/// The variables of the cases below.
const CASE_VARS: &str = r#"{"d":{"a":1},"l":[1],"l3":[1,2,3],"x":5,"t1":"{{ x }}","t2":["{{ t1 }}","{{ l3 | length }}"],"t3":{"a":"{{ t2 }}","b":"v{{ x }}"},"t4":{"a":"{{ nope }}","b":"{{ x + 1 }}"},"loopy":"{{ loopy2 }}","loopy2":"{{ loopy }}"}"#;

/// Templates and what ansible-core 2.19 gave for them (`ERR`: an error), as facts to hold ourselves to.
#[test]
fn templates_give_what_ansible_gives() {
    let lines: Vec<&str> = include_str!("suite_cases.txt").lines().collect();
    assert!(lines.len() > 300);
    hold(&lines, CASE_VARS);
}

/// As above, for what is written as YAML.
#[test]
fn yaml_is_written_as_ansible_writes_it() {
    let lines: Vec<&str> = include_str!("suite_yaml.txt").lines().collect();
    hold(&lines, include_str!("suite_yaml.json"));
}

/// Templates and conditions that a generator made, and what ansible-core 2.19 gave for them (`null`: an error). The first line
/// holds their variables; those that have their own say so in `v`.
#[test]
fn what_was_found_by_comparing_stays_so() {
    let mut lines = include_str!("suite_found.jsonl").lines();
    let shared = lines.next().expect("variables");
    let mut wrong = Vec::new();
    for line in lines {
        let case: serde_json::Value = serde_json::from_str(line).expect("a case");
        let variables = case.get("v").map_or_else(|| shared.to_owned(), ToString::to_string);
        let given = match (case["t"].as_str(), case["c"].as_str()) {
            (Some(template), _) => shown(template, &variables),
            (None, condition) => {
                let condition = Value::text(condition.expect("a condition"), Span::default());
                match engine().condition(&condition, Span::default(), &vars(&variables)) {
                    Ok(Truth::Yes) => "True".to_owned(),
                    Ok(Truth::No) => "False".to_owned(),
                    Ok(Truth::Unknown(why)) => why,
                    Err(error) => format!("ERR {}", error.message),
                }
            }
        };
        if case["is"].as_str().map_or(!given.starts_with("ERR"), |wanted| wanted != given) {
            wrong.push(format!("{line}\n  given {given}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn hold(lines: &[&str], variables: &str) {
    for pair in lines.chunks(2) {
        let [template, wanted] = pair else { panic!("cases come in pairs") };
        let wanted = wanted.trim_start_matches("  => ");
        let given = shown(template, variables);
        let same = if wanted == "ERR" { given.starts_with("ERR") } else { given == wanted };
        assert!(same, "{template}\nwanted {wanted}\ngiven  {given}");
    }
}

fn check(condition: &Value, variables: Map) -> Result<Truth, Diagnostic> {
    engine().condition(condition, Span::default(), &Vars(variables))
}

fn with_unknown() -> Map {
    let mut map = Map::new();
    map.insert("u".into(), Value::unknown("`make` was not run"));
    map.insert("r".into(), Value::map([("rc", Value::unknown("`make` was not run")), ("changed", Value::Bool(true))]));
    map.insert("yes".into(), Value::Bool(true));
    map
}

#[test]
fn what_is_unknown_taints_only_what_depends_on_it() {
    let truth = |text: &str| match check(&Value::str(text), with_unknown()).expect("a condition") {
        Truth::Yes => "yes",
        Truth::No => "no",
        Truth::Unknown(_) => "unknown",
    };
    let asked = [
        ("u", "unknown"),
        ("r.rc == 0", "unknown"),
        ("r.changed", "yes"),
        ("r is changed", "yes"),
        ("r.changed and r.rc != 0", "unknown"),
        ("yes or u", "yes"),
        ("u or yes", "yes"),
        ("not yes and u", "no"),
        ("u and not yes", "no"),
        ("u is defined", "yes"),
        ("r.rc is defined", "yes"),
        ("u | default(1) == 1", "unknown"),
    ];
    for (text, answer) in asked {
        assert_eq!(truth(text), answer, "{text}");
    }
    let vars = Vars(with_unknown());
    let render = |text: &str| engine().render(&Value::text(text, Span::default()), &vars).expect("renders");
    assert!(matches!(render("a {{ u }}"), Value::Unknown(_)));
    assert!(matches!(render("{{ u }}"), Value::Unknown(_)));
    assert_eq!(render("{{ [u, 1] | length }}"), Value::Int(2));
    assert_eq!(render("{{ [u, 1] | last }}"), Value::Int(1));
    assert_eq!(render("{{ u if not yes else 3 }}"), Value::Int(3));
    assert!(matches!(render("{{ ['a', u] | join }}"), Value::Unknown(_)));
}

#[test]
fn a_list_of_conditions_holds_when_all_do() {
    let list = |items: &[&str]| Value::list(items.iter().map(Value::str));
    assert_eq!(check(&list(&["yes", "1 == 1"]), with_unknown()), Ok(Truth::Yes));
    assert_eq!(check(&list(&["u", "1 == 2"]), with_unknown()), Ok(Truth::No));
    assert!(matches!(check(&list(&["u", "yes"]), with_unknown()), Ok(Truth::Unknown(_))));
}

#[test]
fn a_condition_has_to_be_a_boolean_unless_asked_otherwise() {
    let error = check(&Value::str("'text'"), Map::new()).expect_err("is no boolean");
    assert_eq!(error.message, "the condition gives a text, not a boolean");
    let lenient = engine().lenient_conditions(true);
    let vars = Vars(Map::new());
    assert_eq!(lenient.condition(&Value::str("'text'"), Span::default(), &vars), Ok(Truth::Yes));
    assert_eq!(lenient.condition(&Value::str("[]"), Span::default(), &vars), Ok(Truth::No));
}

#[test]
fn a_value_that_came_from_a_host_is_never_rendered() {
    let mut map = Map::new();
    map.insert("out".into(), Value::str("{{ secret }}"));
    map.insert("secret".into(), Value::str("hunter22"));
    let vars = Vars(map);
    for template in ["{{ out }}", "{{ [out][0] }}", "{{ out | trim }}", "{{ {'a': out}.a }}", "{% set x = out %}{{ x }}"] {
        assert_eq!(engine().render(&Value::text(template, Span::default()), &vars), Ok(Value::str("{{ secret }}")), "{template}");
    }
    assert_eq!(engine().render(&Value::str("{{ secret }}"), &vars), Ok(Value::str("{{ secret }}")));
}

/// Renders the value of `key: VALUE` in a file, and returns message, hints and the text that the error marks.
fn error_in(yaml: &str, template: &str, variables: &str) -> (String, Vec<String>, String) {
    let sources = Sources::default();
    let file = sources.add("site.yml", yaml);
    let start = yaml.find("key: ").expect("a key") + 5;
    let span = Span { file, start: u32::try_from(start).expect("small"), end: u32::try_from(yaml.len()).expect("small") };
    let engine = Engine::new(Arc::new(Fake::default()), sources);
    let error = engine.render(&Value::text(template, span), &vars(variables)).expect_err("an error");
    let place = error.span.expect("a place");
    (error.message, error.hints, yaml[place.start as usize..place.end as usize].to_owned())
}

#[test]
fn what_is_undefined_names_itself_its_place_and_what_is_near() {
    let (message, hints, marked) = error_in("key: \"a {{ cfg.db.prot }} b\"", "a {{ cfg.db.prot }} b", r#"{"cfg": {"db": {"port": 1}}}"#);
    assert_eq!((message.as_str(), marked.as_str()), ("`cfg.db` has no attribute 'prot'", "cfg.db.prot"));
    assert_eq!(hints, ["did you mean `port`?"]);
    let (message, hints, marked) = error_in("key: |\n  one\n    two {{ prot }}\n", "one\n  two {{ prot }}\n", r#"{"port": 1}"#);
    assert_eq!((message.as_str(), marked.as_str()), ("'prot' is undefined", "prot"));
    assert_eq!(hints, ["did you mean `port`?"]);
    let (message, _, marked) = error_in("key: {{ 1 | defualt }}", "{{ 1 | defualt }}", "{}");
    assert_eq!((message.as_str(), marked.as_str()), ("No filter named 'defualt'", "defualt"));
}

#[test]
fn a_circle_of_variables_is_named() {
    let vars = r#"{"a": "{{ b }}", "b": "x{{ c.d }}", "c": {"d": "{{ a }}"}}"#;
    assert_eq!(shown("{{ a }}", vars), "ERR Recursive loop detected in template: `a` uses `b` uses `a`");
}

#[test]
fn template_files_keep_their_last_line_end_and_know_their_header_and_delimiters() {
    let file = |text: &str, options: &[(&str, Value)]| {
        let options: Map = options.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        let vars = vars(r#"{"x": 5}"#);
        let rendered = engine().render_file(Path::new("/t.j2"), text, &options, &vars);
        rendered.map(|value| value.to_string()).map_err(|error| error.message)
    };
    let own = [("variable_start_string", Value::str("<<")), ("variable_end_string", Value::str(">>"))];
    assert_eq!(file("a {{ x }}\n", &[]), Ok("a 5\n".to_owned()));
    assert_eq!(file("{% if x %}\n  yes\n{% endif %}\n", &[]), Ok("  yes\n".to_owned()));
    assert_eq!(file("  {% if x %}\nyes\n  {% endif %}\n", &[("lstrip_blocks", Value::Bool(true))]), Ok("yes\n".to_owned()));
    assert_eq!(file("#jinja2: trim_blocks: False\n{% if x %}\nyes{% endif %}\n", &[]), Ok("\nyes\n".to_owned()));
    assert_eq!(file("<< x >> {{ x }}", &own), Ok("5 {{ x }}".to_owned()));
    assert_eq!(file("a\nb\n", &[("newline_sequence", Value::str("\\r\\n"))]), Ok("a\r\nb\r\n".to_owned()));
    assert_eq!(file("{{ 'a\\tb' }}{{ none }}", &[]), Ok("a\tb".to_owned()));
}

#[test]
fn templates_include_import_and_extend_others() {
    let files = [
        ("/t/base.j2", "<{% block a %}base{% endblock %}>"),
        ("/t/part.j2", "part {{ x }}{{ y }}"),
        ("/t/lib.j2", "{% macro hi(n) %}hi {{ n }}{% endmacro %}{% set v = 3 %}"),
    ];
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let engine = Engine::new(Arc::new(Fake { files, secrets: Mutex::default() }), Sources::default());
    let vars = vars(r#"{"x": 5}"#);
    let render = |text: &str| {
        let rendered = engine.render_file(Path::new("/t/main.j2"), text, &Map::new(), &vars);
        rendered.map(|value| value.to_string()).map_err(|error| error.message)
    };
    let child = "{% extends 'base.j2' %}{% block a %}new {{ super() }} {{ x }}{% endblock %}";
    assert_eq!(render(child), Ok("<new base 5>".to_owned()));
    assert_eq!(render("{% set y = 6 %}{% include 'part.j2' %}"), Ok("part 56".to_owned()));
    assert_eq!(render("{% import 'lib.j2' as lib %}{{ lib.hi('you') }} {{ lib.v }}"), Ok("hi you 3".to_owned()));
    assert_eq!(render("{% from 'lib.j2' import hi as hello %}{{ hello('me') }}"), Ok("hi me".to_owned()));
    assert_eq!(render("{% include 'none.j2' ignore missing %}x"), Ok("x".to_owned()));
    assert_eq!(render("{% include 'none.j2' %}"), Err("there is no template `none.j2`".to_owned()));
    assert_eq!(render("{{ lookup('file', 'base.j2') | length }} {{ lookup('pipe', 'ls') }}"), Ok("33 ran ls".to_owned()));
}

#[test]
fn a_template_that_includes_itself_stops() {
    let text = "{% include 'a.j2' %}".to_owned();
    let again = "{{ lookup('template', 'b.j2') }}".to_owned();
    let files = vec![(PathBuf::from("/t/a.j2"), text), (PathBuf::from("/t/b.j2"), again)];
    let engine = Engine::new(Arc::new(Fake { files, secrets: Mutex::default() }), Sources::default());
    for name in ["a.j2", "b.j2"] {
        let template = format!("{{{{ lookup('template', '{name}') }}}}");
        let error = engine.render(&Value::text(&template, Span::default()), &Vars(Map::new())).expect_err("stops");
        assert!(error.message.contains("nests more than"), "{}", error.message);
    }
}

#[test]
fn omitted_entries_are_left_out() {
    let value = lazy(&Value::map([("a", Value::str("{{ nope | default(omit) }}")), ("b", Value::Int(1))]));
    let value = engine().render(&value, &Vars(Map::new())).expect("renders");
    assert_eq!(without_omitted(&value), Some(Value::map([("b", Value::Int(1))])));
}

#[test]
fn vaulted_values_are_decrypted_when_used_and_told_to_the_redactor() {
    let fake = Arc::new(Fake::default());
    let engine = Engine::new(fake.clone(), Sources::default());
    let mut map = Map::new();
    let text = crate::value::Text { text: "vault:hunter22".to_owned(), span: Span::default() };
    map.insert("pw".into(), Value::Lazy(Arc::new(crate::value::Lazy::Vault(text))));
    assert_eq!(engine.render(&Value::text("x{{ pw }}", Span::default()), &Vars(map)), Ok(Value::str("xhunter22")));
    assert!(fake.secrets.lock().expect("lock").contains(&"hunter22".to_owned()));
}

#[test]
fn of_what_cannot_be_decrypted_only_the_type_is_known() {
    let text = crate::value::Text { text: "sealed".to_owned(), span: Span::default() };
    let map = Map::from_iter([("pw".into(), Value::Lazy(Arc::new(crate::value::Lazy::Vault(text))))]);
    let vars = Vars(map);
    let rendered = |template: &str| engine().render(&Value::text(template, Span::default()), &vars);
    assert_eq!(rendered("{{ pw | type_debug }}"), Ok(Value::str("VaultExceptionMarker")));
    for template in ["{{ pw | default('x') }}", "{{ pw is defined }}", "{{ pw | length }}"] {
        assert_eq!(rendered(template).expect_err("an error").message, "no secret fits", "{template}");
    }
}

#[test]
fn old_loops_are_lookups() {
    let loops = |kind: &str, items: &str| {
        let items = lazy(&json::from_json(&serde_json::from_str(items).expect("json")));
        let vars = vars(r#"{"l": [1, [2]], "d": {"a": 1}}"#);
        let found = engine().loop_items(kind, &items, Span::default(), &vars);
        found.map(|value| value.to_string()).map_err(|error| error.message)
    };
    assert_eq!(loops("items", r#"["a", ["b", ["c"]]]"#), Ok("['a', 'b', ['c']]".to_owned()));
    assert_eq!(loops("items", r#""{{ l }}""#), Ok("[1, 2]".to_owned()));
    assert_eq!(loops("dict", r#""{{ d }}""#), Ok("[{'key': 'a', 'value': 1}]".to_owned()));
    assert_eq!(loops("together", r#"[[1, 2], [3]]"#), Ok("[[1, 3], [2, None]]".to_owned()));
    assert_eq!(loops("nested", r#"[["a", "b"], [1]]"#), Ok("[['a', 1], ['b', 1]]".to_owned()));
    assert_eq!(loops("sequence", r#""start=1 end=3 format=web%02d""#), Ok("['web01', 'web02', 'web03']".to_owned()));
    assert_eq!(loops("indexed_items", r#"["a"]"#), Ok("[[0, 'a']]".to_owned()));
    assert_eq!(loops("loop", r#""{{ d }}""#), Err("`loop` takes a list, not a dictionary".to_owned()));
    assert_eq!(loops("nonsense", "[]"), Err("there is no loop `with_nonsense`".to_owned()));
}

#[test]
fn password_hashes_are_those_of_crypt() {
    // As `openssl passwd -6` gives it.
    let template = "{{ 'Hello world!' | password_hash('sha512', 'saltstring', rounds=5000) }}";
    let known = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
    assert_eq!(shown(template, "{}"), format!("'{known}'"));
}

#[test]
fn deep_nesting_is_an_error_even_on_a_small_stack() {
    let inside = || {
        let chain: Map = (0..200)
            .map(|at| {
                (format!("v{at}").into(), Value::text(&format!("{{{{ v{} | default(1) | string | trim }}}}", at + 1), Span::default()))
            })
            .collect();
        let error = engine().render(&Value::text("{{ v0 }}", Span::default()), &Vars(chain)).expect_err("too deep");
        assert!(error.message.contains("nests more than"), "{}", error.message);
        let text = "{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(1000) }}";
        assert!(shown(text, "{}").contains("nests more than"));
        let brackets = format!("{{{{ {}1{} }}}}", "(".repeat(140), ")".repeat(140));
        assert!(!shown(&brackets, "{}").is_empty());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(inside).expect("a thread").join().expect("no overflow");
}
