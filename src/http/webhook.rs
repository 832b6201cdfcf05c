//! One message to an address that is itself a secret: nothing of it but the host is ever shown.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};

use super::client::Base;
use super::{Client, failure, told};
use crate::model::{Class, Failure};

/// From the first byte sent to the last byte received.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Posts a JSON body, once. The answer's body is not read: its status says all.
///
/// # Errors
/// The failure's class says what happens next: [`Class::Retry`] may go away by itself, [`Class::Misconfigured`] does not.
pub async fn post(client: &Client, address: &SecretString, body: Vec<u8>) -> Result<(), Failure> {
    let (url, base) = checked(address.expose_secret().trim())?;
    let place = format!("the webhook at {}", base.shown);
    let request = client.connections(&base)?.post(url).timeout(TIME_MAX).header(CONTENT_TYPE, "application/json");
    let sent = request.body(body).send().await;
    let answer = sent.map_err(|error| failure::of_transport(&place, &error))?;
    let status = answer.status().as_u16();
    let (class, sentence) = match status {
        200..=299 => return Ok(()),
        408 | 425 | 429 | 500..=599 => (Class::Retry, "does not take messages at the moment; they are sent again"),
        300..=399 => {
            (Class::Misconfigured, "answered with a redirect, which is never followed; give the final address")
        }
        401 | 403 | 404 | 410 => {
            (Class::Misconfigured, "is not there any more, or not ours; make another and put its address in place")
        }
        _ => (Class::Misconfigured, "refused the message; check that alerts.format is what it takes"),
    };
    let mut failure = Failure::new(class, format!("{place} {sentence}"));
    failure.status = Some(status);
    failure.retry_after = told::Told::read(status, answer.headers()).wait();
    Err(failure)
}

/// Whether messages could be sent to this address, as far as can be seen without sending one.
///
/// # Errors
/// [`Class::Misconfigured`]: it is no address of a webhook.
pub fn check(address: &SecretString) -> Result<(), Failure> {
    checked(address.expose_secret().trim()).map(|_| ())
}

fn checked(text: &str) -> Result<(Url, Base), Failure> {
    let wrong = |why: &str| Failure::new(Class::Misconfigured, format!("the address of the webhook {why}"));
    // What is wrong with it is not told with it: it is a secret.
    let url = Url::parse(text).map_err(|_| wrong("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user or a password, which are not sent; use one that is secret by itself"));
    }
    let base =
        Base::of_host(&url).ok_or_else(|| wrong("must begin with https://, except on this machine (127.0.0.1)"))?;
    Ok((url, base))
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_string, header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn it_is_posted_as_it_is_to_the_whole_address() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/services/T0/hunter2"))
            .and(query_param("sig", "a=b"))
            .and(header("content-type", "application/json"))
            .and(body_string("{}"))
            .respond_with(ResponseTemplate::new(204))
            .expect(1)
            .mount(&server)
            .await;
        let address = secret(&format!("{}/services/T0/hunter2?sig=a%3Db\n", server.uri()));
        post(&Client::default(), &address, b"{}".to_vec()).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_refused_has_its_class_and_shows_nothing_of_the_address() {
        for (status, class) in [
            (500, Class::Retry),
            (429, Class::Retry),
            (302, Class::Misconfigured),
            (404, Class::Misconfigured),
            (400, Class::Misconfigured),
        ] {
            let server = MockServer::start().await;
            let answer = ResponseTemplate::new(status).insert_header("retry-after", "7").set_body_string("hunter2");
            Mock::given(method("POST")).respond_with(answer).expect(1).mount(&server).await;
            let address = secret(&format!("{}/hunter2", server.uri()));
            let failure = post(&Client::default(), &address, Vec::new()).await.unwrap_err();
            assert_eq!((failure.class, failure.status), (class, Some(status)));
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
            if status == 429 {
                assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
            }
        }
        for address in
            ["http://127.0.0.1:1/hunter2", "http://example.com/hunter2", "https://u:hunter2@x", "hunter2", ""]
        {
            let failure = post(&Client::default(), &secret(address), Vec::new()).await.unwrap_err();
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
    }
}
