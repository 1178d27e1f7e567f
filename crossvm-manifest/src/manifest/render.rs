//! Diagnostics as a person reads them: the line, what is wrong in it underlined, and how to mend it.

use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Diagnostics};

/// Whether the text is for a terminal that shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Nothing but characters.
    Plain,
    /// With colours, as escape sequences of ANSI terminals.
    Coloured,
}

impl Diagnostics {
    /// All mistakes, one block each, with a line that counts them where there are several.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let mut blocks: Vec<String> = self.all().iter().map(|diagnostic| self.block(&renderer, diagnostic)).collect();
        if blocks.len() > 1 {
            blocks.push(format!("{} errors in {}", blocks.len(), self.source().name()));
        }
        blocks.join("\n\n")
    }

    fn block(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let mut snippet = Snippet::source(self.source().text()).path(self.source().name());
        snippet = snippet.annotation(AnnotationKind::Primary.span(diagnostic.at.clone()).label(&diagnostic.label));
        for related in &diagnostic.related {
            snippet = snippet.annotation(AnnotationKind::Context.span(related.at.clone()).label(&related.label));
        }
        let kind = diagnostic.kind.to_string();
        let group =
            Level::ERROR.primary_title(&diagnostic.message).id(&kind).element(snippet).element(Level::HELP.message(&diagnostic.help));
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}
