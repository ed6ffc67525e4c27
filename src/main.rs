//! argv → config → logger → reactor; the exit codes.
//!
//! 0: done, or stopped by a signal. 1: it could not start, or went wrong while running; the log says why; or it was
//! asked whether another rmux answers, and that one does not. 2: the arguments or the configuration file are refused;
//! one line on standard error says why.

#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::process::ExitCode;

use rmux::cli::{self, Action};
use rmux::config::Loaded;
use rmux::serve::{self, serve};
use rmux::service::privileges;
use rmux::{check, healthcheck, logger, top};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(action) => run(action),
        Err(error) => {
            eprint_line(&format!("rmux: {error}"));
            ExitCode::from(2)
        }
    }
}

fn run(action: Action) -> ExitCode {
    match action {
        Action::Print(text) => {
            // A reader that has seen enough, as in `rmux -help | head`, is no failure.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Action::Check(loaded) => {
            let (findings, clusters) = (check::check(&loaded.config), serve::find_clusters(&loaded.config));
            let warnings = [&loaded.warnings[..], &findings.warnings, &clusters.warnings].concat();
            print_with_warnings(&warnings, &cli::summary(&loaded, &[findings.lines, clusters.facts].concat()))
        }
        Action::Locate(loaded, keys) => {
            let clusters = serve::find_clusters(&loaded.config);
            let table = cli::placements(&loaded, &clusters.maps, &keys);
            print_with_warnings(&[&loaded.warnings[..], &clusters.warnings].concat(), &table)
        }
        Action::Healthcheck(loaded) => match healthcheck::check(&loaded.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprint_line(&format!("rmux: {failure}"));
                ExitCode::FAILURE
            }
        },
        Action::Top(loaded) => match loaded.config.admin.as_ref().map(top::run) {
            Some(Err(failure)) => {
                eprint_line(&format!("rmux: {failure}"));
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        },
        Action::Serve(loaded) => {
            if let Err(error) = logger::start(loaded.config.debug, loaded.config.use_syslog) {
                eprint_line(&format!("rmux: cannot log: {error}"));
                return ExitCode::FAILURE;
            }
            // It does not come back if it starts this program anew; then the new one logs the warnings.
            let result = privileges::maybe_give_up(&loaded.config).and_then(|()| {
                loaded.warnings.iter().for_each(|warning| log::warn!("{warning}"));
                serve(&loaded.config, read_again)
            });
            if let Err(error) = &result {
                log::error!("{error}");
            }
            logger::flush();
            if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// The configuration anew, with the arguments of the start.
fn read_again() -> Result<Loaded, String> {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Action::Serve(loaded)) => Ok(loaded),
        // The arguments are those of the start, so they ask for the same.
        Ok(_) => Err("the arguments ask for something else".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn print_with_warnings(warnings: &[String], text: &str) -> ExitCode {
    for warning in warnings {
        eprint_line(&format!("rmux: warning: {warning}"));
    }
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

/// Standard error may be closed; that is no reason to end otherwise than announced.
fn eprint_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
