//! Tests of inventories as a whole.

use std::path::Path;

use super::*;
use crate::source::render;

struct Site {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl Site {
    fn new(files: &[(&str, &str)]) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("folder"), sources: Sources::default() };
        for (name, text) in files {
            let path = site.folder.path().join(name);
            write(&path, text);
        }
        site
    }

    fn try_load(&self, inputs: &[&str]) -> Result<Inventory, String> {
        let inputs: Vec<_> = inputs.iter().map(|input| if input.contains(',') { (*input).to_owned() } else { self.path(input) }).collect();
        let load = Inventory::load(&self.sources, &Arc::default(), &inputs);
        load.map_err(|errors| {
            let lines: Vec<_> = errors.iter().map(|error| render::line(&self.sources, error)).collect();
            lines.join("\n").replace(&self.path(""), "")
        })
    }

    fn load(&self, inputs: &[&str]) -> Inventory {
        self.try_load(inputs).expect("loads")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[allow(clippy::disallowed_methods)]
fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
    std::fs::write(path, text).expect("writes");
}

fn shown(inventory: &Inventory, host: &str) -> String {
    Value::from(inventory.variables(host)).to_string()
}

fn names(hosts: &[HostName]) -> String {
    hosts.join(" ")
}

#[test]
fn hosts_without_a_group_come_first_also_where_a_later_source_names_groups() {
    let site = Site::new(&[("hosts", "lone\n[g]\nh1\n"), ("more.yml", "all:\n  children:\n    z: {hosts: {late: }}\n    g: \n")]);
    assert_eq!(names(&site.load(&["more.yml", "hosts"]).hosts()), "lone late h1");
}

#[test]
fn a_group_without_a_priority_has_one() {
    let text = "[a]\nh\n[a:vars]\nx=a\nansible_group_priority=0\n[b]\nh\n[b:vars]\nx=b\n[c]\nh\n[c:vars]\nx=c\nansible_group_priority=0\n";
    assert_eq!(shown(&Site::new(&[("hosts", text)]).load(&["hosts"]), "h"), "{'x': 'b'}");
}

const HOSTS: &str = "lone ansible_host=10.0.0.1 # comment
b[01:03].example.net:2222 n=5 s='a b' l=\"[1, 'x']\" o=0644 t=True u=true q='\"0644\"' esc=a\\ b hash=a#b lost=1

[db]
d[a:c]
d[1:5:2]x
[web] # comment
b01.example.net
w1
[east:children]
web   # c
db
[west:children]
db
[deep:children]
east
[web:vars]
x=5 # comment
y=foo # bar
k=
[db:vars]
x=db
[all:vars]
x=all
g=all
[east:vars]
x=east
";

#[test]
fn ini_inventories_are_read_as_ansible_reads_them() {
    let inventory = Site::new(&[("hosts", HOSTS)]).load(&["hosts"]);
    assert_eq!(names(&inventory.hosts()), "lone b02.example.net b03.example.net da db dc d1x d3x d5x b01.example.net w1");
    assert_eq!(
        shown(&inventory, "b02.example.net"),
        "{'x': 'all', 'g': 'all', 'ansible_port': 2222, 'n': 5, 's': 'a b', 'l': [1, 'x'], 'o': '0644', 't': True, 'u': 'true', 'q': '0644', 'esc': 'a b', 'hash': 'a'}"
    );
    assert_eq!(shown(&inventory, "w1"), "{'x': 5, 'g': 'all', 'y': 'foo # bar', 'k': ''}");
    assert_eq!(inventory.groups_of("w1").join(" "), "all deep east web");
    assert_eq!(inventory.group_names_of("lone").join(" "), "ungrouped");
}

#[test]
fn patterns_name_hosts() {
    let inventory = Site::new(&[("hosts", HOSTS)]).load(&["hosts"]);
    let matching = |pattern: &str, limit: &[&str]| {
        let limit: Vec<_> = limit.iter().map(|limit| (*limit).to_owned()).collect();
        match inventory.hosts_matching(pattern, &limit) {
            Ok(hosts) => names(&hosts),
            Err(diagnostic) => diagnostic.message,
        }
    };
    for (pattern, hosts) in [
        ("web[0]", "b01.example.net"),
        ("web[0:1]", "b01.example.net w1"),
        ("web[-1]", "w1"),
        ("east[1:]", "w1 da db dc d1x d3x d5x"),
        ("~b0[12]", "b01.example.net b02.example.net"),
        ("all:!db*:!d?*", "lone b02.example.net b03.example.net"),
        ("!west", "lone b02.example.net b03.example.net b01.example.net w1"),
        ("&east:web", "b01.example.net w1"),
        ("lone,w1", "lone w1"),
        ("b*,w1", "b01.example.net b02.example.net b03.example.net w1"),
        ("localhost", "localhost"),
        ("nosuch", ""),
        ("~[", "`[` is not a regular expression: error: unclosed character class"),
    ] {
        assert_eq!(matching(pattern, &[]), hosts, "{pattern}");
    }
    assert_eq!(matching("web", &["w*", "!b01*"]), "w1");
    assert_eq!(inventory.unmatched("web:nosuch:localhost"), ["nosuch"]);
}

#[test]
fn a_limit_may_be_a_file() {
    let site = Site::new(&[("hosts", "a\nb\nc\n"), ("retry", "b\n# c\n")]);
    let inventory = site.load(&["hosts"]);
    let limit = format!("@{}", site.path("retry"));
    assert_eq!(names(&inventory.hosts_matching("all", &[limit]).expect("hosts")), "b");
    assert!(inventory.hosts_matching("all", &["@/no/such".to_owned()]).is_err());
}

#[test]
fn yaml_inventories_have_the_same_meaning() {
    let yaml = "all:\n  vars: {x: all}\n  hosts:\n    lone: {tpl: '{{ x }}'}\n  children:\n    web:\n      vars: {x: web}\n      hosts:\n        web[1:2]:2200:\n          a: 0644\n    db:\n      hosts:\n        '12':\n";
    let inventory = Site::new(&[("site.yml", yaml)]).load(&["site.yml"]);
    assert_eq!(names(&inventory.hosts()), "lone web1 web2 12");
    assert_eq!(shown(&inventory, "web2"), "{'x': 'web', 'ansible_port': 2200, 'a': 420}");
    assert_eq!(inventory.groups_value().get("web"), Some(&Value::list([Value::str("web1"), Value::str("web2")])));
}

#[test]
fn variables_keep_their_precedence_and_their_places() {
    let site = Site::new(&[
        ("inv/hosts", "[web]\nw1 a=host b=host\n[web:vars]\na=group\nc=group\n[all:vars]\nc=all\nd=all\n"),
        ("inv/group_vars/all.yml", "c: gva\nd: gva\ne: gva\n"),
        ("inv/group_vars/web/1.yml", "f: one\ng: one\n"),
        ("inv/group_vars/web/2.json", "{\"f\": \"two\"}\n"),
        ("inv/group_vars/web/.hidden.yml", "f: hidden\n"),
        ("inv/host_vars/w1", "b: hostvars\n"),
        ("play/group_vars/web.yaml", "g: play\nb: play\n"),
    ]);
    let mut inventory = site.load(&["inv/hosts"]);
    inventory.set_playbook_folder(&site.folder.path().join("play")).expect("reads");
    let variables = inventory.variables("w1");
    let values: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"].iter().map(|name| variables[*name].to_string()).collect();
    assert_eq!(values, ["host", "hostvars", "gva", "gva", "gva", "two", "play"]);
    let (level, span) = inventory.origin("w1", "g").expect("origin");
    let place = site.sources.place(span).expect("place");
    assert_eq!((level, place.line, place.column), (Level::PlaybookGroupVars, 1, 1));
    assert!(place.path.ends_with("play/group_vars/web.yaml"));
    let (_, span) = inventory.origin("w1", "a").expect("origin");
    assert_eq!(site.sources.place(span).map(|place| (place.line, place.column)), Some((2, 4)));
}

#[test]
fn folders_lists_and_files_add_up() {
    let site = Site::new(&[
        ("inv/10-a.ini", "[web]\na\n"),
        ("inv/20-b.yml", "web: {hosts: {b: }}\n"),
        ("inv/x.retry", "never\n"),
        ("inv/y.yml~", "never\n"),
        ("inv/sub/c", "[web]\nc\n"),
        ("inv/group_vars/web", "x: 1\n"),
    ]);
    let inventory = site.load(&["inv", "d[1:2],"]);
    assert_eq!(names(&inventory.hosts()), "d1 d2 a b c");
    assert_eq!(shown(&inventory, "c"), "{'x': 1}");
    assert_eq!(inventory.source_of("a").map(|path| path.ends_with("inv/10-a.ini")), Some(true));
}

#[test]
fn priorities_decide_between_groups_of_one_depth() {
    let site = Site::new(&[("hosts", "[a]\nh\n[b]\nh\n[a:vars]\nx=a\nansible_group_priority=10\n[b:vars]\nx=b\n")]);
    assert_eq!(shown(&site.load(&["hosts"]), "h"), "{'x': 'a'}");
}

#[test]
fn hosts_and_groups_may_come_while_a_play_runs() {
    let site = Site::new(&[("hosts", "a\n"), ("group_vars/new.yml", "x: new\n"), ("host_vars/b.yml", "y: b\n")]);
    let mut inventory = site.load(&["hosts"]);
    let variables = Map::from_iter([(Key::from("z"), Value::Int(1))]);
    inventory.add_host("b", &["new".to_owned()], &variables).expect("adds");
    inventory.add_group_member("new", "a", &["outer".to_owned()]).expect("adds");
    assert_eq!(shown(&inventory, "b"), "{'x': 'new', 'z': 1, 'y': 'b'}");
    assert_eq!(names(&inventory.hosts_in("outer")), "b a");
    assert_eq!(inventory.group_names_of("a").join(" "), "new outer");
}

#[test]
fn the_controller_needs_no_inventory() {
    let inventory = Site::new(&[]).load(&[]);
    assert!(inventory.hosts().is_empty());
    assert_eq!(names(&inventory.hosts_matching("localhost", &[]).expect("hosts")), "localhost");
    assert_eq!(shown(&inventory, "localhost"), "{'ansible_connection': 'local'}");
}

#[test]
fn mistakes_in_inventories_are_told_all_at_once() {
    let site = Site::new(&[
        (
            "hosts",
            "[web]\nw1 a = b\nw2 x='y\n[web:var]\n[db:children]\nwbe\n[web:vars]\nnothing\n[no:vars]\n[a:children]\nb\n[b:children]\na\nw[3:1]\n[w\n",
        ),
        ("x.yml", "web:\n  hosts: [a, b]\n  vars: 3\ndb: x\n"),
        ("list.yml", "- a\n"),
    ]);
    insta::assert_snapshot!(site.try_load(&["hosts", "x.yml", "list.yml", "none"]).expect_err("is wrong"), @r#"
hosts:2:4: `a` is not `name=value` (hint: write it without spaces around the `=`)
hosts:3:6: this quote is never closed (hint: close it, or put a backslash before it)
hosts:4:1: `[web:var]` is no section: after the colon stands `children` or `vars` (hint: did you mean `vars`?)
hosts:8:1: `nothing` is not `name=value` (hint: a line of `:vars` is `name=value`)
hosts:13:1: the group `b` cannot contain `a`, which contains it
hosts:14:1: a line of `[b:children]` is the name of one group (hint: variables go under `:vars`, hosts under the group's own section)
hosts:15:1: this section has no closing bracket (hint: write `[name]`)
hosts:6:1: the group `wbe` is named as a child but defined nowhere (hint: did you mean `web`?)
hosts:9:1: the group `no` is given variables but defined nowhere (hint: add a section `[no]`; it may be empty)
x.yml:2:10: `hosts` of the group `web` has to be a dictionary, this is a list (hint: write each as a key of its own: `name:` without a dash)
x.yml:3:9: `vars` of the group `web` has to be a dictionary, this is a number (hint: write each as a key of its own: `name:` without a dash)
x.yml:4:5: the group `db` has to be a dictionary, this is a text (hint: put its hosts under `hosts:`, each as a key: `name:`)
list.yml:1:1: an inventory has to be a dictionary of groups, this is a list (hint: begin with `all:`, and `hosts:` below it, indented)
cannot read the inventory `none`: No such file or directory (hint: a list of hosts ends in a comma: `-i none,`)
"#);
}

#[test]
fn a_thousand_hosts_are_read_at_once() {
    let mut text = String::from("[web]\n");
    for number in 0..1000 {
        text.push_str(&format!("web{number}.example.net ansible_host=10.0.{}.{} rack={}\n", number / 250, number % 250, number % 40));
    }
    let site = Site::new(&[("hosts", &text)]);
    let began = std::time::Instant::now();
    let inventory = site.load(&["hosts"]);
    assert_eq!(inventory.hosts().len(), 1000);
    assert!(began.elapsed().as_millis() < 2000, "{:?}", began.elapsed());
}

#[test]
fn a_program_prints_its_hosts_and_their_variables() {
    use std::os::unix::fs::PermissionsExt;
    let with_meta = "#!/bin/sh\necho '{\"web\": {\"hosts\": [\"w1\"], \"vars\": {\"tier\": \"front\"}, \"children\": [\"edge\"]}, \"edge\": [\"e1\"], \"_meta\": {\"hostvars\": {\"w1\": {\"port\": 8}}}}'\n";
    let without = "#!/bin/sh\nif [ \"$1\" = --list ]; then echo '{\"db\": [\"d1\"]}'; else echo \"{\\\"name\\\": \\\"$2\\\"}\"; fi\n";
    let site = Site::new(&[("a", with_meta), ("b", without), ("c", "#!/bin/sh\necho broken >&2\nexit 3\n")]);
    for name in ["a", "b", "c"] {
        std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let inventory = site.load(&["a", "b"]);
    assert_eq!(shown(&inventory, "w1"), "{'tier': 'front', 'port': 8}");
    assert_eq!(shown(&inventory, "e1"), "{'tier': 'front'}");
    assert_eq!(shown(&inventory, "d1"), "{'name': 'd1'}");
    let wrong = site.try_load(&["c"]).expect_err("fails");
    assert!(wrong.contains("c --list` failed: broken"), "{wrong}");
}

#[test]
fn toml_is_read_with_places() {
    let site = Site::new(&[
        ("h.toml", "[web.hosts.w1]\nport = 8\nwhen = 2020-01-02T03:04:05\n[web.vars]\nt = \"{{ port }}\"\n"),
        ("b.toml", "[web\n"),
    ]);
    assert_eq!(shown(&site.load(&["h.toml"]), "w1"), "{'t': '{{ port }}', 'port': 8, 'when': '2020-01-02T03:04:05'}");
    let wrong = site.try_load(&["b.toml"]).expect_err("fails");
    assert!(wrong.starts_with("b.toml:1:5: this is not TOML"), "{wrong}");
}

#[test]
fn constructed_and_generated_groups_and_hosts() {
    let site = Site::new(&[
        ("1.yml", "all:\n  hosts:\n    h1: {os: debian, tags: {env: prod, kind: ''}, roles: [db, '']}\n    h2: {os: ''}\n"),
        (
            "2.yml",
            "plugin: constructed\ncompose:\n  full: os ~ '-x'\ngroups:\n  is_debian: os == 'debian'\nkeyed_groups:\n- {key: os, prefix: os, default_value: none}\n- {key: tags, prefix: t, trailing_separator: false}\n- {key: roles, separator: ''}\n- {key: missing}\n",
        ),
        (
            "3.yml",
            "plugin: generator\nlayers:\n  site: [a, b]\n  n: [1, 2]\nhosts:\n  name: '{{ site }}{{ n }}'\n  parents:\n  - name: site_{{ site }}\n    vars: {site: '{{ site }}'}\n    parents: [{name: everywhere}]\n",
        ),
        ("4.yml", "plugin: amazon.aws.aws_ec2\nregions: []\n"),
        ("5.yml", "plugin: constructed\nstrict: true\ncompose: {x: missing}\n"),
    ]);
    let inventory = site.load(&["1.yml", "2.yml", "3.yml"]);
    let groups = |host: &str| inventory.group_names_of(host).join(" ");
    assert_eq!(groups("h1"), "db is_debian os_debian t_env_prod t_kind");
    assert_eq!(groups("h2"), "os_none");
    assert!(shown(&inventory, "h1").contains("'full': 'debian-x'"));
    assert_eq!(groups("b2"), "everywhere site_b");
    assert_eq!(shown(&inventory, "a1"), "{'site': 'a'}");
    let wrong = site.try_load(&["4.yml"]).expect_err("fails");
    assert!(wrong.contains("the inventory plugin `amazon.aws.aws_ec2` is not known"), "{wrong}");
    assert!(site.try_load(&["1.yml", "5.yml"]).expect_err("fails").contains("'missing' is undefined"));
}

#[test]
fn where_lenient_what_cannot_be_read_is_a_warning() {
    let site = Site::new(&[("good", "h1\n"), ("bad.yml", "- a\n")]);
    let inputs = [site.path("bad.yml"), site.path("good"), "x[1:j],".to_owned(), "y[1:3],".to_owned()];
    let options = Options { lenient: true, advanced_lists: true, ..Options::default() };
    let mut inventory = Inventory::load_with(&site.sources, &Arc::default(), &inputs, options).expect("loads");
    assert_eq!(inventory.hosts().iter().map(|host| &**host).collect::<Vec<_>>(), ["h1", "y1", "y2", "y3"]);
    let warnings: Vec<_> = inventory.take_warnings().into_iter().map(|warning| warning.message).collect();
    assert!(warnings[0].starts_with("Failed to parse inventory with 'yaml' plugin"), "{warnings:?}");
    assert!(warnings[2].starts_with("Failed to parse inventory with 'advanced_host_list' plugin"), "{warnings:?}");
    assert_eq!(warnings.len(), 4);
}

#[test]
fn nothing_but_commas_means_all_hosts() {
    let site = Site::new(&[("hosts", "h1\nh2\nh3\n")]);
    let inventory = site.load(&["hosts"]);
    let count = |pattern: &str, limit: &[&str]| {
        let limit: Vec<_> = limit.iter().map(|part| (*part).to_owned()).collect();
        inventory.hosts_matching(pattern, &limit).expect("matches").len()
    };
    assert_eq!((count(",,", &[]), count("all", &[",,"]), count("all", &[""]), count("h1,,h3", &[])), (3, 3, 3, 2));
}

#[test]
fn dictionaries_are_merged_where_that_is_set() {
    let text = |host: &str, group: &str| format!("all:\n  hosts:\n    h: {{d: {{{host}}}}}\n  vars: {{g: {{{group}}}}}\n");
    let site = Site::new(&[("1.yml", &text("a: 1, b: 1", "x: 1, y: 1")), ("2.yml", &text("a: 2", "x: 2"))]);
    let shown = |merges: bool| {
        let options = Options { merges, ..Options::default() };
        let inputs = [site.path("1.yml"), site.path("2.yml")];
        shown(&Inventory::load_with(&site.sources, &Arc::default(), &inputs, options).expect("loads"), "h")
    };
    assert_eq!(shown(false), "{'g': {'x': 2}, 'd': {'a': 2}}");
    assert_eq!(shown(true), "{'g': {'x': 2, 'y': 1}, 'd': {'a': 2, 'b': 1}}");
}
