//! Values while a template runs: plain values, and what only a template has: lists and dictionaries that can be changed,
//! tuples, functions, what is undefined.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::source::{Diagnostic, Span};
use crate::value::{Key, Unknown, Value};
use crate::vars::Variables;

use super::ast::{For, Macro};
use super::moment::Moment;
use super::{Frame, Module};

/// Why an evaluation stopped.
#[derive(Debug)]
pub(in crate::vars) enum Halt {
    /// Something is wrong; the innermost expression adds the place.
    Error(Box<Diagnostic>),
    /// A vaulted text cannot be decrypted. Only its type can be asked for.
    Sealed(Box<Diagnostic>),
    /// What is not there was used; the filter, test, call or variable around it is then undefined too.
    Undefined(Rc<Undefined>),
    /// The result depends on what a check cannot know.
    Unknown(Arc<Unknown>),
    /// `{% break %}`
    Break,
    /// `{% continue %}`
    Continue,
}

/// What an evaluation gives.
pub(in crate::vars) type Outcome<T> = Result<T, Halt>;

/// Stops with a message.
pub(in crate::vars) fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Diagnostic::error(message).into())
}

/// Makes what stopped on something undefined an undefined value, as Ansible does around filters, tests, calls and variables.
pub(in crate::vars) fn or_undefined(result: Outcome<Live>) -> Outcome<Live> {
    match result {
        Err(Halt::Undefined(undefined)) => Ok(Live::Undefined(undefined)),
        other => other,
    }
}

impl From<Diagnostic> for Halt {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Error(Box::new(diagnostic))
    }
}

pub(in crate::vars) type SharedList = Rc<RefCell<Vec<Live>>>;
pub(in crate::vars) type SharedDict = Rc<RefCell<IndexMap<Key, Live>>>;

/// A value in a running template.
#[derive(Clone)]
pub(in crate::vars) enum Live {
    /// A value of a variable; inner parts may still be templates.
    Value(Value),
    List(SharedList),
    Dict(SharedDict),
    Tuple(Rc<Vec<Live>>),
    Undefined(Rc<Undefined>),
    Function(Rc<Function>),
    /// `vars`: the variables of this template.
    Vars,
    /// `hostvars`
    HostVars,
    /// `hostvars['name']`
    Host(Arc<dyn Variables>),
    /// A time, or a span between two.
    Moment(Moment),
}

/// What is not there, and how to say so.
#[derive(Debug)]
pub(in crate::vars) struct Undefined {
    pub diagnostic: Diagnostic,
    /// An `if` without `else`: prints as nothing.
    pub silent: bool,
}

/// What can be called, or holds more than data.
pub(in crate::vars) enum Function {
    /// A function of the table of globals.
    Global(&'static str),
    /// A method of a value.
    Bound(Live, Arc<str>),
    Macro(MacroFunction),
    /// `loop`
    Loop(LoopState),
    /// `namespace()`
    Namespace(RefCell<IndexMap<Arc<str>, Live>>),
    /// An imported template.
    Module(Rc<Module>),
    /// `cycler()`
    Cycler(Vec<Live>, RefCell<usize>),
    /// `joiner()`
    Joiner(String, RefCell<bool>),
    /// `super()`: the block one further up.
    Super(Arc<str>, usize),
    /// `self`
    SelfBlocks,
}

pub(in crate::vars) struct MacroFunction {
    pub decl: Arc<Macro>,
    pub frame: Frame,
}

/// What `loop` knows.
pub(in crate::vars) struct LoopState {
    pub index: RefCell<usize>,
    pub items: Rc<Vec<Live>>,
    pub depth: usize,
    pub changed: RefCell<Option<Value>>,
    /// The loop itself, for `loop(children)`.
    pub recurse: Option<Arc<For>>,
    pub frame: RefCell<Option<Frame>>,
}

impl From<Value> for Live {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl Live {
    pub(in crate::vars) fn str(text: impl AsRef<str>) -> Self {
        Self::Value(Value::str(text))
    }

    pub(in crate::vars) fn list(items: Vec<Live>) -> Self {
        Self::List(Rc::new(RefCell::new(items)))
    }

    pub(in crate::vars) fn function(function: Function) -> Self {
        Self::Function(Rc::new(function))
    }

    pub(in crate::vars) fn undefined(diagnostic: Diagnostic) -> Self {
        Self::Undefined(Rc::new(Undefined { diagnostic, silent: false }))
    }

    /// Returns the list or dictionary as one that can be changed; its parts stay as they are.
    pub(in crate::vars) fn thaw(self) -> Self {
        match self {
            Self::Value(Value::List(items)) => Self::list(items.iter().cloned().map(Self::Value).collect()),
            Self::Value(Value::Map(map)) => {
                Self::Dict(Rc::new(RefCell::new(map.iter().map(|(key, value)| (key.clone(), Self::Value(value.clone()))).collect())))
            }
            other => other,
        }
    }

    /// Returns Python's name for the type.
    pub(in crate::vars) fn type_name(&self) -> &'static str {
        match self {
            Self::Value(value) => value.type_name(),
            Self::List(_) => "list",
            Self::Dict(_) | Self::Vars | Self::HostVars | Self::Host(_) => "dict",
            Self::Tuple(_) => "tuple",
            Self::Undefined(_) => "UndefinedMarker",
            Self::Moment(moment) => moment.type_name(),
            Self::Function(function) => match &**function {
                Function::Namespace(_) => "Namespace",
                Function::Macro(_) => "Macro",
                Function::Loop(_) => "LoopContext",
                _ => "function",
            },
        }
    }
}

/// Where a template's text stands.
#[derive(Clone, Debug)]
pub(in crate::vars) struct Origin {
    pub text: Arc<str>,
    pub span: Span,
}
