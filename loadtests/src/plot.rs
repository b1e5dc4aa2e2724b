//! How do the figures look beside each other?
//!
//! One panel a workload, one bar a proxy, as SVG. Every panel has a scale of its own that begins at zero:
//! a handshake costs twenty times what a request does. The thin line spans least and greatest sample.

use std::fmt::Write as _;

use crate::stats::Spread;

const COLUMNS: usize = 2;
const PANEL_WIDTH: usize = 470;
const MARGIN: usize = 16;
const TITLE_HEIGHT: usize = 30;
const BAR_HEIGHT: usize = 20;
const LABEL_WIDTH: usize = 130;
/// Where bars end, at most; their figures stand to the right.
const BAR_WIDTH: usize = 220;
const OWN_COLOUR: &str = "#0b6e99";
const OTHER_COLOUR: &str = "#b8c0c8";

/// One workload's bars.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The workload.
    pub title: String,
    /// Bars from top to bottom.
    pub bars: Vec<Bar>,
}

/// One proxy's figure.
#[derive(Debug, Clone)]
pub struct Bar {
    /// The proxy.
    pub label: String,
    /// Whether it is ours, which has a colour of its own.
    pub own: bool,
    /// The figure.
    pub value: Spread,
}

/// All panels under one title.
pub fn svg(title: &str, panels: &[Panel]) -> String {
    let mut body = String::new();
    let mut top = MARGIN + TITLE_HEIGHT;
    for row in panels.chunks(COLUMNS) {
        for (column, panel) in row.iter().enumerate() {
            draw(panel, MARGIN + column * PANEL_WIDTH, top, &mut body);
        }
        let bars = row.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
        top += TITLE_HEIGHT + bars * BAR_HEIGHT + MARGIN;
    }
    let width = 2 * MARGIN + COLUMNS * PANEL_WIDTH;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{top}\" \
         viewBox=\"0 0 {width} {top}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"{}\" font-size=\"15\">{title}</text>\n{body}</svg>\n",
        MARGIN + 12
    )
}

fn draw(panel: &Panel, left: usize, top: usize, body: &mut String) {
    let most = panel.bars.iter().map(|bar| bar.value.max).fold(f64::MIN_POSITIVE, f64::max);
    let width = |value: f64| value / most * BAR_WIDTH as f64;
    // Writing into a string cannot fail.
    let _ = writeln!(
        body,
        "<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        top + 14,
        panel.title
    );
    let from = left + LABEL_WIDTH;
    for (index, bar) in panel.bars.iter().enumerate() {
        let y = top + TITLE_HEIGHT - 8 + index * BAR_HEIGHT;
        let (base, middle) = (y + 13, y + 8);
        let colour = if bar.own { OWN_COLOUR } else { OTHER_COLOUR };
        let Spread { median, min, max } = bar.value;
        let (low, high) = (from as f64 + width(min), from as f64 + width(max));
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{from}\" y=\"{y}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <line x1=\"{low:.1}\" y1=\"{middle}\" x2=\"{high:.1}\" y2=\"{middle}\" \
             stroke=\"#333\"/><text x=\"{:.1}\" y=\"{base}\">{median:.2}</text>",
            from - 8,
            bar.label,
            width(median),
            high + 6.0,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_its_panel_and_every_figure_is_written() {
        let bar = |label: &str, median| Bar {
            label: label.to_owned(),
            own: label == "tidegate",
            value: Spread { median, min: median, max: median },
        };
        let bars = vec![bar("tidegate", 10.0), bar("nginx", 20.0)];
        let text = svg("CPU", &[Panel { title: "get1k".to_owned(), bars }]);
        assert!(text.contains("width=\"220.0\" height=\"16\" fill=\"#b8c0c8\""), "{text}");
        assert!(text.contains("width=\"110.0\" height=\"16\" fill=\"#0b6e99\""), "{text}");
        assert!(text.contains(">10.00</text>") && text.contains(">20.00</text>"), "{text}");
    }
}
