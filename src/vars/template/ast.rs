//! The tree of a template, owned, with byte places in the template's own text.

use std::collections::HashMap;
use std::sync::Arc;

use crate::value::Value;

use crate::vars::filters::Filter;
use crate::vars::tests::Test;

/// Bytes `start..end` of a template's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::vars) struct At {
    pub start: u32,
    pub end: u32,
}

/// A whole template.
#[derive(Debug)]
pub(in crate::vars) struct Template {
    pub body: Vec<Stmt>,
    pub blocks: HashMap<Arc<str>, Arc<Block>>,
}

/// A statement and its place.
#[derive(Debug)]
pub(in crate::vars) struct Stmt {
    pub at: At,
    pub kind: StmtKind,
}

#[derive(Debug)]
pub(in crate::vars) enum StmtKind {
    Raw(Arc<str>),
    Emit(Expr),
    For(Arc<For>),
    If {
        test: Expr,
        yes: Vec<Stmt>,
        no: Vec<Stmt>,
    },
    With {
        bindings: Vec<(Target, Expr)>,
        body: Vec<Stmt>,
    },
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filter: Option<Expr>,
        body: Vec<Stmt>,
    },
    FilterBlock {
        filter: Expr,
        body: Vec<Stmt>,
    },
    /// `{% autoescape %}` and other bodies that mean nothing of their own.
    Body(Vec<Stmt>),
    Block(Arc<Block>),
    Extends(Expr),
    Include {
        name: Expr,
        ignore_missing: bool,
        with_context: bool,
    },
    Import {
        name: Expr,
        target: Arc<str>,
        with_context: bool,
    },
    FromImport {
        name: Expr,
        names: Vec<(Arc<str>, Arc<str>)>,
        with_context: bool,
    },
    Macro(Arc<Macro>),
    CallBlock {
        call: Expr,
        caller: Arc<Macro>,
    },
    Do(Expr),
    Break,
    Continue,
}

#[derive(Debug)]
pub(in crate::vars) struct For {
    pub target: Target,
    pub items: Expr,
    pub filter: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

#[derive(Debug)]
pub(in crate::vars) struct Block {
    pub name: Arc<str>,
    pub required: bool,
    pub body: Vec<Stmt>,
}

#[derive(Debug)]
pub(in crate::vars) struct Macro {
    pub name: Arc<str>,
    pub parameters: Vec<(Arc<str>, Option<Expr>)>,
    pub body: Vec<Stmt>,
    /// What the body takes beyond its parameters.
    pub uses_varargs: bool,
    pub uses_kwargs: bool,
    pub uses_caller: bool,
}

/// What an assignment assigns to.
#[derive(Clone, Debug)]
pub(in crate::vars) enum Target {
    Name(Arc<str>),
    /// `ns.x`
    Attribute(Arc<str>, Arc<str>),
    Many(Vec<Target>),
}

/// An expression and its place.
#[derive(Debug)]
pub(in crate::vars) struct Expr {
    pub at: At,
    pub kind: Box<Kind>,
}

#[derive(Debug)]
pub(in crate::vars) enum Kind {
    Const(Value),
    Var(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attribute(Expr, Arc<str>),
    Item(Expr, Expr),
    Slice(Expr, [Option<Expr>; 3]),
    Not(Expr),
    Negative(Expr),
    And(Expr, Expr),
    Or(Expr, Expr),
    Binary(Binary, Expr, Expr),
    Compare(Expr, Vec<(Comparison, Expr)>),
    If { test: Expr, yes: Expr, no: Option<Expr> },
    Filter { filter: &'static Filter, subject: Option<Expr>, arguments: Vec<Argument> },
    Test { test: &'static Test, subject: Expr, arguments: Vec<Argument> },
    Call { callee: Expr, arguments: Vec<Argument> },
}

#[derive(Debug)]
pub(in crate::vars) enum Argument {
    Position(Expr),
    Name(Arc<str>, Expr),
    Splat(Expr),
    NamedSplat(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vars) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
    Concat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vars) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}
