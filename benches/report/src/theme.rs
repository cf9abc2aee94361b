//! The colours of the charts, for light and for dark pages.

use plotters::style::RGBColor;

/// The colours of one chart.
pub struct Theme {
    /// The end of the file name.
    pub name: &'static str,
    pub background: RGBColor,
    pub text: RGBColor,
    pub faint: RGBColor,
    /// Colours of Okabe and Ito that differ for colour-blind readers, in lightness too.
    pub series: [RGBColor; 5],
}

pub const LIGHT: Theme = Theme {
    name: "light",
    background: RGBColor(255, 255, 255),
    text: RGBColor(31, 35, 40),
    faint: RGBColor(208, 215, 222),
    series: [
        RGBColor(0, 114, 178),
        RGBColor(230, 159, 0),
        RGBColor(0, 115, 85),
        RGBColor(204, 121, 167),
        RGBColor(90, 90, 90),
    ],
};

pub const DARK: Theme = Theme {
    name: "dark",
    background: RGBColor(13, 17, 23),
    text: RGBColor(230, 237, 243),
    faint: RGBColor(61, 68, 77),
    series: [
        RGBColor(86, 180, 233),
        RGBColor(230, 159, 0),
        RGBColor(0, 178, 135),
        RGBColor(224, 150, 190),
        RGBColor(170, 170, 170),
    ],
};
