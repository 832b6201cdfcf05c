//! The HTTP client of the process: explicit timeouts, no redirects, no hidden retries, HTTPS only unless loopback.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;

use crate::model::{Class, Failure};

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the first byte sent to the last byte received.
    pub total: Duration,
    /// Without a byte received.
    pub read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30), read: Duration::from_secs(20) }
    }
}

/// One pool of connections, cheap to clone: a process needs one ([`Client::shared`]).
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    timeouts: Timeouts,
    remote: OnceLock<Result<reqwest::Client, String>>,
    loopback: OnceLock<Result<reqwest::Client, String>>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Timeouts::default())
    }
}

impl Client {
    /// A client of its own; nothing is read or opened before the first call.
    pub fn new(timeouts: Timeouts) -> Self {
        Self { inner: Arc::new(Inner { timeouts, remote: OnceLock::new(), loopback: OnceLock::new() }) }
    }

    /// The one client of this process.
    pub fn shared() -> Self {
        static SHARED: OnceLock<Client> = OnceLock::new();
        SHARED.get_or_init(Self::default).clone()
    }

    /// The connections for an address; proxies of the environment are not asked for loopback.
    pub(super) fn connections(&self, base: &Base) -> Result<&reqwest::Client, Failure> {
        let timeouts = self.inner.timeouts;
        let made = if base.plain_loopback {
            // No certificates are needed, so this works where the machine has none at all.
            self.inner.loopback.get_or_init(|| build(timeouts, |builder| builder.no_proxy().tls_certs_only([])))
        } else {
            self.inner.remote.get_or_init(|| build(timeouts, |builder| builder.https_only(true)))
        };
        made.as_ref().map_err(|reason| {
            let sentence = format!(
                "no HTTPS client can be made on this machine: {reason}; install the certificates of the usual \
                 authorities (the package `ca-certificates`)"
            );
            Failure::new(Class::Misconfigured, sentence)
        })
    }
}

fn build(
    timeouts: Timeouts,
    adjust: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("attune/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.total)
        .read_timeout(timeouts.read)
        .pool_idle_timeout(Duration::from_secs(60))
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .gzip(true);
    adjust(builder).build().map_err(|error| super::failure::cause(&error))
}

/// Where a system lives: scheme, host and the path that all its addresses begin with.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// Without a slash at its end.
    pub(super) address: String,
    /// Host and path, for people.
    pub(super) shown: String,
    plain_loopback: bool,
}

impl Base {
    /// Checks an address: HTTPS unless the host is this machine, no user, no query, no fragment.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            // The address itself may hold a secret and is not repeated.
            Failure::new(Class::Misconfigured, format!("the address of this system {why}"))
        };
        let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
        let Some(host) = url.host_str() else { return Err(wrong("names no host")) };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("holds a user or a password; credentials are given on their own"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has a query or a fragment; give only scheme, host and path"));
        }
        let loopback = is_loopback(&url);
        match url.scheme() {
            "https" => {}
            "http" if loopback => {}
            "http" => return Err(wrong("is http; only https is used, except on this machine (127.0.0.1)")),
            _ => return Err(wrong("must begin with https://")),
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = url.path().trim_end_matches('/');
        Ok(Self {
            address: format!("{}://{host}{port}{path}", url.scheme()),
            shown: format!("{host}{port}{path}"),
            plain_loopback: loopback && url.scheme() == "http",
        })
    }
}

impl Base {
    /// The host of an address that is a secret: shown without anything else of it. None unless HTTPS or this machine.
    pub(super) fn of_host(url: &Url) -> Option<Self> {
        let host = url.host_str()?;
        let plain_loopback = url.scheme() == "http" && is_loopback(url);
        (url.scheme() == "https" || plain_loopback).then(|| {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let shown = format!("{host}{port}");
            Self { address: format!("{}://{shown}", url.scheme()), shown, plain_loopback }
        })
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_unless_loopback() {
        for good in ["https://api.bigcommerce.com", "http://127.0.0.1:8080/x/", "http://localhost:1", "http://[::1]:9"]
        {
            assert!(Base::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.bigcommerce.com",
            "http://127.0.0.1.example.com",
            "ftp://127.0.0.1",
            "https://user:hunter2@api.bigcommerce.com",
            "https://api.bigcommerce.com?token=hunter2",
            "api.bigcommerce.com",
            "",
        ] {
            let failure = Base::parse(bad).unwrap_err();
            assert_eq!(failure.class, Class::Misconfigured, "{bad}");
            assert!(!failure.message.contains("hunter2"));
        }
        assert_eq!(Base::parse("https://api.bigcommerce.com/").unwrap().address, "https://api.bigcommerce.com");
    }

    #[test]
    fn a_loopback_client_needs_no_certificates() {
        let base = Base::parse("http://127.0.0.1:9").unwrap();
        assert!(Client::default().connections(&base).is_ok());
    }
}
