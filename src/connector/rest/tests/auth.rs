//! Tokens and passwords.

use super::*;

/// A token endpoint and an API that takes the latest token alone; tokens live so long.
async fn with_tokens(life_s: u64, good_for: usize) -> (Server, Settings) {
    let calls = Arc::new(Mutex::new((0_usize, 0_usize)));
    let server = server(move |request| {
        let mut calls = calls.lock().unwrap();
        if request.url.path() == "/token" {
            assert_eq!(request.headers.get("authorization").unwrap(), "Basic YXR0dW5lOnMlM0FlJTIwY3JldA==");
            assert_eq!(request.headers.get("content-type").unwrap(), "application/x-www-form-urlencoded");
            assert_eq!(request.body, b"grant_type=client_credentials&scope=api%3A%2F%2Fx%2F.default");
            *calls = (calls.0 + 1, 0);
            return good(
                json!({ "access_token": format!("token-{}", calls.0), "expires_in": life_s, "token_type": "Bearer" }),
            );
        }
        calls.1 += 1;
        let latest = format!("Bearer token-{}", calls.0);
        if calls.1 > good_for || request.headers.get("authorization").is_none_or(|value| value != latest.as_str()) {
            return refusal(401);
        }
        good(rows([1]))
    })
    .await;
    let mut settings = server.settings(api());
    settings.auth = Auth::OAuth {
        token_url: format!("{}/token", server.http.uri()),
        client_id: "attune".to_owned(),
        secret: Arc::new(|| Ok(SecretString::from("s:e cret"))),
        scope: Some("api://x/.default".to_owned()),
    };
    (server, settings)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_anew_before_it_expires() {
    let (server, settings) = with_tokens(3600, usize::MAX).await;
    let connector = Rest::new(settings).unwrap();
    for _ in 0..3 {
        connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    }
    let fetched = |server: &Server| server.asked().iter().filter(|line| *line == "POST /token").count();
    assert_eq!(fetched(&server), 1);
    // A token that lives for no time is never used twice.
    let (server, settings) = with_tokens(0, usize::MAX).await;
    let connector = Rest::new(settings).unwrap();
    for _ in 0..3 {
        connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    }
    assert_eq!(fetched(&server), 3);
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_once() {
    let (server, settings) = with_tokens(3600, 1).await;
    let connector = Rest::new(settings).unwrap();
    connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    // Young tokens are not fetched anew: a right is missing.
    let failure = connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap_err();
    assert_eq!(failure.class, Class::Auth);
    is_quiet(&failure);
    tokio::time::sleep(Duration::from_millis(5_100)).await;
    connector.fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
    let asked = server.asked();
    let calls: Vec<&str> = asked.iter().map(|line| if line == "POST /token" { "token" } else { "call" }).collect();
    assert_eq!(calls, ["token", "call", "call", "call", "token", "call"]);
}

#[tokio::test]
async fn a_token_that_is_not_given_says_why() {
    for (answer, class) in [
        (refusal(400), Class::Auth),
        (refusal(401), Class::Auth),
        (refusal(503), Class::Retry),
        (good(json!({ "token": SECRET })), Class::Misconfigured),
        (ResponseTemplate::new(200).set_body_string(format!("access_token={SECRET}")), Class::Broken),
    ] {
        let server = server(move |request| {
            assert_eq!(request.url.path(), "/token", "nothing is called without a token");
            answer.clone()
        })
        .await;
        let mut settings = server.settings(api());
        settings.auth = Auth::OAuth {
            token_url: format!("{}/token", server.http.uri()),
            client_id: "attune".to_owned(),
            secret: Arc::new(|| Ok(SecretString::from(SECRET))),
            scope: None,
        };
        let failure = Rest::new(settings).unwrap().fetch(&[Key::new("1")], &[0], NOW).await.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(!format!("{failure:?}").contains(SECRET), "{failure:?}");
    }
}

#[tokio::test]
async fn a_user_and_a_password_go_into_every_call() {
    let server = server(|request| {
        assert_eq!(request.headers.get("authorization").unwrap(), "Basic YXR0dW5lOmh1bnRlcjItc2VjcmV0");
        good(rows([1]))
    })
    .await;
    let mut settings = server.settings(api());
    settings.auth = Auth::Basic { user: "attune".to_owned(), secret: Arc::new(|| Ok(SecretString::from(SECRET))) };
    Rest::new(settings).unwrap().fetch(&[Key::new("1")], &[0], NOW).await.unwrap();
}
