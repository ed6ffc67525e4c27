//! Who is asked, and how often.

use super::*;

#[test]
fn all_are_asked_at_the_start_and_the_first_majority_is_believed() {
    let mut bench = Bench::new(&TRIO);
    bench.settle();
    assert_eq!(bench.address().as_deref(), Some("a:1"), "without any time passing");
    assert_eq!(bench.moved, [("m".to_owned(), "a:1".to_owned())]);
    assert_eq!(bench.said, [(Level::Info, "master m: is at a:1".to_owned())]);
    assert_eq!((bench.connected().len(), bench.open.len()), (3, 6), "one asks, and one hears");
}

#[test]
fn one_that_answers_is_enough_to_know_all_of_them() {
    let mut bench = Bench::with(&TRIO, &["s:2"], None);
    bench.run(10);
    assert_eq!(bench.connected(), BTreeSet::from(TRIO));
    let mut bench = Bench::with(&TRIO, &["dead:1", "s:2"], None);
    bench.run(10);
    assert_eq!((bench.address().as_deref(), bench.connected()), (Some("a:1"), BTreeSet::from(TRIO)));
}

#[test]
fn one_that_has_two_addresses_is_asked_and_counted_once() {
    let mut bench = Bench::with(&TRIO, &["s:1", "name:1"], None);
    let same = bench.models["s:3"].clone();
    bench.models.insert("name:1".to_owned(), same);
    bench.run(100);
    assert_eq!(bench.watch.view().len(), 3, "{:?}", bench.watch.view());
    assert!(bench.connected().contains("name:1"), "in the user's own spelling");
}

#[test]
fn rounds_are_rare_while_all_is_well_and_spread() {
    let mut bench = Bench::new(&TRIO);
    bench.run(60_000);
    let count = bench.questions.len() / 3;
    assert!((12..=17).contains(&count), "{count} rounds in a minute");
    assert_eq!(bench.connects, 6, "on the same connections");
    assert!(bench.warnings().is_empty());
    let rounds: Vec<u64> = bench.questions.chunks(3).map(|round| round[0].0.0).collect();
    let gaps: BTreeSet<u64> = rounds[1..].windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps.len() > 5 && gaps.iter().all(|&gap| (3_750..=5_000).contains(&gap)), "{gaps:?}");
}

#[test]
fn hints_ask_at_once_and_many_of_them_ask_no_oftener() {
    let mut bench = Bench::new(&TRIO);
    bench.run(3_000);
    bench.questions.clear();
    bench.watch.handle_hint("m", false, bench.now);
    bench.run(0);
    assert_eq!((bench.questions.len(), &bench.asked[..]), (3, &["m".to_owned()][..]), "and who hinted hears of it");
    for _ in 0..100 {
        bench.watch.handle_hint("m", true, bench.now);
        bench.run(10);
    }
    let rounds = bench.questions.len() / 3;
    assert!((9..=11).contains(&rounds), "{rounds} in a second");
    assert!(bench.asked.len() >= rounds);
    bench.watch.handle_hint("another", true, bench.now);
    bench.run(10);
}

#[test]
fn a_subscription_that_says_nothing_is_asked_whether_it_is_there() {
    let mut bench = Bench::new(&["s:1"]);
    bench.run(1_000);
    // The connection that hears is dead, and nobody says so.
    let (&dead, _) = bench.open.iter().find(|(_, open)| open.1).expect("one hears");
    bench.open.remove(&dead);
    bench.run(12_000);
    assert!(bench.open.iter().any(|(&id, open)| open.1 && id != dead), "it was found out, and made anew");
    assert_eq!(bench.connects, 3, "only that one");
}

#[test]
fn who_does_not_answer_has_half_a_second_and_is_tried_ever_more_seldom() {
    let mut bench = Bench::new(&TRIO);
    bench.run(1_000);
    bench.model("s:2").is_silent = true;
    bench.run(10_000);
    assert!(!bench.watch.view()[1].is_up || bench.connects > 6);
    let before = bench.connects;
    bench.run(60_000);
    assert!((5..=30).contains(&(bench.connects - before)), "{}", bench.connects - before);
    assert!(bench.warnings().is_empty(), "two are enough: {:?}", bench.said);
    bench.model("s:2").is_silent = false;
    bench.run(6_000);
    assert!(bench.watch.view()[1].is_up);
}

#[test]
fn a_password_is_given_first_and_is_never_shown() {
    let mut bench = Bench::with(&TRIO, &TRIO, Some("hunter2"));
    bench.all(|model| model.password = Some("hunter2"));
    bench.run(10);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
    let mut bench = Bench::with(&TRIO, &TRIO, Some("hunter3"));
    bench.all(|model| model.password = Some("hunter2"));
    bench.run(20_000);
    assert_eq!(bench.address(), None);
    assert_eq!(
        bench.warnings(),
        ["master m: no sentinel can be asked, of 3, s:3: it refuses us: -WRONGPASS invalid username-password pair"]
    );
    let mut bench = Bench::with(&TRIO, &TRIO, None);
    bench.all(|model| model.password = Some("hunter2"));
    bench.run(1_000);
    assert!(bench.warnings()[0].ends_with("it refuses us: -NOAUTH Authentication required."), "{:?}", bench.said);
    assert!(!format!("{:?}{:?}", bench.watch, bench.said).contains("hunter2"));
}

#[test]
fn other_settings_keep_what_is_known() {
    let mut bench = Bench::new(&TRIO);
    bench.all(|model| drop(model.masters.insert("n".to_owned(), host_port("b:2"))));
    bench.run(1_000);
    bench.moved.clear();
    let settings = |masters: &[&str]| Settings {
        sentinels: vec![host_port("s:2")],
        masters: masters.iter().map(|&name| name.to_owned()).collect(),
        credentials: None,
        wants_replicas: false,
    };
    bench.watch.handle_settings(settings(&["n", "m"]), bench.now);
    bench.run(1_000);
    assert_eq!(bench.moved, [("n".to_owned(), "b:2".to_owned())], "m is where it was");
    assert_eq!(bench.connected(), BTreeSet::from(TRIO), "the others are heard of");
    bench.watch.handle_settings(settings(&["n"]), bench.now);
    bench.run(1_000);
    assert_eq!((bench.address(), bench.watch.address("n").is_some()), (None, true));
}

#[test]
fn replicas_are_told_when_they_change() {
    let mut bench = Bench::new(&["s:1"]);
    let replica = |port: &str, flags: &str, link: &str| {
        let offset = ["slave-repl-offset", "77"];
        bulks(&[
            "name",
            "x",
            "ip",
            "10.0.0.2",
            "port",
            port,
            "flags",
            flags,
            "master-link-status",
            link,
            offset[0],
            offset[1],
        ])
    };
    let all =
        [replica("1", "slave", "ok"), replica("2", "s_down,slave,disconnected", "ok"), replica("3", "slave", "err")];
    bench.model("s:1").replicas = format!("*3\r\n{}", all.concat());
    let settings = Settings {
        sentinels: vec![host_port("s:1")],
        masters: vec!["m".to_owned()],
        credentials: None,
        wants_replicas: true,
    };
    bench.watch.handle_settings(settings, bench.now);
    bench.run(20_000);
    let told: Vec<(u16, bool, u64)> =
        bench.replicas.iter().map(|replica| (replica.place.port, replica.is_linked, replica.offset)).collect();
    assert_eq!(told, [(1, true, 77), (2, false, 77), (3, false, 77)]);
    bench.model("s:1").replicas = "*0\r\n".to_owned();
    bench.run(6_000);
    assert_eq!(bench.replicas, []);
}
