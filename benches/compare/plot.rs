//! Charts as SVG: curves over an axis, and groups of bars. Numbers in, text out; knows nothing of what they mean.
//!
//! ```text
//!   title
//!   y title
//!    │ ·  ·──·   name
//!    │ ·─·       name
//!    └────────
//!      x title
//! ```
//!
//! A series brings its colour along, so that it is the same in every chart. The background is white, since a page may be
//! dark.

use std::fmt::Write as _;

/// A series, as the legend shows it.
pub struct Key {
    /// In words.
    pub name: String,
    /// As in `#0072b2`.
    pub colour: &'static str,
}

/// Points joined by lines, a line for each series.
pub struct Curves {
    /// Above everything.
    pub title: String,
    /// Below the horizontal axis.
    pub x_title: String,
    /// Above the vertical axis.
    pub y_title: String,
    /// Whether each step of the horizontal axis multiplies.
    pub is_x_log: bool,
    /// Whether each step of the vertical axis multiplies.
    pub is_y_log: bool,
    /// The lines, each with its points in the order of x.
    pub series: Vec<(Key, Vec<(f64, f64)>)>,
}

/// Groups of bars, a bar for each series in each group; each group has a scale of its own.
pub struct Bars {
    /// Above everything.
    pub title: String,
    /// Above the bars.
    pub y_title: String,
    /// The bars.
    pub series: Vec<Key>,
    /// Each group's name, and a value for each series that has one.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

impl Curves {
    /// The chart. None when there is no point.
    pub fn svg(&self) -> Option<String> {
        let points = || self.series.iter().flat_map(|(_, points)| points);
        let x = Axis::new(points().map(|point| point.0), self.is_x_log, LEFT, RIGHT)?;
        let values = points().map(|point| point.1);
        // A linear axis begins at nothing, or it would exaggerate.
        let y = if self.is_y_log {
            Axis::new(values, true, BOTTOM, TOP)?
        } else {
            Axis::new(values.chain([0.0]), false, BOTTOM, TOP)?
        };
        let mut svg = head(&self.title, &self.y_title);
        for tick in y.ticks() {
            let at = y.at(tick);
            let _ = writeln!(svg, r##"<line x1="{LEFT}" y1="{at:.1}" x2="{RIGHT}" y2="{at:.1}" stroke="#ddd"/>"##);
            text(&mut svg, LEFT - 8.0, at + 4.0, "end", &short(tick));
        }
        // Where every series was measured at the same few places, those are the ticks.
        for tick in x.ticks() {
            let at = x.at(tick);
            let _ = writeln!(
                svg,
                r##"<line x1="{at:.1}" y1="{BOTTOM}" x2="{at:.1}" y2="{}" stroke="#333"/>"##,
                BOTTOM + 5.0
            );
            text(&mut svg, at, BOTTOM + 19.0, "middle", &short(tick));
        }
        let _ = writeln!(svg, r##"<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="#333"/>"##);
        text(&mut svg, (LEFT + RIGHT) / 2.0, BOTTOM + 40.0, "middle", &self.x_title);
        for (Key { colour, .. }, points) in &self.series {
            let places: Vec<String> =
                points.iter().map(|point| format!("{:.1},{:.1}", x.at(point.0), y.at(point.1))).collect();
            let line = places.join(" ");
            let _ = writeln!(svg, r#"<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>"#);
            for place in &places {
                let Some((left, top)) = place.split_once(',') else { continue };
                let _ = writeln!(svg, r#"<circle cx="{left}" cy="{top}" r="3.5" fill="{colour}"/>"#);
            }
        }
        legend(&mut svg, self.series.iter().map(|(key, _)| key));
        svg.push_str("</svg>\n");
        Some(svg)
    }
}

impl Bars {
    /// The chart. None when there is no bar.
    pub fn svg(&self) -> Option<String> {
        if !self.groups.iter().any(|(_, values)| values.iter().any(Option::is_some)) {
            return None;
        }
        let mut svg = head(&self.title, &self.y_title);
        let group_width = (RIGHT - LEFT) / self.groups.len() as f64;
        for (place, (name, values)) in self.groups.iter().enumerate() {
            let start = LEFT + group_width * place as f64;
            let count = values.iter().flatten().count().max(1) as f64;
            let width = (group_width * 0.86 / count).min(56.0);
            let margin = (group_width - width * count) / 2.0;
            let highest = values.iter().flatten().copied().fold(0.0, f64::max);
            text(&mut svg, start + group_width / 2.0, BOTTOM + 20.0, "middle", name);
            let bars = values.iter().enumerate().filter_map(|(series, value)| Some((series, (*value)?)));
            for (bar, (series, value)) in bars.enumerate() {
                let height = if highest > 0.0 { (BOTTOM - TOP - 16.0) * value / highest } else { 0.0 };
                let (left, top) = (start + margin + width * bar as f64, BOTTOM - height);
                let colour = self.series[series].colour;
                let _ = writeln!(
                    svg,
                    r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{height:.1}" fill="{colour}"/>"#,
                    width - 3.0
                );
                text(&mut svg, left + width / 2.0 - 1.5, top - 5.0, "middle", &short(value));
            }
        }
        let _ = writeln!(svg, r##"<path d="M{LEFT} {BOTTOM}H{RIGHT}" fill="none" stroke="#333"/>"##);
        legend(&mut svg, self.series.iter());
        svg.push_str("</svg>\n");
        Some(svg)
    }
}

/// Values on one side, places in the picture on the other.
struct Axis {
    least: f64,
    greatest: f64,
    is_log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis that holds all values, with round ends. A logarithmic one leaves out what is not above 0.
    fn new(values: impl Iterator<Item = f64>, is_log: bool, from: f64, to: f64) -> Option<Axis> {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && (!is_log || *value > 0.0)).collect();
        let least = values.iter().copied().reduce(f64::min)?;
        let greatest = values.iter().copied().reduce(f64::max)?;
        let mut axis = Axis { least, greatest, is_log, from, to };
        if is_log {
            axis.least = axis.least.min(axis.greatest / 10.0);
            // Curves do not lie on the frame.
            if from > to {
                let round = |value: f64, is_up: bool| {
                    let power = 10_f64.powf(value.log10().floor());
                    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
                    let fits = |step: &f64| if is_up { *step >= value } else { *step <= value };
                    let mut fitting = steps.into_iter().filter(fits);
                    let step = if is_up { fitting.next() } else { fitting.next_back() };
                    step.unwrap_or(value)
                };
                (axis.least, axis.greatest) = (round(axis.least, false), round(axis.greatest, true));
            }
        } else {
            let step = axis.step();
            axis.greatest = (axis.greatest / step).ceil() * step;
        }
        Some(axis)
    }

    fn at(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.least).ln() - self.least.ln()) / (self.greatest.ln() - self.least.ln())
        } else {
            (value - self.least) / (self.greatest - self.least)
        };
        self.from + share * (self.to - self.from)
    }

    /// The distance of a linear axis' ticks: some five of them, at round numbers.
    fn step(&self) -> f64 {
        let rough = ((self.greatest - self.least) / 5.0).max(f64::MIN_POSITIVE);
        let power = 10_f64.powf(rough.log10().floor());
        let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough);
        round.unwrap_or(10.0) * power
    }

    fn ticks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = self.step();
            let count = ((self.greatest - self.least) / step).round() as u32;
            return (0..=count).map(|number| self.least + f64::from(number) * step).collect();
        }
        let decades = (self.greatest / self.least).log10();
        // A short axis gets more ticks, a long one the powers of ten alone.
        let factors: &[f64] = if decades <= 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let first = self.least.log10().floor() as i32;
        let last = self.greatest.log10().ceil() as i32;
        let all = (first..=last).flat_map(|power| factors.iter().map(move |factor| factor * 10_f64.powi(power)));
        all.filter(|tick| *tick >= self.least * 0.999 && *tick <= self.greatest * 1.001).collect()
    }
}

fn head(title: &str, y_title: &str) -> String {
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="#333">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
"##
    );
    let _ = writeln!(svg, r#"<text x="{}" y="26" font-size="17">{}</text>"#, LEFT - 55.0, escaped(title));
    text(&mut svg, LEFT - 55.0, 50.0, "start", y_title);
    svg
}

fn legend<'a>(svg: &mut String, keys: impl Iterator<Item = &'a Key>) {
    for (index, Key { name, colour }) in keys.enumerate() {
        let top = TOP + 8.0 + 22.0 * index as f64;
        let _ = writeln!(svg, r#"<rect x="{}" y="{}" width="14" height="14" fill="{colour}"/>"#, RIGHT + 18.0, top);
        text(svg, RIGHT + 38.0, top + 12.0, "start", name);
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(words));
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A number in few characters: `0.45`, `8.1`, `120`, `1.5k`, `2M`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 1_000.0 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let number = format!("{scaled:.decimals$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number}{unit}")
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 75.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 360.0;
