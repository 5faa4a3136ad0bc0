//! `auth.AuthService`: accounts, sessions, tokens.

mod accounts;
mod password;

use std::sync::Arc;

use parking_lot::Mutex;
use prost_types::Timestamp;
use tonic::{Code, Request, Response, Status};

use self::accounts::{Accounts, email_taken, session_ended};
use self::password::Passwords;
use super::clock::Clock;
use super::proto::auth::auth_service_server::AuthService;
use super::proto::auth::{
    GetUserProfileRequest, GetUserProfileResponse, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse,
    RefreshTokenRequest, RefreshTokenResponse, RegisterRequest, RegisterResponse, UpdateUserProfileRequest,
    ValidateTokenRequest, ValidateTokenResponse,
};
use super::refusal::Refusal;
use super::service::{created, short};
use super::token::{Caller, Tokens, id};

/// The accounts that all instances share.
pub(super) struct Auth {
    tokens: Arc<Tokens>,
    clock: Clock,
    accounts: Mutex<Accounts>,
    passwords: Passwords,
}

impl Auth {
    pub(super) fn new(tokens: Arc<Tokens>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { tokens, clock, accounts: Mutex::default(), passwords: Passwords::new() })
    }

    /// Creates an account.
    pub(super) async fn create(&self, request: RegisterRequest) -> Result<String, Status> {
        let email = request.email.trim().to_lowercase();
        let mut wrong = Vec::new();
        if !is_email(&email) {
            wrong.push(("email", "must be an e-mail address such as ada@example.com, at most 254 characters"));
        }
        if !(8..=128).contains(&request.password.len()) {
            wrong.push(("password", "must be 8 to 128 bytes"));
        }
        for (field, name) in [("first_name", &request.first_name), ("last_name", &request.last_name)] {
            if short(field, name, 100).is_err() || name.chars().any(char::is_control) {
                wrong.push((field, "must be at most 100 characters, none of them a control character"));
            }
        }
        if !wrong.is_empty() {
            return Err(Refusal::fields(&wrong).into());
        }
        // Asked again below, under the lock that adds: this first look spares the hash of a repeated request.
        if self.accounts.lock().knows(&email) {
            return Err(email_taken(&email).into());
        }
        let hash = self.passwords.hash(request.password).await?;
        let user_id = id("usr")?;
        let now = Timestamp::from(self.clock.now());
        let profile = GetUserProfileResponse {
            user_id: user_id.clone(),
            email,
            first_name: request.first_name,
            last_name: request.last_name,
            create_time: Some(now),
            update_time: Some(now),
            ..Default::default()
        };
        self.accounts.lock().add(profile, hash)?;
        Ok(user_id)
    }

    /// The caller, if the session that their token belongs to is open; a token that no login issued has none.
    fn caller(&self, request: &tonic::metadata::MetadataMap) -> Result<Caller, Refusal> {
        let caller = self.tokens.caller(request)?;
        match &caller.session {
            Some(session) if !self.accounts.lock().is_open(session, &caller.user_id, self.clock.now()) => {
                Err(session_ended())
            }
            _ => Ok(caller),
        }
    }

    fn expires_in(&self) -> i32 {
        i32::try_from(self.tokens.access_ttl().as_secs()).unwrap_or(i32::MAX)
    }
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn register(
        self: Arc<Self>,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let user_id = self.create(request.into_inner()).await?;
        Ok(created(RegisterResponse { user_id, message: "Welcome. Log in to book seats.".to_owned() }))
    }

    async fn login(self: Arc<Self>, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let request = request.into_inner();
        let credentials = self.accounts.lock().credentials(&request.email.trim().to_lowercase());
        let (user, hash) = credentials.unzip();
        // A password that no account can have takes as long as any other, but is not hashed at any length.
        let password = if request.password.len() <= 128 { request.password } else { String::new() };
        let matches = self.passwords.matches(password, hash).await?;
        let user_id = user.filter(|_| matches).ok_or_else(|| {
            Refusal::new(Code::Unauthenticated, "BAD_CREDENTIALS", "e-mail address and password do not belong together")
        })?;
        let (session, latest) = (id("ses")?, id("ref")?);
        let now = self.clock.now();
        let response = LoginResponse {
            access_token: self.tokens.access(&user_id, &session)?,
            refresh_token: self.tokens.refresh(&user_id, &session, &latest)?,
            expires_in: self.expires_in(),
            token_type: "Bearer".to_owned(),
            user_id: user_id.clone(),
        };
        self.accounts.lock().open(session, &user_id, latest, now + self.tokens.refresh_ttl(), now)?;
        Ok(Response::new(response))
    }

    async fn refresh_token(
        self: Arc<Self>,
        request: Request<RefreshTokenRequest>,
    ) -> Result<Response<RefreshTokenResponse>, Status> {
        let claims = self.tokens.judge_refresh(&request.into_inner().refresh_token)?;
        let session = claims.sid.ok_or_else(session_ended)?;
        let next = id("ref")?;
        let response = RefreshTokenResponse {
            access_token: self.tokens.access(&claims.sub, &session)?,
            refresh_token: self.tokens.refresh(&claims.sub, &session, &next)?,
            expires_in: self.expires_in(),
            token_type: "Bearer".to_owned(),
        };
        let expires = self.clock.now() + self.tokens.refresh_ttl();
        self.accounts.lock().rotate(&session, &claims.jti, next, expires)?;
        Ok(Response::new(response))
    }

    async fn logout(self: Arc<Self>, request: Request<LogoutRequest>) -> Result<Response<LogoutResponse>, Status> {
        let caller = self.tokens.caller(request.metadata())?;
        let mut accounts = self.accounts.lock();
        let ended = if request.into_inner().everywhere {
            accounts.end_all(&caller.user_id)
        } else {
            caller.session.is_some_and(|session| accounts.end(&session)).into()
        };
        Ok(Response::new(LogoutResponse { sessions_ended: i32::try_from(ended).unwrap_or(i32::MAX) }))
    }

    async fn validate_token(
        self: Arc<Self>,
        request: Request<ValidateTokenRequest>,
    ) -> Result<Response<ValidateTokenResponse>, Status> {
        let verdict = self.tokens.judge_access(&request.into_inner().token).and_then(|claims| match &claims.sid {
            Some(session) if !self.accounts.lock().is_open(session, &claims.sub, self.clock.now()) => {
                Err(session_ended())
            }
            _ => Ok(claims),
        });
        Ok(Response::new(match verdict {
            Ok(claims) => ValidateTokenResponse {
                valid: true,
                user_id: claims.sub,
                expire_time: Some(Timestamp { seconds: i64::try_from(claims.exp).unwrap_or(i64::MAX), nanos: 0 }),
                scopes: claims.scope.split_ascii_whitespace().map(str::to_owned).collect(),
                reason: String::new(),
            },
            Err(refusal) => ValidateTokenResponse { reason: refusal.reason().to_owned(), ..Default::default() },
        }))
    }

    async fn get_user_profile(
        self: Arc<Self>,
        request: Request<GetUserProfileRequest>,
    ) -> Result<Response<GetUserProfileResponse>, Status> {
        let caller = self.caller(request.metadata())?;
        Ok(Response::new(self.accounts.lock().profile(&caller.user_id)?.clone()))
    }

    async fn update_user_profile(
        self: Arc<Self>,
        request: Request<UpdateUserProfileRequest>,
    ) -> Result<Response<GetUserProfileResponse>, Status> {
        let caller = self.caller(request.metadata())?;
        let request = request.into_inner();
        short("first_name", &request.first_name, 100)?;
        short("last_name", &request.last_name, 100)?;
        short("phone", &request.phone, 32)?;
        short("locale", &request.locale, 35)?;
        let now = self.clock.now();
        let mut accounts = self.accounts.lock();
        let profile = accounts.profile(&caller.user_id)?;
        profile.first_name = request.first_name;
        profile.last_name = request.last_name;
        profile.phone = request.phone;
        profile.locale = request.locale;
        profile.update_time = Some(now.into());
        Ok(Response::new(profile.clone()))
    }
}

/// Whether a text looks like `someone@some.host`; only a message sent there could tell more.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let is_plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    text.len() <= 254 && is_plain(local) && !local.contains('@') && host.contains('.') && host.split('.').all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::is_email;

    #[test]
    fn an_address_has_someone_and_a_host() {
        for good in ["ada@example.com", "a.b+c@mail.example.co.uk", "ü@exämple.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in
            ["", "ada", "@example.com", "ada@", "ada@host", "a b@example.com", "a@b@example.com", "a@.com", "a@b..c"]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
