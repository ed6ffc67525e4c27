//! What was measured in one run, the tables made of many, and the raw rows.
//!
//! Knows no process and no socket: samples in, text out. A figure in a table is the median of its rounds. A ratio is the
//! median of the ratios *within* each round, since the two runs it compares stood next to each other. `±` is half of
//! what lies between the least and the greatest, in percent of the median: how far to trust the figure beside it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::load::Outcome;
use crate::proxy::TWEMPROXY;
use crate::subject::{DIRECT_TCP, FLOOR, Subject};
use crate::work::Work;

/// One subject's one run of one work load.
pub struct Sample {
    /// The work load as it was run.
    pub work: Work,
    /// The subject's name.
    pub through: &'static str,
    /// From 1.
    pub round: u32,
    /// TCP sockets of the machine in TIME_WAIT when the run began.
    pub time_wait: u64,
    /// What the clients saw.
    pub outcome: Outcome,
    /// What the subject's own process used; none for a direct connection.
    pub own: Option<Own>,
    /// What happened at the server; none for the floor.
    pub behind: Option<Behind>,
}

/// What a proxy's process used during a run.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// How often one of them went to sleep.
    pub waits: u64,
    /// Resident memory before the run, after a first SET and GET.
    pub bytes_at_rest: u64,
    /// Resident memory after the run.
    pub bytes_after: u64,
}

/// What a run did to the server.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// CPU time of all the server's threads.
    pub cpu: Duration,
    /// Connections that it accepted for the run, those that the proxy opened before included.
    pub accepted: u64,
    /// The most that were open at a moment when it was looked at (some ten times a second).
    pub peak: u64,
}

impl Sample {
    fn per_second(&self) -> f64 {
        self.outcome.requests as f64 / self.outcome.seconds
    }

    fn own_us(&self) -> Option<f64> {
        self.own.map(|own| self.us_per_request(own.cpu))
    }

    fn requests_per_wait(&self) -> Option<f64> {
        self.own.map(|own| self.outcome.requests as f64 / own.waits as f64)
    }

    fn behind_us(&self) -> Option<f64> {
        self.behind.map(|behind| self.us_per_request(behind.cpu))
    }

    fn us_per_request(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.outcome.requests as f64
    }
}

/// The Markdown table of one work load, a row per subject that has a sample of it.
pub fn table(work: &Work, subjects: &[Subject], samples: &[Sample]) -> String {
    let of_work = Samples(samples.iter().filter(|sample| sample.work.name == work.name).collect());
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for subject in subjects {
        let own = of_work.of(subject.name);
        if own.0.is_empty() {
            continue;
        }
        let throughput = |sample: &Sample| Some(sample.per_second());
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        rows.push(vec![
            subject.name.to_owned(),
            figure(own.median(throughput), 0),
            figure(own.spread(throughput), 0),
            figure(of_work.ratio(subject.name, DIRECT_TCP, throughput), 2),
            figure(of_work.ratio(subject.name, FLOOR, throughput), 2),
            figure(own.median(|sample| Some(sample.outcome.p50_ms)), 3),
            figure(own.median(|sample| Some(sample.outcome.p99_ms)), 3),
            figure(own.median(Sample::own_us), 2),
            figure(own.spread(Sample::own_us), 0),
            figure(of_work.ratio(subject.name, FLOOR, Sample::own_us), 2),
            figure(of_work.ratio(subject.name, TWEMPROXY, Sample::own_us), 2),
            figure(own.median(Sample::requests_per_wait), 1),
            figure(own.median(Sample::behind_us), 2),
            figure(of_work.ratio(subject.name, DIRECT_TCP, Sample::behind_us), 2),
            figure(own.median(|sample| sample.behind.map(|behind| behind.accepted as f64)), 0),
            figure(own.median(|sample| sample.behind.map(|behind| behind.peak as f64)), 0),
            figure(own.median(|sample| sample.own.map(|own| megabytes(own.bytes_at_rest))), 1),
            figure(own.median(|sample| sample.own.map(|own| megabytes(own.bytes_after))), 1),
        ]);
    }
    align(&rows)
}

/// Writes every sample as a row of comma-separated values, in the order in which they were taken.
pub fn write_csv(path: &Path, samples: &[Sample]) -> Result<(), String> {
    let mut text = String::from(
        "work,round,through,clients,pipeline,keep_alive,value_bytes,requests,seconds,requests_per_second,p50_ms,p99_ms,\
         proxy_cpu_us_per_request,proxy_waits,proxy_bytes_at_rest,proxy_bytes_after,\
         redis_cpu_us_per_request,redis_connections_accepted,redis_connections_peak,\
         time_wait_before\n",
    );
    for sample in samples {
        let Sample { work, outcome, own, behind, .. } = sample;
        let fields = [
            work.name.to_owned(),
            sample.round.to_string(),
            sample.through.to_owned(),
            work.clients.to_string(),
            work.pipeline.to_string(),
            u8::from(work.keep_alive).to_string(),
            work.bytes.to_string(),
            outcome.requests.to_string(),
            format!("{:.4}", outcome.seconds),
            format!("{:.1}", sample.per_second()),
            outcome.p50_ms.to_string(),
            outcome.p99_ms.to_string(),
            sample.own_us().map_or_else(String::new, |us| format!("{us:.4}")),
            own.map_or_else(String::new, |own| own.waits.to_string()),
            own.map_or_else(String::new, |own| own.bytes_at_rest.to_string()),
            own.map_or_else(String::new, |own| own.bytes_after.to_string()),
            sample.behind_us().map_or_else(String::new, |us| format!("{us:.4}")),
            behind.map_or_else(String::new, |behind| behind.accepted.to_string()),
            behind.map_or_else(String::new, |behind| behind.peak.to_string()),
            sample.time_wait.to_string(),
        ];
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Samples of one work load.
struct Samples<'a>(Vec<&'a Sample>);

impl<'a> Samples<'a> {
    fn of(&self, name: &str) -> Samples<'a> {
        Samples(self.0.iter().filter(|sample| sample.through == name).copied().collect())
    }

    fn median(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.0.iter().filter_map(|sample| figure(sample)).collect())
    }

    fn spread(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.0.iter().filter_map(|sample| figure(sample)).collect();
        let least = values.iter().copied().reduce(f64::min)?;
        let greatest = values.iter().copied().reduce(f64::max)?;
        Some(50.0 * (greatest - least) / median(values)?)
    }

    /// One subject's figure over another's, round by round.
    fn ratio(&self, name: &str, reference: &str, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let (samples, references) = (self.of(name), self.of(reference));
        let ratios = samples.0.iter().filter_map(|sample| {
            let beside = references.0.iter().find(|beside| beside.round == sample.round)?;
            Some(figure(sample)? / figure(beside)?)
        });
        median(ratios.collect())
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

/// The first column to the left, figures to the right, every cell as wide as its column's widest.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            text.push_str(&if column == 0 { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") });
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                text.push_str(&if column == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") });
            }
            text.push_str("|\n");
        }
    }
    text
}

/// BENCHMARKS.md says what each column means.
const HEAD: [&str; 18] = [
    "through", "req/s", "± %", "/ tcp", "/ floor", "p50 ms", "p99 ms", "CPU us", "± %", "/ floor", "/ twem",
    "req/wait", "redis us", "/ tcp", "conns", "peak", "MB rest", "MB after",
];
