//! Tests of reading YAML.

use super::*;
use crate::source::render;

fn read(text: &str) -> (Sources, Parsed) {
    let sources = Sources::default();
    let parsed = parse(&sources, Path::new("site.yml"), text.to_owned());
    (sources, parsed)
}

fn node(text: &str) -> Node {
    let (sources, parsed) = read(text);
    let said: Vec<_> = parsed.diagnostics.iter().map(|diagnostic| render::line(&sources, diagnostic)).collect();
    assert!(said.is_empty(), "{said:?}");
    parsed.documents.into_iter().next().expect("a document")
}

fn complaint(text: &str) -> String {
    let (sources, parsed) = read(text);
    let lines: Vec<_> = parsed.diagnostics.iter().map(|diagnostic| render::line(&sources, diagnostic)).collect();
    lines.join("\n")
}

#[test]
fn quoted_scalars_stay_text_and_plain_ones_do_not() {
    let map = node("a: 0644\nb: \"0644\"\nc: yes\nd: 'yes'\ne:\nf: !!str 12\n");
    assert_eq!(map.get("a").map(|node| &node.kind), Some(&Kind::Int(420)));
    assert_eq!(map.get("b").and_then(Node::as_str), Some("0644"));
    assert_eq!(map.get("c").map(|node| &node.kind), Some(&Kind::Bool(true)));
    assert_eq!(map.get("d").and_then(Node::as_str), Some("yes"));
    assert!(map.get("e").is_some_and(Node::is_null));
    assert_eq!(map.get("f").and_then(Node::as_str), Some("12"));
}

#[test]
fn a_quote_that_is_never_closed_is_found_within_braces_too() {
    let told = complaint("- a: {b: \"x, c: d}\n- e: 1\n");
    assert!(told.contains(":1:10: this \" is never closed"), "{told}");
}

#[test]
fn every_node_knows_its_place_even_after_wide_characters() {
    let (sources, parsed) = read("\u{feff}# größe ☃\nkey: [ä, bö]\nother: x\n");
    let map = &parsed.documents[0];
    let item = &map.get("key").and_then(Node::as_list).expect("list")[1];
    let file = sources.get(parsed.file).expect("file");
    assert_eq!(&file.text[item.span.start as usize..item.span.end as usize], "bö");
    let list = map.get("key").expect("key").span;
    assert_eq!(&file.text[list.start as usize..list.end as usize], "[ä, bö]");
    assert_eq!(sources.place(map.get("other").expect("other").span).map(|place| (place.line, place.column)), Some((3, 8)));
    assert_eq!(&file.text[map.span.start as usize..map.span.end as usize], "key: [ä, bö]\nother: x");
}

#[test]
fn merge_keys_give_way_to_own_keys_and_earlier_maps_win() {
    let map = node("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  y: 3\n  <<: [*a, *b]\n");
    let merged = map.get("c").expect("c");
    let keys: Vec<_> = merged.as_map().expect("map").iter().filter_map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["x", "z", "y"]);
    let values: Vec<_> = ["x", "y", "z"].iter().map(|key| merged.get(key).map(|node| node.kind.clone())).collect();
    assert_eq!(values, [Some(Kind::Int(1)), Some(Kind::Int(3)), Some(Kind::Int(2))]);
    assert!(complaint("a:\n  <<: 3\n").starts_with("site.yml:2:7: `<<` merges dictionaries, this is a number"));
}

#[test]
fn tags_of_ansible_are_known_and_others_are_not() {
    let map = node("a: !unsafe '{{ x }}'\nb: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\nc: !unsafe [a, {b: c}]\n");
    assert_eq!(map.get("a").map(|node| &node.kind), Some(&Kind::Unsafe("{{ x }}".into())));
    assert_eq!(map.get("b").map(|node| &node.kind), Some(&Kind::Vault("$ANSIBLE_VAULT;1.1;AES256\n3132\n".into())));
    assert_eq!(map.get("c").and_then(|node| Some(node.as_list()?[0].kind.clone())), Some(Kind::Unsafe("a".into())));
    assert_eq!(complaint("a: !valut x\n"), "site.yml:1:4: the tag `!valut` is not known here (hint: did you mean `!vault`?)");
}

#[test]
fn a_key_given_twice_is_a_warning_with_both_places() {
    let (sources, parsed) = read("a: 1\nb: 2\na: 3\n");
    assert_eq!(parsed.documents[0].get("a").map(|node| &node.kind), Some(&Kind::Int(3)));
    insta::assert_snapshot!(render::text(&sources, &parsed.diagnostics[0], false), @r#"
warning: Found duplicate mapping key 'a': the last one counts
 --> site.yml:3:1
  |
1 | a: 1
  | - this one is lost
2 | b: 2
3 | a: 3
  | ^ this one counts
"#);
}

#[test]
fn bombs_are_refused_at_once() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = level - 1;
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{before}"); 10].join(", ")));
    }
    assert!(complaint(&laughs).contains("the aliases in this value expand to more than"));
    assert!(complaint(&"[".repeat(100_000)).contains("nest"));
    assert!(complaint(&"- ".repeat(1000)).contains("nest"));
    assert!(complaint("a: &a [*a]\n").contains("inside the very value"));
}

#[test]
fn several_documents_are_several() {
    let (_, parsed) = read("---\na: 1\n---\nb: 2\n...\n");
    assert_eq!(parsed.documents.len(), 2);
    assert!(read("").1.documents.is_empty());
    assert!(read("---\n").1.documents[0].is_null());
}

#[test]
fn lines_of_brackets_and_quotes_may_stand_far_left() {
    for (text, value) in [
        ("- a: [\nö,\n'y'\n]\n- 2\n", "ö"),
        ("- a:\n    - {b: 1,\n  c: ö}\n- 2\n", "ö"),
        ("- a: \"one\n\n  two\nö\"\n- 2\n", "one\ntwo ö"),
        ("- a:\n    b: 'one\n  ö'\n- 2\n", "one ö"),
    ] {
        let list = node(text);
        let (sources, parsed) = read(text);
        let mut texts = Vec::new();
        each_text(&list, &mut texts);
        assert!(texts.iter().any(|(found, _)| found == value), "{texts:?}");
        assert_eq!(list.as_list().map(|items| items[1].kind.clone()), Some(Kind::Int(2)), "{text}");
        let file = sources.get(parsed.file).expect("file");
        for (found, span) in texts {
            let written = &file.text[span.start as usize..span.end as usize];
            assert!(written.contains(found.split(['\n', ' ']).next_back().unwrap_or_default()), "{written}");
        }
    }
    assert!(complaint("- a: [\nx: y: z\n").contains("site.yml:"));
}

fn each_text(node: &Node, texts: &mut Vec<(String, Span)>) {
    match &node.kind {
        Kind::Str(text) => texts.push((text.to_string(), node.span)),
        Kind::List(items) => items.iter().for_each(|item| each_text(item, texts)),
        Kind::Map(entries) => entries.iter().for_each(|(_, value)| each_text(value, texts)),
        _ => {}
    }
}

#[test]
fn the_classic_mistakes_are_named_with_what_to_do() {
    insta::assert_snapshot!(
        [
            "a: {{ x }}\nb: \"{{ y }}\" z\n",
            "path: {{ base }}/x\n",
            "- {{ x }}\n",
            "msg: \"done\" now\n",
            "msg: 'it's'\n",
            "a:\n\tb: 1\n",
            "a:\n  - b\n\t- c\n",
            "msg: \"never closed\nother: 1\n",
            "msg: see: this\n",
            "name:foo\nstate: present\n",
            "tasks:\n  - name: x\n   copy: y\n",
            "a: @x\n",
            "a: `x`\n",
            "a: [1, 2\nb: 3\n",
            "a: {b: 1\n",
            "a: *.log\n",
            "a: \"\\d\"\n",
            "a: 1\n  b: 2\n",
            "- a\nb: 1\n",
            "a: |x\n  b\n",
            "a: \"x\u{7}\"\n",
            "%foo\n",
            "a: &x\n: : :\n",
        ]
        .map(complaint)
        .join("\n"), @r#"
site.yml:1:4: a value that starts with `{{` has to be quoted (hint: quote it: `a: "{{ x }}"`)
site.yml:2:14: there is text after the closing quote (hint: quote the whole value: `b: '"{{ y }}" z'`)
site.yml:1:7: a value that starts with `{{` has to be quoted (hint: quote it: `path: "{{ base }}/x"`)
site.yml:1:3: a value that starts with `{{` has to be quoted (hint: quote it: `- "{{ x }}"`)
site.yml:1:13: there is text after the closing quote (hint: quote the whole value: `msg: '"done" now'`)
site.yml:1:10: there is text after the closing quote (hint: write the apostrophe twice: `msg: 'it''s'`)
site.yml:2:1: a tab indents this line, YAML allows only spaces (hint: replace each tab by spaces)
site.yml:3:1: a tab indents this line, YAML allows only spaces (hint: replace each tab by spaces)
site.yml:1:6: this " is never closed, or closed in a later line (hint: close it with " at the end of the value)
site.yml:1:9: this colon makes a second key of a value that is not quoted (hint: quote the value: `msg: "see: this"`)
site.yml:1:5: there is no space after this colon (hint: write `name: foo`)
site.yml:3:4: this line does not fit the ones above it (hint: entries of one list or dictionary have to begin in the same column)
site.yml:1:4: a value that starts with @ has to be quoted (hint: quote it: a: "@x")
site.yml:1:4: a value that starts with ` has to be quoted (hint: quote it: a: "`x`")
site.yml:1:4: this `[` is never closed (hint: close it with `]`; separate its parts with commas)
site.yml:1:4: this `{` is never closed (hint: close it with `}`; separate its parts with commas)
site.yml:1:4: no anchor `&.log` was set above (hint: a value that only starts with `*`, such as a glob, has to be quoted)
site.yml:1:5: YAML does not know this backslash escape in double quotes (hint: write the text in single quotes, or the backslash twice)
site.yml:2:3: this line is indented deeper than the one above, which already has its value (hint: indent both alike, or take the value away from the line above)
site.yml:2:1: this line does not fit the ones above it (hint: entries of one list or dictionary have to begin in the same column)
site.yml:1:4: after `|` or `>` the text begins on the next line, indented

site.yml:1:1: a value that starts with % has to be quoted (hint: quote it: "%foo")
"#
    );
}

#[test]
fn no_text_makes_it_panic() {
    let seeds = [
        "- hosts: all\n  tasks:\n    - name: \"größe {{ x }}\"\n      copy: {src: 'a', dest: [b, *c]}\n",
        "a: &a {x: 1}\nb:\n  <<: *a\n  c: !vault |\n    $ANSIBLE_VAULT;1.1;AES256\n    3132\n",
        "key: \"☃ \\x41\" # äöü\n? [complex]\n: - 1:30\n  - 0x1_f\n--- !unsafe\n%TAG ! x\n",
    ];
    let pieces =
        ["\t", "{{", "\"", "'", ": ", "\n", "☃", "- ", "*", "&", "!", "|", "[", "]", "{", "}", "#", "@", "\\", "\u{feff}", "\r\n", "<<: "];
    let mut state: u64 = 7;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..1500 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..=next(4) {
            let at = next(text.len() + 1);
            match next(3) {
                0 => drop(text.drain(at..(at + next(6)).min(text.len()))),
                1 => drop(text.splice(at..at, pieces[next(pieces.len())].chars())),
                _ => text.truncate(at.max(3)),
            }
        }
        let (sources, parsed) = read(&text.iter().collect::<String>());
        for diagnostic in &parsed.diagnostics {
            assert!(!render::text(&sources, diagnostic, round % 2 == 0).is_empty());
        }
    }
}
