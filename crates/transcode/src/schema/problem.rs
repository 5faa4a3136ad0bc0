//! What is wrong with a schema: the file, the symbol in it, and what to write instead.

use std::fmt;

/// One fault of a descriptor set, a `.proto` file or an HTTP rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The `.proto` file, or the descriptor set where no file in it can be named; with `:line:column` where known.
    pub file: String,
    /// Full name of the service, method, message, field or enum; empty for the whole file.
    pub symbol: String,
    /// Where in the symbol's path template, counted from 1.
    pub column: Option<usize>,
    /// What is wrong, and the way out.
    pub message: String,
}

impl Problem {
    /// A problem of a symbol as a whole.
    pub fn new(file: impl Into<String>, symbol: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), symbol: symbol.into(), column: None, message: message.into() }
    }

    /// The same problem at a column of the symbol's path template.
    #[must_use]
    pub fn at(mut self, column: usize) -> Self {
        self.column = Some(column);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if !self.symbol.is_empty() {
            write!(f, ": {}", self.symbol)?;
        }
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for Problem {}
