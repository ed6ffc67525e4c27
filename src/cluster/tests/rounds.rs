//! Who is asked, and how often.

use super::*;

#[test]
fn the_first_seed_that_answers_is_enough() {
    let mut bench = Bench::new(&["x:1", "y:1", "b:1"]);
    bench.settle();
    assert_eq!((bench.master(0), bench.master(16_383)), (Some("a:1"), Some("b:1")), "without any time passing");
    let map = bench.watch.map().expect("known").clone();
    assert_eq!(map.shards()[0].replicas, ["c:1"]);
    assert_eq!(bench.maps, [(Millis(0), map)]);
    let text = "pool p: its cluster has 2 masters and 1 replicas for 16384 of 16384 slots, says b:1";
    assert_eq!(bench.said, [(Level::Info, text.to_owned())]);
    let view = bench.watch.view();
    assert_eq!((view.nodes, view.told_at, view.problem), (3, Some(Millis(0)), None));
    assert_eq!(*view.refreshes, BTreeMap::from([((Cause::Start, Outcome::Changed), 1)]));
    assert_eq!(bench.told, [view.refreshes]);
    assert!(bench.open.is_empty(), "nobody is asked any more");
}

#[test]
fn in_calm_a_node_by_chance_is_asked_about_once_a_minute() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(3_600_000);
    let gaps: BTreeSet<u64> = bench.questions.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert!(gaps.len() > 20 && gaps.iter().all(|gap| (30_000..=90_000).contains(gap)), "{gaps:?}");
    assert!((45..=80).contains(&bench.questions.len()), "{}", bench.questions.len());
    assert_eq!(bench.asked(), BTreeSet::from(["a:1", "b:1", "c:1"]), "replicas, too");
    assert_eq!((bench.maps.len(), bench.said.len()), (1, 1), "what does not change is not told");
}

#[test]
fn however_many_want_to_know_it_is_asked_once_a_second_and_then_more_seldom() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(5_000);
    bench.questions.clear();
    bench.hint(RefreshCause::Moved, 10);
    assert_eq!(bench.questions.len(), 1, "at once");
    bench.hint(RefreshCause::Moved, 9_990);
    assert!((4..=5).contains(&bench.questions.len()), "{:?}", bench.questions);
    // A slot that moves with each second.
    bench.questions.clear();
    for step in 0..30 {
        bench.all(|model| model.entries = vec![(0, step, "b", vec![]), (step + 1, 16_383, "a", vec!["c"])]);
        bench.hint(RefreshCause::Moved, 1_000);
    }
    assert!((16..=30).contains(&bench.questions.len()), "{}", bench.questions.len());
    let gaps = bench.questions.windows(2).map(|two| two[1].0 - two[0].0);
    assert!(gaps.clone().all(|gap| gap >= 1_000), "{:?}", gaps.collect::<Vec<_>>());
    assert!((4..=5).contains(&bench.said.len()), "the first map, and one line in ten seconds: {:?}", bench.said);
    assert!(bench.said[2].1.ends_with(" slots from a:1 to b:1"), "{:?}", bench.said);
}

#[test]
fn another_is_asked_when_one_does_not_answer() {
    let mut bench = Bench::with(&["x:1", "y:1", "z:1", "a:1"], None, |models| {
        models.insert("x:1".to_owned(), Model { is_silent: true, ..Model::default() });
        models.insert("y:1".to_owned(), Model { is_nowhere: true, ..Model::default() });
        models.insert("z:1".to_owned(), Model { slots: Some("+OK\r\n".to_owned()), ..Model::default() });
    });
    bench.run(8_000);
    assert_eq!(bench.master(0), Some("a:1"));
    assert!(bench.warnings().is_empty(), "{:?}", bench.said);
    bench.model("a:1").is_down = true;
    bench.model("b:1").is_silent = true;
    for _ in 0..20 {
        bench.watch.handle_hint(RefreshCause::Lost, bench.now);
        bench.run(4_000);
    }
    assert_eq!((bench.count(Outcome::Failed), bench.warnings().len()), (0, 0), "{:?}", bench.said);
    assert!(bench.asked().contains("c:1"));
}

#[test]
fn a_name_that_is_not_found_has_its_time_and_a_node_that_is_found_another() {
    let mut bench = Bench::with(&["a:1"], None, |models| {
        models.entry("a:1".to_owned()).and_modify(|model| model.is_nowhere = true);
    });
    bench.run(5_900);
    assert_eq!((bench.connects.len(), bench.warnings().len()), (1, 0), "DNS may be slow");
    bench.run(200);
    assert_eq!(
        bench.warnings(),
        ["pool p: its cluster cannot be asked, 1 nodes tried; a:1: its name is not found in time"]
    );
    bench.model("a:1").is_nowhere = false;
    bench.run(6_000);
    assert_eq!(bench.master(0), Some("a:1"));
    assert_eq!(bench.said.last().expect("said").1, "pool p: its cluster can be asked again, at a:1");
}

#[test]
fn a_failover_is_found_out_within_two_seconds() {
    let mut bench = Bench::new(&["a:1", "b:1"]);
    bench.run(60_000);
    bench.model("a:1").is_down = true;
    bench.hint(RefreshCause::Lost, 17_000);
    let done_at = bench.now;
    let after = vec![(0, 8_191, "c", vec![]), (8_192, 16_383, "b", vec![])];
    bench.all(|model| model.entries.clone_from(&after));
    bench.hint(RefreshCause::Lost, 3_000);
    assert_eq!(bench.master(0), Some("c:1"));
    let told_at = bench.maps.last().expect("told").0;
    assert!(told_at - done_at <= 2_600, "{} ms", told_at - done_at);
}

#[test]
fn a_password_is_given_first_and_is_never_shown() {
    let wants = |models: &mut BTreeMap<String, Model>| {
        models.values_mut().for_each(|model| model.password = Some("hunter2"));
    };
    let mut bench = Bench::with(&["a:1"], Some("hunter2"), wants);
    bench.run(10);
    assert_eq!(bench.master(0), Some("a:1"));
    let mut bench = Bench::with(&["a:1"], Some("hunter3"), wants);
    bench.run(10);
    let text = "pool p: its cluster cannot be asked, 1 nodes tried; \
                a:1: it refuses us: -WRONGPASS invalid username-password pair";
    assert_eq!(bench.warnings(), [text]);
    assert_eq!(bench.watch.view().problem.as_deref(), text.strip_prefix("pool p: "));
    bench.watch.handle_password(Secret::new(*b"hunter2"));
    bench.run(6_000);
    assert_eq!((bench.master(0), bench.watch.view().problem), (Some("a:1"), None), "it is another one now");
    let mut bench = Bench::with(&["a:1"], None, wants);
    bench.run(10);
    assert!(bench.warnings()[0].ends_with("it refuses us: -NOAUTH Authentication required."), "{:?}", bench.said);
    assert!(!format!("{:?}{:?}", bench.watch, bench.said).contains("hunter2"));
}

#[test]
fn other_seeds_may_be_those_of_another_cluster() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(10_000);
    bench.models.insert("x:1".to_owned(), Model { entries: vec![(0, 16_383, "x", vec![])], ..Model::default() });
    bench.watch.handle_settings(settings(&["x:1"], None), bench.now);
    bench.run(2_000);
    assert_eq!(bench.master(0), Some("x:1"));
    assert!(bench.warnings().is_empty(), "it is the user's own will: {:?}", bench.said);
    // The same ones, with a password: nothing is forgotten.
    bench.model("x:1").is_down = true;
    bench.watch.handle_settings(settings(&["x:1"], Some("secret")), bench.now);
    bench.run(2_000);
    assert_eq!(bench.master(0), Some("x:1"));
}

#[test]
fn when_nobody_who_is_known_answers_the_seeds_are_asked_anew() {
    let mut bench = Bench::new(&["a:1", "s:1"]);
    bench.run(10_000);
    // All of it is somewhere else; a name leads there.
    bench.all(|model| model.is_down = true);
    let entries = vec![(0, 16_383, "a2", vec!["b2"])];
    let slots = slots_reply(&entries).replace("$4\r\nida2", "$3\r\nida");
    bench.models.insert("s:1".to_owned(), Model { slots: Some(slots), ..Model::default() });
    bench.hint(RefreshCause::Lost, 3_000);
    assert_eq!(bench.master(0), Some("a2:1"));
    assert!(bench.warnings().is_empty(), "{:?}", bench.said);
    // And they are never forgotten.
    bench.models.remove("s:1");
    bench.hint(RefreshCause::Lost, 60_000);
    bench.all(|model| model.is_down = false);
    bench.hint(RefreshCause::Lost, 13_000);
    assert_eq!(bench.master(0), Some("a:1"));
}

#[test]
fn whether_there_are_several_databases_is_asked_seldom_and_told_when_it_changes() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(500_000);
    assert_eq!(bench.selects, [Millis(0)]);
    let refusal = Databases::One(b"-ERR SELECT is not allowed in cluster mode\r\n"[..].into());
    assert_eq!(bench.databases, std::slice::from_ref(&refusal));
    bench.all(|model| model.select = Some("+OK\r\n"));
    bench.run(500_000);
    assert_eq!((bench.selects.len(), bench.databases.len()), (2, 2), "after ten minutes");
    assert_eq!(bench.watch.databases(), &Databases::Several);
    // What is no answer is asked for again, and the map is known all the same.
    let mut bench = Bench::with(&["a:1"], None, |models| {
        models
            .values_mut()
            .for_each(|model| model.select = Some("-LOADING Redis is loading the dataset in memory\r\n"));
    });
    bench.run(300_000);
    assert!(bench.selects.len() >= 3 && bench.databases.is_empty() && bench.maps.len() == 1, "{:?}", bench.said);
}
