//! Colour and curves, where they are wanted.

use anstyle::{AnsiColor, Color};

/// How text may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Colour on.
    pub color: bool,
    /// The screen shows more than ASCII: curves are drawn with block characters.
    pub unicode: bool,
}

impl Style {
    /// ASCII without any escape sequence.
    pub const PLAIN: Style = Style { color: false, unicode: false };

    fn paint(self, style: anstyle::Style, text: &str) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn bold(self, color: AnsiColor, text: &str) -> String {
        self.paint(anstyle::Style::new().bold().fg_color(Some(Color::Ansi(color))), text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.bold(AnsiColor::Green, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.bold(AnsiColor::Red, text)
    }

    pub(crate) fn doubtful(self, text: &str) -> String {
        self.bold(AnsiColor::Yellow, text)
    }

    pub(crate) fn heading(self, text: &str) -> String {
        self.paint(anstyle::Style::new().bold(), text)
    }

    /// What can be passed over.
    pub(crate) fn faint(self, text: &str) -> String {
        self.paint(anstyle::Style::new().dimmed(), text)
    }
}
