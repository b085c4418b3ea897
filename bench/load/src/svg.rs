//! Line charts as SVG: axes with round numbers, lines with markers, a legend. Enough for curves of latency and memory, so
//! no plotting library is needed.

use std::fmt::Write as _;

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;
const TICKS: f64 = 6.0;
/// Told apart by people who see colours differently, too (Okabe and Ito, 2008).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999"];

/// How numbers become places.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scale {
    /// From 0 upwards.
    Linear,
    /// Numbers that are 0 or less are left out.
    Logarithmic,
    /// Names for 0, 1, 2 and so on.
    Names(Vec<&'static str>),
}

#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
}

#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

/// Charts below each other.
pub(crate) fn render(charts: &[Chart]) -> String {
    let height = HEIGHT * charts.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (at, chart) in charts.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate(0 {})\">", HEIGHT * at as f64);
        chart.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// From a number to a place between two ends.
struct Places<'a> {
    scale: &'a Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn takes(&self, value: f64) -> bool {
        value.is_finite() && (*self != Self::Logarithmic || value > 0.0)
    }

    /// The bounds of an axis that has room for all values.
    fn bounds(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let (low, high) = values
            .filter(|value| self.takes(*value))
            .fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        match self {
            Self::Names(names) => (-0.25, names.len() as f64 - 0.75),
            // There is nothing to show.
            Self::Logarithmic if low > high => (1.0, 10.0),
            Self::Linear if low > high => (0.0, 1.0),
            Self::Linear => (0.0, if high > 0.0 { high * 1.05 } else { 1.0 }),
            Self::Logarithmic => (low / 1.2, high * 1.2),
        }
    }

    /// Where the axis has a number, and what it says there.
    fn ticks(&self, low: f64, high: f64) -> Vec<(f64, String)> {
        match self {
            Self::Names(names) => {
                names.iter().enumerate().map(|(at, name)| (at as f64, (*name).to_owned())).collect()
            }
            Self::Linear => {
                let step = round_step((high - low) / TICKS);
                let count = ((high - low) / step).floor() as u32;
                (0..=count).map(|at| low + f64::from(at) * step).map(|at| (at, short(at))).collect()
            }
            Self::Logarithmic => {
                let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
                let steps: &[f64] = if high / low > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
                all.filter(|at| (low..=high).contains(at)).map(|at| (at, short(at))).collect()
            }
        }
    }
}

impl Places<'_> {
    fn of(&self, value: f64) -> f64 {
        let map = |value: f64| if *self.scale == Scale::Logarithmic { value.ln() } else { value };
        let share = (map(value) - map(self.low)) / (map(self.high) - map(self.low));
        self.from + share * (self.to - self.from)
    }
}

/// 1, 2 or 5 times a power of ten, not below the wanted step.
fn round_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.log10().floor());
    [1.0, 2.0, 5.0].iter().map(|factor| factor * power).find(|step| *step >= wanted).unwrap_or(10.0 * power)
}

/// A number in few characters.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if value.abs() < 1.0 { 3 } else { 1 };
    let text = format!("{value:.digits$}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Chart {
    fn draw(&self, svg: &mut String) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (low, high) = self.x.scale.bounds(points().map(|point| point.0));
        let x = Places { scale: &self.x.scale, low, high, from: LEFT, to: WIDTH - RIGHT };
        let (low, high) = self.y.scale.bounds(points().map(|point| point.1));
        let y = Places { scale: &self.y.scale, low, high, from: HEIGHT - BOTTOM, to: TOP };
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{}</text>",
            escaped(&self.title)
        );
        self.draw_axes(svg, &x, &y);
        for (at, line) in self.lines.iter().enumerate() {
            self.draw_line(svg, at, line, (&x, &y));
        }
    }

    fn draw_axes(&self, svg: &mut String, x: &Places<'_>, y: &Places<'_>) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for (at, text) in x.scale.ticks(x.low, x.high) {
            let place = x.of(at);
            let _ = writeln!(
                svg,
                "<path d=\"M{place:.1} {TOP}V{bottom}\" stroke=\"#e0e0e0\"/>\
                 <text x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 18.0
            );
        }
        for (at, text) in y.scale.ticks(y.low, y.high) {
            let place = y.of(at);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {place:.1}H{right}\" stroke=\"#e0e0e0\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 6.0,
                place + 4.0
            );
        }
        let (across, down) = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" stroke=\"#404040\" fill=\"none\"/>\
             <text x=\"{across:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(18 {down:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 16.0,
            escaped(self.x.label),
            escaped(self.y.label)
        );
    }

    fn draw_line(&self, svg: &mut String, at: usize, line: &Line, (x, y): (&Places<'_>, &Places<'_>)) {
        const MARKED_MAX: usize = 60;
        let colour = COLOURS[at % COLOURS.len()];
        let places: Vec<(f64, f64)> = line
            .points
            .iter()
            .filter(|point| self.x.scale.takes(point.0) && self.y.scale.takes(point.1))
            .map(|point| (x.of(point.0), y.of(point.1)))
            .collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        if places.len() <= MARKED_MAX {
            for (x, y) in places {
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
        }
        let (left, top) = (WIDTH - RIGHT + 14.0, TOP + 8.0 + 18.0 * at as f64);
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{:.1}\">{}</text>",
            top - 6.0,
            left + 18.0,
            top,
            escaped(&line.name)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, points: &[(f64, f64)]) -> Chart {
        Chart {
            title: "a < b & c".to_owned(),
            x: Axis { label: "x", scale: Scale::Linear },
            y: Axis { label: "y", scale },
            lines: vec![Line { name: "p50".to_owned(), points: points.to_vec() }],
        }
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        fn check(scale: Scale, low: f64, high: f64, expected: &[&str]) {
            let found: Vec<String> = scale.ticks(low, high).into_iter().map(|(_, text)| text).collect();
            assert_eq!(found, expected);
        }
        check(Scale::Linear, 0.0, 10.0, &["0", "2", "4", "6", "8", "10"]);
        check(Scale::Linear, 0.0, 60_000.0, &["0", "10k", "20k", "30k", "40k", "50k", "60k"]);
        check(Scale::Logarithmic, 90.0, 1_100.0, &["100", "200", "500", "1000"]);
        check(Scale::Logarithmic, 0.9, 1.1e5, &["1", "10", "100", "1000", "10k", "100k"]);
        check(Scale::Names(vec!["p50", "p99"]), 0.0, 1.0, &["p50", "p99"]);
    }

    #[test]
    fn a_chart_has_its_points_in_their_places_and_its_text_escaped() {
        let svg = render(&[chart(Scale::Linear, &[(0.0, 0.0), (10.0, 5.0)])]);
        assert!(svg.contains("a &lt; b &amp; c"));
        assert!(svg.contains(&format!("points=\"{LEFT:.1},{:.1} ", HEIGHT - BOTTOM)), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
    }

    #[test]
    fn values_that_have_no_place_are_left_out_and_nothing_is_no_number() {
        for points in [&[][..], &[(1.0, 0.0)], &[(1.0, f64::NAN), (2.0, 3.0)], &[(0.0, 0.0)]] {
            for scale in [Scale::Linear, Scale::Logarithmic] {
                let svg = render(&[chart(scale, points)]);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{points:?}: {svg}");
            }
        }
    }
}
