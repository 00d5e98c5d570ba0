//! A program that runs somewhere, seen through its standard streams.

use std::pin::Pin;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A running program's streams. Dropping all of it ends the program's input.
pub struct Channel {
    /// Goes to its standard input; shut it down to end the input.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// Comes from its standard output.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Comes from its standard error.
    pub stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// Its exit status, once it ended; `None` where the connection broke before.
    pub exit: BoxFuture<'static, Option<i32>>,
}
