//! The original's own case: php-fpm behind nginx, phpredis, a page that connects, does ten cache calls and disconnects.
//!
//! Owns the page, the two configurations and the load, which is wrk, a process of its own with one thread. Everything is
//! Debian's, with the settings that it comes with, but for a fixed number of workers: as many as there are clients. Knows
//! no subject: the page goes to a target. Web server, workers and load are started for one run and stopped after it.
//!
//! ```text
//!   wrk ─HTTP, keep-alive─► nginx ─Unix─► php-fpm, 16 workers ─► the target
//! ```
//!
//! A page that fails fails the run.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::Outcome;
use crate::program;
use crate::support::{Address, Scratch, free_port};
use crate::tls::Target;
use crate::work::{PHP_CALLS, Work};

/// The programs that are needed: web server, workers, load.
pub struct Programs {
    nginx: PathBuf,
    php_fpm: PathBuf,
    wrk: PathBuf,
}

impl Programs {
    /// Finds them, or says what is missing.
    pub fn find() -> Result<Programs, String> {
        let programs = || Some(Programs { nginx: find("nginx")?, php_fpm: find("php-fpm")?, wrk: find("wrk")? });
        programs().ok_or_else(|| "nginx, php-fpm or wrk (sh benches/setup.sh installs them)".to_owned())
    }

    /// Installs what is missing, when this is root on a Debian system. It says so if it did not work, by not being found.
    pub fn install() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/setup.sh");
        if is_root() && Path::new("/etc/debian_version").is_file() {
            eprintln!("php: installing with {}", script.display());
            let _ = Command::new("sh").arg(script).status();
        }
    }

    /// Their versions, as Markdown list entries.
    pub fn facts(&self) -> String {
        let line = |program: &Path, flag: &str| {
            let output = Command::new(program).arg(flag).output().ok()?;
            let text = [output.stdout, output.stderr].concat();
            Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
        };
        let extension = Command::new("php").args(["-r", "echo phpversion('redis');"]).output();
        let extension =
            extension.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into());
        format!(
            "- nginx: {}\n- php-fpm: {}, phpredis {extension}\n- wrk: {}\n",
            line(&self.nginx, "-v").unwrap_or_default(),
            line(&self.php_fpm, "-v").unwrap_or_default(),
            line(&self.wrk, "-v").unwrap_or_default(),
        )
    }

    /// Serves pages for a while. `is_persistent`: PHP keeps its connections from page to page.
    pub fn run(
        &self,
        folder: &Scratch,
        target: &Target,
        work: &Work,
        is_persistent: bool,
        interrupted: &AtomicBool,
        mut sample: impl FnMut(),
    ) -> Result<Outcome, String> {
        let port = free_port();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<PathBuf, String>(path)
        };
        write("page.php", page(target, is_persistent))?;
        let fpm_config = write("fpm.conf", fpm_config(folder, work.clients))?;
        let nginx_config = write("nginx.conf", nginx_config(folder, port))?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();

        let _ = fs::remove_file(folder.join("fpm.sock"));
        let mut fpm =
            program::start(folder, "php-fpm", &self.php_fpm, &words(&["-F", "-y", &fpm_config.display().to_string()]))?;
        fpm.end_gently();
        let folder_path = folder.path().display().to_string();
        let arguments = words(&["-p", &folder_path, "-e", "stderr", "-c", &nginx_config.display().to_string()]);
        let mut nginx = program::start(folder, "nginx", &self.nginx, &arguments)?;
        nginx.await_ready(|| fetch(port))?;

        let seconds = (work.requests / PAGES_PER_SECOND).max(1);
        let arguments = words(&[
            "-t1",
            &format!("-c{}", work.clients),
            &format!("-d{seconds}s"),
            "--latency",
            &format!("http://127.0.0.1:{port}/"),
        ]);
        let mut wrk = program::start(folder, "wrk", &self.wrk, &arguments)?;
        let deadline = Instant::now() + Duration::from_secs(u64::from(seconds) + 10);
        while wrk.exit_code()?.is_none() {
            if interrupted.load(Ordering::Relaxed) {
                return Err("interrupted".to_owned());
            }
            if Instant::now() > deadline {
                return Err("wrk does not end".to_owned());
            }
            sample();
            std::thread::sleep(SAMPLE_PERIOD);
        }
        parse(&wrk.output())
    }
}

/// The page. Of the ten calls, eight read, one writes and one counts.
fn page(target: &Target, is_persistent: bool) -> String {
    let connect = if is_persistent { "pconnect" } else { "connect" };
    let address = match (&target.address, &target.authority) {
        (Address::Tcp(port), None) => format!("'127.0.0.1', {port}, 2.0"),
        (Address::Tcp(port), Some(authority)) => {
            format!("'tls://127.0.0.1', {port}, 2.0, null, 0, 0, ['stream' => ['cafile' => '{authority}']]")
        }
        (Address::Unix(path), _) => format!("'{}', 0, 2.0", path.display()),
    };
    // Closing a persistent connection would be the end of it.
    let close = if is_persistent { "" } else { "$redis->close();\n" };
    let reads = PHP_CALLS - 2;
    format!(
        "<?php\n$redis = new Redis();\n$redis->{connect}({address});\n$redis->set('page:user', 'ann');\n\
         for ($i = 0; $i < {reads}; $i++) {{\n    $redis->get(\"page:part:$i\");\n}}\n$redis->incr('page:views');\n\
{close}echo 'ok';\n"
    )
}

fn fpm_config(folder: &Scratch, workers: u32) -> String {
    let folder = folder.path().display();
    let user = if is_root() { "user = www-data\ngroup = www-data\n" } else { "" };
    format!(
        "[global]\nerror_log = {folder}/fpm-errors.log\ndaemonize = no\n[www]\n{user}listen = {folder}/fpm.sock\n\
         listen.mode = 0666\npm = static\npm.max_children = {workers}\n"
    )
}

fn nginx_config(folder: &Scratch, port: u16) -> String {
    let folder = folder.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/nginx-{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  keepalive_requests 1000000000;\n{temporary}  server {{\n    \
         listen 127.0.0.1:{port} backlog=4096;\n    location / {{\n      fastcgi_pass unix:{folder}/fpm.sock;\n      \
         fastcgi_param SCRIPT_FILENAME {folder}/page.php;\n      fastcgi_param REQUEST_METHOD $request_method;\n      \
         fastcgi_param QUERY_STRING '';\n    }}\n  }}\n}}\n"
    )
}

/// Gets the page once.
fn fetch(port: u16) -> Result<(), String> {
    let exchange = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<String, std::io::Error>(answer)
    };
    let answer = exchange().map_err(|error| format!("the page: {error}"))?;
    if answer.ends_with("\r\n\r\nok") { Ok(()) } else { Err(format!("the page: {answer}")) }
}

/// What wrk says: a summary, the distribution, and what went wrong.
fn parse(output: &str) -> Result<Outcome, String> {
    let wrong = ["Non-2xx", "Socket errors"];
    if let Some(line) = output.lines().find(|line| wrong.iter().any(|wrong| line.contains(wrong))) {
        return Err(format!("wrk: {}", line.trim()));
    }
    let words = |head: &str| -> Option<Vec<&str>> {
        let line = output.lines().map(str::trim).find(|line| line.starts_with(head))?;
        Some(line.split_whitespace().collect())
    };
    let percentile = |head: &str| milliseconds(words(head)?.get(1)?);
    let read = || {
        let total = output.lines().find(|line| line.contains(" requests in "))?;
        let total: Vec<&str> = total.split_whitespace().collect();
        Some(Outcome {
            requests: total.first()?.parse().ok()?,
            seconds: milliseconds(total.get(3)?.trim_end_matches(','))? / 1e3,
            p50_ms: percentile("50%")?,
            p90_ms: Some(percentile("90%")?),
            p99_ms: percentile("99%")?,
            max_ms: Some(milliseconds(words("Latency ")?.get(3)?)?),
            streamed_bytes: 0,
        })
    };
    read().ok_or_else(|| format!("wrk (apt-get install wrk) said: {output}"))
}

/// `950.00us`, `1.05ms`, `5.00s`, `1.00m`.
fn milliseconds(word: &str) -> Option<f64> {
    let digits = word.find(|c: char| c.is_ascii_alphabetic())?;
    let factor = match &word[digits..] {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        _ => return None,
    };
    Some(word[..digits].parse::<f64>().ok()? * factor)
}

/// A program in one of the usual folders; Debian adds PHP's version to its name.
fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let exact = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    exact.or_else(|| {
        let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
        let is_version = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit() || c == '.');
        entries
            .map(|entry| entry.path())
            .find(|path| path.file_name().and_then(|file| file.to_str()?.strip_prefix(name)).is_some_and(is_version))
    })
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// What a work load's number of requests is divided by, for wrk counts in seconds.
const PAGES_PER_SECOND: u32 = 1_000;
const SAMPLE_PERIOD: Duration = Duration::from_millis(100);
