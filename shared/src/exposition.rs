//! Prometheus' text form of metrics, version 0.0.4: families, each with its samples.

use std::fmt::{Display, Write as _};

/// The media type of an exposition.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where metrics are told if nothing else is said; so do the stock registries.
const PATH: &str = "/metrics";

/// A path on which metrics cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must begin with a slash and be made of letters, digits, '/', '-', '_' and '.'")]
pub struct NoPath;

/// The path at which metrics are told: `/metrics`, or what the settings say.
///
/// # Errors
/// It is not made of what paths are made of, or the health checks are there.
pub fn path(wanted: Option<String>) -> Result<String, NoPath> {
    let path = wanted.filter(|path| !path.is_empty()).unwrap_or_else(|| PATH.to_owned());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    let taken = ["/debug/health", "/healthz", "/readyz"].iter().any(|taken| path.starts_with(taken));
    if !path.starts_with('/') || !path.chars().all(plain) || taken { Err(NoPath) } else { Ok(path) }
}

/// What the numbers of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They rise, until the process begins anew.
    Counter,
    /// They rise and fall.
    Gauge,
}

/// A label and its value.
pub type Label<'l> = (&'static str, &'l str);

/// How numbers spread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Bounds, rising, and how many are at most that.
    pub within: Vec<(f64, u64)>,
    /// All of them together.
    pub sum: f64,
    /// How many there are.
    pub count: u64,
}

/// Metrics as they are told.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Writes a family with its samples; one that has none is left out.
    pub fn family<'l, const N: usize>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = ([Label<'l>; N], f64)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            self.head(name, kind, help);
        }
        for (labels, value) in samples {
            self.sample(name, "", &labels, value);
        }
    }

    /// Writes histograms of one family, each with its label; where there are none, nothing.
    pub fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = (Label<'l>, Histogram)>,
    ) {
        let mut histograms = histograms.into_iter().peekable();
        if histograms.peek().is_some() {
            self.head(name, "histogram", help);
        }
        for (label, Histogram { within, sum, count }) in histograms {
            for (bound, at_most) in within {
                self.sample(name, "_bucket", &[label, ("le", &bound.to_string())], at_most);
            }
            self.sample(name, "_bucket", &[label, ("le", "+Inf")], count);
            self.sample(name, "_sum", &[label], sum);
            self.sample(name, "_count", &[label], count);
        }
    }

    /// A family of one number.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.family(name, kind, help, [([], value)]);
    }

    /// A family of one number, where there is one.
    pub fn known(&mut self, name: &str, kind: Kind, help: &str, value: Option<f64>) {
        self.family(name, kind, help, value.map(|value| ([], value)));
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{suffix}{labels} {value}");
    }

    /// All of it.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut told = Exposition::default();
        told.one("a_total", Kind::Counter, "How many.", 3.0);
        told.family("b", Kind::Gauge, "By kind.", [([("kind", "x"), ("of", "a\"b\\c\nd")], 0.5)]);
        told.known("c", Kind::Gauge, "Not known.", None);
        let expected = "# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n\
                        # HELP b By kind.\n# TYPE b gauge\nb{kind=\"x\",of=\"a\\\"b\\\\c\\nd\"} 0.5\n";
        assert_eq!(told.into_text(), expected);
    }

    #[test]
    fn histograms_are_written_as_prometheus_reads_them() {
        let mut told = Exposition::default();
        told.histograms("none", "Of nothing.", []);
        let took = Histogram { within: vec![(0.005, 1), (1.0, 2)], sum: 7.5, count: 3 };
        told.histograms("took", "How long.", [(("of", "a"), took)]);
        let expected = "# HELP took How long.\n# TYPE took histogram\n\
                        took_bucket{of=\"a\",le=\"0.005\"} 1\ntook_bucket{of=\"a\",le=\"1\"} 2\n\
                        took_bucket{of=\"a\",le=\"+Inf\"} 3\ntook_sum{of=\"a\"} 7.5\ntook_count{of=\"a\"} 3\n";
        assert_eq!(told.into_text(), expected);
    }

    #[test]
    fn a_path_is_one_that_nobody_else_has() {
        assert_eq!(path(None).as_deref(), Ok("/metrics"));
        assert_eq!(path(Some(String::new())).as_deref(), Ok("/metrics"));
        assert_eq!(path(Some("/a-b/c_d.e".to_owned())).as_deref(), Ok("/a-b/c_d.e"));
        for taken in ["metrics", "/a b", "/a?b", "/{a}", "/debug/health", "/healthz", "/readyz/x"] {
            assert_eq!(path(Some(taken.to_owned())), Err(NoPath), "{taken}");
        }
    }
}
