//! The engine: what the rest of the program asks of templates, conditions and loops.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use crate::source::{Diagnostic, Sources, Span};
use crate::value::{Lazy, Map, Unknown, Value, has_template_marks};

use super::template::Evaluator;
use super::template::ast::Template;
use super::template::live::{Halt, Live, Origin, Outcome};
use super::template::parse::{self, Syntax, Wrong};
use super::template::place::locate;
use super::template::resolve::with_line_ends;
use super::{Truth, Variables, World};

/// How many parsed templates are kept.
const KEPT: usize = 20_000;

/// Renders templates, answers conditions, works out loops. Share it in an `Arc`.
pub struct Engine {
    world: Arc<dyn World>,
    sources: Sources,
    lenient_conditions: bool,
    /// Whether texts that look like templates and are not rendered are told.
    tells_untrusted: bool,
    templates: RwLock<HashMap<(Reading, String), Arc<Template>>>,
    files: RwLock<HashMap<PathBuf, (Arc<Template>, Origin)>>,
}

/// How a cached text was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reading {
    Expression,
    Condition,
    Inline,
    File(Box<Syntax>),
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Returns an engine that reads through `world` and places errors in `sources`.
    pub fn new(world: Arc<dyn World>, sources: Sources) -> Self {
        let tells_untrusted = world.env("_ANSIBLE_TEMPLAR_UNTRUSTED_TEMPLATE_BEHAVIOR").is_some_and(|what| what == "warning");
        Self { world, sources, lenient_conditions: false, tells_untrusted, templates: RwLock::default(), files: RwLock::default() }
    }

    /// Lets conditions give something else than a boolean, as before Ansible 2.19.
    #[must_use]
    pub fn lenient_conditions(mut self, lenient: bool) -> Self {
        self.lenient_conditions = lenient;
        self
    }

    pub(in crate::vars) fn world(&self) -> &dyn World {
        &*self.world
    }

    pub(in crate::vars) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns `value` with every template in it rendered and every vaulted text decrypted.
    ///
    /// # Errors
    /// Says what is wrong with a template, and where.
    pub fn render(&self, value: &Value, vars: &dyn Variables) -> Result<Value, Diagnostic> {
        if !super::template::has_lazy(value) {
            return Ok(value.clone());
        }
        let run = Evaluator::new(self, vars);
        let result = run.finish(value).map(|value| if has_omitted(&value) { without_parts_omitted(&value) } else { value });
        settle(result, span_of(value)).inspect(|value| self.heed(value))
    }

    /// Renders only the text keys of a dictionary of the user's own: what `set_fact` and the like do.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_keys(&self, map: &Map, span: Span, vars: &dyn Variables) -> Result<Map, Diagnostic> {
        let mut out = Map::with_capacity(map.len());
        for (key, value) in map {
            let key = match key.as_str() {
                Some(text) if has_template_marks(text) => {
                    let rendered = self.render(&Value::text(text, span), vars)?;
                    crate::value::Key::from_value(&rendered).unwrap_or_else(|| rendered.to_string().into())
                }
                _ => key.clone(),
            };
            out.insert(key, value.clone());
        }
        Ok(out)
    }

    /// Returns the value of an expression, written without braces.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub fn expression(&self, text: &str, span: Span, vars: &dyn Variables) -> Result<Value, Diagnostic> {
        let run = Evaluator::new(self, vars);
        settle(self.expression_live(&run, text, span).and_then(|live| run.freeze(&live)), Some(span)).inspect(|value| self.heed(value))
    }

    /// Says of a text that looks like a template that it is not rendered, where that is wanted.
    fn heed(&self, value: &Value) {
        fn is_there(value: &Value) -> bool {
            match value {
                Value::Str(text) => has_template_marks(text),
                Value::List(items) => items.iter().any(is_there),
                Value::Map(map) => map.values().any(is_there),
                _ => false,
            }
        }
        if self.tells_untrusted && is_there(value) {
            self.world.warn("Encountered untrusted template: it stays as it is");
        }
    }

    fn condition_value(&self, text: &str, span: Span, vars: &dyn Variables) -> Result<Value, Diagnostic> {
        let run = Evaluator::new(self, vars);
        let template = self.cached(Reading::Condition, text, span, parse::condition);
        let value = template.and_then(|template| run.run(&template, Origin { text: text.into(), span }));
        settle(value.and_then(|live| run.freeze(&live)), Some(span))
    }

    fn expression_live(&self, run: &Evaluator<'_>, text: &str, span: Span) -> Outcome<Live> {
        let template = self.cached(Reading::Expression, text, span, parse::expression)?;
        run.run(&template, Origin { text: text.into(), span })
    }

    /// Returns whether a condition holds: a boolean, an expression, or a list of which all have to hold.
    ///
    /// # Errors
    /// Says what is wrong with it, and where; also when it gives something else than a boolean.
    pub fn condition(&self, condition: &Value, span: Span, vars: &dyn Variables) -> Result<Truth, Diagnostic> {
        let text = match condition {
            Value::Bool(true) | Value::Null => return Ok(Truth::Yes),
            Value::Bool(false) => return Ok(Truth::No),
            Value::List(conditions) => return all(conditions, |condition| self.condition(condition, span, vars)),
            Value::Unknown(unknown) => return Ok(Truth::Unknown(unknown.why.clone())),
            Value::Str(text) => text.to_string(),
            Value::Lazy(lazy) => match &**lazy {
                Lazy::Template(text) => return self.condition_text(&text.text, text.span, vars),
                Lazy::Vault(_) => self.render(condition, vars)?.to_string(),
                Lazy::Unsafe(_) => return Err(untrusted(span)),
            },
            other => return self.boolean(other, span, vars),
        };
        self.condition_text(&text, span, vars)
    }

    fn condition_text(&self, text: &str, span: Span, vars: &dyn Variables) -> Result<Truth, Diagnostic> {
        let trimmed = text.trim();
        let whole = trimmed.starts_with("{{") && trimmed.ends_with("}}") || trimmed.starts_with("{%");
        let value = if whole {
            let message = "Conditionals should not be surrounded by templating delimiters: write the expression without `{{ }}`";
            self.world.warn(&format!("deprecated: {message}"));
            vars.deprecated(message);
            if name_within(trimmed).and_then(|name| vars.get(name)).is_some_and(|value| is_distrusted(&value)) {
                return Err(untrusted(span));
            }
            match self.render(&Value::text(text, span), vars)? {
                value @ (Value::Str(_) | Value::List(_)) if !self.lenient_conditions => {
                    // What is worked out is never the user's own text, even where it reads like it.
                    return match is_plain_name(trimmed) || matches!(value, Value::List(_)) {
                        true => self.given_condition(&value, span, vars),
                        false => Err(untrusted(span)),
                    };
                }
                value => value,
            }
        } else {
            match self.condition_value(text, span, vars) {
                Err(error) if text.contains("{{") => {
                    return Err(error.hint("a condition is an expression already: write it without `{{ }}`"));
                }
                other => other?,
            }
        };
        self.boolean(&value, span, vars)
    }

    /// Returns whether what a template gave holds as a condition. Only a text that stands in the user's own files is evaluated.
    ///
    /// # Errors
    /// As [`Self::condition`], or the text came from elsewhere.
    pub fn given_condition(&self, condition: &Value, span: Span, vars: &dyn Variables) -> Result<Truth, Diagnostic> {
        match condition {
            Value::Str(text) if has_template_marks(text) || !self.sources.tell(text) => Err(untrusted(span)),
            Value::Str(text) => self.condition_text(text, span, vars),
            Value::List(conditions) => all(conditions, |condition| self.given_condition(condition, span, vars)),
            other => self.condition(other, span, vars),
        }
    }

    fn boolean(&self, value: &Value, span: Span, vars: &dyn Variables) -> Result<Truth, Diagnostic> {
        let truth = |holds| if holds { Truth::Yes } else { Truth::No };
        match value {
            Value::Bool(holds) => Ok(truth(*holds)),
            Value::Unknown(unknown) => Ok(Truth::Unknown(unknown.why.clone())),
            other if self.lenient_conditions => {
                let place = self.sources.place(span).map(|place| format!("{place}: ")).unwrap_or_default();
                let message = format!("the condition gives {}, not a boolean; Ansible 2.19 refuses it", type_words(other));
                self.world.warn(&format!("{place}{message}"));
                vars.deprecated(&message);
                Ok(truth(match other {
                    Value::Str(text) => crate::value::arguments::to_bool(other).unwrap_or(!text.is_empty()),
                    other => super::template::operators::plain_truth(other),
                }))
            }
            other => {
                let hint = match other {
                    Value::Str(_) => {
                        "compare it (`x == 'y'`), turn it into a boolean (`x | bool`), or ask for its length (`x | length > 0`)"
                    }
                    Value::Int(_) | Value::Float(_) => "compare it (`x != 0`), or turn it into a boolean (`x | bool`)",
                    Value::List(_) | Value::Map(_) => "ask for its length: `x | length > 0`",
                    _ => "ask `x is not none`, or `x is defined`",
                };
                Err(Diagnostic::error(format!("the condition gives {}, not a boolean", type_words(other))).at(span).hint(hint))
            }
        }
    }

    /// Renders a template file as the module `template` does: `options` are its arguments on delimiters and white space.
    /// The result is a text, or unknown.
    ///
    /// # Errors
    /// Says what is wrong with the template, and where in it.
    pub fn render_file(&self, path: &Path, text: &str, options: &Map, vars: &dyn Variables) -> Result<Value, Diagnostic> {
        self.file(path, text, options, vars, false)
    }

    /// As [`Self::render_file`], for the lookup `template`: a file that is one expression gives its value, one without any
    /// output gives null.
    ///
    /// # Errors
    /// As [`Self::render_file`].
    pub fn value_of_file(&self, path: &Path, text: &str, options: &Map, vars: &dyn Variables) -> Result<Value, Diagnostic> {
        self.file(path, text, options, vars, true)
    }

    fn file(&self, path: &Path, text: &str, options: &Map, vars: &dyn Variables, native: bool) -> Result<Value, Diagnostic> {
        let mut syntax = Syntax::file();
        let mut body = text;
        if let Some(header) = text.strip_prefix("#jinja2:") {
            let (line, rest) = header.split_once('\n').unwrap_or((header, ""));
            apply_header(&mut syntax, line).map_err(|why| Diagnostic::error(why).at(self.file_span(path, text)))?;
            body = rest;
        }
        for (name, value) in options.iter().filter(|(_, value)| !value.is_null()) {
            apply_option(&mut syntax, name.as_str().unwrap_or_default(), value);
        }
        let newline = syntax.newline.clone();
        let keeps_last_line_end = syntax.keep_trailing_newline;
        // The value of a lone expression is not to become a text for the sake of the line end behind it.
        syntax.keep_trailing_newline &= !native;
        let span = self.file_span(path, text);
        let body = body.replace("\r\n", "\n");
        let template = self.cached(Reading::File(Box::new(syntax.clone())), &body, span, |text| parse::template(text, &syntax));
        let template = template.map_err(without_halt)?;
        let run = Evaluator::new(self, vars);
        let origin = Origin { text: body.into(), span };
        let origin_text = origin.text.clone();
        let result = if native {
            run.run(&template, origin.clone()).and_then(|live| run.freeze(&live))
        } else {
            run.run_text(&template, origin.clone()).map(Value::from)
        };
        match run.at_start(result, origin) {
            Ok(Value::Str(text)) => {
                let text = text.to_string();
                // Statements swallow the newline behind them; the text still ends with as many as the template.
                let text = if keeps_last_line_end { with_line_ends(text, &origin_text) } else { text };
                Ok(Value::from(if newline == "\n" { text } else { text.replace('\n', &newline) }))
            }
            Ok(value) => Ok(value),
            Err(Halt::Unknown(unknown)) => Ok(Value::Unknown(unknown)),
            Err(halt) => Err(without_halt(halt)),
        }
    }

    /// Renders a text with the delimiters given, for the `template` lookup.
    pub(in crate::vars) fn template_of(&self, path: &Path) -> Result<(Arc<Template>, Origin), Diagnostic> {
        let bytes =
            self.world.read(path).map_err(|why| Diagnostic::error(format!("cannot read the template `{}`: {why}", path.display())))?;
        let text = String::from_utf8(bytes).map_err(|_| Diagnostic::error(format!("the template `{}` is not UTF-8", path.display())))?;
        if let Some((template, origin)) = self.files.read().ok().and_then(|files| files.get(path).cloned())
            && *origin.text == *text
        {
            return Ok((template, origin));
        }
        let span = self.file_span(path, &text);
        let origin = Origin { text: text.as_str().into(), span };
        // What is included or imported loses its last newline; only the template itself keeps it.
        let syntax = Syntax { keep_trailing_newline: false, ..Syntax::file() };
        let template = parse::template(&text, &syntax).map_err(|wrong| self.place(wrong, &origin))?;
        let template = Arc::new(template);
        if let Ok(mut files) = self.files.write() {
            files.insert(path.to_owned(), (template.clone(), origin.clone()));
        }
        Ok((template, origin))
    }

    fn file_span(&self, path: &Path, text: &str) -> Span {
        let file = self.sources.add(path, text);
        Span { file, start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) }
    }

    /// Returns the tree of a playbook's text.
    pub(in crate::vars) fn template(&self, text: &str, span: Span) -> Outcome<Arc<Template>> {
        self.cached(Reading::Inline, text, span, |text| parse::template(text, &Syntax::inline()))
    }

    fn cached(
        &self,
        reading: Reading,
        text: &str,
        span: Span,
        parse: impl FnOnce(&str) -> Result<Template, Wrong>,
    ) -> Outcome<Arc<Template>> {
        let key = (reading, text.to_owned());
        if let Some(known) = self.templates.read().ok().and_then(|templates| templates.get(&key).cloned()) {
            return Ok(known);
        }
        let template = match parse(text) {
            Ok(template) => Arc::new(template),
            Err(wrong) => return Err(self.place(wrong, &Origin { text: text.into(), span }).into()),
        };
        if let Ok(mut templates) = self.templates.write() {
            if templates.len() >= KEPT {
                templates.clear();
            }
            templates.insert(key, template.clone());
        }
        Ok(template)
    }

    fn place(&self, wrong: Wrong, origin: &Origin) -> Diagnostic {
        let mut diagnostic = *wrong.diagnostic;
        diagnostic.span = Some(locate(&self.sources, origin, wrong.at));
        diagnostic
    }
}

/// Whether all conditions hold. The first that does not ends it; one that is unknown makes the whole so, unless a later one does not hold.
fn all(conditions: &[Value], holds: impl Fn(&Value) -> Result<Truth, Diagnostic>) -> Result<Truth, Diagnostic> {
    let mut all = Truth::Yes;
    for condition in conditions {
        match holds(condition)? {
            Truth::Yes => {}
            Truth::No => return Ok(Truth::No),
            unknown @ Truth::Unknown(_) => all = unknown,
        }
    }
    Ok(all)
}

fn untrusted(span: Span) -> Diagnostic {
    Diagnostic::error("the condition is an untrusted template or expression: it came out of a template, and is not your own text")
        .at(span)
        .hint("write the expression itself, without `{{ }}`")
}

/// Whether a condition is marked as not to be trusted, or one of a list of them is.
fn is_distrusted(condition: &Value) -> bool {
    match condition {
        Value::Lazy(lazy) => matches!(**lazy, Lazy::Unsafe(_)),
        Value::List(conditions) => conditions.iter().any(is_distrusted),
        _ => false,
    }
}

/// Returns what is between the braces of a template.
fn name_within(template: &str) -> Option<&str> {
    template.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim)
}

/// Whether a template is one variable, or a part of one.
fn is_plain_name(template: &str) -> bool {
    let inner = name_within(template).unwrap_or_default();
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '[' | ']' | '\'' | '"');
    inner.starts_with(|c: char| c.is_alphabetic() || c == '_') && inner.chars().all(is_part)
}

/// Whether any part of a value is `omit`, but not the whole.
fn has_omitted(value: &Value) -> bool {
    let part = |value: &Value| super::is_omit(value) || has_omitted(value);
    match value {
        Value::List(items) => items.iter().any(part),
        Value::Map(map) => map.values().any(part),
        _ => false,
    }
}

fn without_parts_omitted(value: &Value) -> Value {
    super::without_omitted(value).unwrap_or_else(|| value.clone())
}

/// Returns a type as a person says it.
fn type_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing (null)",
        Value::Str(_) => "a text",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::List(_) => "a list",
        Value::Map(_) => "a dictionary",
        other => other.type_name(),
    }
}

fn span_of(value: &Value) -> Option<Span> {
    match value {
        Value::Lazy(lazy) => match &**lazy {
            Lazy::Template(text) | Lazy::Vault(text) | Lazy::Unsafe(text) => Some(text.span),
        },
        _ => None,
    }
}

/// Turns an evaluation's end into a result: unknown is a value.
pub(in crate::vars) fn settle(result: Outcome<Value>, span: Option<Span>) -> Result<Value, Diagnostic> {
    match result {
        Ok(value) => Ok(value),
        Err(Halt::Unknown(unknown)) => Ok(Value::Unknown(unknown)),
        Err(halt) => {
            let mut diagnostic = without_halt(halt);
            diagnostic.span = diagnostic.span.or(span);
            Err(diagnostic)
        }
    }
}

/// Returns the diagnostic of what stopped an evaluation.
pub(in crate::vars) fn without_halt(halt: Halt) -> Diagnostic {
    match halt {
        Halt::Error(diagnostic) | Halt::Sealed(diagnostic) => *diagnostic,
        Halt::Undefined(undefined) => undefined.diagnostic.clone(),
        Halt::Unknown(unknown) => {
            let Unknown { why } = &*unknown;
            Diagnostic::error(format!("this is not known in a check: {why}"))
        }
        Halt::Break | Halt::Continue => Diagnostic::error("`break` and `continue` have to stand in a loop"),
    }
}

fn apply_header(syntax: &mut Syntax, line: &str) -> Result<(), String> {
    for pair in line.split(',') {
        let Some((name, value)) = pair.split_once(':') else {
            return Err(format!("Missing key-value separator: `{}` in the line `#jinja2:` has no `:`", pair.trim()));
        };
        let value = value.trim();
        let text = value.trim_matches(['\'', '"']);
        let value = match value {
            "True" | "true" | "yes" => Value::Bool(true),
            "False" | "false" | "no" => Value::Bool(false),
            _ => Value::str(text),
        };
        apply_option(syntax, name.trim(), &value);
    }
    Ok(())
}

fn apply_option(syntax: &mut Syntax, name: &str, value: &Value) {
    let flag = || crate::value::arguments::to_bool(value).unwrap_or(false);
    match name {
        "variable_start_string" => syntax.variable.0 = value.to_string(),
        "variable_end_string" => syntax.variable.1 = value.to_string(),
        "block_start_string" => syntax.block.0 = value.to_string(),
        "block_end_string" => syntax.block.1 = value.to_string(),
        "comment_start_string" => syntax.comment.0 = value.to_string(),
        "comment_end_string" => syntax.comment.1 = value.to_string(),
        "trim_blocks" => syntax.trim_blocks = flag(),
        "lstrip_blocks" => syntax.lstrip_blocks = flag(),
        "line_statement_prefix" => syntax.line_statement = Some(value.to_string()),
        "line_comment_prefix" => syntax.line_comment = Some(value.to_string()),
        "newline_sequence" => syntax.newline = value.to_string().replace("\\r", "\r").replace("\\n", "\n"),
        "keep_trailing_newline" => syntax.keep_trailing_newline = flag(),
        _ => {}
    }
}
