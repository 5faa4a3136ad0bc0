//! Accounts and sessions: plain values under one lock.

use std::collections::HashMap;
use std::time::SystemTime;

use tonic::Code;

use crate::demo::proto::auth::GetUserProfileResponse;
use crate::demo::refusal::Refusal;

/// Accounts that the demonstration keeps.
const MOST_ACCOUNTS: usize = 100_000;

/// Sessions that it keeps.
const MOST_SESSIONS: usize = 100_000;

/// Sessions that one user has; a further login ends the one that was idle longest.
const MOST_PER_USER: usize = 16;

/// Everyone, and every open session.
#[derive(Default)]
pub(super) struct Accounts {
    by_id: HashMap<String, Account>,
    by_email: HashMap<String, String>,
    sessions: HashMap<String, Session>,
}

struct Account {
    profile: GetUserProfileResponse,
    password_hash: String,
    sessions: Vec<String>,
}

/// A family of refresh tokens, of which the latest alone is good.
struct Session {
    user_id: String,
    latest: String,
    expires: SystemTime,
}

impl Accounts {
    /// Whether an address, in lower case, has an account.
    pub(super) fn knows(&self, email: &str) -> bool {
        self.by_email.contains_key(email)
    }

    /// Adds an account.
    pub(super) fn add(&mut self, profile: GetUserProfileResponse, password_hash: String) -> Result<(), Refusal> {
        if self.knows(&profile.email) {
            return Err(email_taken(&profile.email));
        }
        if self.by_id.len() >= MOST_ACCOUNTS {
            return Err(Refusal::full("accounts"));
        }
        self.by_email.insert(profile.email.clone(), profile.user_id.clone());
        let account = Account { password_hash, sessions: Vec::new(), profile };
        self.by_id.insert(account.profile.user_id.clone(), account);
        Ok(())
    }

    /// The id and the password hash behind an address in lower case.
    pub(super) fn credentials(&self, email: &str) -> Option<(String, String)> {
        let id = self.by_email.get(email)?;
        let account = self.by_id.get(id)?;
        Some((id.clone(), account.password_hash.clone()))
    }

    /// A user's profile, to be read or changed.
    pub(super) fn profile(&mut self, user_id: &str) -> Result<&mut GetUserProfileResponse, Refusal> {
        let account = self.by_id.get_mut(user_id).ok_or_else(|| Refusal::not_found("user", user_id))?;
        Ok(&mut account.profile)
    }

    /// Opens a session whose first refresh token is `latest`.
    pub(super) fn open(
        &mut self,
        session: String,
        user_id: &str,
        latest: String,
        expires: SystemTime,
        now: SystemTime,
    ) -> Result<(), Refusal> {
        if self.sessions.len() >= MOST_SESSIONS {
            self.sessions.retain(|_, session| session.expires > now);
            if self.sessions.len() >= MOST_SESSIONS {
                return Err(Refusal::full("sessions"));
            }
        }
        let account = self.by_id.get_mut(user_id).ok_or_else(|| Refusal::not_found("user", user_id))?;
        account.sessions.retain(|session| self.sessions.contains_key(session));
        if account.sessions.len() >= MOST_PER_USER {
            let idle = (0..account.sessions.len())
                .min_by_key(|&at| self.sessions.get(&account.sessions[at]).map(|session| session.expires))
                .unwrap_or(0);
            self.sessions.remove(&account.sessions.swap_remove(idle));
        }
        account.sessions.push(session.clone());
        self.sessions.insert(session, Session { user_id: user_id.to_owned(), latest, expires });
        Ok(())
    }

    /// Puts a session's next refresh token in the place of the one that is traded in.
    ///
    /// One that was traded in before has two owners, and nobody can tell which is the thief: the session ends.
    pub(super) fn rotate(
        &mut self,
        session_id: &str,
        traded: &str,
        next: String,
        expires: SystemTime,
    ) -> Result<(), Refusal> {
        let session = self.sessions.get_mut(session_id).ok_or_else(session_ended)?;
        if session.latest != traded {
            self.sessions.remove(session_id);
            return Err(Refusal::new(
                Code::Unauthenticated,
                "REFRESH_TOKEN_REUSED",
                "the refresh token was used before; its session has ended, log in again",
            ));
        }
        session.latest = next;
        session.expires = expires;
        Ok(())
    }

    /// Whether a session is open.
    pub(super) fn is_open(&self, session: &str, user_id: &str, now: SystemTime) -> bool {
        self.sessions.get(session).is_some_and(|session| session.user_id == user_id && session.expires > now)
    }

    /// Ends one session; whether it was open.
    pub(super) fn end(&mut self, session: &str) -> bool {
        self.sessions.remove(session).is_some()
    }

    /// Ends all sessions of a user; how many were open.
    pub(super) fn end_all(&mut self, user_id: &str) -> usize {
        let Some(account) = self.by_id.get_mut(user_id) else { return 0 };
        std::mem::take(&mut account.sessions).iter().filter(|session| self.sessions.remove(*session).is_some()).count()
    }
}

/// The refusal of a second account for one address.
pub(super) fn email_taken(email: &str) -> Refusal {
    Refusal::new(Code::AlreadyExists, "EMAIL_TAKEN", "this e-mail address has an account; log in")
        .resource("user", email)
}

/// The refusal of a token whose session is over.
pub(super) fn session_ended() -> Refusal {
    Refusal::new(Code::Unauthenticated, "SESSION_ENDED", "the session has ended; log in again")
}
