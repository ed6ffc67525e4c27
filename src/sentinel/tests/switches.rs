//! A master that moves, and sentinels that do not agree.

use super::*;

#[test]
fn a_message_makes_it_ask_and_what_most_say_is_done_at_once() {
    let mut bench = Bench::new(&TRIO);
    bench.run(2_000);
    let began = bench.now;
    // The leader says so first; the others have heard of it a moment later.
    bench.point(&["s:1"], "b:2");
    bench.publish("s:1", "m a 1 b 2");
    assert_eq!(bench.address().as_deref(), Some("a:1"), "one of three");
    bench.point(&["s:2"], "b:2");
    bench.run(200);
    assert_eq!(bench.address().as_deref(), Some("b:2"));
    assert_eq!(bench.moved.last(), Some(&("m".to_owned(), "b:2".to_owned())));
    assert!(bench.now - began <= 200);
    assert_eq!(bench.warnings(), ["master m: is at b:2 now, and no more at a:1"]);
}

#[test]
fn a_message_about_another_master_is_none() {
    let mut bench = Bench::new(&TRIO);
    bench.run(2_000);
    bench.questions.clear();
    for message in ["m2 a 1 b 2", "", "m", "m a 1", "m a 1 b", "m a 1 b x", "m a 1 b 0"] {
        bench.publish("s:1", message);
    }
    assert_eq!((bench.questions.len(), bench.address().as_deref()), (0, Some("a:1")));
}

#[test]
fn without_any_message_the_next_round_finds_out() {
    let mut bench = Bench::new(&TRIO);
    bench.run(2_000);
    bench.point(&TRIO, "b:2");
    bench.run(5_000);
    assert_eq!(bench.address().as_deref(), Some("b:2"));
    bench.point(&TRIO, "c:3");
    bench.watch.handle_hint("m", false, bench.now);
    bench.run(150);
    assert_eq!((bench.address().as_deref(), &bench.asked[..]), (Some("c:3"), &[][..]), "it moved: that is the answer");
}

#[test]
fn the_address_that_fewer_name_is_not_believed() {
    let mut bench = Bench::new(&TRIO);
    bench.run(2_000);
    bench.point(&["s:1"], "b:2");
    bench.run(30_000);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
    let text = "master m: of 3 sentinels 1 say that it is at b:2: not believed";
    assert_eq!(bench.warnings(), [text], "and that is said once");
    // Nor is it when the other one is thought to be gone.
    bench.watch.handle_hint("m", true, bench.now);
    bench.run(200);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
    bench.point(&["s:1"], "a:1");
    bench.run(6_000);
    assert_eq!(bench.said.last().map(|said| said.1.as_str()), Some("master m: its sentinels can be asked, and agree"));
}

#[test]
fn one_that_alone_answers_is_believed_only_when_the_master_is_gone() {
    let mut bench = Bench::new(&TRIO);
    bench.run(2_000);
    bench.kill("s:2");
    bench.kill("s:3");
    bench.point(&["s:1"], "b:2");
    bench.run(6_000);
    assert_eq!(bench.address().as_deref(), Some("a:1"), "it may have been cut off for long");
    bench.watch.handle_hint("m", false, bench.now);
    bench.run(200);
    assert_eq!(bench.address().as_deref(), Some("a:1"), "a connection that is lost says nothing yet");
    bench.watch.handle_hint("m", true, bench.now);
    bench.run(200);
    assert_eq!(bench.address().as_deref(), Some("b:2"));
}

#[test]
fn of_two_that_are_divided_the_servers_decide() {
    let mut bench = Bench::new(&["s:1", "s:2"]);
    bench.run(2_000);
    bench.point(&["s:1"], "b:2");
    bench.run(6_000);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
    // a:1 is no master.
    bench.watch.handle_hint("m", true, bench.now);
    bench.run(200);
    assert_eq!(bench.address().as_deref(), Some("b:2"));
    // And nor is b:2.
    bench.watch.handle_hint("m", true, bench.now);
    bench.run(200);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
    bench.run(60_000);
    assert_eq!(bench.moved.len(), 3, "nobody has complained since");
}

#[test]
fn a_sentinel_whose_clock_jumps_has_no_vote() {
    let mut bench = Bench::new(&TRIO);
    bench.run(2_000);
    bench.model("s:1").is_tilted = true;
    bench.model("s:2").is_tilted = true;
    bench.point(&["s:1", "s:2"], "b:2");
    bench.run(6_000);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
    assert_eq!(bench.warnings()[0], "sentinel s:1: it is in TILT mode: its word does not count");
    bench.all(|model| model.is_tilted = false);
    bench.run(6_000);
    assert_eq!(bench.address().as_deref(), Some("b:2"));
    // As long as nothing is known at all their word is better than none.
    let mut bench = Bench::new(&TRIO);
    bench.all(|model| model.is_tilted = true);
    bench.run(1_000);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
}

#[test]
fn while_no_sentinel_answers_all_stays_as_it_is_known() {
    let mut bench = Bench::new(&TRIO);
    bench.run(2_000);
    TRIO.iter().for_each(|name| bench.kill(name));
    for _ in 0..10 {
        bench.watch.handle_hint("m", true, bench.now);
        bench.run(2_000);
    }
    assert_eq!(bench.address().as_deref(), Some("a:1"));
    assert!(bench.asked.len() >= 10, "who asks is told each time");
    assert_eq!(bench.warnings(), ["master m: no sentinel can be asked, of 3, s:3: it closed the connection"]);
    bench.all(|model| model.is_down = false);
    bench.point(&TRIO, "b:2");
    bench.run(6_000);
    assert_eq!(bench.address().as_deref(), Some("b:2"));
}

#[test]
fn a_name_that_nobody_knows_is_another_trouble_than_nobody_who_answers() {
    let mut bench = Bench::new(&TRIO);
    bench.all(|model| model.masters.clear());
    bench.run(10_000);
    assert_eq!(bench.warnings(), ["master m: no sentinel knows a master by this name, of 3"]);
    // One of them knows it: the others may have been told to forget it, or not yet to watch it.
    bench.point(&["s:2"], "a:1");
    bench.run(1_500);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
}

#[test]
fn at_the_start_one_sentinel_is_enough_after_the_others_had_their_time() {
    let mut bench = Bench::new(&TRIO);
    bench.model("s:1").is_silent = true;
    bench.model("s:2").is_silent = true;
    bench.run(400);
    assert_eq!(bench.address(), None, "the others may say something else");
    bench.run(200);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
}

#[test]
fn a_sentinel_that_was_told_of_and_is_gone_is_forgotten_and_one_that_the_user_names_is_not() {
    let mut bench = Bench::with(&TRIO, &["s:1", "s:2"], None);
    bench.run(1_000);
    assert_eq!(bench.watch.view().len(), 3);
    bench.kill("s:3");
    bench.kill("s:2");
    bench.model("s:1").others.clear();
    bench.run(30_000);
    assert_eq!(bench.watch.view().len(), 3, "for some time it counts among those that may say no");
    bench.run(60_000);
    let left: Vec<String> = bench.watch.view().into_iter().map(|sentinel| sentinel.address).collect();
    assert_eq!(left, ["s:1", "s:2"]);
}
