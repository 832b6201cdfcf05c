//! `attune healthcheck`: asks the daemon on this machine how it is, as a container's health check does. An image that
//! holds nothing else has no `curl`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::arguments::{Common, Healthcheck};
use super::exit::Exit;
use super::output;
use super::session::Trouble;
use crate::config;

/// Of an answer: it is a small document.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Runs the command.
///
/// # Errors
/// When it is not known where the daemon listens, or it does not answer.
pub async fn run(common: &Common, options: &Healthcheck) -> Result<Exit, Trouble> {
    let listen = config::listen(&common.config, std::env::vars_os())
        .map_err(|problems| Trouble::new(Exit::Misconfigured, problems.to_string()))?;
    let Some(listen) = listen else {
        return Err(Trouble::new(Exit::Misconfigured, "server.listen is \"off\": there is nobody to ask"));
    };
    let (address, path) = (reached_at(listen), if options.ready { "/readyz" } else { "/livez" });
    let answer = tokio::time::timeout(common.patience, ask(address, path)).await;
    let silent = |reason: String| Trouble::new(Exit::Unreachable, format!("http://{address}{path}: {reason}"));
    let answer = answer
        .map_err(|_| silent(format!("no answer within {:?}", common.patience)))?
        .map_err(|error| silent(error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    output::show(body)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(Exit::Done),
        Some("503") => Ok(Exit::Attention),
        _ => Err(silent("it is not Attune that answers".to_owned())),
    }
}

/// Where to knock: a daemon that listens everywhere listens on loopback too.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

/// One question without what a client for the outside has: no proxy, no redirect, no TLS.
async fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:9464", "[::1]:9464"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("127.0.0.1:1", "127.0.0.1:1"),
        ] {
            assert_eq!(reached_at(listen.parse().unwrap()), asked.parse().unwrap(), "{listen}");
        }
    }
}
