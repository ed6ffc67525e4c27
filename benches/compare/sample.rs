//! What was measured in one run, the statistics of many, and the raw rows.
//!
//! Knows no process and no socket, and not how anything is shown. A figure is the median of its rounds. A ratio is the
//! median of the ratios *within* each round, since the two runs it compares stood next to each other. A spread is half of
//! what lies between the least and the greatest, in percent of the median: how far to trust the figure beside it.

use std::time::Duration;

use crate::load::Outcome;
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
    /// How often one of them went to sleep; not known where threads come and go.
    pub waits: Option<u64>,
    /// Resident memory before the run, after a first SET and GET.
    pub bytes_at_rest: u64,
    /// The same, with the idle clients connected.
    pub bytes_with_idle: u64,
    /// Resident memory after the run.
    pub bytes_after: u64,
    /// The most resident memory at any time.
    pub bytes_peak: u64,
}

/// What a run did to the server.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// CPU time of all the servers' threads.
    pub cpu: Duration,
    /// Connections that they accepted for the run, those that the proxy opened before included.
    pub accepted: u64,
    /// The most that were open at a moment when it was looked at (some ten times a second).
    pub peak: u64,
}

/// A figure of one sample.
pub type Figure = fn(&Sample) -> Option<f64>;

impl Sample {
    /// Requests per second.
    pub fn per_second(&self) -> Option<f64> {
        Some(self.outcome.requests as f64 / self.outcome.seconds)
    }

    /// Median of the delay, in milliseconds.
    pub fn p50_ms(&self) -> Option<f64> {
        Some(self.outcome.p50_ms)
    }

    /// 99th percentile of the delay, in milliseconds.
    pub fn p99_ms(&self) -> Option<f64> {
        Some(self.outcome.p99_ms)
    }

    /// CPU time of the proxy per request, in microseconds.
    pub fn own_us(&self) -> Option<f64> {
        self.own.map(|own| self.us_per_request(own.cpu))
    }

    /// Requests for each time that a thread of the proxy went to sleep.
    pub fn requests_per_wait(&self) -> Option<f64> {
        self.own?.waits.map(|waits| self.outcome.requests as f64 / waits as f64)
    }

    /// CPU time of the servers per request, in microseconds.
    pub fn behind_us(&self) -> Option<f64> {
        self.behind.map(|behind| self.us_per_request(behind.cpu))
    }

    /// CPU time of the proxy and of the servers per request, in microseconds: what the requests cost this side of the
    /// clients. A proxy can save its own time by giving the server more to do.
    pub fn together_us(&self) -> Option<f64> {
        Some(self.own_us()? + self.behind_us()?)
    }

    /// Connections that the servers accepted.
    pub fn accepted(&self) -> Option<f64> {
        self.behind.map(|behind| behind.accepted as f64)
    }

    /// The same, per second.
    pub fn accepted_per_second(&self) -> Option<f64> {
        self.behind.map(|behind| behind.accepted as f64 / self.outcome.seconds)
    }

    /// CPU time of the servers, in percent of one core.
    pub fn behind_percent(&self) -> Option<f64> {
        self.behind.map(|behind| 100.0 * behind.cpu.as_secs_f64() / self.outcome.seconds)
    }

    /// Memory of the proxy for each idle client, in bytes.
    pub fn bytes_per_idle(&self) -> Option<f64> {
        let own = self.own.filter(|_| self.work.idle > 0)?;
        Some(own.bytes_with_idle.saturating_sub(own.bytes_at_rest) as f64 / f64::from(self.work.idle))
    }

    /// How much memory the proxy had more at its worst than at rest, in millions of bytes.
    pub fn growth_mb(&self) -> Option<f64> {
        self.own.map(|own| own.bytes_peak.saturating_sub(own.bytes_at_rest) as f64 / 1e6)
    }

    fn us_per_request(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.outcome.requests as f64
    }

    /// Names of a raw row's fields.
    pub fn header() -> &'static str {
        "scene,variant,round,through,clients,pipeline,keep_alive,value_bytes,keys,servers,idle_clients,relay,tls,requests,seconds,\
         requests_per_second,p50_ms,p90_ms,p99_ms,max_ms,streamed_bytes,proxy_cpu_us_per_request,proxy_waits,\
         proxy_bytes_at_rest,proxy_bytes_with_idle,proxy_bytes_after,proxy_bytes_peak,redis_cpu_us_per_request,\
         redis_connections_accepted,redis_connections_peak,time_wait_before"
    }

    /// The raw row: everything that is known, comma-separated.
    pub fn row(&self) -> String {
        let Sample { work, outcome, own, behind, .. } = self;
        let maybe = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
        let bytes = |of: fn(&Own) -> u64| own.as_ref().map_or_else(String::new, |own| of(own).to_string());
        let fields = [
            work.scene.to_owned(),
            work.variant.replace(',', ""),
            self.round.to_string(),
            self.through.to_owned(),
            work.clients.to_string(),
            work.pipeline.to_string(),
            u8::from(work.keep_alive).to_string(),
            work.bytes.to_string(),
            work.keys.to_string(),
            work.servers.to_string(),
            work.idle.to_string(),
            u8::from(work.is_far).to_string(),
            u8::from(work.is_tls).to_string(),
            outcome.requests.to_string(),
            format!("{:.4}", outcome.seconds),
            format!("{:.1}", self.per_second().unwrap_or_default()),
            format!("{:.4}", outcome.p50_ms),
            maybe(outcome.p90_ms),
            format!("{:.4}", outcome.p99_ms),
            maybe(outcome.max_ms),
            outcome.streamed_bytes.to_string(),
            maybe(self.own_us()),
            own.and_then(|own| own.waits).map_or_else(String::new, |waits| waits.to_string()),
            bytes(|own| own.bytes_at_rest),
            bytes(|own| own.bytes_with_idle),
            bytes(|own| own.bytes_after),
            bytes(|own| own.bytes_peak),
            maybe(self.behind_us()),
            behind.map_or_else(String::new, |behind| behind.accepted.to_string()),
            behind.map_or_else(String::new, |behind| behind.peak.to_string()),
            self.time_wait.to_string(),
        ];
        fields.join(",")
    }
}

/// Samples, to be asked for figures.
pub struct Samples<'a>(Vec<&'a Sample>);

impl<'a> Samples<'a> {
    /// All of these.
    pub fn new(samples: &'a [Sample]) -> Samples<'a> {
        Samples(samples.iter().collect())
    }

    /// Those of one scene.
    pub fn of_scene(&self, scene: &str) -> Samples<'a> {
        self.only(|sample| sample.work.scene == scene)
    }

    /// Those of one variant.
    pub fn of_variant(&self, variant: &str) -> Samples<'a> {
        self.only(|sample| sample.work.variant == variant)
    }

    /// Those of one subject.
    pub fn of(&self, subject: &str) -> Samples<'a> {
        self.only(|sample| sample.through == subject)
    }

    /// True exactly when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The median of a figure.
    pub fn median(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        median(self.0.iter().filter_map(|sample| figure(sample)).collect())
    }

    /// Half of the distance of its extremes, in percent of its median. None where there is but one.
    pub fn spread(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let values: Vec<f64> = self.0.iter().filter_map(|sample| figure(sample)).collect();
        let least = values.iter().copied().reduce(f64::min)?;
        let greatest = values.iter().copied().reduce(f64::max)?;
        Some(50.0 * (greatest - least) / median(values)?)
    }

    /// Of 100 runs, those whose throughput is less than four fifths of the best run's. Three processes on a few cores
    /// settle into one of several modes, and a median shows one of them. None where there is but one run.
    pub fn slow_percent(&self) -> Option<f64> {
        let values: Vec<f64> = self.0.iter().filter_map(|sample| sample.per_second()).collect();
        let best = values.iter().copied().reduce(f64::max).filter(|_| values.len() > 1)?;
        let slow = values.iter().filter(|value| **value < SLOW * best).count();
        Some(100.0 * slow as f64 / values.len() as f64)
    }

    /// This figure beside that of others in the same round, as `join` puts the two together.
    pub fn beside(&self, others: &Samples, figure: Figure, join: fn(f64, f64) -> f64) -> Option<f64> {
        let joined = self.0.iter().filter_map(|sample| {
            let other = others.0.iter().find(|other| other.round == sample.round)?;
            Some(join(figure(sample)?, figure(other)?))
        });
        median(joined.collect())
    }

    /// The ratio to others, round by round.
    pub fn ratio(&self, others: &Samples, figure: Figure) -> Option<f64> {
        self.beside(others, figure, |own, other| own / other)
    }

    fn only(&self, is_wanted: impl Fn(&Sample) -> bool) -> Samples<'a> {
        Samples(self.0.iter().filter(|sample| is_wanted(sample)).copied().collect())
    }
}

/// A run is slow that has less than this part of the best run's throughput.
const SLOW: f64 = 0.8;

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
