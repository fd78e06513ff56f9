//! Colour, where it is wanted.

use anstyle::{AnsiColor, Color};

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Colour on.
    pub color: bool,
}

impl Style {
    /// Text without any escape sequence.
    pub const PLAIN: Style = Style { color: false };

    fn paint(self, color: AnsiColor, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let style = anstyle::Style::new().bold().fg_color(Some(Color::Ansi(color)));
        format!("{style}{text}{style:#}")
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint(AnsiColor::Green, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red, text)
    }

    pub(crate) fn doubtful(self, text: &str) -> String {
        self.paint(AnsiColor::Yellow, text)
    }

    pub(crate) fn heading(self, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let style = anstyle::Style::new().bold();
        format!("{style}{text}{style:#}")
    }
}
