//! How scenes are shown: tables in Markdown, curves and bars.
//!
//! Knows what each column and each plot is made of, and no process. BENCHMARKS.md says what each column means.

use crate::book::align;
use crate::name::{DIRECT_TCP, DIRECT_TLS, DIRECT_UNIX, ENVOY, FLOOR, HAPROXY, STUNNEL, TWEMPROXY};
use crate::plot::{Bars, Curves, Key};
use crate::sample::{Figure, Sample, Samples};
use crate::scene::{Axes, Scene, Shown, View};
use crate::subject::Subject;
use crate::work::Work;

/// What stands in a column.
enum Column {
    /// The figure, with so many decimals.
    Median(&'static str, usize, Figure),
    /// How far to trust it.
    Spread(Figure),
    /// Of 100 runs, the slow ones.
    Slow,
    /// Divided by that of another subject.
    Over(&'static str, &'static str, Figure),
    /// Divided by that of the same subject's first variant.
    OverFirst(&'static str, Figure),
    /// What is more than another subject's, in microseconds, of a figure in milliseconds.
    Added(&'static str, &'static str, Figure),
    /// The same, divided by what the peer adds.
    AddedOverPeer(&'static str, &'static str, Figure),
}

/// The Markdown table of one scene, a row for each subject and work load that has a sample.
pub fn table(scene: &Scene, subjects: &[Subject], samples: &Samples) -> String {
    let of_scene = samples.of_scene(scene.name);
    let columns = columns(scene.view);
    let has_variants = scene.works.len() > 1;
    let mut head = vec!["through".to_owned()];
    head.extend(has_variants.then(|| "variant".to_owned()));
    head.extend(columns.iter().map(|column| column.head().to_owned()));
    let mut rows = vec![head];
    for (subject, work) in in_order(scene, subjects) {
        let of_variant = of_scene.of_variant(&work.variant);
        let own = of_variant.of(subject.name);
        if own.is_empty() {
            continue;
        }
        let first = of_scene.of_variant(&scene.works[0].variant).of(subject.name);
        let mut row = vec![subject.name.to_owned()];
        row.extend(has_variants.then(|| work.variant.clone()));
        row.extend(columns.iter().map(|column| column.cell(&own, &of_variant, &first)));
        rows.push(row);
    }
    align(&rows, 1 + usize::from(has_variants))
}

/// What there may be a row for: what is to be compared stands side by side.
fn in_order<'a>(scene: &'a Scene, subjects: &'a [Subject]) -> Vec<(&'a Subject, &'a Work)> {
    let of_subject = |subject: &'a Subject| scene.works.iter().map(move |work| (subject, work));
    let of_work = |work: &'a Work| subjects.iter().map(move |subject| (subject, work));
    match scene.view {
        View::Peers => scene.works.iter().flat_map(of_work).collect(),
        _ => subjects.iter().flat_map(of_subject).collect(),
    }
}

impl Column {
    fn head(&self) -> &'static str {
        match self {
            Column::Median(head, ..)
            | Column::Over(head, ..)
            | Column::OverFirst(head, _)
            | Column::Added(head, ..)
            | Column::AddedOverPeer(head, ..) => head,
            Column::Spread(_) => "± %",
            Column::Slow => "slow %",
        }
    }

    fn cell(&self, own: &Samples, of_variant: &Samples, first: &Samples) -> String {
        let added =
            |own: &Samples, other: &str, figure| own.beside(&of_variant.of(other), figure, |own, other| own - other);
        match self {
            Column::Median(_, decimals, figure) => cell(own.median(figure), *decimals),
            Column::Spread(figure) => cell(own.spread(figure), 0),
            Column::Slow => cell(own.slow_percent(), 0),
            Column::Over(_, other, figure) => cell(own.ratio(&of_variant.of(other), *figure), 2),
            Column::OverFirst(_, figure) => cell(own.ratio(first, *figure), 2),
            Column::Added(_, other, figure) => cell(added(own, other, *figure).map(|added| added * 1e3), 1),
            Column::AddedOverPeer(_, other, figure) => {
                let peer = added(&of_variant.of(TWEMPROXY), other, *figure);
                cell(added(own, other, *figure).zip(peer).map(|(own, peer)| own / peer), 2)
            }
        }
    }
}

fn columns(view: View) -> Vec<Column> {
    use Column::{Added, AddedOverPeer, Median, Over, OverFirst, Spread};
    let at_rest = Median("MB rest", 1, |sample| sample.own.map(|own| own.bytes_at_rest as f64 / 1e6));
    let after = Median("MB after", 1, |sample| sample.own.map(|own| own.bytes_after as f64 / 1e6));
    let max = |head| Median(head, 2, |sample| sample.outcome.max_ms);
    match view {
        View::Full => vec![
            Median("req/s", 0, Sample::per_second),
            Spread(Sample::per_second),
            Over("/ tcp", DIRECT_TCP, Sample::per_second),
            Over("/ floor", FLOOR, Sample::per_second),
            Median("p50 ms", 3, Sample::p50_ms),
            Median("p99 ms", 3, Sample::p99_ms),
            Median("CPU us", 2, Sample::own_us),
            Spread(Sample::own_us),
            Over("/ floor", FLOOR, Sample::own_us),
            Over("/ twem", TWEMPROXY, Sample::own_us),
            Median("req/wait", 1, Sample::requests_per_wait),
            Median("redis us", 2, Sample::behind_us),
            Over("/ tcp", DIRECT_TCP, Sample::behind_us),
            Median("conns", 0, Sample::accepted),
            Median("peak", 0, |sample| sample.behind.map(|behind| behind.peak as f64)),
            at_rest,
            after,
        ],
        View::Peers => columns_beside_peers(),
        View::Variants | View::Idle | View::Plot(_) => {
            let mut columns = vec![
                Median("req/s", 0, Sample::per_second),
                Spread(Sample::per_second),
                OverFirst("/ first", Sample::per_second),
                Median("p50 ms", 3, Sample::p50_ms),
                Median("p99 ms", 3, Sample::p99_ms),
                Median("CPU us", 2, Sample::own_us),
                Spread(Sample::own_us),
                OverFirst("/ first", Sample::own_us),
                Median("req/wait", 1, Sample::requests_per_wait),
                Median("redis us", 2, Sample::behind_us),
                Median("conns", 0, Sample::accepted),
                after,
            ];
            if matches!(view, View::Idle) {
                columns.push(Median("bytes/idle", 0, Sample::bytes_per_idle));
            }
            columns
        }
        View::Delay => vec![
            Median("p50 ms", 4, Sample::p50_ms),
            Spread(Sample::p50_ms),
            Median("p99 ms", 4, Sample::p99_ms),
            Spread(Sample::p99_ms),
            Added("p50 adds us", DIRECT_UNIX, Sample::p50_ms),
            AddedOverPeer("/ twem", DIRECT_UNIX, Sample::p50_ms),
            Added("p99 adds us", DIRECT_UNIX, Sample::p99_ms),
            AddedOverPeer("/ twem", DIRECT_UNIX, Sample::p99_ms),
            max("max ms"),
            Median("CPU us", 2, Sample::own_us),
        ],
        View::Huge => vec![
            Median("MB/s", 0, |sample| Some(sample.outcome.streamed_bytes as f64 / 1e6 / sample.outcome.seconds)),
            at_rest,
            Median("MB grown", 1, Sample::growth_mb),
            Median("other p50 ms", 3, Sample::p50_ms),
            Median("other p99 ms", 3, Sample::p99_ms),
            max("other max ms"),
        ],
        View::Tls => columns_of_tls(),
        View::Php(direct) => vec![
            Median("pages/s", 0, Sample::per_second),
            Spread(Sample::per_second),
            Over(if direct == DIRECT_TLS { "/ tls" } else { "/ tcp" }, direct, Sample::per_second),
            Median("p50 ms", 2, Sample::p50_ms),
            Median("p90 ms", 2, |sample| sample.outcome.p90_ms),
            Median("p99 ms", 2, Sample::p99_ms),
            max("max ms"),
            Median("conns/s", 1, Sample::accepted_per_second),
            Median("redis us", 0, Sample::behind_us),
            Median("redis % core", 1, Sample::behind_percent),
            Median("CPU us", 0, Sample::own_us),
        ],
    }
}

fn columns_of_tls() -> Vec<Column> {
    use Column::{Median, Over, Spread};
    vec![
        Median("req/s", 0, Sample::per_second),
        Spread(Sample::per_second),
        Over("/ tls", DIRECT_TLS, Sample::per_second),
        Median("p50 ms", 3, Sample::p50_ms),
        Median("p99 ms", 3, Sample::p99_ms),
        Median("CPU us", 2, Sample::own_us),
        Spread(Sample::own_us),
        Over("/ haproxy", HAPROXY, Sample::own_us),
        Over("/ envoy", ENVOY, Sample::own_us),
        Median("req/wait", 1, Sample::requests_per_wait),
        Median("redis us", 2, Sample::behind_us),
        Over("/ tls", DIRECT_TLS, Sample::behind_us),
        Median("conns", 0, Sample::accepted),
        Median("MB rest", 1, |sample| sample.own.map(|own| own.bytes_at_rest as f64 / 1e6)),
        Median("MB after", 1, |sample| sample.own.map(|own| own.bytes_after as f64 / 1e6)),
    ]
}

fn columns_beside_peers() -> Vec<Column> {
    use Column::{Median, Over, Slow, Spread};
    vec![
        Median("both us", 2, Sample::together_us),
        Spread(Sample::together_us),
        Over("/ twem", TWEMPROXY, Sample::together_us),
        Over("/ envoy", ENVOY, Sample::together_us),
        Median("CPU us", 2, Sample::own_us),
        Over("/ floor", FLOOR, Sample::own_us),
        Median("redis us", 2, Sample::behind_us),
        Median("req/wait", 1, Sample::requests_per_wait),
        Median("req/s", 0, Sample::per_second),
        Spread(Sample::per_second),
        Slow,
        Over("/ twem", TWEMPROXY, Sample::per_second),
        Over("/ envoy", ENVOY, Sample::per_second),
        Median("p50 ms", 3, Sample::p50_ms),
        Median("p99 ms", 3, Sample::p99_ms),
    ]
}

/// The curves of a scene that is shown as a plot.
pub fn curves(scene: &Scene, axes: Axes, subjects: &[Subject], samples: &Samples) -> Option<String> {
    let of_scene = samples.of_scene(scene.name);
    let (y_title, figure): (_, Figure) = match axes.y {
        Shown::Throughput => ("requests per second", Sample::per_second),
        Shown::IdleMemory => {
            ("resident memory of the proxy, MB", |sample| sample.own.map(|own| own.bytes_with_idle as f64 / 1e6))
        }
    };
    let points = |subject: &Subject| -> Vec<(f64, f64)> {
        let of_subject = of_scene.of(subject.name);
        let point = |variant: &str| of_subject.of_variant(variant).median(figure);
        scene.works.iter().filter_map(|work| Some((work.x, point(&work.variant)?))).collect()
    };
    let series = subjects.iter().map(|subject| (key(subject.name), points(subject)));
    let curves = Curves {
        title: scene.title.to_owned(),
        x_title: axes.x.to_owned(),
        y_title: y_title.to_owned(),
        is_x_log: axes.is_x_log,
        is_y_log: axes.y == Shown::Throughput,
        series: series.filter(|(_, points)| !points.is_empty()).collect(),
    };
    curves.svg()
}

/// The bars that put several scenes side by side: name of the plot, and the chart.
pub fn bars(subjects: &[Subject], samples: &Samples) -> Vec<(&'static str, String)> {
    let chart = |title: &str, y_title: &str, groups: &[(&str, Samples)], figure: Figure| {
        let has_any = |name: &str| groups.iter().any(|(_, group)| group.of(name).median(figure).is_some());
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name).filter(|name| has_any(name)).collect();
        let values = |group: &Samples| names.iter().map(|name| group.of(name).median(figure)).collect();
        let bars = Bars {
            title: title.to_owned(),
            y_title: y_title.to_owned(),
            series: names.iter().map(|name| key(name)).collect(),
            groups: groups.iter().map(|(name, group)| ((*name).to_owned(), values(group))).collect(),
        };
        bars.svg()
    };
    let cpu = [("keepalive", "keep-alive"), ("pipeline", "pipeline of 16"), ("reconnect", "a connection each")]
        .map(|(scene, name)| (name, samples.of_scene(scene)));
    let php = samples.of_scene("php");
    let pages = [("the same machine", "connect"), ("2 ms away", "connect, 2 ms away")]
        .map(|(name, variant)| (name, php.of_variant(variant)));
    let charts = [
        ("cpu", chart("CPU per request by proxy", "microseconds of the proxy per request", &cpu, Sample::own_us)),
        (
            "php",
            chart("PHP pages per second", "pages per second, 16 workers, ten calls a page", &pages, Sample::per_second),
        ),
        ("php-connections", chart("Connections that Redis accepts", "per second", &pages, Sample::accepted_per_second)),
    ];
    charts.into_iter().filter_map(|(name, svg)| Some((name, svg?))).collect()
}

/// A subject in a chart. The colours are those of Okabe and Ito, which people who see colours differently tell apart.
fn key(subject: &'static str) -> Key {
    let colour = match subject {
        "rmux" => "#d55e00",
        DIRECT_TCP | DIRECT_TLS => "#000000",
        DIRECT_UNIX => "#777777",
        FLOOR => "#bbbbbb",
        TWEMPROXY => "#0072b2",
        "predixy" => "#009e73",
        HAPROXY => "#cc79a7",
        STUNNEL => "#999933",
        ENVOY => "#56b4e9",
        "go-rmux" => "#e69f00",
        _ => "#f0e442",
    };
    Key { name: subject.to_owned(), colour }
}

/// A number, or a dash where there is none.
pub fn cell(value: Option<f64>, decimals: usize) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}
