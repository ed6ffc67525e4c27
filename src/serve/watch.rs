//! Those who watch the process, seen from its main thread: the listener of the admin endpoint, the file of its socket,
//! and what its thread is told.
//!
//! The thread runs from the start on, and gets the listener when clients are accepted. One that was passed on by
//! another process is taken over with its file, as with pools; so nobody who asks is refused meanwhile.
//!
//! ```text
//!   open, or passed on ─► start: the thread runs, and has the listener, unless it is held ─► accept ─► end, dismiss
//! ```
//!
//! Does nothing if nothing is configured. Knows no pools but their reactors.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::{error, info};

use super::pool::Pool;
use super::wakeup::Wakeup;
use crate::admin::report::CertificateReport;
use crate::admin::{Endpoint, Link, News, Watched};
use crate::config::{self, Config};
use crate::net::{self, Listener, ResolvedAddress, SocketFile};
use crate::service::activation::Activation;
use crate::service::upgrade::Passed;
use crate::thread;

/// The endpoint, as far as it is the main thread's.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Where it listens, in one spelling; "" if nowhere.
    place: String,
    /// `None` when it listens nowhere, or no more.
    listener: Option<Listener>,
    /// The same once more, until the thread has it.
    unheard: Option<Listener>,
    /// What is to be removed when nobody is to ask any more.
    socket_file: Option<SocketFile>,
    /// `None` when there is no thread.
    link: Option<Link>,
    /// Whether another process has taken its place.
    is_replaced: bool,
    /// Whether the thread runs no more.
    has_ended: Arc<AtomicBool>,
}

impl Watch {
    /// One that listens where the configuration says, if it does, and does not run yet. Of the sockets that another
    /// process has passed on, it takes its own.
    ///
    /// # Errors
    ///
    /// When it cannot listen there; the text names the address.
    pub fn open(config: &Config, given: &mut Vec<Activation>) -> io::Result<Watch> {
        let Some(address) = &config.admin else { return Ok(Watch::default()) };
        let place = config::identity(address).to_string();
        let (listener, socket_file) = match given.iter().position(|given| given.is_passed_at(&place)) {
            Some(found) => (given.swap_remove(found).into_listener(), None),
            None => net::listen(address, BACKLOG, SOCKET_MODE).map_err(io::Error::other)?,
        };
        info!("admin: listens on {address}");
        Ok(Watch { place, listener: Some(listener), socket_file, ..Watch::default() })
    }

    /// Starts the thread, if there is something to do for it. Held, nobody who asks is accepted before
    /// [`Watch::accept`].
    ///
    /// # Errors
    ///
    /// When there is no descriptor or no thread for it.
    pub fn start(&mut self, config: &Config, pools: &[Pool], wakeup: &Wakeup, is_held: bool) -> io::Result<()> {
        if self.listener.is_none() && config.graphite.is_none() {
            return Ok(());
        }
        let (endpoint, link) = Endpoint::new(config)?;
        let (has_ended, notifier) = (Arc::clone(&self.has_ended), wakeup.notifier()?);
        let run = Box::new(move || {
            let result = endpoint.run().inspect_err(|error| error!("admin: has failed: {error}"));
            has_ended.store(true, Ordering::Release);
            notifier.ring();
            result
        });
        thread::spawn("rmux-admin", None, run)?;
        self.link = Some(link);
        self.tell_pools(pools);
        self.unheard = self.listener.as_ref().map(Listener::try_clone).transpose()?;
        if !is_held {
            self.listen();
        }
        Ok(())
    }

    /// These are the pools from now on.
    pub fn tell_pools(&self, pools: &[Pool]) {
        let watched = |pool: &Pool| Watched {
            listen: pool.config().listen.to_string(),
            reactors: pool.threads().iter().map(|thread| thread.handle().clone()).collect(),
            watcher: pool.viewer(),
            certificates: config::lasting(pool.config()).into_iter().map(CertificateReport::from).collect(),
        };
        self.tell(|| News::Pools(pools.iter().map(watched).collect()));
    }

    /// What became of a reload.
    pub fn tell_reload(&self, is_refused: bool) {
        self.tell(|| News::Reload(is_refused));
    }

    /// Clients are accepted from now on, and so is who asks; what another process has passed on is this one's.
    pub fn accept(&mut self) {
        if let Some(Ok(ResolvedAddress::Unix(path))) = self.listener.as_ref().map(Listener::local_address) {
            if self.socket_file.is_none() {
                self.socket_file = SocketFile::adopt(&path);
            }
        }
        // In this order: who asks first is not told that it starts.
        self.tell(|| News::Accepting);
        self.listen();
    }

    fn listen(&mut self) {
        if let Some(listener) = self.unheard.take() {
            self.tell(|| News::Listen(listener));
        }
    }

    /// Adds its listener to those that are passed on to another process.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn pass(&self, passed: &mut Vec<Passed>) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        passed.push(Passed { socket: listener.to_descriptor()?, place: self.place.clone(), is_own: true });
        Ok(())
    }

    /// Another process has its listener, and the file of that.
    pub fn dismiss(&mut self) {
        self.socket_file.take().into_iter().for_each(SocketFile::leave);
        self.is_replaced = true;
        self.end();
    }

    /// Nobody is accepted any more, be it a client or somebody who asks. Who is connected may still ask.
    pub fn end(&mut self) {
        self.listener = None;
        self.unheard = None;
        self.socket_file = None;
        self.tell(|| News::Ending(self.is_replaced));
    }

    /// All has ended but this: who has asked already gets an answer, if that does not take long.
    ///
    /// # Errors
    ///
    /// When the main thread cannot wait.
    pub fn await_end(&mut self, wakeup: &Wakeup) -> io::Result<()> {
        self.end();
        let deadline = Instant::now() + END_PATIENCE;
        while self.link.is_some() && !self.has_ended.load(Ordering::Acquire) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            wakeup.wait(Some(left))?;
        }
        Ok(())
    }

    fn tell(&self, news: impl FnOnce() -> News) {
        if let Some(link) = &self.link {
            link.tell(news());
        }
    }
}

/// Whoever may connect may see all there is to see: so it is the user alone.
const SOCKET_MODE: u32 = 0o600;
/// For the last answers.
const END_PATIENCE: Duration = Duration::from_millis(500);
/// Few ask.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Action};
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    fn ask(admin: &Path, page: &str) -> String {
        let mut stream = UnixStream::connect(admin).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("more than zero");
        stream.write_all(format!("GET {page} HTTP/1.0\r\n\r\n").as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, and its end");
        answer
    }

    #[test]
    fn a_reactor_that_is_stuck_is_told_and_nobody_waits_for_it() {
        let place = |name| std::env::temp_dir().join(format!("rmux-watch-{}-{name}.sock", std::process::id()));
        let (socket, admin) = (place("pool"), place("admin"));
        let flags = [("-socket", &socket), ("-admin", &admin)].map(|(flag, path)| format!("{flag}={}", path.display()));
        let flags = flags.into_iter().chain(["-unixConnections=/nonexistent".to_owned()]);
        let Ok(Action::Serve(loaded)) = cli::parse(flags.map(Into::into)) else { panic!("good flags") };
        let wakeup = Wakeup::new(&[]).expect("descriptors are free");
        let (stuck, go) = Pool::stuck(&loaded.config.pools[0], &wakeup);
        let pools = [stuck];
        let mut watch = Watch::open(&loaded.config, &mut Vec::new()).expect("it listens");
        watch.start(&loaded.config, &pools, &wakeup, false).expect("there are threads");
        watch.accept();
        let (began, stuck) = (Instant::now(), "threads that do not turn: 1 of 1\n");
        for page in ["/healthz", "/readyz"] {
            let answer = ask(&admin, page);
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with(stuck), "{answer}");
        }
        assert!(began.elapsed() >= Duration::from_secs(2), "it had its time");
        let silent = format!("\nrmux_threads{{pool=\"{}\",state=\"silent\"}} 1\n", socket.display());
        assert!(ask(&admin, "/metrics").contains(&silent));
        go.send(()).expect("the thread waits");
        while !ask(&admin, "/healthz").ends_with("\r\n\r\nok\n") {
            assert!(began.elapsed() < Duration::from_secs(20), "it turns, and is not told");
        }
        assert!(ask(&admin, "/readyz").ends_with(": no server is up\n"));
        watch.end();
        assert!(!admin.exists(), "the file is gone");
        pools.into_iter().for_each(|mut pool| pool.drain());
    }
}
