//! Refusal: why a caller is turned away: a reason for the client, and the cause for the log, which never holds a token.

use std::borrow::Cow;

use http::StatusCode;

use super::claims::Claim;
use crate::error::{Error, TokenFault, TokenKind};

/// A caller that is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the client gets to know.
    pub reason: Reason,
    /// The token that is meant.
    pub token: TokenKind,
    /// What the log says: not the token, and of what is in it only short names.
    pub cause: Cow<'static, str>,
}

/// What a turned-away client gets to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no token, or it is not good.
    Token(TokenFault),
    /// The token is good, but not for this.
    Forbidden,
    /// Who judges tokens does not answer.
    Unavailable,
    /// The session has ended here, and the store does not tell the other gateways.
    Untold,
    /// A page of another origin calls with cookies.
    CrossOrigin,
}

impl Reason {
    /// Every reason, by index.
    pub(super) const ALL: [Self; 8] = [
        Self::Token(TokenFault::Missing),
        Self::Token(TokenFault::Invalid),
        Self::Token(TokenFault::Expired),
        Self::Forbidden,
        Self::Unavailable,
        Self::CrossOrigin,
        Self::Token(TokenFault::Misplaced),
        Self::Untold,
    ];

    /// Its place among them.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Token(TokenFault::Missing) => 0,
            Self::Token(TokenFault::Invalid) => 1,
            Self::Token(TokenFault::Expired) => 2,
            Self::Forbidden => 3,
            Self::Unavailable => 4,
            Self::CrossOrigin => 5,
            Self::Token(TokenFault::Misplaced) => 6,
            Self::Untold => 7,
        }
    }
}

impl Refusal {
    fn new(reason: Reason, cause: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, token: TokenKind::Access, cause: cause.into() }
    }

    /// The same for the sake of this token.
    #[must_use]
    pub fn of_token(self, token: TokenKind) -> Self {
        Self { token, ..self }
    }

    /// A refusal that says no more than its reason.
    pub(super) fn of(reason: Reason) -> Self {
        Self::new(reason, "")
    }

    /// There is no token.
    pub fn missing() -> Self {
        Self::new(Reason::Token(TokenFault::Missing), "the request carries no token")
    }

    /// The token is not good.
    pub fn invalid(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Token(TokenFault::Invalid), cause)
    }

    /// The token was good.
    pub(super) fn expired(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Token(TokenFault::Expired), cause)
    }

    /// The token has another place.
    pub(super) fn misplaced(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Token(TokenFault::Misplaced), cause)
    }

    /// The token is good, but not for this.
    pub(super) fn forbidden(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Forbidden, cause)
    }

    /// Nobody can say.
    pub fn unavailable(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Unavailable, cause)
    }

    /// A logout that the other gateways have not heard of.
    pub(super) fn untold(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Reason::Untold, cause)
    }

    /// A page of another origin calls with cookies.
    pub(super) fn cross_origin() -> Self {
        let cause =
            "a page of another origin calls with cookies, or for some, and cors does not let it with credentials";
        Self::new(Reason::CrossOrigin, cause)
    }

    /// It is for the token's sake, and not for the gateway's or its store's.
    pub fn is_of_token(&self) -> bool {
        matches!(self.reason, Reason::Token(_))
    }

    /// The token lacks a claim that a field of the request is set from.
    pub fn lacks(claim: &Claim) -> Self {
        Self::forbidden(format!("the token has no `{}` to set a field from", claim.name()))
    }

    /// A claim is no value for the field that it sets.
    pub fn unfit(claim: &Claim) -> Self {
        Self::forbidden(format!("the claim `{}` is no value for the field that it sets", claim.name()))
    }

    /// The same of a claim that has no name.
    pub fn misfit() -> Self {
        Self::forbidden("a claim is no value for the field that it sets")
    }

    /// The error that it is to the client; `invalid` is the HTTP status for tokens that are not good.
    pub fn error(&self, invalid: StatusCode) -> Error {
        match self.reason {
            Reason::Token(TokenFault::Missing) => {
                let status = StatusCode::UNAUTHORIZED;
                Error::Unauthenticated { token: self.token, fault: TokenFault::Missing, status }
            }
            Reason::Token(fault) => Error::Unauthenticated { token: self.token, fault, status: invalid },
            Reason::Forbidden => Error::Forbidden { token: self.token },
            Reason::Unavailable => Error::AuthUnavailable,
            Reason::Untold => Error::LogoutUntold,
            Reason::CrossOrigin => Error::CrossOrigin,
        }
    }
}

/// The beginning of a text that the client chose.
pub(super) fn short(text: &str) -> &str {
    const SHOWN: usize = 64;
    &text[..text.floor_char_boundary(SHOWN)]
}
