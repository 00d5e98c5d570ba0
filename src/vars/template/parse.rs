//! A template's text to its tree. The grammar is minijinja's; what it reads otherwise than Jinja2 is bridged by
//! [`super::prepare`], and its borrowed tree is lowered to one of our own that can be kept.

use std::collections::HashMap;
use std::sync::Arc;

use minijinja::machinery::{ast as mj, parse};
use minijinja::syntax::SyntaxConfig;

use crate::source::{Diagnostic, Span};
use crate::value::Value;

use super::ast::{Argument, At, Binary, Block, Comparison, Expr, For, Kind, Macro, Stmt, StmtKind, Target, Template};
use super::prepare::{Prepared, prepare};
use crate::vars::{filters, tests};

/// How a template's text is to be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::vars) struct Syntax {
    pub variable: (String, String),
    pub block: (String, String),
    pub comment: (String, String),
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
    pub keep_trailing_newline: bool,
    /// What makes a whole line a statement, if anything does.
    pub line_statement: Option<String>,
    /// What makes the rest of a line a comment, if anything does.
    pub line_comment: Option<String>,
    /// What ends a line of what is rendered.
    pub newline: String,
    /// In `{{ }}` of playbooks a backslash in a string stands for itself; in tags, conditions and template files it escapes.
    pub literal_backslashes: bool,
}

impl Syntax {
    /// Returns how texts of playbooks and variable files are read.
    pub(in crate::vars) fn inline() -> Self {
        Self { literal_backslashes: true, keep_trailing_newline: false, ..Self::file() }
    }

    /// Returns how template files are read.
    pub(in crate::vars) fn file() -> Self {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        Self {
            variable: pair("{{", "}}"),
            block: pair("{%", "%}"),
            comment: pair("{#", "#}"),
            trim_blocks: true,
            lstrip_blocks: false,
            keep_trailing_newline: true,
            line_statement: None,
            line_comment: None,
            newline: "\n".to_owned(),
            literal_backslashes: false,
        }
    }

    fn config(&self) -> Result<SyntaxConfig, Wrong> {
        let mut builder = SyntaxConfig::builder();
        builder
            .variable_delimiters(self.variable.0.clone(), self.variable.1.clone())
            .block_delimiters(self.block.0.clone(), self.block.1.clone())
            .comment_delimiters(self.comment.0.clone(), self.comment.1.clone())
            .trim_blocks(self.trim_blocks)
            .lstrip_blocks(self.lstrip_blocks)
            .keep_trailing_newline(true);
        if let Some(prefix) = &self.line_statement {
            builder.line_statement_prefix(prefix.clone());
        }
        if let Some(prefix) = &self.line_comment {
            builder.line_comment_prefix(prefix.clone());
        }
        builder.build().map_err(|error| Wrong::new(At::default(), format!("these template delimiters do not work: {error}")))
    }
}

/// What is wrong with a template's text, and where in it.
#[derive(Clone, Debug)]
pub(in crate::vars) struct Wrong {
    pub at: At,
    pub diagnostic: Box<Diagnostic>,
}

impl Wrong {
    fn new(at: At, message: impl Into<String>) -> Self {
        Self { at, diagnostic: Box::new(Diagnostic::error(message)) }
    }
}

/// Reads a template.
pub(in crate::vars) fn template(text: &str, syntax: &Syntax) -> Result<Template, Wrong> {
    let text = if syntax.keep_trailing_newline { text } else { text.strip_suffix('\n').unwrap_or(text) };
    let prepared = prepare(text, syntax);
    let tree = parse(&prepared.text, "template", syntax.config()?).map_err(|error| syntax_error(&error, &prepared))?;
    let mut lower = Lower { prepared: &prepared, blocks: HashMap::new(), templates_in_texts: false };
    let mj::Stmt::Template(root) = &tree else { return Err(Wrong::new(At::default(), "this is no template")) };
    let body = lower.body(&root.children)?;
    Ok(Template { body, blocks: lower.blocks })
}

/// Reads an expression without braces.
pub(in crate::vars) fn expression(text: &str) -> Result<Template, Wrong> {
    braceless(text, &Syntax::inline(), false)
}

/// Reads a condition: a backslash in its texts escapes, and they may be templates themselves.
pub(in crate::vars) fn condition(text: &str) -> Result<Template, Wrong> {
    braceless(text, &Syntax::file(), true)
}

fn braceless(text: &str, syntax: &Syntax, templates_in_texts: bool) -> Result<Template, Wrong> {
    // The braces make it one line of a template, so that one path reads both; they are subtracted from every place.
    let wrapped = format!("{{{{({text}\n)}}}}");
    let mut prepared = prepare(&wrapped, syntax);
    prepared.lead = 3;
    let tree = parse(&prepared.text, "expression", syntax.config()?).map_err(|error| syntax_error(&error, &prepared))?;
    let mut lower = Lower { prepared: &prepared, blocks: HashMap::new(), templates_in_texts };
    let mj::Stmt::Template(root) = &tree else { return Err(Wrong::new(At::default(), "this is no expression")) };
    if root.children.len() != 1 || !matches!(root.children.first(), Some(mj::Stmt::EmitExpr(_))) {
        return Err(Wrong::new(At { start: 0, end: u32::try_from(text.len()).unwrap_or(0) }, "this is not one expression"));
    }
    let body = lower.body(&root.children)?;
    Ok(Template { body, blocks: lower.blocks })
}

fn syntax_error(error: &minijinja::Error, prepared: &Prepared) -> Wrong {
    let range = error.range().unwrap_or(0..0);
    let at = prepared.original(range.start, range.end);
    let detail = error.detail().unwrap_or("it cannot be read").to_owned();
    let mut diagnostic = Diagnostic::error(format!("Syntax error in template: {}", detail.trim_start_matches("syntax error: ")));
    if let Some(name) =
        detail.strip_prefix("unknown statement ").filter(|name| name.starts_with("end") || *name == "else" || *name == "elif")
    {
        diagnostic = Diagnostic::error(format!("there is a `{name}` here, and nothing open that it could belong to"));
    } else if let Some(name) = detail.strip_prefix("unknown statement ") {
        diagnostic = Diagnostic::error(format!("there is no template tag `{name}`")).did_you_mean(name, TAGS.iter().copied());
    } else if detail.contains("end of input") {
        diagnostic = diagnostic.hint("a `{{`, `{%`, bracket or quote is not closed, or an `{% endif %}` or `{% endfor %}` is missing");
    }
    Wrong { at, diagnostic: Box::new(diagnostic) }
}

const TAGS: &[&str] = &[
    "for",
    "endfor",
    "if",
    "elif",
    "else",
    "endif",
    "set",
    "endset",
    "with",
    "endwith",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "block",
    "endblock",
    "extends",
    "include",
    "import",
    "from",
    "do",
    "raw",
    "endraw",
    "break",
    "continue",
    "autoescape",
    "endautoescape",
];

struct Lower<'p> {
    prepared: &'p Prepared,
    blocks: HashMap<Arc<str>, Arc<Block>>,
    /// Whether a text may be a template itself, as in conditions.
    templates_in_texts: bool,
}

impl Lower<'_> {
    fn at(&self, span: minijinja::machinery::Span) -> At {
        self.prepared.original(span.start_offset as usize, span.end_offset as usize)
    }

    fn body(&mut self, statements: &[mj::Stmt<'_>]) -> Result<Vec<Stmt>, Wrong> {
        statements.iter().map(|statement| self.statement(statement)).collect()
    }

    fn statement(&mut self, statement: &mj::Stmt<'_>) -> Result<Stmt, Wrong> {
        let (span, kind) = match statement {
            mj::Stmt::Template(node) => (node.span(), StmtKind::Body(self.body(&node.children)?)),
            mj::Stmt::EmitExpr(node) => (node.span(), StmtKind::Emit(self.expression(&node.expr)?)),
            mj::Stmt::EmitRaw(node) => (node.span(), StmtKind::Raw(node.raw.into())),
            mj::Stmt::ForLoop(node) => (node.span(), self.for_loop(node)?),
            mj::Stmt::IfCond(node) => {
                let test = self.expression(&node.expr)?;
                (node.span(), StmtKind::If { test, yes: self.body(&node.true_body)?, no: self.body(&node.false_body)? })
            }
            mj::Stmt::WithBlock(node) => {
                let bindings = node.assignments.iter().map(|(target, value)| Ok((self.target(target)?, self.expression(value)?)));
                (node.span(), StmtKind::With { bindings: bindings.collect::<Result<_, Wrong>>()?, body: self.body(&node.body)? })
            }
            mj::Stmt::Set(node) => {
                let value = self.expression(&node.expr)?;
                match &node.target {
                    mj::Expr::Var(name) if name.id == super::prepare::DO => (node.span(), StmtKind::Do(value)),
                    target => (node.span(), StmtKind::Set(self.target(target)?, value)),
                }
            }
            mj::Stmt::SetBlock(node) => {
                let filter = node.filter.as_ref().map(|filter| self.expression(filter)).transpose()?;
                (node.span(), StmtKind::SetBlock { target: self.target(&node.target)?, filter, body: self.body(&node.body)? })
            }
            mj::Stmt::AutoEscape(node) => (node.span(), StmtKind::Body(self.body(&node.body)?)),
            mj::Stmt::FilterBlock(node) => {
                (node.span(), StmtKind::FilterBlock { filter: self.expression(&node.filter)?, body: self.body(&node.body)? })
            }
            mj::Stmt::Block(node) => {
                let block = Arc::new(Block { name: node.name.into(), required: node.required, body: self.body(&node.body)? });
                self.blocks.insert(block.name.clone(), block.clone());
                (node.span(), StmtKind::Block(block))
            }
            mj::Stmt::Extends(node) => (node.span(), StmtKind::Extends(self.expression(&node.name)?)),
            mj::Stmt::Include(node) => {
                let with_context = !self.says(node.span(), "without context");
                (node.span(), StmtKind::Include { name: self.expression(&node.name)?, ignore_missing: node.ignore_missing, with_context })
            }
            mj::Stmt::Import(node) => {
                let with_context = self.says(node.span(), "with context");
                let Target::Name(target) = self.target(&node.name)? else {
                    return Err(Wrong::new(self.at(node.span()), "`import` needs a name after `as`"));
                };
                (node.span(), StmtKind::Import { name: self.expression(&node.expr)?, target, with_context })
            }
            mj::Stmt::FromImport(node) => (node.span(), self.import_names(node)?),
            mj::Stmt::Macro(node) => (node.span(), StmtKind::Macro(Arc::new(self.macro_of(node)?))),
            mj::Stmt::CallBlock(node) => {
                let call = self.call(node.call.span(), &node.call)?;
                (node.span(), StmtKind::CallBlock { call, caller: Arc::new(self.macro_of(&node.macro_decl)?) })
            }
            mj::Stmt::Continue(node) => (node.span(), StmtKind::Continue),
            mj::Stmt::Break(node) => (node.span(), StmtKind::Break),
            mj::Stmt::Do(node) => (node.span(), StmtKind::Do(self.call(node.call.span(), &node.call)?)),
        };
        Ok(Stmt { at: self.at(span), kind })
    }

    /// Whether the tag at `span` has the words `words`: the parser reads context markers but does not keep them.
    fn says(&self, span: minijinja::machinery::Span, words: &str) -> bool {
        let tag = self.prepared.text.get(span.start_offset as usize..span.end_offset as usize).unwrap_or_default();
        let tag = tag.split_whitespace().collect::<Vec<_>>().join(" ");
        tag.contains(words)
    }

    fn for_loop(&mut self, node: &mj::ForLoop<'_>) -> Result<StmtKind, Wrong> {
        Ok(StmtKind::For(Arc::new(For {
            target: self.target(&node.target)?,
            items: self.expression(&node.iter)?,
            filter: node.filter_expr.as_ref().map(|filter| self.expression(filter)).transpose()?,
            recursive: node.recursive,
            body: self.body(&node.body)?,
            otherwise: self.body(&node.else_body)?,
        })))
    }

    fn import_names(&mut self, node: &mj::Spanned<mj::FromImport<'_>>) -> Result<StmtKind, Wrong> {
        let with_context = self.says(node.span(), "with context");
        let mut names = Vec::new();
        for (name, alias) in &node.names {
            let Target::Name(name) = self.target(name)? else { continue };
            let alias = match alias.as_ref().map(|alias| self.target(alias)).transpose()? {
                Some(Target::Name(alias)) => alias,
                _ => name.clone(),
            };
            names.push((name, alias));
        }
        Ok(StmtKind::FromImport { name: self.expression(&node.expr)?, names, with_context })
    }

    fn macro_of(&mut self, node: &mj::Spanned<mj::Macro<'_>>) -> Result<Macro, Wrong> {
        let mut parameters = Vec::new();
        let without = node.args.len().saturating_sub(node.defaults.len());
        for (index, argument) in node.args.iter().enumerate() {
            let Target::Name(name) = self.target(argument)? else { continue };
            let default = index.checked_sub(without).and_then(|index| node.defaults.get(index));
            parameters.push((name, default.map(|default| self.expression(default)).transpose()?));
        }
        let span = node.span();
        let text = self.prepared.text.get(span.start_offset as usize..span.end_offset as usize).unwrap_or_default();
        let (uses_varargs, uses_kwargs, uses_caller) = (text.contains("varargs"), text.contains("kwargs"), text.contains("caller"));
        Ok(Macro { name: node.name.into(), parameters, body: self.body(&node.body)?, uses_varargs, uses_kwargs, uses_caller })
    }

    fn target(&self, target: &mj::Expr<'_>) -> Result<Target, Wrong> {
        match target {
            mj::Expr::Var(name) => Ok(Target::Name(name.id.into())),
            mj::Expr::List(list) => Ok(Target::Many(list.items.iter().map(|item| self.target(item)).collect::<Result<_, _>>()?)),
            mj::Expr::GetAttr(node) => match &node.expr {
                mj::Expr::Var(name) => Ok(Target::Attribute(name.id.into(), node.name.into())),
                _ => Err(Wrong::new(self.at(node.span()), "only `name.attribute` of a namespace can be set")),
            },
            other => Err(Wrong::new(self.at(other.span()), "nothing can be assigned to this")),
        }
    }

    fn boxed(&mut self, expr: &mj::Expr<'_>) -> Result<Expr, Wrong> {
        self.expression(expr)
    }

    fn list(&mut self, items: &[mj::Expr<'_>]) -> Result<Vec<Expr>, Wrong> {
        items.iter().map(|item| self.expression(item)).collect()
    }

    fn expression(&mut self, expr: &mj::Expr<'_>) -> Result<Expr, Wrong> {
        let at = self.at(expr.span());
        let kind = match expr {
            mj::Expr::Var(node) => Kind::Var(node.id.into()),
            mj::Expr::Const(node) => Kind::Const(match constant(&node.value) {
                Value::Str(text) if self.templates_in_texts => Value::text(&text, Span::default()),
                other => other,
            }),
            mj::Expr::Slice(node) => {
                let mut part = |part: &Option<mj::Expr<'_>>| part.as_ref().map(|part| self.expression(part)).transpose();
                let parts = [part(&node.start)?, part(&node.stop)?, part(&node.step)?];
                Kind::Slice(self.boxed(&node.expr)?, parts)
            }
            mj::Expr::UnaryOp(node) => match node.op {
                mj::UnaryOpKind::Not => Kind::Not(self.boxed(&node.expr)?),
                mj::UnaryOpKind::Neg => Kind::Negative(self.boxed(&node.expr)?),
            },
            mj::Expr::BinOp(node) => self.binary(node)?,
            mj::Expr::Compare(node) => {
                let first = self.boxed(&node.expr)?;
                let rest = node.ops.iter().map(|op| Ok((comparison(op.op), self.expression(&op.expr)?)));
                Kind::Compare(first, rest.collect::<Result<_, Wrong>>()?)
            }
            mj::Expr::IfExpr(node) => Kind::If {
                test: self.boxed(&node.test_expr)?,
                yes: self.boxed(&node.true_expr)?,
                no: node.false_expr.as_ref().map(|no| self.expression(no)).transpose()?,
            },
            mj::Expr::Filter(node) => {
                let filter = filters::find(node.name).ok_or_else(|| Wrong { at, diagnostic: Box::new(filters::unknown(node.name)) })?;
                let subject = node.expr.as_ref().map(|subject| self.expression(subject)).transpose()?;
                Kind::Filter { filter, subject, arguments: self.arguments(&node.args)? }
            }
            mj::Expr::Test(node) => {
                let test = tests::find(node.name).ok_or_else(|| Wrong { at, diagnostic: Box::new(tests::unknown(node.name)) })?;
                Kind::Test { test, subject: self.boxed(&node.expr)?, arguments: self.arguments(&node.args)? }
            }
            mj::Expr::GetAttr(node) => Kind::Attribute(self.boxed(&node.expr)?, node.name.into()),
            mj::Expr::GetItem(node) => Kind::Item(self.boxed(&node.expr)?, self.boxed(&node.subscript_expr)?),
            mj::Expr::Call(node) => return self.call(node.span(), node),
            mj::Expr::List(node) => Kind::List(self.list(&node.items)?),
            mj::Expr::Tuple(node) => Kind::Tuple(self.list(&node.items)?),
            mj::Expr::Map(node) => {
                let entries = node.keys.iter().zip(&node.values).map(|(key, value)| Ok((self.expression(key)?, self.expression(value)?)));
                Kind::Dict(entries.collect::<Result<_, Wrong>>()?)
            }
        };
        // The parser starts a chain's place at its last step.
        let at = match &kind {
            Kind::Attribute(of, _) | Kind::Item(of, _) | Kind::Slice(of, _) => At { start: at.start.min(of.at.start), ..at },
            _ => at,
        };
        Ok(Expr { at, kind: Box::new(kind) })
    }

    fn call(&mut self, span: minijinja::machinery::Span, node: &mj::Call<'_>) -> Result<Expr, Wrong> {
        let callee = self.boxed(&node.expr)?;
        // What a lookup is given may be templates of its own: `lookup('pipe', 'echo {{ x }}')`.
        let is_lookup = matches!(&node.expr, mj::Expr::Var(name) if matches!(name.id, "lookup" | "query" | "q"));
        let arguments = if is_lookup { self.looked_up(&node.args)? } else { self.arguments(&node.args)? };
        let at = self.at(span);
        let at = At { start: at.start.min(callee.at.start), ..at };
        Ok(Expr { at, kind: Box::new(Kind::Call { callee, arguments }) })
    }

    /// Returns the arguments of a lookup: templates in texts count, but not in its name.
    fn looked_up(&mut self, arguments: &[mj::CallArg<'_>]) -> Result<Vec<Argument>, Wrong> {
        let (name, others) = arguments.split_at(arguments.len().min(1));
        let around = std::mem::replace(&mut self.templates_in_texts, false);
        let mut lowered = self.arguments(name)?;
        self.templates_in_texts = true;
        lowered.extend(self.arguments(others)?);
        self.templates_in_texts = around;
        Ok(lowered)
    }

    fn binary(&mut self, node: &mj::BinOp<'_>) -> Result<Kind, Wrong> {
        let (left, right) = (self.boxed(&node.left)?, self.boxed(&node.right)?);
        let compare = |op, left, right| Kind::Compare(left, vec![(op, right)]);
        Ok(match node.op {
            mj::BinOpKind::ScAnd => Kind::And(left, right),
            mj::BinOpKind::ScOr => Kind::Or(left, right),
            mj::BinOpKind::Eq => compare(Comparison::Equal, left, right),
            mj::BinOpKind::Ne => compare(Comparison::NotEqual, left, right),
            mj::BinOpKind::Lt => compare(Comparison::Less, left, right),
            mj::BinOpKind::Lte => compare(Comparison::LessOrEqual, left, right),
            mj::BinOpKind::Gt => compare(Comparison::Greater, left, right),
            mj::BinOpKind::Gte => compare(Comparison::GreaterOrEqual, left, right),
            mj::BinOpKind::In => compare(Comparison::In, left, right),
            mj::BinOpKind::Add => Kind::Binary(Binary::Add, left, right),
            mj::BinOpKind::Sub => Kind::Binary(Binary::Subtract, left, right),
            mj::BinOpKind::Mul => Kind::Binary(Binary::Multiply, left, right),
            mj::BinOpKind::Div => Kind::Binary(Binary::Divide, left, right),
            mj::BinOpKind::FloorDiv => Kind::Binary(Binary::FloorDivide, left, right),
            mj::BinOpKind::Rem => Kind::Binary(Binary::Remainder, left, right),
            mj::BinOpKind::Pow => Kind::Binary(Binary::Power, left, right),
            mj::BinOpKind::Concat => Kind::Binary(Binary::Concat, left, right),
        })
    }

    fn arguments(&mut self, arguments: &[mj::CallArg<'_>]) -> Result<Vec<Argument>, Wrong> {
        let mut names = Vec::new();
        for argument in arguments {
            let mj::CallArg::Kwarg(name, value) = argument else { continue };
            if names.contains(name) {
                let at = self.expression(value)?.at;
                return Err(Wrong::new(at, format!("keyword argument repeated: {name}")));
            }
            names.push(*name);
        }
        let lowered = arguments.iter().map(|argument| {
            Ok(match argument {
                mj::CallArg::Pos(value) => Argument::Position(self.expression(value)?),
                mj::CallArg::Kwarg(name, value) => Argument::Name((*name).into(), self.expression(value)?),
                mj::CallArg::PosSplat(value) => Argument::Splat(self.expression(value)?),
                mj::CallArg::KwargSplat(value) => Argument::NamedSplat(self.expression(value)?),
            })
        });
        lowered.collect()
    }
}

fn comparison(op: mj::CompareOpKind) -> Comparison {
    match op {
        mj::CompareOpKind::Eq => Comparison::Equal,
        mj::CompareOpKind::Ne => Comparison::NotEqual,
        mj::CompareOpKind::Lt => Comparison::Less,
        mj::CompareOpKind::Lte => Comparison::LessOrEqual,
        mj::CompareOpKind::Gt => Comparison::Greater,
        mj::CompareOpKind::Gte => Comparison::GreaterOrEqual,
        mj::CompareOpKind::In => Comparison::In,
        mj::CompareOpKind::NotIn => Comparison::NotIn,
    }
}

fn constant(value: &minijinja::Value) -> Value {
    use minijinja::value::ValueKind;
    match value.kind() {
        ValueKind::Bool => Value::Bool(value.is_true()),
        ValueKind::Number if value.is_integer() => {
            value.as_i64().map_or_else(|| Value::Float(f64::try_from(value.clone()).unwrap_or(f64::MAX)), Value::Int)
        }
        ValueKind::Number => Value::Float(f64::try_from(value.clone()).unwrap_or(f64::NAN)),
        ValueKind::String => Value::str(value.as_str().unwrap_or_default()),
        _ => Value::Null,
    }
}
