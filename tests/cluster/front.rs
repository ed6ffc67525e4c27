//! rmux in front of a cluster: started, given another file, waited for.

use super::nodes::LONG;
use crate::support::proxy::Rmux;
use crate::support::{Address, Scratch, wait_until};
use std::fs;

/// Keys of all three thirds.
pub const KEYS: usize = 60;

/// Waits until all of these keys are written through rmux.
pub fn await_all(rmux: &Rmux, prefix: &str) {
    let mut client = rmux.client();
    for number in 0..KEYS {
        let key = format!("{prefix}{number}");
        wait_until("a write that succeeds", LONG, || client.cmd(&["SET", &key, "1"]) == b"+OK\r\n");
    }
}

/// Waits until the log has this.
pub fn await_log(rmux: &Rmux, text: &str) {
    wait_until(&format!("the log to say {text:?}"), LONG, || rmux.log().contains(text));
}

/// rmux with these seeds, and more keys of its pool.
pub fn start_rmux(seeds: &[String], keys: &str) -> Rmux {
    let scratch = Scratch::new();
    let (socket, file) = (scratch.join("rmux.sock"), scratch.join("rmux.json"));
    fs::write(&file, pool(&socket.display().to_string(), seeds, keys)).expect("the folder can be written");
    let flag = format!("-config={}", file.display());
    Rmux::start_at(Address::Unix(socket), scratch, &[&flag])
}

/// The text of a configuration with one pool for a cluster.
pub fn pool(socket: &str, seeds: &[String], keys: &str) -> String {
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
    format!(r#"[{{"socket": "{socket}", "cluster": true, "tcpConnections": [{}]{keys}}}]"#, seeds.join(", "))
}

/// Gives an rmux of [`start_rmux`] other seeds, or other keys of its pool, and waits until it has taken them.
pub fn reload(rmux: &Rmux, seeds: &[String], keys: &str) {
    let Address::Unix(socket) = rmux.address() else { panic!("it listens on a Unix socket") };
    let text = pool(&socket.display().to_string(), seeds, keys);
    fs::write(socket.with_file_name("rmux.json"), text).expect("the folder can be written");
    let count = || rmux.log().matches("reload: done").count();
    let before = count();
    rmux.signal("HUP");
    wait_until("the end of a reload", LONG, || count() > before);
}
