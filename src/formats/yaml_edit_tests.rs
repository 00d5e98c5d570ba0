//! Tests of `yaml_edit`.

use super::*;

const REAL: &str = "\
# ======================== Elasticsearch Configuration =========================
#
# NOTE: Elasticsearch comes with reasonable defaults for most settings.
#
# ---------------------------------- Cluster -----------------------------------
cluster.name: my-application   # what it is called
#
# ------------------------------------ Node ------------------------------------
node:
  name: 'node-1'
  # the roles
  roles: [master, data]
path.data: /var/lib/elasticsearch
# ---------------------------------- Network -----------------------------------
#network.host: 192.168.0.1
network.host: 0.0.0.0
discovery.seed_hosts:
  - \"host1\"   # first
  # about the second
  - \"host2\"
xpack.security.enabled: true

xpack.security.http.ssl:
  enabled: true
  keystore.path: certs/http.p12
xpack.security.transport.ssl:
  enabled: true
  verification_mode: certificate
# end
";

fn run(text: &str, settings: &str, absent: &[&str]) -> Edited {
    let json = serde_json::from_str(settings).expect("json");
    let settings = crate::value::json::from_json(&json);
    edit(text, settings.as_map().expect("map"), &absent.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).expect("edits")
}

/// Returns the lines that differ, marked as `diff` does.
fn diff(before: &str, after: &str) -> String {
    let diff = similar::TextDiff::from_lines(before, after);
    diff.iter_all_changes()
        .filter(|change| change.tag() != similar::ChangeTag::Equal)
        .map(|change| format!("{}{change}", change.tag()))
        .collect()
}

#[test]
fn what_is_there_already_keeps_every_byte() {
    let settings = r#"{"cluster": {"name": "my-application"}, "node.name": "node-1", "node": {"roles": ["master", "data"]},
        "discovery": {"seed_hosts": ["host1", "host2"]}, "xpack.security": {"enabled": true, "transport.ssl.verification_mode": "certificate"},
        "gone": null}"#;
    let edited = run(REAL, settings, &["also.gone", "network.hos"]);
    assert_eq!(edited, Edited { text: REAL.to_owned(), ..Edited::default() });
}

#[test]
fn values_change_where_they_stand_in_the_style_they_have() {
    let settings = r#"{"cluster.name": "other", "node.name": "it's 2", "node.roles": ["data", "remote_cluster_client"],
        "discovery.seed_hosts": ["host0", "host2"], "xpack.security.http.ssl.enabled": false, "network.host": ["_site_", "_local_"]}"#;
    let edited = run(REAL, settings, &[]);
    insta::assert_snapshot!(diff(REAL, &edited.text), @r#"
    -cluster.name: my-application   # what it is called
    +cluster.name: other   # what it is called
    -  name: 'node-1'
    +  name: 'it''s 2'
    -  roles: [master, data]
    +  roles: [data, remote_cluster_client]
    -network.host: 0.0.0.0
    +network.host: [_site_, _local_]
    -  - "host1"   # first
    +  - "host0"
    -  enabled: true
    +  enabled: false
    "#);
    assert_eq!(edited.set.len(), 6);
    assert_eq!(run(&edited.text, settings, &[]).text, edited.text, "a second time changes nothing");
}

#[test]
fn new_settings_go_to_their_kin() {
    let settings = r#"{"remote_cluster_server": {"enabled": true, "port": 9443}, "node.attr.rack": "r1", "network.publish_host": "198.51.100.20",
        "xpack.security.transport.ssl.keystore.path": "certs/t.p12", "cluster.initial_master_nodes": ["a", "b: c"], "x": "9200"}"#;
    let edited = run(REAL, settings, &[]);
    insta::assert_snapshot!(diff(REAL, &edited.text), @r#"
    +cluster.initial_master_nodes: [a, "b: c"]
    +  attr.rack: r1
    +network.publish_host: 198.51.100.20
    +  keystore.path: certs/t.p12
    +remote_cluster_server.enabled: true
    +remote_cluster_server.port: 9443
    +x: "9200"
    "#);
    assert_eq!(run(&edited.text, settings, &[]).text, edited.text, "a second time changes nothing");
}

#[test]
fn settings_go_with_their_lines_and_empty_parents_go_too() {
    let edited = run(REAL, "{}", &["xpack.security.transport", "node.roles", "discovery.seed_hosts", "cluster.name"]);
    insta::assert_snapshot!(diff(REAL, &edited.text), @r#"
    -cluster.name: my-application   # what it is called
    -  roles: [master, data]
    -discovery.seed_hosts:
    -  - "host1"   # first
    -  # about the second
    -  - "host2"
    -xpack.security.transport.ssl:
    -  enabled: true
    -  verification_mode: certificate
    "#);
    assert_eq!(edited.removed.len(), 5);
}

#[test]
fn one_setting_spelled_twice_becomes_one() {
    let text = "cluster.name: a\ncluster:\n  name: b\n  routing: x\n";
    let edited = run(text, r#"{"cluster.name": "c"}"#, &[]);
    assert_eq!(edited.text, "cluster.name: c\ncluster:\n  routing: x\n");
    assert_eq!(edited.warnings, ["`cluster.name` stood there more than once; one is left"]);
}

#[test]
fn a_value_and_a_mapping_cannot_share_a_name() {
    let edited = run("a: 1\nb.c.d: 2\n", r#"{"a.b": 2, "b.c": 3}"#, &[]);
    assert_eq!(edited.text, "a.b: 2\nb.c: 3\n");
    assert_eq!(edited.warnings.len(), 2);
}

#[test]
fn empty_texts_and_texts_of_comments_get_their_first_setting() {
    for (text, wanted) in [
        ("", "a.b: 1\n"),
        ("# only\n# comments", "# only\n# comments\na.b: 1\n"),
        ("---\n", "---\na.b: 1\n"),
        ("--- \n# c\n...\n", "--- \n# c\na.b: 1\n...\n"),
        ("{}\n", "{a.b: 1}\n"),
        ("a:\n", "a.b: 1\n"),
        ("x: 1", "x: 1\na.b: 1\n"),
        ("x: 1\r\n", "x: 1\r\na.b: 1\r\n"),
    ] {
        assert_eq!(run(text, r#"{"a": {"b": 1}}"#, &[]).text, wanted, "{text:?}");
    }
}

#[test]
fn flow_mappings_are_edited_in_place() {
    let text = "a: {b: 1, c: [x, y], d: 'z'} # c\n";
    assert_eq!(run(text, r#"{"a.b": "q,r", "a.e": true}"#, &["a.c"]).text, "a: {b: \"q,r\", d: 'z', e: true} # c\n");
    assert_eq!(run(text, "{}", &["a.d"]).text, "a: {b: 1, c: [x, y]} # c\n");
    assert_eq!(run(text, "{}", &["a"]).text, "");
}

#[test]
fn blocks_lists_and_empty_values_change_into_each_other() {
    for (text, settings, wanted) in [
        ("a: |\n  one\n  two\nb: 1\n", r#"{"a": "x"}"#, "a: x\nb: 1\n"),
        ("a: # why\n  - x\nb: 1\n", r#"{"a": "x"}"#, "a: x # why\nb: 1\n"),
        ("a: x # why\nb: 1\n", r#"{"a": ["x", 2]}"#, "a: [x, 2] # why\nb: 1\n"),
        ("a:\n- x\n- y\nb: 1\n", r#"{"a": ["y", "z"]}"#, "a:\n- y\n- z\nb: 1\n"),
        ("a: # why\nb: 1\n", r#"{"a": ""}"#, "a: \"\" # why\nb: 1\n"),
        ("a: \"é\" # é\nb: ü\n", r#"{"a": "ö", "b": "ß"}"#, "a: \"ö\" # é\nb: ß\n"),
        ("\"a.b\": 1\n", r#"{"a": {"b": 2}}"#, "\"a.b\": 2\n"),
        ("a: x\n", r#"{"a": "two\nlines"}"#, "a: \"two\\nlines\"\n"),
        ("a: x\n", r#"{"a": []}"#, "a: []\n"),
        ("a: [x]\n", r#"{"a": []}"#, "a: []\n"),
    ] {
        let edited = run(text, settings, &[]);
        assert_eq!(edited.text, wanted, "{text:?}");
        assert_eq!(run(wanted, settings, &[]).text, wanted, "a second time changes nothing");
    }
}

#[test]
fn texts_that_would_be_read_as_something_else_are_quoted() {
    for text in [
        "true",
        "No",
        "null",
        "~",
        "",
        " x",
        "x ",
        "1",
        "-1",
        "1e3",
        "0x1f",
        "12:30",
        "2020-01-01",
        "a: b",
        "a #b",
        "*",
        "-",
        "[x",
        "@x",
        "x:",
    ] {
        let edited = run("", &serde_json::json!({ "k": text }).to_string(), &[]);
        assert_eq!(edited.text, format!("k: \"{text}\"\n"));
    }
    for text in ["a", "192.168.0.1", "8.14.0", "a:b", "http://x:9200", "/var/lib", "a-b_c", "30s", "x'y"] {
        assert_eq!(run("", &serde_json::json!({ "k": text }).to_string(), &[]).text, format!("k: {text}\n"));
    }
}

#[test]
fn what_is_no_mapping_is_refused_and_nothing_panics() {
    let settings = Map::from_iter([("a.b".into(), Value::Int(1))]);
    for text in [
        "- x\n",
        "just text\n",
        "a: 1\n---\nb: 2\n",
        "a: [1\n",
        "a: &x 1\nb: *y\n",
        "\t- a",
        "? a\n: b\n",
        "? - a\n: b\n",
        "{a: {b",
        "é: {é: é}\n",
    ] {
        for end in text.char_indices().map(|(at, _)| at).chain([text.len()]) {
            let _ = edit(&text[..end], &settings, &["é.é".to_owned()]);
        }
    }
    for text in ["- x\n", "just text\n", "a: 1\n---\nb: 2\n", "a: [1\n"] {
        assert!(edit(text, &settings, &[]).is_err(), "{text:?}");
    }
}
