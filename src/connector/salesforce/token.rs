//! Access tokens: asked for with a client's secret, or with an assertion that a private key signs (RFC 7523), and anew when one is
//! refused. It must not know what the calls are about.

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::http::{
    Caller, Client, Credential, Endpoint, Fetch, Lane, Pay, Request, SecretProvider, Throttle, ThrottleSettings,
    encoded,
};
use crate::model::{Class, Failure, Side};

/// What stands for the secret in the body of the request until it is sent.
const SECRET_PLACE: &str = "ATTUNE.SECRET";

/// How long an assertion is good for, in seconds. Salesforce takes no more than five minutes.
const ASSERTION_S: i64 = 180;

/// How a token is asked for.
pub enum Grant {
    /// OAuth 2.0 client credentials.
    ClientCredentials {
        /// The connected app's consumer key.
        client_id: String,
        /// Where its consumer secret comes from.
        client_secret: SecretProvider,
    },
    /// OAuth 2.0 JWT bearer.
    JwtBearer {
        /// The connected app's consumer key.
        client_id: String,
        /// The user's login.
        user: String,
        /// Who the assertion is for: `https://login.salesforce.com`, or `https://test.salesforce.com` for a sandbox.
        audience: String,
        /// Where the private key comes from, as PEM.
        private_key: SecretProvider,
    },
}

/// Gives out tokens.
pub(super) struct Tokens {
    name: String,
    caller: Caller,
    endpoint: Endpoint,
    body: String,
}

impl Tokens {
    pub(super) fn new(
        name: &str,
        url: &str,
        grant: Grant,
        client: Client,
        cancel: CancellationToken,
    ) -> Result<Self, Failure> {
        let (body, secret) = match grant {
            Grant::ClientCredentials { client_id, client_secret } => {
                let body = format!(
                    "grant_type=client_credentials&client_id={}&client_secret={SECRET_PLACE}",
                    encoded(&client_id)
                );
                let secret: SecretProvider =
                    Arc::new(move || Ok(SecretString::from(encoded(client_secret()?.expose_secret().trim()))));
                (body, secret)
            }
            Grant::JwtBearer { client_id, user, audience, private_key } => {
                let body = format!(
                    "grant_type={}&assertion={SECRET_PLACE}",
                    encoded("urn:ietf:params:oauth:grant-type:jwt-bearer")
                );
                let secret: SecretProvider = Arc::new(move || {
                    let expires_at = jiff::Timestamp::now().as_second() + ASSERTION_S;
                    assertion(&client_id, &user, &audience, expires_at, &private_key()?)
                });
                (body, secret)
            }
        };
        // A call that needs a token holds its turn meanwhile: tokens do not wait behind it.
        let throttle =
            ThrottleSettings { side: Side::Crm, name: name.to_owned(), share: 1.0, fixed: None, in_flight_max: 1 };
        let caller = Caller::new(crate::http::Settings {
            client,
            base: url.to_owned(),
            credential: Credential { header: AUTHORIZATION, prefix: "".into(), secret: secret.into() },
            headers: HeaderMap::new(),
            throttle: Throttle::new(throttle, cancel),
            body_bytes_max: Some(64 * 1024),
        })?;
        Ok(Self { name: name.to_owned(), caller, endpoint: Endpoint::new("/services/oauth2/token", 1), body })
    }

    fn explained(&self, mut failure: Failure) -> Failure {
        // 400 is how a wrong client, user or key is answered.
        if matches!(failure.class, Class::Auth | Class::Rejected) {
            failure.class = Class::Auth;
            let code = failure.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
            failure.message = format!(
                "Salesforce gives no token{code}; check `client_id`, the secret or key, `user` and `audience` in [crm.{}], and \
                 that the connected app allows this way in",
                self.name
            );
        }
        failure
    }
}

#[async_trait]
impl Fetch for Tokens {
    async fn fetch(&self) -> Result<SecretString, Failure> {
        // An assertion is good for minutes; a secret may have been changed.
        self.caller.forget_secret();
        let mut request = Request::change(Method::POST, "", Some(self.body.clone().into_bytes()));
        request.reads = true;
        request.secret_place = Some(SECRET_PLACE);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let turn = self.caller.turn(&self.endpoint, Pay::InTurn(Lane::Resolve)).await?;
        let answer = self.caller.send(turn, &request).await.map_err(|failure| self.explained(failure))?;
        // What cannot be read may hold a token: nothing of it is kept.
        let said: Value = answer.json().map_err(|failure| Failure { detail: None, ..failure })?;
        match said.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty()) {
            Some(token) => Ok(SecretString::from(token)),
            None => {
                let why = format!("the answer to the request for a token has none; check `url` in [crm.{}]", self.name);
                Err(Failure::new(Class::Misconfigured, why))
            }
        }
    }
}

/// A signed assertion.
fn assertion(
    client_id: &str,
    user: &str,
    audience: &str,
    expires_at: i64,
    private_key: &SecretString,
) -> Result<SecretString, String> {
    let no_key = || "it is no private key for RSA in PEM".to_owned();
    let key = PrivateKeyDer::from_pem_slice(private_key.expose_secret().as_bytes()).map_err(|_| no_key())?;
    let key = match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(no_key()),
    }
    .map_err(|_| no_key())?;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({ "iss": client_id, "sub": user, "aud": audience, "exp": expires_at });
    let signed = format!("{}.{}", part(json!({ "alg": "RS256" })), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| "the private key could not sign".to_owned())?;
    Ok(SecretString::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn an_assertion_says_who_and_is_signed() {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
        let body = STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let token = assertion("key", "attune@example.com", "https://login.salesforce.com", 1_000, &pem.into()).unwrap();
        let parts: Vec<&str> = token.expose_secret().split('.').collect();
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let expected = json!({
            "iss": "key", "sub": "attune@example.com", "aud": "https://login.salesforce.com", "exp": 1_000,
        });
        assert_eq!(claims, expected);
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        public.verify(format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).unwrap();
        assert!(assertion("key", "user", "x", 1, &"hunter2".to_owned().into()).unwrap_err().contains("no private key"));
    }
}
