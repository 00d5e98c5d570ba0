//! What is wrong in a user's file, as data. Rendered once, at the edge, by `render`.

use super::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a look; the run goes on.
    Warning,
    /// The run cannot go on.
    Error,
}

/// Something to say about the user's files.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a diagnostic has to be shown or kept"]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence that stands alone, without a full stop.
    pub message: String,
    /// Where, if anywhere.
    pub span: Option<Span>,
    /// A short text beside the marked place.
    pub label: Option<String>,
    /// Other places that matter, each with a text.
    pub also: Vec<(Span, String)>,
    /// What to do about it.
    pub hints: Vec<String>,
    /// The stable name of the rule that it breaks, for `windlass lint`.
    pub rule: Option<&'static str>,
}

impl Diagnostic {
    /// Returns an error.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: None,
            label: None,
            also: Vec::new(),
            hints: Vec::new(),
            rule: None,
        }
    }

    /// Returns a warning.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Adds the place.
    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Adds the text beside the place.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds another place.
    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.also.push((span, text.into()));
        self
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Names the rule that is broken.
    pub fn rule(mut self, rule: &'static str) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Adds "did you mean", where `names` has something near `name`.
    pub fn did_you_mean<'a>(self, name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match super::suggest::did_you_mean(name, names) {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}
