//! Metrics as text, read strictly: what is lenient in a server that reads them would hide a mistake here.
//!
//! Checked is: each family is described once, before its samples, which stand together; names and labels are made of
//! what they may be made of, and escaped; no sample is there twice; a counter is called `_total`; the buckets of a
//! histogram grow, and the last one is its count; in OpenMetrics, the end and the units.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Which of the two forms it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    OpenMetrics,
}

/// The samples, by their name with their labels in the order in which they stand.
#[derive(Debug)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
    text: String,
}

#[derive(Debug)]
struct Family {
    name: String,
    kind: String,
}

impl Metrics {
    /// Reads a text.
    ///
    /// # Panics
    ///
    /// When it breaks a rule.
    pub fn parse(text: &str, form: Form) -> Metrics {
        let mut metrics = Metrics { samples: BTreeMap::new(), text: text.to_owned() };
        let body = match form {
            Form::Text => text,
            Form::OpenMetrics => text.strip_suffix("# EOF\n").expect("an end"),
        };
        assert!(body.ends_with('\n') && !body.contains("# EOF") && !body.contains('\r'));
        let (mut seen, mut described, mut family) = (BTreeSet::new(), BTreeMap::new(), None);
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (word, name, rest) = (words.next(), words.next().expect(line), words.next().expect(line));
                is_name(name);
                match word {
                    Some("HELP") => {
                        assert!(seen.insert(name.to_owned()), "described twice: {line}");
                        assert!(rest.ends_with('.') && !rest.contains(['\\', '"']), "{line}");
                        family = None;
                    }
                    Some("TYPE") => {
                        assert!(seen.contains(name) && described.insert(name.to_owned(), rest.to_owned()).is_none());
                        family = Some(Family { name: name.to_owned(), kind: rest.to_owned() });
                    }
                    Some("UNIT") => {
                        let family = family.as_ref().expect("behind a TYPE");
                        assert!(form == Form::OpenMetrics && family.name == name, "{line}");
                        assert!(matches!(rest, "seconds" | "bytes") && name.ends_with(&format!("_{rest}")), "{line}");
                    }
                    _ => panic!("{line}"),
                }
                continue;
            }
            let family = family.as_ref().unwrap_or_else(|| panic!("of no family: {line}"));
            metrics.add(line, family, form);
        }
        assert!(metrics.samples.len() > 50, "{text}");
        metrics.check_histograms();
        metrics
    }

    fn add(&mut self, line: &str, family: &Family, form: Form) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
            None => (series, ""),
        };
        is_name(name);
        let suffix = name.strip_prefix(family.name.as_str()).unwrap_or_else(|| panic!("{line} of {family:?}"));
        let is_fit = match (family.kind.as_str(), form) {
            ("counter", Form::Text) => suffix.is_empty() && name.ends_with("_total"),
            ("counter", Form::OpenMetrics) => suffix == "_total",
            ("gauge", _) => suffix.is_empty() && !name.ends_with("_total"),
            ("info", Form::OpenMetrics) => suffix == "_info",
            ("histogram", _) => matches!(suffix, "_bucket" | "_sum" | "_count"),
            _ => false,
        };
        assert!(is_fit, "{line} of {family:?}");
        let names = label_names(labels);
        let known =
            ["pool", "server", "class", "reason", "source", "code", "role", "state", "le", "version", "certificate"];
        assert!(names.iter().all(|name| known.contains(&name.as_str())), "{line}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{line}");
        assert_eq!(names.contains(&"le".to_owned()), suffix == "_bucket", "{line}");
        let number: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && number >= 0.0, "{line}");
        assert!(self.samples.insert(series.to_owned(), number).is_none(), "twice: {series}");
    }

    fn check_histograms(&self) {
        let counts = self.samples.iter().filter(|(series, _)| series.contains("_count"));
        let mut found = 0;
        for (series, count) in counts {
            let begin = series.replace("_count{", "_bucket{").replace('}', ",le=\"");
            let buckets = self.text.lines().filter_map(|line| {
                let (end, value) = line.strip_prefix(&begin)?.split_once("\"} ")?;
                Some((if end == "+Inf" { f64::INFINITY } else { end.parse().expect(line) }, value.parse().expect(line)))
            });
            let buckets: Vec<(f64, f64)> = buckets.collect();
            assert!(buckets.len() > 10, "{series}");
            assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{series}");
            let sum = self.samples[&series.replace("_count{", "_sum{")];
            assert!(sum == 0.0 || *count > 0.0, "{series}");
            found += 1;
        }
        assert!(found >= 2 && found % 2 == 0, "{found}");
    }

    /// The value of the series with this name and these labels, in their order.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// The sum of all series whose name, and whose labels, begin so.
    pub fn sum(&self, begin: &str) -> f64 {
        self.samples.iter().filter(|(series, _)| series.starts_with(begin)).map(|(_, value)| value).sum()
    }

    /// Whether there is such a series.
    pub fn has(&self, series: &str) -> bool {
        self.samples.contains_key(series)
    }

    /// The names of all families that have samples.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples.keys().map(|series| series.split('{').next().unwrap_or_default()).collect()
    }
}

fn is_name(name: &str) {
    let is_fit = |char: char| char.is_ascii_lowercase() || char == '_';
    assert!(name.chars().all(is_fit) && (name.starts_with("rmux_") || name.starts_with("process_")), "{name}");
}

/// The names of labels; their values are read as they are escaped.
fn label_names(labels: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut chars = labels.chars().peekable();
    while chars.peek().is_some() {
        let name: String = chars.by_ref().take_while(|char| *char != '=').collect();
        assert!(!name.is_empty() && name.chars().all(|char| char.is_ascii_lowercase()), "{labels}");
        assert_eq!(chars.next(), Some('"'), "{labels}");
        loop {
            match chars.next() {
                Some('"') => break,
                Some('\\') => assert!(matches!(chars.next(), Some('\\' | '"' | 'n')), "{labels}"),
                Some(char) => assert!(!char.is_control(), "{labels}"),
                None => panic!("{labels}"),
            }
        }
        names.push(name);
        assert!(matches!(chars.next(), Some(',') | None), "{labels}");
    }
    names
}

/// What Prometheus's own tool finds wrong with it; nothing where that is not installed.
pub fn promtool_complaints(text: &str) -> Option<String> {
    let mut command = Command::new("promtool");
    let child = command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = child.spawn() else {
        eprintln!("skipped: there is no promtool");
        return None;
    };
    child.stdin.take().expect("it was asked for").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (!output.status.success() || !said.trim().is_empty()).then_some(said)
}
