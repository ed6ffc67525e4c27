//! What is believed, and what is not.

use super::*;

#[test]
fn who_knows_fewer_slots_is_not_believed_while_the_old_owners_answer() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(1_000);
    // It was taken out, and knows itself alone.
    bench.model("b:1").entries = vec![(8_192, 16_383, "b", vec![])];
    for _ in 0..30 {
        bench.watch.handle_hint(RefreshCause::Moved, bench.now);
        bench.run(31_000);
    }
    assert!(bench.questions.iter().any(|question| question.1 == "b:1"));
    assert_eq!((bench.master(0), bench.maps.len()), (Some("a:1"), 1));
    // Who has lost the slots is asked next, and not anybody.
    for two in bench.questions.windows(2).filter(|two| two[0].1 == "b:1") {
        assert_eq!(two[1].1, "a:1");
    }
}

#[test]
fn what_all_say_who_answer_is_believed_even_if_it_is_less() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(1_000);
    bench.all(|model| model.entries = vec![(0, 8_191, "a", vec![]), (8_192, 16_000, "b", vec![])]);
    bench.hint(RefreshCause::Moved, 3_000);
    assert_eq!((bench.master(16_000), bench.master(16_001)), (Some("b:1"), None));
    let text = "2 masters and 0 replicas for 16001 of 16384 slots, says";
    let change = ", which nobody contradicts: 383 slots from b:1 to no node; c:1 left";
    assert!(bench.warnings()[0].contains(text) && bench.warnings()[0].ends_with(change), "{:?}", bench.said);
    assert_eq!(bench.warnings().len(), 1);
    // Then it is what there is.
    bench.hint(RefreshCause::Moved, 30_000);
    assert_eq!(bench.warnings().len(), 1, "{:?}", bench.said);
}

#[test]
fn when_who_owns_what_is_lost_does_not_answer_the_others_are_believed() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(1_000);
    bench.model("a:1").is_down = true;
    let left = vec![(8_192, 16_383, "b", vec![])];
    bench.model("b:1").entries.clone_from(&left);
    bench.model("c:1").entries.clone_from(&left);
    bench.hint(RefreshCause::Lost, 3_000);
    assert_eq!((bench.master(0), bench.master(16_383)), (None, Some("b:1")));
}

#[test]
fn a_node_that_was_cut_off_is_not_believed_while_others_answer() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(1_000);
    bench.model("a:1").is_failing = true;
    let after = vec![(0, 8_191, "c", vec![]), (8_192, 16_383, "b", vec![])];
    for name in ["b:1", "c:1"] {
        *bench.model(name) = Model { entries: after.clone(), epoch: 8, ..Model::default() };
    }
    for _ in 0..20 {
        bench.watch.handle_hint(RefreshCause::Lost, bench.now);
        bench.run(3_000);
    }
    assert_eq!((bench.master(0), bench.maps.len()), (Some("c:1"), 2), "it never goes back");
    // The same where it does not say so, and has only missed what the others know.
    bench.model("a:1").is_failing = false;
    for _ in 0..20 {
        bench.watch.handle_hint(RefreshCause::Lost, bench.now);
        bench.run(3_000);
    }
    assert!(bench.asked().contains("a:1"));
    assert_eq!((bench.master(0), bench.maps.len()), (Some("c:1"), 2));
    // Alone it is better than nothing.
    bench.model("b:1").is_down = true;
    bench.model("c:1").is_down = true;
    bench.hint(RefreshCause::Lost, 13_000);
    assert_eq!(bench.master(0), Some("a:1"));
}

#[test]
fn a_cluster_that_is_down_as_a_whole_is_still_the_one_there_is() {
    let mut bench = Bench::with(&["a:1"], None, |models| {
        models.values_mut().for_each(|model| model.is_failing = true);
    });
    bench.run(2_000);
    assert_eq!(bench.master(0), Some("a:1"));
    bench.questions.clear();
    bench.hint(RefreshCause::Down, 60_000);
    // Three nodes each second.
    assert!(bench.questions.len() <= 3 * 62, "{}", bench.questions.len());
    assert_eq!(bench.maps.len(), 1);
}

#[test]
fn an_address_that_another_cluster_has_now_is_not_believed() {
    let mut bench = Bench::new(&["a:1", "b:1"]);
    bench.run(1_000);
    let foreign = vec![(0, 16_383, "x", vec!["y"])];
    bench.model("a:1").entries.clone_from(&foreign);
    bench.model("c:1").is_down = true;
    for _ in 0..20 {
        bench.watch.handle_hint(RefreshCause::Lost, bench.now);
        bench.run(3_000);
    }
    assert_eq!((bench.master(0), bench.maps.len()), (Some("a:1"), 1));
    assert!(bench.warnings().is_empty(), "{:?}", bench.said);
    // When nobody else is left, the seeds are asked; and what they say is the user's word, and is told loudly.
    bench.model("b:1").entries.clone_from(&foreign);
    bench.hint(RefreshCause::Lost, 13_000);
    assert_eq!(bench.master(0), Some("x:1"));
    let errors: Vec<&str> =
        bench.said.iter().filter(|said| said.0 == Level::Error).map(|said| said.1.as_str()).collect();
    assert_eq!(errors.len(), 1, "{:?}", bench.said);
    assert!(errors[0].starts_with("pool p: its seeds belong to another cluster now: "), "{errors:?}");
}

#[test]
fn known_nodes_that_another_cluster_has_are_not_believed_where_no_seed_answers() {
    let mut bench = Bench::new(&["s:1"]);
    bench.models.insert("s:1".to_owned(), Model { entries: halves(), ..Model::default() });
    bench.run(1_000);
    bench.model("s:1").is_down = true;
    bench.all(|model| model.entries = vec![(0, 16_383, "x", vec![])]);
    bench.hint(RefreshCause::Lost, 30_000);
    assert_eq!((bench.master(0), bench.maps.len()), (Some("a:1"), 1));
    let text = "pool p: the nodes of its cluster belong to another one now, and no seed says so: nothing is changed";
    assert_eq!(bench.warnings(), [text]);
}

#[test]
fn a_cluster_without_slots_is_never_believed() {
    let mut bench = Bench::with(&["a:1", "b:1"], None, |models| {
        models.values_mut().for_each(|model| model.entries = Vec::new());
    });
    bench.run(10_000);
    assert_eq!(bench.watch.map(), None);
    assert_eq!(bench.warnings(), ["pool p: no slot of its cluster has an owner, says each of 2 nodes"]);
    bench.all(|model| model.entries = halves());
    bench.run(6_000);
    assert_eq!(bench.master(0), Some("a:1"));
    bench.all(|model| model.entries = Vec::new());
    bench.hint(RefreshCause::Moved, 20_000);
    assert_eq!((bench.master(0), bench.maps.len()), (Some("a:1"), 1));
}

#[test]
fn a_server_without_a_cluster_is_an_error_that_says_what_to_do() {
    let disabled = "-ERR This instance has cluster support disabled\r\n".to_owned();
    let mut bench = Bench::with(&["a:1", "x:1"], None, |models| {
        for name in ["a:1", "b:1", "c:1"] {
            let model = Model { slots: Some(disabled.clone()), info: Some(disabled.clone()), ..Model::default() };
            models.insert(name.to_owned(), model);
        }
    });
    bench.run(30_000);
    let errors: Vec<_> = bench.said.iter().filter(|said| said.0 == Level::Error).collect();
    assert_eq!((errors.len(), bench.said.len()), (1, 1), "once: {:?}", bench.said);
    let text = "it is no node of a cluster (its cluster support is disabled): name nodes of a cluster in \
                tcpConnections, or take cluster out";
    assert!(errors[0].1.contains(text) || errors[0].1.contains("(its cluster support is disabled)"), "{errors:?}");
}

#[test]
fn who_may_not_ask_how_a_node_does_may_still_ask_who_has_what() {
    let mut bench = Bench::with(&["a:1"], None, |models| {
        models.values_mut().for_each(|model| model.info = Some("-NOPERM no permissions\r\n".to_owned()));
    });
    bench.run(10);
    assert_eq!((bench.master(0), bench.warnings().len()), (Some("a:1"), 0));
}

#[test]
fn another_node_at_the_same_address_is_news() {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(1_000);
    let slots = slots_reply(&halves()).replace("$3\r\nida", "$4\r\nidaa");
    bench.all(|model| model.slots = Some(slots.clone()));
    bench.hint(RefreshCause::SameAddress, 2_000);
    assert_eq!((bench.master(0), bench.maps.len()), (Some("a:1"), 2));
    assert_eq!(bench.maps[1].1.shards()[0].id, "idaa");
}
