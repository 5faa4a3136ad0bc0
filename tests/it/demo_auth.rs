//! The auth service: accounts, sessions, tokens.

use std::time::Duration;

use tonic::{Code, Request};
use transom::demo::proto::auth::{
    GetUserProfileRequest, LoginRequest, LogoutRequest, RefreshTokenRequest, RegisterRequest, UpdateUserProfileRequest,
    ValidateTokenRequest,
};
use transom::demo::proto::google::rpc;
use transom::demo::proto::ticket::ListUserTicketsRequest;

use crate::demo_client::{Person, System, refused, system};

async fn verdict(system: &System, token: &str) -> (bool, String) {
    let request = ValidateTokenRequest { token: token.to_owned() };
    let answer = system.auth().validate_token(request).await.unwrap().into_inner();
    (answer.valid, answer.reason)
}

async fn refresh(system: &System, token: &str) -> Result<Person, tonic::Status> {
    let request = RefreshTokenRequest { refresh_token: token.to_owned() };
    let answer = system.auth().refresh_token(request).await?.into_inner();
    assert_eq!((answer.expires_in, answer.token_type.as_str()), (900, "Bearer"));
    Ok(Person { user_id: String::new(), access_token: answer.access_token, refresh_token: answer.refresh_token })
}

#[tokio::test]
async fn registering_says_201_and_logging_in_opens_a_session() {
    let system = system().await;
    let account = RegisterRequest {
        email: "Grace@Example.com".to_owned(),
        password: "correct horse".to_owned(),
        first_name: "Grace".to_owned(),
        last_name: "Hopper".to_owned(),
    };

    let registered = system.auth().register(account).await.unwrap();
    assert_eq!(registered.metadata().get("x-http-code").unwrap(), "201");
    let registered = registered.into_inner();
    let login = LoginRequest { email: "grace@example.com".to_owned(), password: "correct horse".to_owned() };
    let login = system.auth().login(login).await.unwrap().into_inner();

    assert_eq!((login.user_id.as_str(), login.expires_in), (registered.user_id.as_str(), 900));
    assert_eq!(verdict(&system, &login.access_token).await, (true, String::new()));
    let person =
        Person { user_id: login.user_id, access_token: login.access_token, refresh_token: login.refresh_token };
    let profile = system.auth().get_user_profile(person.says(GetUserProfileRequest {})).await.unwrap().into_inner();
    assert_eq!((profile.email.as_str(), profile.first_name.as_str()), ("grace@example.com", "Grace"));
}

#[tokio::test]
async fn the_shown_login_works() {
    let system = system().await;
    let login = system.running.login.unwrap();
    let request = LoginRequest { email: login.email.to_owned(), password: login.password.to_owned() };
    assert!(system.auth().login(request).await.is_ok());
}

#[tokio::test]
async fn an_address_has_one_account() {
    let system = system().await;
    let register = |email: &str| {
        let mut auth = system.auth();
        let account =
            RegisterRequest { email: email.to_owned(), password: "correct horse".to_owned(), ..Default::default() };
        async move { auth.register(account).await }
    };
    let (first, second) = tokio::join!(register("eve@example.com"), register("EVE@example.com"));
    assert!(first.is_ok() != second.is_ok());

    let refused = refused(register("eve@example.com ").await);

    assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "EMAIL_TAKEN"));
    let resource: rpc::ResourceInfo = refused.detail("ResourceInfo");
    assert_eq!(resource.resource_name, "eve@example.com");
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let system = system().await;
    let account = RegisterRequest {
        email: "nobody".to_owned(),
        password: "short".to_owned(),
        first_name: "x".repeat(101),
        last_name: String::new(),
    };
    let refused = refused(system.auth().register(account).await);
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.fields(), ["email", "password", "first_name"]);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let system = system().await;
    system.person("mallory").await;
    let login = |email: &str, password: &str| {
        let mut auth = system.auth();
        let request = LoginRequest { email: email.to_owned(), password: password.to_owned() };
        async move { auth.login(request).await.expect_err("a refusal") }
    };

    let wrong = login("mallory@example.com", "wrong horse").await;
    let unknown = login("nobody@example.com", "wrong horse").await;

    assert_eq!(wrong.code(), Code::Unauthenticated);
    assert_eq!((wrong.message(), wrong.details()), (unknown.message(), unknown.details()));
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_second_use_ends_the_session() {
    let system = system().await;
    let person = system.person("ivan").await;

    let second = refresh(&system, &person.refresh_token).await.unwrap();
    let third = refresh(&system, &second.refresh_token).await.unwrap();
    assert!(verdict(&system, &third.access_token).await.0);
    let reused = refused(refresh(&system, &second.refresh_token).await);

    assert_eq!((reused.code, reused.reason.as_str()), (Code::Unauthenticated, "REFRESH_TOKEN_REUSED"));
    let latest = refused(refresh(&system, &third.refresh_token).await);
    assert_eq!((latest.code, latest.reason.as_str()), (Code::Unauthenticated, "SESSION_ENDED"));
    assert_eq!(verdict(&system, &third.access_token).await, (false, "SESSION_ENDED".to_owned()));
}

#[tokio::test]
async fn of_many_refreshes_at_once_one_wins() {
    let system = system().await;
    let person = system.person("race").await;
    let tries = (0..16).map(|_| {
        let mut auth = system.auth();
        let request = RefreshTokenRequest { refresh_token: person.refresh_token.clone() };
        tokio::spawn(async move { auth.refresh_token(request).await.is_ok() })
    });
    let mut won = 0;
    for attempt in tries.collect::<Vec<_>>() {
        won += usize::from(attempt.await.unwrap());
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn logging_out_ends_the_session_and_no_other() {
    let system = system().await;
    let here = system.person("olga").await;
    let login = LoginRequest { email: "olga@example.com".to_owned(), password: "correct horse".to_owned() };
    let elsewhere = system.auth().login(login).await.unwrap().into_inner();

    let ended = system.auth().logout(here.says(LogoutRequest { everywhere: false })).await.unwrap().into_inner();

    assert_eq!(ended.sessions_ended, 1);
    assert_eq!(refused(refresh(&system, &here.refresh_token).await).reason, "SESSION_ENDED");
    let profile = system.auth().get_user_profile(here.says(GetUserProfileRequest {})).await;
    assert_eq!(refused(profile).reason, "SESSION_ENDED");
    assert!(verdict(&system, &elsewhere.access_token).await.0);
    let ended = system.auth().logout(here.says(LogoutRequest { everywhere: true })).await.unwrap().into_inner();
    assert_eq!(ended.sessions_ended, 1);
    assert!(!verdict(&system, &elsewhere.access_token).await.0);
}

#[tokio::test]
async fn tokens_expire() {
    let system = system().await;
    let person = system.person("old").await;

    system.hand.advance(Duration::from_secs(15 * 60));
    assert_eq!(verdict(&system, &person.access_token).await, (false, "TOKEN_EXPIRED".to_owned()));
    let tickets = system.tickets().list_user_tickets(person.says(ListUserTicketsRequest::default())).await;
    assert_eq!(refused(tickets).reason, "TOKEN_EXPIRED");
    assert!(refresh(&system, &person.refresh_token).await.is_ok());

    system.hand.advance(Duration::from_secs(8 * 24 * 60 * 60));
    assert_eq!(refused(refresh(&system, &person.refresh_token).await).reason, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn only_a_good_access_token_opens_a_service() {
    let system = system().await;
    let person = system.person("trent").await;
    let other = system.person("other").await;
    let mut forged = person.access_token.clone();
    forged.replace_range(forged.len() - 4.., "AAAA");
    let list = |authorization: Option<String>, user_id: Option<&str>| {
        let mut tickets = system.tickets();
        let mut request = Request::new(ListUserTicketsRequest::default());
        if let Some(authorization) = authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        if let Some(user_id) = user_id {
            request.metadata_mut().insert("x-user-id", user_id.parse().unwrap());
        }
        async move { tickets.list_user_tickets(request).await.map(|_| ()) }
    };
    let bearer = Some(format!("bearer {}", person.access_token));

    assert!(list(bearer.clone(), None).await.is_ok());
    assert!(list(bearer.clone(), Some(&person.user_id)).await.is_ok());
    for (authorization, user_id, reason) in [
        (None, None, "TOKEN_MISSING"),
        (None, Some(person.user_id.as_str()), "TOKEN_MISSING"),
        (Some("Basic dTpw".to_owned()), None, "TOKEN_INVALID"),
        (Some(format!("Bearer {forged}")), None, "TOKEN_INVALID"),
        (Some(format!("Bearer {}", person.refresh_token)), None, "TOKEN_INVALID"),
        (Some(format!("Bearer {}", "x".repeat(5000))), None, "TOKEN_INVALID"),
        (bearer, Some(other.user_id.as_str()), "USER_MISMATCH"),
    ] {
        assert_eq!(refused(list(authorization, user_id).await).reason, reason);
    }
}

#[tokio::test]
async fn a_profile_is_replaced_as_a_whole() {
    let system = system().await;
    let person = system.person("hedy").await;
    let change =
        UpdateUserProfileRequest { first_name: "Hedy".to_owned(), locale: "de-AT".to_owned(), ..Default::default() };
    system.hand.advance(Duration::from_secs(1));

    let profile = system.auth().update_user_profile(person.says(change)).await.unwrap().into_inner();

    assert_eq!((profile.first_name.as_str(), profile.last_name.as_str()), ("Hedy", ""));
    assert_eq!(profile.email, "hedy@example.com");
    assert_ne!(profile.create_time, profile.update_time);
}
