//! Charts as SVG, without a script, a font or anything else from elsewhere.

use std::fmt::Write as _;

use crate::report::{Curve, Field};

const WIDTH: f64 = 720.0;
/// Legible on a page in either colour scheme.
const PAPER: &str = "#ffffff";
const INK: &str = "#24292f";
const FAINT: &str = "#d0d7de";
const OURS: &str = "#1f6feb";
const OTHERS: &str = "#8c959f";
const COLOURS: [&str; 3] = [OURS, "#bc4c00", "#57606a"];

/// Bars of all wrappers, as multiples of flock(1), with what half of the rounds lie between.
pub fn bars(field: &Field) -> String {
    const LEFT: f64 = 150.0;
    const STEP: f64 = 24.0;
    let height = 70.0 + STEP * field.peers.len() as f64;
    let most = field.peers.iter().map(|peer| peer.ratio.p75).fold(1.0, f64::max);
    let x = |ratio: f64| LEFT + (WIDTH - LEFT - 70.0) * ratio / most;
    let title = format!("A run of `true`, state on {}, as a multiple of flock(1)", field.place);
    let mut svg = head(height, &title);
    for (row, peer) in field.peers.iter().enumerate() {
        let y = 44.0 + STEP * row as f64;
        let colour = if peer.name == "jobguard" { OURS } else { OTHERS };
        let ratio = peer.ratio;
        text(&mut svg, LEFT - 8.0, y + 13.0, "end", &peer.name);
        rect(&mut svg, LEFT, y, x(ratio.p50) - LEFT, 17.0, colour);
        line(&mut svg, (x(ratio.p25), y + 8.5), (x(ratio.p75), y + 8.5), INK);
        text(&mut svg, x(ratio.p75) + 6.0, y + 13.0, "start", &format!("{:.2}", ratio.p50));
    }
    let (top, bottom) = (38.0, height - 24.0);
    line(&mut svg, (x(1.0), top), (x(1.0), bottom), INK);
    let note = "bar: median of the ratios within a round; line: half of the rounds lie between";
    text(&mut svg, LEFT, height - 8.0, "start", note);
    svg + "</svg>\n"
}

/// A curve with both axes logarithmic.
pub fn curves(curve: &Curve) -> String {
    const LEFT: f64 = 60.0;
    const TOP: f64 = 44.0;
    const RIGHT: f64 = 520.0;
    const BOTTOM: f64 = 300.0;
    const HEIGHT: f64 = 350.0;
    let points = || curve.series.iter().flat_map(|(_, points)| points);
    let far = points().map(|point| point.0).fold(1.0, f64::max);
    let low = points().map(|point| point.1).fold(1.0, f64::min).min(0.5);
    let high = points().map(|point| point.1).fold(2.0, f64::max) * 1.1;
    let x = |at: f64| LEFT + (RIGHT - LEFT) * at.ln() / far.ln();
    let y = |at: f64| BOTTOM - (BOTTOM - TOP) * (at / low).ln() / (high / low).ln();
    let mut svg = head(HEIGHT, curve.title);
    for tick in ticks(low, high) {
        line(&mut svg, (LEFT, y(tick)), (RIGHT, y(tick)), FAINT);
        text(&mut svg, LEFT - 6.0, y(tick) + 4.0, "end", &format!("×{tick}"));
    }
    for point in curve.series.first().map(|(_, points)| points.as_slice()).unwrap_or_default() {
        text(&mut svg, x(point.0), BOTTOM + 16.0, "middle", &format!("{}", point.0));
    }
    text(&mut svg, f64::midpoint(LEFT, RIGHT), BOTTOM + 36.0, "middle", curve.along);
    for ((_, points), colour) in curve.series.iter().zip(COLOURS) {
        let path: Vec<String> =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let path = path.join(" ");
        writeln!(
            svg,
            r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>"#
        )
        .expect("memory");
    }
    // Names at the ends of their lines, apart from each other.
    let mut ends: Vec<(f64, &str, f64, &str)> = Vec::new();
    for ((name, points), colour) in curve.series.iter().zip(COLOURS) {
        let last = points.last().map_or(1.0, |point| point.1);
        ends.push((y(last), name, last, colour));
    }
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut above = f64::MIN;
    for (end, name, last, colour) in ends {
        above = f64::max(end, above + 17.0);
        rect(&mut svg, RIGHT + 8.0, above - 5.0, 10.0, 10.0, colour);
        text(&mut svg, RIGHT + 24.0, above + 4.0, "start", &format!("{name} ×{last:.2}"));
    }
    svg + "</svg>\n"
}

/// Round numbers between these: decades, and what is between them if there are few.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (-3..=6).map(|power| 10_f64.powi(power));
    let steps: &[f64] = if high / low > 50.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let ticks = decades.flat_map(|decade| steps.iter().map(move |step| decade * step));
    ticks.filter(|tick| (low..=high).contains(tick)).collect()
}

fn head(height: f64, title: &str) -> String {
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="{INK}">
<!-- Made by scripts/bench: do not edit. -->
<title>{title}</title>
"#
    );
    rect(&mut svg, 0.0, 0.0, WIDTH, height, PAPER);
    writeln!(svg, r#"<text x="16" y="24" font-size="14" font-weight="bold">{title}</text>"#)
        .expect("memory");
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#)
        .expect("memory");
}

fn rect(svg: &mut String, x: f64, y: f64, width: f64, height: f64, colour: &str) {
    writeln!(
        svg,
        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"/>"#
    )
    .expect("memory");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    writeln!(
        svg,
        r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}"/>"#,
        from.0, from.1, to.0, to.1
    )
    .expect("memory");
}
