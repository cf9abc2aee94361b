//! The charts: requests over sockets, growth, and a hot session.

use std::{error::Error, fs, path::Path};

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    figures::{Figure, Results, is_limit},
    tables,
    theme::{DARK, LIGHT, Theme},
};

/// Narrow, so that the letters are legible on a phone.
const WIDTH: u32 = 480;
const FONT: &str = "system-ui, sans-serif";
const JOBS: [&str; 3] = ["untouched", "read one key", "increment one key"];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The text of a chart, or `None` if there are no figures for it.
type Drawing = Result<Option<String>, Box<dyn Error>>;

/// A chart that was drawn: its title, and its texts for light and dark pages.
pub struct Chart {
    pub title: &'static str,
    pub light: String,
    pub dark: String,
}

/// Points of one line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws every chart of which there are figures, into files of the folder.
pub fn draw_all(results: &Results, folder: &Path) -> Result<Vec<Chart>, String> {
    let figures = results.figures.as_slice();
    let mut drawn = Vec::new();
    let mut draw = |file: &str, title: &'static str, chart: &dyn Fn(&Theme) -> Drawing| {
        let texts = (chart(&LIGHT), chart(&DARK));
        let (light, dark) = match texts {
            (Ok(Some(light)), Ok(Some(dark))) => (light, dark),
            // There are no figures for it.
            (Ok(None), _) | (_, Ok(None)) => return Ok(()),
            (Err(problem), _) | (_, Err(problem)) => return Err(format!("{file}: {problem}")),
        };
        for (theme, text) in [(&LIGHT, &light), (&DARK, &dark)] {
            let path = folder.join(format!("{file}-{}.svg", theme.name));
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        drawn.push(Chart { title, light, dark });
        Ok::<_, String>(())
    };
    draw("sockets-in-process", "Stores in the server", &|theme| {
        let others = ["Redis", "express", "Adonis"];
        let is_wanted = |name: &str| !others.iter().any(|other| name.contains(other));
        bars(theme, &servers(figures, is_wanted))
    })?;
    draw("sockets", "All stores and servers", &|theme| {
        bars(theme, &servers(figures, |_| true))
    })?;
    draw("growth", "Requests with larger documents", &|theme| {
        let lines = lines(figures, ("growth", "ns"), "document size: ", |name| {
            !is_limit(name)
        });
        let axes = ["bytes of the document", "ns that the session adds"];
        curves(theme, "A request with a larger document", axes, &lines)
    })?;
    draw("hot-session", "One session, many writers", &|theme| {
        let lines = lines(figures, ("hot_session", "p99, ms"), "increment: ", |_| true);
        let axes = ["requests at once on one session", "p99 in ms"];
        curves(
            theme,
            "Requests that change one session at once",
            axes,
            &lines,
        )
    })?;
    Ok(drawn)
}

/// Returns the lines of rows such as `document size: 4096`.
fn lines(
    figures: &[Figure],
    (bench, unit): (&str, &str),
    prefix: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for figure in figures.iter().filter(|it| {
        (it.bench.as_str(), it.unit.as_str()) == (bench, unit) && is_wanted(&it.contender)
    }) {
        let size = figure
            .row
            .strip_prefix(prefix)
            .and_then(|it| it.parse::<f64>().ok());
        let Some(size) = size else { continue };
        let point = (size, figure.value);
        let name = figure.contender.as_str();
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name: name.to_owned(),
                points: vec![point],
            }),
        }
    }
    lines
}

fn size(pixels: i32, colour: RGBColor) -> TextStyle<'static> {
    (FONT, pixels).into_font().color(&colour)
}

fn at(horizontal: HPos, vertical: VPos) -> Pos {
    Pos::new(horizontal, vertical)
}

/// The bars of one server, by job.
struct Bars<'a> {
    name: &'a str,
    values: [Option<f64>; JOBS.len()],
}

/// Returns the servers with sessions of which the name is wanted, in the order of the results.
fn servers<'a>(figures: &'a [Figure], is_wanted: impl Fn(&str) -> bool) -> Vec<Bars<'a>> {
    let mut servers: Vec<Bars<'a>> = Vec::new();
    let ratios = figures
        .iter()
        .filter(|it| it.bench == "sockets" && it.unit == "times its base");
    for figure in ratios.filter(|it| is_wanted(&it.contender)) {
        let Some(job) = JOBS.iter().position(|job| *job == figure.row) else {
            continue;
        };
        let name = figure.contender.as_str();
        let number = servers
            .iter()
            .position(|it| it.name == name)
            .unwrap_or_else(|| {
                servers.push(Bars {
                    name,
                    values: [None; JOBS.len()],
                });
                servers.len() - 1
            });
        servers[number].values[job] = Some(figure.value);
    }
    // A server without sessions is compared with itself.
    servers.retain(|it| it.values.iter().flatten().any(|value| *value != 1.0));
    servers
}

/// Draws bars for each server: how much more processor time it takes than without sessions.
fn bars(theme: &Theme, servers: &[Bars<'_>]) -> Drawing {
    const TOP: i32 = 96;
    const GROUP: i32 = 78;
    const BAR: i32 = 15;
    let values = servers.iter().flat_map(|it| it.values).flatten();
    let Some(longest) = values.reduce(f64::max) else {
        return Ok(None);
    };
    let x = |value: f64| 16 + (f64::from(WIDTH - 80) * value / longest) as i32;
    let height = TOP + GROUP * servers.len() as i32 + 8;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height as u32)).into_drawing_area();
        area.fill(&theme.background)?;
        heading(&area, theme, "Processor time of a request over a socket")?;
        let unit = "times the same server without sessions (line)";
        area.draw_text(unit, &size(15, theme.text), (16, 40))?;
        legend(&area, theme, &JOBS, 66)?;
        for (number, server) in servers.iter().enumerate() {
            let y = TOP + GROUP * number as i32;
            area.draw_text(server.name, &size(16, theme.text), (16, y))?;
            for (place, (value, colour)) in server.values.iter().zip(theme.series).enumerate() {
                let Some(value) = *value else { continue };
                let from = y + 22 + place as i32 * (BAR + 2);
                let bar = Rectangle::new([(16, from), (x(value), from + BAR)], colour.filled());
                area.draw(&bar)?;
                let style = size(14, theme.text).pos(at(HPos::Left, VPos::Center));
                let end = (x(value) + 6, from + BAR / 2);
                area.draw_text(&format!("{value:.2}"), &style, end)?;
            }
            let line = [(x(1.0), y + 20), (x(1.0), y + 22 + 3 * (BAR + 2))];
            area.draw(&PathElement::new(line, theme.text.stroke_width(2)))?;
        }
        area.present()?;
    }
    Ok(Some(text))
}

/// Draws lines over logarithmic axes.
fn curves(theme: &Theme, title: &str, axes: [&str; 2], lines: &[Line]) -> Drawing {
    let points = || lines.iter().flat_map(|line| &line.points);
    let range = |values: &dyn Fn(&(f64, f64)) -> f64| {
        let low = points().map(values).reduce(f64::min)?;
        let high = points().map(values).reduce(f64::max)?;
        Some((low * 0.8)..(high * 1.25))
    };
    let (Some(x), Some(y)) = (range(&|point| point.0), range(&|point| point.1)) else {
        return Ok(None);
    };
    if lines.len() > theme.series.len() {
        return Err(format!(
            "{} lines, there are {} colours",
            lines.len(),
            theme.series.len()
        )
        .into());
    }
    // Whole powers of ten have labels.
    let y = 10_f64.powf(y.start.log10().floor())..10_f64.powf(y.end.log10().ceil());
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, 440)).into_drawing_area();
        area.fill(&theme.background)?;
        heading(&area, theme, title)?;
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        legend(&area, theme, &names, 44)?;
        let (_, below) = area.split_vertically(64);
        let mut chart = ChartBuilder::on(&below)
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(76)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        chart
            .configure_mesh()
            .bold_line_style(theme.faint)
            .light_line_style(TRANSPARENT)
            .axis_style(theme.text)
            .label_style(size(14, theme.text))
            .axis_desc_style(size(15, theme.text))
            .x_desc(axes[0])
            .y_desc(axes[1])
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .draw()?;
        for (line, colour) in lines.iter().zip(theme.series) {
            let style = colour.stroke_width(3);
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
            let dots = line
                .points
                .iter()
                .map(|point| Circle::new(*point, 4, colour.filled()));
            chart.draw_series(dots)?;
        }
        area.present()?;
    }
    Ok(Some(text))
}

fn heading(area: &Area<'_>, theme: &Theme, title: &str) -> Result<(), Box<dyn Error>> {
    Ok(area.draw_text(title, &size(19, theme.text), (16, 12))?)
}

/// Draws squares with names in a line.
fn legend(area: &Area<'_>, theme: &Theme, names: &[&str], y: i32) -> Result<(), Box<dyn Error>> {
    let mut x = 16;
    for (name, colour) in names.iter().zip(theme.series) {
        area.draw(&Rectangle::new([(x, y), (x + 13, y + 13)], colour.filled()))?;
        let style = size(14, theme.text).pos(at(HPos::Left, VPos::Center));
        area.draw_text(name, &style, (x + 19, y + 7))?;
        x += 36 + 8 * name.chars().count() as i32;
    }
    Ok(())
}

/// Returns a number with separators of thousands, or with the decimals that it needs.
fn number(value: &f64) -> String {
    match *value < 1.0 {
        true => format!("{value}"),
        false => tables::number(*value),
    }
}
