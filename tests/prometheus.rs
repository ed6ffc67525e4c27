//! The dashboard and the alert rules in `examples/`: what they ask is asked rightly, and their tests pass.
//!
//! Prometheus's own promtool judges; where it is not installed (Debian: prometheus), that part is skipped with a word.
//! Grafana is not asked: of the dashboard, its form is checked, and each expression.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn dashboard() -> Value {
    let text = fs::read_to_string(example("grafana-dashboard.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is valid JSON")
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("a list of panels")
}

/// Every expression of the dashboard.
fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().expect("a text").to_owned()).collect()
}

/// What promtool says, or `None` where it is not installed.
fn promtool(arguments: &[&str], file: &Path) -> Option<(bool, String)> {
    let output = Command::new("promtool").args(arguments).arg(file).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn the_alert_rules_are_accepted_and_their_tests_pass() {
    for (arguments, file) in
        [(["check", "rules"], "prometheus-alerts.yml"), (["test", "rules"], "prometheus-alerts.test.yml")]
    {
        match promtool(&arguments, &example(file)) {
            Some((is_good, said)) => assert!(is_good, "{file}: {said}"),
            None => eprintln!("skipped: there is no promtool"),
        }
    }
}

#[test]
fn the_expressions_of_the_dashboard_are_accepted() {
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    let expressions = expressions(&dashboard());
    assert!(expressions.len() > 20, "{expressions:?}");
    for (number, expression) in expressions.iter().enumerate() {
        let plain = expression.replace("$__rate_interval", "1m");
        assert!(plain.contains("$instance") || plain.contains("$pool"), "not of the chosen hosts: {expression}");
        // What Grafana puts in for a variable.
        let plain = ["$instance", "$pool", "$job"].iter().fold(plain, |text, name| text.replace(name, ".*"));
        assert!(!plain.contains('$'), "{expression}");
        rules += &format!("  - record: panel_{number}\n    expr: {plain:?}\n");
    }
    let path = std::env::temp_dir().join(format!("rmux-dashboard-{}.yml", std::process::id()));
    fs::write(&path, rules).expect("the folder can be written");
    let judged = promtool(&["check", "rules"], &path);
    fs::remove_file(&path).expect("it was just written");
    match judged {
        Some((is_good, said)) => assert!(is_good, "{said}"),
        None => eprintln!("skipped: there is no promtool"),
    }
}

#[test]
fn the_panels_have_a_place_each() {
    let dashboard = dashboard();
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64()), "{title}: its id is another's");
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        let (left, top) = (place("x"), place("y"));
        assert!(left + place("w") <= 24, "{title} is wider than the page");
        for x in left..left + place("w") {
            for y in top..top + place("h") {
                assert!(taken.insert((x, y)), "{title} lies upon another one");
            }
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            let targets = panel["targets"].as_array().expect("targets");
            let names: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str()).collect();
            assert!(!targets.is_empty() && names.len() == targets.len(), "{title}: {names:?}");
        }
    }
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "job", "instance", "pool"]);
}

/// What they ask for, rmux has: `doc/manual.md` has the names, and `tests/admin` compares it with what rmux shows.
#[test]
fn every_metric_that_is_asked_for_stands_in_the_manual() {
    let manual = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/manual.md")).expect("it is there");
    let mut asked = BTreeSet::new();
    for name in ["grafana-dashboard.json", "prometheus-alerts.yml", "prometheus-alerts.test.yml"] {
        let text = fs::read_to_string(example(name)).expect("it is there");
        let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
        let metrics = words.filter(|word| {
            ["rmux_", "process_"].iter().any(|start| word.len() > start.len() && word.starts_with(start))
        });
        asked.extend(metrics.map(|word| {
            let ends = ["_bucket", "_count", "_sum"];
            ends.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
        }));
    }
    assert!(asked.len() > 20, "{asked:?}");
    let missing: Vec<_> = asked.iter().filter(|name| !manual.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
