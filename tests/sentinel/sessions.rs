//! What clients have for themselves: keys that they watch, data that they wait for, channels that they hear.

use super::trio::{LONG, Trio, await_write, shown};
use crate::support::wait_until;

#[test]
fn who_watches_or_waits_is_told_and_who_listens_hears_the_new_master() {
    let trio = Trio::start();
    let rmux = trio.rmux(&[0, 1, 2], "");
    await_write(&rmux, "a");
    let (mut watching, mut waiting, mut hearing) = (rmux.client(), rmux.client(), rmux.client());
    assert_eq!(watching.cmd(&["WATCH", "a"]), b"+OK\r\n");
    hearing.cmd(&["SUBSCRIBE", "news"]);
    waiting.send(b"*3\r\n$5\r\nBLPOP\r\n$4\r\nnone\r\n$1\r\n0\r\n");
    wait_until("it to block", LONG, || shown(&trio.servers[0].ask("INFO clients")).contains("blocked_clients:1"));
    trio.replace_master(&[0, 1, 2]);
    waiting.set_patience(LONG);
    assert!(shown(&waiting.reply()).contains("lost before its reply"), "it would wait for ever");
    await_write(&rmux, "b");
    for step in [&["MULTI"][..], &["SET", "a", "2"]] {
        watching.cmd(step);
    }
    let end = shown(&watching.cmd(&["EXEC"]));
    assert!(end.starts_with('-') || end == "*-1\r\n", "its keys are watched no more: {end:?}");
    let mut publisher = rmux.client();
    hearing.set_patience(LONG);
    wait_until("a message", LONG, || publisher.cmd(&["PUBLISH", "news", "x"]) != b":0\r\n");
    assert!(shown(&hearing.reply()).contains("news"));
}
