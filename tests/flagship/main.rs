//! The flagship playbooks against the demonstration site, over real SSH: what a check says is what a run does, a second run
//! rests, and what was lost or broken is mended.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests write files, start programs and tell how long they took"
)]

#[path = "../harness/demo.rs"]
mod demo;
mod window;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use demo::{OpenSsh, Run, Stage, WINDLASS};
use serde_json::json;

fn total(run: &Run) -> u32 {
    run.changed.values().sum()
}

/// Returns each task with the hosts that it changed, or would.
fn changes(run: &Run) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut task = String::new();
    for line in run.output.lines() {
        if let Some(rest) = line.strip_prefix("TASK [") {
            task = rest.split(']').next().unwrap_or_default().to_owned();
        } else if let Some(rest) = line.strip_prefix("changed: [") {
            let host = rest.split(']').next().unwrap_or_default().split(" -> ").next().unwrap_or_default().to_owned();
            let hosts = found.entry(task.clone()).or_default();
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    }
    found.values_mut().for_each(|hosts| hosts.sort());
    found
}

#[test]
fn two_clusters_are_connected_kept_so_and_taken_apart() {
    let stage = Stage::new();

    let check = stage.play("remote-cluster", &["--check"]);
    assert_eq!((stage.restarts(), stage.keys().len()), (0, 0), "a check touches nothing");
    let run = stage.play("remote-cluster", &[]);
    assert_eq!(stage.connected(), [true; 3]);
    assert_eq!(changes(&check), changes(&run), "the check says what the run does");
    assert_eq!(stage.restarts(), 6, "each node once");
    assert_eq!(stage.get("es-berlin-1", "/_cluster/settings?flat_settings=true")["persistent"], json!({}), "allocation is as it was");
    let again = stage.play("remote-cluster", &[]);
    assert_eq!(total(&again), 0, "{}", again.output);
    assert_eq!(total(&stage.play("verify", &[])), 0);
    assert!(
        stage.keystore("es-frankfurt-2").entries.contains_key("xpack.security.http.ssl.keystore.secure_password"),
        "what was there stays"
    );

    // A node lost its credential: the key is rotated, not doubled.
    let before = stage.keys();
    let mut store = stage.keystore("es-frankfurt-2");
    store.entries.remove("cluster.remote.berlin.credentials");
    fs::write(stage.conf("es-frankfurt-2").join("elasticsearch.keystore"), store.write("").expect("keystore")).expect("keystore");
    stage.play("remote-cluster", &[]);
    let after = stage.keys();
    assert_eq!((stage.connected(), after.len()), (vec![true; 3], 1), "{after:?}");
    assert_ne!(before, after);
    assert_eq!(total(&stage.play("remote-cluster", &[])), 0);

    // New keys without a gap.
    stage.play("rotate-api-key", &[]);
    let rotated = stage.keys();
    assert_eq!((stage.connected(), rotated.len()), (vec![true; 3], 1));
    assert_ne!(after, rotated);
    assert_eq!(stage.restarts(), 6, "a credential needs no restart");

    // Certificates are renewed only when it is time.
    let certificate = || fs::read(stage.conf("es-berlin-1").join("certs/remote-cluster.p12")).expect("p12");
    let old = certificate();
    assert_eq!(total(&stage.play("renew-certificates", &[])), 0);
    stage.play(
        "renew-certificates",
        &["-e", "elasticsearch_remote_certificate_renew_before=2000 elasticsearch_remote_certificate_days=3000"],
    );
    assert_ne!(old, certificate());
    assert_eq!(stage.connected(), [true; 3]);

    // And apart.
    stage.play("disconnect", &[]);
    assert_eq!((stage.connected(), stage.keys().len()), (vec![false; 3], 0));
    assert!(!stage.keystore("es-frankfurt-1").entries.contains_key("cluster.remote.berlin.credentials"));
    assert_eq!(total(&stage.play("disconnect", &[])), 0);
}

#[test]
fn several_sites_and_aliases_come_from_the_inventory_alone() {
    let stage = Stage::new();
    let inventory = stage.site.project().join("inventory/demo");
    let hosts = fs::read_to_string(inventory.join("hosts.yml")).expect("hosts");
    // Both sites are server and client now.
    let (head, _) = hosts.split_once("remote_cluster_servers:").expect("groups");
    let both = "  children:\n    berlin:\n    frankfurt:\n";
    fs::write(inventory.join("hosts.yml"), format!("{head}remote_cluster_servers:\n{both}remote_cluster_clients:\n{both}")).expect("hosts");
    let (_, first) = &stage.site.nodes[0];
    let frankfurt = format!(
        "---\nelasticsearch_site: frankfurt\nelasticsearch_remote_clusters:\n  berlin:\n    {{site: berlin, mode: proxy, proxy_address: '{first}:9443', \
         proxy_socket_connections: 2, skip_unavailable: true}}\n  berlin-logs:\n    {{site: berlin, mode: sniff, node_connections: 2, access: {{search: [{{names: [logs-*]}}]}}}}\n"
    );
    fs::write(inventory.join("group_vars/frankfurt/main.yml"), frankfurt).expect("variables");
    let berlin = "---\nelasticsearch_site: berlin\nelasticsearch_remote_clusters:\n  frankfurt: {site: frankfurt, access: {replication: [{names: [orders-*]}]}}\n";
    fs::write(inventory.join("group_vars/berlin/main.yml"), berlin).expect("variables");

    let check = stage.play("remote-cluster", &["--check"]);
    let run = stage.play("remote-cluster", &[]);
    assert_eq!(changes(&check), changes(&run));
    assert_eq!(total(&stage.play("remote-cluster", &[])), 0);
    let info = stage.get("es-frankfurt-3", "/_remote/info");
    assert_eq!((&info["berlin"]["mode"], &info["berlin"]["num_proxy_sockets_connected"]), (&json!("proxy"), &json!(2)), "{info}");
    assert_eq!((&info["berlin"]["skip_unavailable"], &info["berlin-logs"]["skip_unavailable"]), (&json!(true), &json!(false)));
    assert_eq!(info["berlin-logs"]["num_nodes_connected"], 2);
    assert_eq!(stage.get("es-berlin-2", "/_remote/info")["frankfurt"]["connected"], true);

    // From proxy to sniff: one request, one alias, nothing else.
    let path = inventory.join("group_vars/frankfurt/main.yml");
    let text = fs::read_to_string(&path).expect("variables");
    let start = text.find("{site: berlin, mode: proxy").expect("the alias");
    let end = start + text[start..].find('}').expect("its end") + 1;
    fs::write(&path, format!("{}{{site: berlin, mode: sniff, skip_unavailable: true}}{}", &text[..start], &text[end..]))
        .expect("variables");
    let restarts = stage.restarts();
    let switch = stage.play("remote-cluster", &[]);
    assert_eq!(total(&switch), 1, "{}", switch.output);
    assert_eq!(stage.get("es-frankfurt-1", "/_remote/info")["berlin"]["mode"], "sniff");
    assert_eq!(stage.restarts(), restarts);
}

#[test]
fn the_job_is_done_over_openssh_on_three_and_three_hosts() {
    let stage = Stage::new();
    let Some((_servers, flags)) = OpenSsh::start(&stage) else { return };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let timed = |name: &str, more: &[&str]| {
        let began = std::time::Instant::now();
        let run = stage.play("remote-cluster", &[&flags[..], more].concat());
        println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
        run
    };
    let check = timed("check", &["--check"]);
    let run = timed("first run", &[]);
    assert_eq!(changes(&check), changes(&run), "the check says what the run does");
    assert_eq!(stage.connected(), [true; 3]);
    let again = timed("second run", &[]);
    assert_eq!(total(&again), 0, "{}", again.output);
    for node in ["es-berlin-1", "es-berlin-2", "es-berlin-3"] {
        let store = stage.conf(node).join("certs/remote-cluster.p12");
        let password = fs::read_to_string(stage.site.project().join("inventory/demo/group_vars/all/secrets.yml")).expect("secrets");
        let password = password
            .lines()
            .find_map(|line| line.strip_prefix("demo_certificate_password: "))
            .expect("password")
            .trim_matches('"')
            .to_owned();
        let Ok(listed) = Command::new("keytool")
            .args(["-list", "-storetype", "PKCS12", "-keystore"])
            .arg(&store)
            .arg("-storepass")
            .arg(password)
            .output()
        else {
            eprintln!("SKIPPED: keytool is not installed (tests/run installs it)");
            return;
        };
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.contains("PrivateKeyEntry") && listed.contains("trustedCertEntry"), "{listed}");
    }
}
